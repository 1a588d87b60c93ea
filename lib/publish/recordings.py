"""Recorded replies that a public page may replay: which tweets, and nothing that must not leave this machine.

By default only tweets of the bundled sample, which were invented for it; held-out ones of other people only
where the person has chosen them. People's own replies are never among them.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from lib.base.errors import UserError
from lib.data.text import clean_text, clean_tweet, unescaped
from lib.evaluate.evaluation import Evaluation, Recorded, recorded, training
from lib.model.adapters import sha256_of
from lib.publish.known import Known, known_of, word_runs
from lib.publish.leaks import scan

SAMPLE = Path("data/sample/raw/items.jsonl")
# As it comes with the project: a file that was changed may hold anybody's words.
SAMPLE_SHA256 = "468cf4c52651922e6ae86981f437b25f93c0f48a9c26374c8611d16e09b64aa8"


@dataclass(frozen=True)
class Recordings:
    """The recordings to show, what of here must not be beside them, and how many were left out, by reason."""

    shown: tuple[Recorded, ...]
    known: Known
    left_out: Counter[str]
    are_of_others: bool  # some of the tweets, chosen by the person


def recordings(evaluation: Evaluation, is_held_out_chosen: bool) -> Recordings:
    """The evaluation's recorded replies that may be shown.

    Raises UserError where there are none, with the command that writes some.
    """
    folder = evaluation.folder
    if not (folder / "replies.jsonl").is_file():
        raise UserError(f"{folder} holds no replies yet: run `make replies RUN={evaluation.run}` first.")
    tweets = {prompt.tweet_id: prompt.tweet for prompt in evaluation.prompts()}
    answered, invented = recorded(evaluation.replies(), tweets), sample_texts()
    chosen = [one for one in answered if is_held_out_chosen or one.tweet in invented]
    left_out = Counter({"not a tweet of the sample": len(answered) - len(chosen)})
    known = _known(evaluation, invented | {one.tweet for one in chosen})
    shown = []
    for one in chosen:
        # As JSON, which holds all that a recording has, each text a value of its own.
        found = scan("recorded.json", json.dumps(asdict(one), ensure_ascii=False), known)
        kinds = {leak.kind for leak in found}
        left_out.update(sorted(kinds)[:1])
        shown += [] if kinds else [one]
    if not shown:
        raise UserError(_nothing(evaluation, +left_out))
    are_of_others = any(one.tweet not in invented for one in shown)
    return Recordings(tuple(shown), known, +left_out, are_of_others)


def _known(evaluation: Evaluation, free: Iterable[str]) -> Known:
    """The secrets of the data sets that the run learned from and is held against, without the free texts."""
    trained = training(evaluation.run_folder).config.get("data")
    sets = {evaluation.config.data} | ({trained} if Path(f"data/{trained}/processed").is_dir() else set())
    found = [known_of(Path("data", name), evaluation.run_folder, evaluation.run) for name in sorted(sets)]
    return Known(
        runs=frozenset().union(*(one.runs for one in found)) - word_runs(free),
        secrets=found[0].secrets,
        handles=frozenset().union(*(one.handles for one in found)),
        ids=frozenset().union(*(one.ids for one in found)),
    )


def sample_texts() -> frozenset[str]:
    """The texts of the bundled sample, all of them invented; none where its file is not here as it comes."""
    if not SAMPLE.is_file() or sha256_of(SAMPLE) != SAMPLE_SHA256:
        return frozenset()
    rows = map(json.loads, SAMPLE.read_text(encoding="utf-8").splitlines())
    texts = [unescaped(str(row.get("text"))) for row in rows]
    return frozenset(form for text in texts for form in (text, clean_tweet(text), clean_text(text)))


def _nothing(evaluation: Evaluation, left_out: Counter[str]) -> str:
    run, why = evaluation.run, ", ".join(f"{n} {reason}" for reason, n in left_out.items()) or "none"
    return (
        f"{evaluation.folder}/replies.jsonl has no reply that may be shown ({why}). For invented tweets run "
        f"`make data DATA=sample`, `make replies RUN={run} DATA=sample EVAL=offline`, then "
        f"`make space RUN={run} DATA=sample EVAL=offline`. Or choose the held-out tweets, which are other "
        "people's: TWEETS=heldout."
    )
