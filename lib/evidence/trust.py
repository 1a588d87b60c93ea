"""The trust that a judge has earned: on real likes, or with people who did not know which reply was whose."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

MIN_VOTES = 50  # blind votes of people: fewer leave an interval of kappa that says nothing


class OnLikes(Protocol):
    """The judge's accuracy on pairs of real replies: lib.evidence.calibration says when it is trusted."""

    status: str | None
    sentence: str | None
    trusted: bool | None


class WithPeople(Protocol):
    """The judge's agreement with people beyond chance. n: their votes. ci95: of kappa, clustered by tweet."""

    n: int
    kappa: float | None
    ci95: Sequence[float] | None


@dataclass(frozen=True)
class Trust:
    """status: trusted | unproven. sentence: why. needs: what would earn it, a phrase; None where it is."""

    status: Literal["trusted", "unproven"]
    sentence: str
    needs: str | None = None
    stand_in: bool = False

    @property
    def is_earned(self) -> bool:
        return self.status == "trusted"


def trust(calibration: OnLikes | None, people: WithPeople | None, stand_in: bool = False) -> Trust:
    """The judge's standing. people: None where nobody, or nobody on these very replies, was asked.

    stand_in: no language model and no person; its habits are fitted to likes, so likes cannot vouch for it.
    """
    votes = f"ask people: {MIN_VOTES} blind votes are enough where they agree (`make human-eval`)"
    if stand_in:
        said = "the offline stand-in is no judge: it goes by the words of liked training replies"
        return Trust("unproven", said, f"use a judge that reads (EVAL=claude), or {votes}", stand_in=True)
    if people and people.n >= MIN_VOTES and people.ci95 and people.ci95[0] > 0:
        said = (
            f"it agrees with people beyond chance in {people.n} blind votes (kappa {people.kappa or 0:.2f}, "
            f"95% CI {people.ci95[0]:.2f} to {people.ci95[1]:.2f})"
        )
        return Trust("trusted", said)
    found = (calibration and calibration.sentence) or "it was never held against real likes"
    if calibration is None or calibration.status in (None, "not calibrated"):
        needs = f"collect more tweets with several replies, so that real likes can vouch for it, or {votes}"
        return Trust("unproven", found, needs)
    if calibration.trusted is None:  # of an earlier version, which did not ask
        needs = "delete the evaluation's judgments.jsonl, then `make eval`: it counts the kept verdicts anew"
        return Trust(
            "unproven", f"{found}; whether it beats simple rules is not known", f"{needs}, or {votes}"
        )
    if not calibration.trusted:
        return Trust("unproven", found, f"use another judge (EVAL=), collect more pairs, or {votes}")
    return Trust("trusted", found)
