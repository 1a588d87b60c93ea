"""Decisions of people about pairs: one line each in review/decisions.jsonl, the last one counts."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, model_validator

from lib.base.errors import UserError
from lib.base.files import content_hash, read_jsonl
from lib.base.schema import Pair, Record, Rejection, Utc
from lib.data.text import clean_text

OF_REVIEW = ("review_drop", "review_edit_empty")  # the reasons of what people dropped


class UnreviewedError(UserError):
    """Pairs wait for a person: no fault, but nothing can be split yet."""


class Decision(Record):
    """One line of decisions.jsonl; the latest of a reply counts, and undo makes it undecided again.

    reply: the edited text.
    text_sha: content hash of the reply that was shown: the decision holds for that text only. Absent: for
    any.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)

    id: str
    decision: Literal["keep", "drop", "edit", "undo"]
    reply: str | None = None
    reason: str | None = None
    at: Utc | None = None
    text_sha: str | None = None

    @model_validator(mode="after")
    def _edit_has_text(self) -> "Decision":
        if self.decision == "edit" and not (self.reply or "").strip():
            raise ValueError("an edit needs the new text in `reply`")
        return self


def standing(decisions: Iterable[Decision]) -> dict[str, Decision]:
    """The decision that counts for each id, after undoing."""
    latest: dict[str, Decision] = {}
    for decision in decisions:
        latest.pop(decision.id, None)
        if decision.decision != "undo":
            latest[decision.id] = decision
    return latest


def holds_for(decision: Decision, pair: Pair) -> bool:
    """True of a decision about the text that the pair has now."""
    return not decision.text_sha or content_hash(pair.reply) == decision.text_sha


def apply_decisions(
    pairs: Sequence[Pair], decisions: Iterable[Decision]
) -> tuple[list[Pair], list[Rejection], int]:
    """Drop, edit and keep as people decided.

    Returns kept (unreviewed ones among them), rejected, and how many are unreviewed.
    """
    by_id = standing(decisions)
    kept, rejected, n_unreviewed = [], [], 0
    for pair in pairs:
        decision = by_id.get(pair.id)
        if decision is None or not holds_for(decision, pair):
            n_unreviewed += 1
            kept.append(pair)
        elif decision.decision == "drop":
            rejected.append(Rejection.of(pair, "split", "review_drop", decision.reason or "no reason given"))
        elif decision.decision == "keep":
            kept.append(pair)
        elif edited := clean_text(decision.reply or ""):
            kept.append(pair.model_copy(update={"reply": edited}))
        else:
            rejected.append(
                Rejection.of(pair, "split", "review_edit_empty", "nothing is left of the edited reply")
            )
    return kept, rejected, n_unreviewed


def reviewed(
    pairs: Sequence[Pair], path: Path, rule: Literal["required", "optional"], name: str
) -> tuple[list[Pair], list[Rejection]]:
    """Apply review/decisions.jsonl, if there is one.

    Raises UnreviewedError if review is required and not finished.
    """
    decisions = read_jsonl(path, Decision, torn_tail=True) if path.exists() else []
    kept, rejected, n_unreviewed = apply_decisions(pairs, decisions)
    if rule == "required" and n_unreviewed:
        raise UnreviewedError(
            f"{n_unreviewed:,} of {len(pairs):,} pairs are unreviewed. Run `make review DATA={name}`, then "
            "this again;"
            " or write `review: optional` into the data config."
        )
    return kept, rejected
