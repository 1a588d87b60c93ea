"""The evidence that publishing asks for: a pass of this very adapter, before a judge that counts.

FORCE=1 publishes without it, and then the card says so.
"""

from dataclasses import dataclass

from lib.base.errors import UserError
from lib.evaluate.report import Report
from lib.publish.card_results import is_stand_in, verdict


@dataclass(frozen=True)
class Objection:
    """A reason against publishing. said: a sentence for the card; advice: what to do about it."""

    said: str
    advice: str


def is_of(report: Report, adapter_sha256: str) -> bool:
    """True if the report says that it is about the adapter with this hash."""
    return report.hashes.get("adapter") == adapter_sha256


def objection_to(report: Report | None, adapter_sha256: str, run: str) -> Objection | None:
    """The reason against publishing the run's adapter on the strength of report; None if there is none."""
    evaluate = f"Run `make eval RUN={run}`"
    if report is None:
        return Objection("It was never evaluated.", f"{evaluate} first.")
    if not is_of(report, adapter_sha256):
        said = "Its evaluation is about an older adapter, or does not say which one it is about."
        return Objection(said, f"{evaluate} again.")
    if is_stand_in(report):
        return Objection(
            "It was evaluated by an offline stand-in only, which is no evidence.",
            f"`make eval RUN={run} EVAL=claude` asks a judge that reads; publish with the same EVAL.",
        )
    return _of_verdict(verdict(report), run)


def _of_verdict(found: str, run: str) -> Objection | None:
    if found == "pass":
        return None
    if found == "fail":
        return Objection(
            "Its evaluation ended in the verdict *fail*: not clearly better than the base model, or better "
            "at a price.",
            "The report names the criteria that do not hold: mend them and train again.",
        )
    if found == "underpowered":
        return Objection(
            "Its evaluation ended in the verdict *underpowered*: too few tweets to tell.",
            f"`make eval-plan RUN={run}` says how many are needed.",
        )
    if found == "unproven":
        return Objection(
            "Its evaluation ended in the verdict *unproven*: neither likes nor people vouch for the judge.",
            f"50 blind votes are enough where they agree: `make human-eval RUN={run}`.",
        )
    return Objection(
        "Its evaluation ended without a verdict.",
        f"Run `make eval RUN={run}`: it writes the report again.",
    )


def refuse_unless_forced(objection: Objection | None, is_forced: bool) -> None:
    """Raises UserError for an objection that nobody has overridden."""
    if objection is not None and not is_forced:
        raise UserError(
            f"Not published: {objection.said[0].lower()}{objection.said[1:]} {objection.advice} "
            "Or publish all the same with FORCE=1; the card then says that no evidence stands behind it."
        )
