"""People's answers: read from what the page, a crowd platform or the demo wrote, kept as Judgments (model
"people", raw = the rater).

A file is CSV with a header, a JSON list, or JSON Lines. An answer is {rater, item, choice}: choice is A, B,
tie or both_bad, or the page's keys 1, 2, 0. A vote of the demo is a line of another kind: see Vote.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lib.base.errors import UserError
from lib.base.files import content_hash, record_of, to_json
from lib.base.schema import Judgment, Record, Text, Utc
from lib.evaluate.people_files import Row, answer_rows
from lib.evaluate.people_page import FORMULA, A, B, Item

MODEL = "people"
DEMO = "demo"  # the rater of a vote: a demo asks nobody's name
STEP = 0.5  # people say "better", not "much better"
# Not "b": it is the page's key for both_bad and looks like B.
CHOICES = {
    "A": "A",
    "B": "B",
    "1": "A",
    "2": "B",
    "0": "tie",
    "tie": "tie",
    "both_bad": "both_bad",
    "both bad": "both_bad",
}
# What crowd platforms call these columns in their results, in small letters.
COLUMNS = {
    "rater": ("rater", "rater_id", "workerid", "worker_id", "_worker_id", "annotator", "participant_id"),
    "item": ("item", "item_id", "input.item"),
    "choice": ("choice", "answer", "answer.choice", "label"),
    "at": ("at", "submittime", "created_at"),
}


class Vote(Record):
    """A line of adapters/<run>/votes.jsonl: somebody chose between two replies before the page said which was
    whose.

    left: the system on the left. choice: the side that was chosen. at: when. seed: of the sampling. run,
    adapter_sha256: what wrote `tuned`; votes about another adapter are kept, and counted apart.
    """

    tweet: Text
    base: str
    tuned: str
    left: Literal["base", "tuned"]
    choice: Literal["left", "right", "tie", "both_bad"]
    at: Utc
    run: str
    adapter_sha256: str
    seed: int


@dataclass(frozen=True)
class Imported:
    """judgments: all there are now, the earlier ones first. n_new, n_known: of these files.

    rejected: {where, reason, detail, row}.
    """

    judgments: list[Judgment]
    n_new: int
    n_known: int
    rejected: list[Row]


def import_files(paths: Sequence[Path], items: Mapping[str, Item], earlier: Sequence[Judgment]) -> Imported:
    """Add the answers and votes of paths to the earlier judgments. The same file once more adds nothing.

    A line that cannot count (an item or choice that was not offered, a second answer of one rater to one
    item) is rejected with its reason and takes no other line with it. Raises UserError for a file that cannot
    be read at all.
    """
    judgments = {judgment.key: judgment for judgment in earlier}
    n_before, n_known, rejected = len(judgments), 0, []
    for path in paths:
        here: set[str] = set()
        for where, row in answer_rows(path):
            try:
                judgment = _judgment(row, where, items)
                known = judgments.get(judgment.key)
                if known and (judgment.key in here or known.usage["choice"] != judgment.usage["choice"]):
                    raise UserError(_second(known, judgment, where))
            except UserError as error:
                rejected.append(
                    {"where": where, "reason": str(error), "row": row if isinstance(row, dict) else None}
                )
                continue
            here.add(judgment.key)
            n_known += known is not None
            judgments.setdefault(judgment.key, judgment)
    return Imported(_numbered(judgments.values()), len(judgments) - n_before, n_known, rejected)


def import_votes(path: Path) -> list[Judgment]:
    """The votes of a votes.jsonl as Judgments.

    Raises UserError naming file:line for a line that is no vote.
    """
    return _numbered(
        {
            vote.key: vote for vote in (_judgment(row, where, None) for where, row in answer_rows(path))
        }.values()
    )


def _judgment(row: Row | UserError, where: str, items: Mapping[str, Item] | None) -> Judgment:
    """items None: only votes are expected."""
    if isinstance(row, UserError):
        raise row
    return _of_vote(row, where) if "left" in row or items is None else _of_answer(row, where, items)


def _of_answer(row: Row, where: str, items: Mapping[str, Item]) -> Judgment:
    names = {str(name).strip().lower(): value for name, value in row.items() if name is not None}
    given = {
        field: next((str(names[n]).strip() for n in options if names.get(n) is not None), "")
        for field, options in COLUMNS.items()
    }
    rater, item = given["rater"], items.get(given["item"])
    if rater.startswith("'") and rater[1:].startswith(FORMULA):
        rater = rater[1:]
    if not rater or len(rater) > 64 or not rater.isprintable():
        raise UserError(
            f"{where}: rater: expected a name of 1 to 64 characters (found {rater[:80]!r}). Write one into "
            "the line."
        )
    if item is None:
        raise UserError(
            f"{where}: item {given['item'][:40]!r} is not in key.json. It belongs to another run's page, or "
            "the page was made from other replies. Import it where it was made."
        )
    choice = CHOICES.get(given["choice"]) or CHOICES.get(
        given["choice"].lower() if len(given["choice"]) > 1 else ""
    )
    if choice is None:
        raise UserError(
            f"{where}: choice {given['choice'][:40]!r} was not offered. Write A, B, tie or both_bad."
        )
    usage = {"item": item.id, "choice": choice, "at": given["at"], "where": where}
    winner = {"A": item.left, "B": item.right}.get(choice)
    return _said(
        item.tweet_id, winner, choice, item.left, content_hash(["answer", rater, item.id]), rater, usage
    )


def _of_vote(row: Row, where: str) -> Judgment:
    vote = record_of(to_json(row).encode("utf-8", "replace"), Vote, where)
    right = A if vote.left == B else B
    winner = {"left": vote.left, "right": right}.get(vote.choice)
    usage = {
        "choice": vote.choice,
        "at": vote.at.isoformat(),
        "where": where,
        "run": vote.run,
        "adapter_sha256": vote.adapter_sha256,
        "chars": {A: len(vote.tuned), B: len(vote.base)},
    }
    tweet = f"{DEMO}-{content_hash([vote.tweet])[:16]}"
    return _said(
        tweet,
        winner,
        vote.choice,
        vote.left,
        content_hash(["vote", vote.model_dump(mode="json")]),
        DEMO,
        usage,
    )


def _said(
    tweet_id: str, winner: str | None, choice: str, left: str, key: str, rater: str, usage: Row
) -> Judgment:
    """The scores: 1 for the preferred reply and 0 for the other, half each for a tie, 0 each where both are
    bad.
    """
    even = 0.0 if choice == "both_bad" else 0.5
    preferred = {system: even if winner is None else float(system == winner) for system in (A, B)}
    return Judgment(
        tweet_id=tweet_id,
        a=A,
        b=B,
        order="ab" if left == A else "ba",
        repeat=0,
        verdict={A: STEP, B: -STEP}.get(winner or "", 0.0),
        scores={system: {"preferred": value} for system, value in preferred.items()},
        model=MODEL,
        usage=usage,
        raw=rater,
        key=key,
    )


def _numbered(judgments: Any) -> list[Judgment]:
    """repeat: the how-manieth answer to its tweet.

    Answers of several people are to a tweet what repeats are to a judge.
    """
    n: Counter[str] = Counter()
    numbered = []
    for judgment in judgments:
        numbered.append(judgment.model_copy(update={"repeat": n[judgment.tweet_id]}))
        n[judgment.tweet_id] += 1
    return numbered


def _second(known: Judgment, judgment: Judgment, where: str) -> str:
    first = f"({known.usage['choice']}, {known.usage['where']})"
    if known.raw == DEMO:
        return f"{where}: the same vote stands in this file already {first}. Delete one of the two lines."
    return (
        f"{where}: {judgment.raw} has answered item {judgment.usage['item']} before {first}. The first "
        "answer counts; to count this one, delete the line that holds the first (and "
        "human/judgments.jsonl, if that was imported) and import again."
    )
