"""One evaluation: a run, its configs, its folders, and what training left there.

Every step takes it as its first argument.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from lib.base.config import config_name, given, load_config
from lib.base.errors import UserError
from lib.base.files import content_hash, read_jsonl
from lib.base.schema import Pair, Reply, TestPrompt, drawn_from
from lib.base.seals import checked
from lib.base.settings import EvalConfig, TrainConfig
from lib.train.manifest import Manifest, as_trained, read_manifest, trained_on

HUMAN = "human"
OWN = ("base", "fewshot", "tuned", HUMAN)


@dataclass(frozen=True)
class Recorded:
    """A held-out tweet and what both systems answered. seed: of the sampling. drafts: the candidates that the
    tuned model's best was picked from, each with the ranker's score. fewshot: what the base model answered
    with examples in the prompt, "" for nothing.
    """

    tweet: str
    base: str
    tuned: str
    seed: int
    drafts: Sequence[tuple[str, float | None]] = ()
    fewshot: str = ""


@dataclass(frozen=True)
class Evaluation:
    """One run under one eval config. folder: adapters/<run>/eval/<eval>. root: of the project."""

    run: str
    config: TrainConfig
    eval: EvalConfig
    folder: Path
    root: Path = Path()

    @classmethod
    def of(cls, train: Path, evaluation: Path, data: str | None = None) -> "Evaluation":
        """The evaluation that configs/train-<run>.yaml and configs/eval-<name>.yaml describe.

        A finished run has the config that it was trained with. data: another data set to hold it against.
        """
        run, name = config_name(train), config_name(evaluation)
        folder = Path("adapters") / run
        config = given(as_trained(folder, load_config(train, TrainConfig)), data=data)
        return cls(run, config, load_config(evaluation, EvalConfig), folder / "eval" / name)

    @property
    def processed(self) -> Path:
        """data/<set>/processed."""
        return self.root / "data" / self.config.data / "processed"

    @property
    def others(self) -> list[str]:
        """Other runs whose adapters answer as well."""
        return [system for system in self.eval.systems if drawn_from(system)[0] not in OWN]

    @property
    def run_folder(self) -> Path:
        """adapters/<run>."""
        return self.folder.parent.parent

    @property
    def work(self) -> Path:
        """The logs that a stopped step goes on from."""
        return self.folder / "work"

    def prompts(self) -> list[TestPrompt]:
        """The held-out tweets, but for those that were trained on. Raises UserError for a damaged file."""
        return [prompt for prompt in self._all_prompts() if not self.has_seen(prompt)]

    def n_trained_on(self) -> int:
        """The test prompts that are left out: the data set was split anew since the run was trained."""
        return sum(map(self.has_seen, self._all_prompts()))

    def has_seen(self, tweet: TestPrompt | Pair) -> bool:
        """True if a run of this evaluation was trained on the tweet, or on another one of its author."""
        return not self._seen.isdisjoint((tweet.tweet_id, f"@{tweet.tweet_author.casefold()}"))

    @cached_property
    def _seen(self) -> frozenset[str]:
        adapters = self.run_folder.parent
        return frozenset().union(*(trained_on(adapters / run) for run in (self.run, *self.others)))

    def _all_prompts(self) -> list[TestPrompt]:
        return read_jsonl(checked(self.processed / "test_prompts.jsonl"), TestPrompt)

    def train(self) -> list[Pair]:
        """The training pairs. Raises UserError for a damaged file."""
        return read_jsonl(checked(self.processed / "train.jsonl"), Pair)

    def replies(self) -> list[Reply]:
        """The systems' answers. Raises UserError for a damaged file."""
        return read_jsonl(checked(self.folder / "replies.jsonl"), Reply)


def recorded(
    replies: Iterable[Reply],
    tweets: Mapping[str, str],
    drafts: Mapping[str, Sequence[tuple[str, float | None]]] = MappingProxyType({}),
) -> list[Recorded]:
    """The tweets that both systems answered, in the order of the replies. tweets: tweet_id -> text."""
    by_tweet: dict[str, dict[str, Reply]] = {}
    for reply in replies:
        by_tweet.setdefault(reply.tweet_id, {})[reply.system] = reply
    return [
        Recorded(
            tweets[tweet_id],
            own["base"].reply,
            own["tuned"].reply,
            own["tuned"].seed,
            tuple(drafts.get(tweet_id, ())),
            own["fewshot"].reply if "fewshot" in own else "",
        )
        for tweet_id, own in by_tweet.items()
        if tweet_id in tweets and own.keys() >= {"base", "tuned"}
    ]


def training(folder: Path) -> Manifest:
    """The manifest of a finished training run. Raises UserError where adapters/<run> holds none."""
    path = folder / "manifest.json"
    if not path.is_file():
        raise UserError(f"{folder} holds no finished run. Run `make train RUN={folder.name}` first.")
    return read_manifest(path)


def adapter_sha256(folder: Path) -> str | None:
    """Names the adapter of a run; None where nothing was trained here (a server answers)."""
    return training(folder).adapter_sha256 if (folder / "manifest.json").is_file() else None


def chosen(prompts: Sequence[TestPrompt], max_prompts: int | None) -> list[TestPrompt]:
    """At most max_prompts of the prompts, by hash of the id, in their order: a larger number keeps all that a
    smaller one chose.
    """
    ids = [prompt.tweet_id for prompt in prompts]
    if not ids:
        raise UserError(
            "processed/test_prompts.jsonl holds no tweet. Build the data set with a larger test share."
        )
    if len(set(ids)) != len(ids):
        raise UserError("processed/test_prompts.jsonl names a tweet twice. Run `make data` again.")
    kept = set(sorted(ids, key=lambda tweet_id: content_hash(["max_prompts", tweet_id]))[:max_prompts])
    return [prompt for prompt in prompts if prompt.tweet_id in kept]
