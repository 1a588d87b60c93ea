"""The manifest of a finished run, and the note of a begun one: what later steps know of a training.

Their JSON carries a version. The files of runs made before it had one are still read: what they lack is None,
or empty.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError

from lib.base.errors import UserError
from lib.base.files import read_json, read_jsonl, write_json, write_jsonl
from lib.base.schema import Pair, Preference, Record
from lib.base.settings import TrainConfig

VERSION = 1
TRAINED_ON, TRAINED_TEXTS = "trained_on.jsonl", "trained_texts.jsonl"
# Keys of a run's config that do not change its weights.
NOT_TRAINING = frozenset(
    {"eval", "usd_per_hour", "track", "max_train_eval_gap", "keep_best", "min_preferences", "remote"}
)


class Sample(Record):
    """A reply to a fixed validation tweet, written while the run trained."""

    step: int
    epoch: int
    tweet_id: str
    reply: str


class Memorisation(Record):
    """Shares of n answers that repeat `words` or more words of a training reply; None: none was written."""

    words: int
    n: int
    base: float | None
    tuned: float | None


class BeforeAfter(Record):
    """A number of the validation pairs before the first step and at the best one; None: not measured."""

    before: float | None
    after: float | None


class Versioned(Record):
    """A record that is one JSON file. Another version of it is upgraded or refused, never guessed."""

    version: Literal[1] = VERSION

    @classmethod
    def of_older(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The values of a file without a version, as this one has them."""
        known = {name: values[name] for name in cls.model_fields if name in values}
        return {name: None for name, field in cls.model_fields.items() if field.is_required()} | known

    @classmethod
    def read(cls, path: Path) -> Self:
        """The record in path.

        Raises UserError naming the field that is missing or wrong, or the newer version.
        """
        values = read_json(path)
        if not isinstance(values, dict):
            raise UserError(f"{path}: expected a JSON object. Copy the file again from where it was written.")
        version = values.get("version")
        if version is not None and version != VERSION:
            raise UserError(
                f"{path} has version {version!r}, and this code reads version {VERSION}. Update the code "
                "(`git pull`)."
            )
        try:
            return cls.model_validate_json(json.dumps(cls.of_older(values) if version is None else values))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or cls.__name__
            raise UserError(
                f"{path}: {field}: {first['msg']}. Copy the file again from where it was written."
            ) from error

    def write(self, path: Path) -> None:
        """Replace path as a whole; fields that were never set are left out."""
        write_json(path, {"version": self.version, **self.model_dump(mode="json", exclude_unset=True)})


class Started(Versioned):
    """started.json: what a run was begun with."""

    fingerprint: str | None  # None in the files of the first runs
    config: dict[str, Any]  # TrainConfig as it was; its keys change with the versions
    revision: str | None

    @classmethod
    def of_older(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Without a config the run has an empty one."""
        return super().of_older({"config": {}, **values})


class Manifest(Versioned):
    """manifest.json, written last: what a finished run was made of, how it went and what it is.

    None: not measured, not there (no GPU, no git), or not known to the version that wrote it.
    """

    run: str | None
    config: dict[str, Any]  # TrainConfig as it was, auto settled; its keys change with the versions
    backend: str | None
    backend_reason: str | None
    quantization_reason: str | None = None  # of config's quantization
    model: str | None
    base_model: str | None
    revision: str | None  # commit of the base model
    adapter_sha256: str | None
    files: dict[str, dict[str, Any]] = Field(default_factory=dict)  # name -> seal, beside the adapter
    data_hashes: dict[str, str]
    n_train: int | None
    n_val: int | None
    n_evaluated: int | None = None  # of these, at each evaluation while it trained
    steps: int | None
    best_step: int | None
    train_loss: float | None
    eval_loss: float | None
    eval_losses: list[tuple[int, float]]  # (step, validation loss); step 0 is the base model
    train_eval_gap: float | None
    perplexity: float | None
    memorisation: Memorisation | None
    method: str | None
    init_adapter: str | None = None  # from here to reward_accuracy: dpo and kto only
    init_adapter_sha256: str | None = None
    n_preferences: int | None = None
    n_contradictory_replies: int | None = None
    reward_margin: BeforeAfter | None = None
    reward_accuracy: BeforeAfter | None = None
    alerts: list[str]
    advice: str | None = None  # what the losses say about the training
    micro_batch: int | None
    gradient_checkpointing: bool | None
    seconds: float | None
    evaluation_share: float | None = None  # of these
    minutes: float | None
    processes: int | None
    usd: float | None
    seed: int | None
    device: str | None
    gpu: str | None
    versions: dict[str, str]
    git_commit: str | None
    fingerprint: str | None
    created_at: str | None
    samples: list[Sample]

    @classmethod
    def of_older(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Lists and tables that an older manifest lacks are empty."""
        empty = {
            "config": {},
            "data_hashes": {},
            "eval_losses": [],
            "alerts": [],
            "versions": {},
            "samples": [],
        }
        return super().of_older(empty | values)


def read_manifest(path: Path) -> Manifest:
    """The manifest of a finished run, also of one made before manifests had a version. Raises UserError."""
    return Manifest.read(path)


class Seen(Record):
    """A line of trained_on.jsonl: a tweet whose replies were trained or validated on."""

    tweet_id: str
    tweet_author: str


class SeenText(Record):
    """A line of trained_texts.jsonl: a text that was trained or validated on. author: None if not known."""

    id: str
    author: str | None = None
    text: str


def write_trained_on(folder: Path, pairs: Sequence[Pair], preferences: Sequence[Preference] = ()) -> None:
    """Keep, beside the run, which tweets and texts it has seen: its data set may change afterwards."""
    seen = {pair.tweet_id: Seen(tweet_id=pair.tweet_id, tweet_author=pair.tweet_author) for pair in pairs}
    tweets = [(one.tweet_id, one.tweet_author, one.tweet) for one in (*preferences, *pairs)]
    replies = [(one.chosen_id, None, one.chosen) for one in preferences]
    replies += [(one.rejected_id, None, one.rejected) for one in preferences]
    replies += [(pair.reply_id, pair.reply_author, pair.reply) for pair in pairs]
    texts = {id: SeenText(id=id, author=author, text=text) for id, author, text in (*tweets, *replies)}
    write_jsonl(folder / TRAINED_TEXTS, texts.values())
    write_jsonl(folder / TRAINED_ON, seen.values())


def trained_on(folder: Path) -> frozenset[str]:
    """The tweets and authors that a run, and the run that it started from, have seen: ids and `@author`.

    Empty for a run made before this was kept.
    """
    paths = [one / TRAINED_ON for one in with_starts(folder)]
    rows = [row for path in paths if path.is_file() for row in read_jsonl(path, Seen)]
    return frozenset(name for row in rows for name in (row.tweet_id, f"@{row.tweet_author.casefold()}"))


def trained_texts(folder: Path) -> list[SeenText]:
    """The texts that a run, and the run that it started from, were trained on, but for forgotten ones.

    Empty for a run made before this was kept.
    """
    paths = [one / TRAINED_TEXTS for one in with_starts(folder)]
    return [row for path in paths if path.is_file() for row in read_jsonl(path, SeenText)]


def with_starts(folder: Path) -> list[Path]:
    """The run's folder, that of the run that it started from (init_adapter), and so on."""
    manifest = folder / "manifest.json"
    start = read_manifest(manifest).init_adapter if manifest.is_file() else None
    return [folder, *(with_starts(folder.parent / start) if start else [])]


def as_trained(folder: Path, config: TrainConfig) -> TrainConfig:
    """The config that a finished run was trained with; config itself where folder holds none.

    What does not change the weights is as it is now. Raises UserError where this version cannot read it.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        return config
    now, before = config.model_dump(mode="json"), read_manifest(path).config
    kept = {key: value for key, value in before.items() if key in now and key not in NOT_TRAINING}
    try:
        return TrainConfig.model_validate(now | kept)
    except ValidationError as error:
        key = ".".join(map(str, error.errors()[0]["loc"]))
        raise UserError(
            f"{path}: config: {key}: this version cannot use it. Use the version that trained {folder}."
        ) from error


def training_usd(root: Path) -> dict[str, float]:
    """Run -> what its training cost, of the finished runs below root that say it."""
    paths = sorted(root.glob("adapters/*/manifest.json"))
    found = {path.parent.name: read_manifest(path).usd for path in paths}
    return {run: usd for run, usd in found.items() if usd is not None}
