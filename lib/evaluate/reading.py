"""An evaluation in three plain sentences: what happened, whether to believe it, what to do next."""

from collections.abc import Iterable

from lib.base.console import counted
from lib.evaluate.measures import Compared, Equivalence
from lib.evaluate.report import Bounds, Judge, Report
from lib.evaluate.style_page import explained_by
from lib.evidence.criteria import OF_REPLIES

VERDICTS = {
    "pass": "Pass",
    "fail": "Fail",
    "underpowered": "Underpowered: too few tweets to tell",
    "unproven": "Unproven: the judge has not shown that it can tell",
}
DECISIONS = {
    "publish": "Publish",
    "train": "Train a second version",
    "collect": "Collect more",
    "no_evidence": "No evidence yet",
}
QUICKSTART = "the quickstart's tiny model shows that every step works, and cannot write good replies"
TINY = "tiny"  # the model of the quickstart


def verdict_of(report: Report, model: str) -> str:
    """The verdict in words. model: the base model, as the train config names it."""
    word = VERDICTS.get(report.gate.verdict or "", "No verdict")
    return f"{word}, as expected of the quickstart" if _is_expected(report, model) else word


def three_sentences(report: Report, model: str) -> list[tuple[str, str]]:
    """(question, answer) three times."""
    advice = decision_of(report)
    if _is_expected(report, model):
        advice = f"Nothing: {QUICKSTART}. With a real model the advice would be: {advice}"
    return [
        ("What happened", what_happened(report)),
        ("Can it be believed?", believable(report)),
        ("What to do next", advice[0].upper() + advice[1:] + "."),
    ]


def last_line(report: Report, model: str) -> str:
    """The decision as the console's last word on the evaluation."""
    expected = f" (nothing to do now: {QUICKSTART})" if _is_expected(report, model) else ""
    return f"decision: {decision_of(report)}{expected}"


def decision_of(report: Report) -> str:
    """The decision with what it asks for, without a full stop; a report of earlier versions has only that."""
    decision = report.gate.decision
    if decision is None:
        return report.gate.next or "read the losses in the report"
    return f"{DECISIONS[decision.kind]}: {decision.sentence}"


def _is_expected(report: Report, model: str) -> bool:
    return model == TINY and report.gate.verdict != "pass"


def what_happened(report: Report) -> str:
    """The headline comparison, counted in tweets."""
    compared, bounds = report.headline or Compared(), report.gate.bounds or Bounds()
    low, high = compared.ci95 or (-100.0, 100.0)
    worst, best = bounds.net_win or (0.0, 0.0)
    unjudged = round((bounds.unjudged or 0.0) * (compared.n or 0))
    found = (
        "training helped"
        if low > 0
        else "training made the replies worse"
        if high < 0 and high + best - worst < 0
        else "no difference can be told"
    )
    wins, ties, losses = compared.wins or 0, compared.ties or 0, compared.losses or 0
    neither = f", and called it a tie {counted(ties, 'time')}" if ties else ""
    return (
        f"In the judge's eyes {found}: on {counted(compared.n or 0, 'tweet')} that the model had never seen "
        f"it preferred the trained model's reply {counted(wins, 'time')}, the base's "
        f"{counted(losses, 'time')}{neither}."
        f"{_owed(unjudged, worst, best)}"
    )


def _owed(unjudged: int, worst: float, best: float) -> str:
    if not unjudged:
        return ""
    return (
        f" Among them are {counted(unjudged, 'tweet')} without an answer, counted as lost; the net win lies "
        f"between {worst:+.0f} and {best:+.0f} points."
    )


def believable(report: Report) -> str:
    """The doubts that the numbers leave, or that they leave none."""
    if report.judge.stand_in:
        return (
            "No: the judge is an offline stand-in that goes by the words which got likes in the training "
            "pairs. It shows that the evaluation works, not which replies are good."
        )
    failed = {row.name for row in report.gate.criteria if not row.passed}
    doubts = []
    if "tweets" in failed or report.underpowered:
        doubts.append(f"{counted(report.n_prompts or 0, 'tweet')} are too few to see a small difference")
    if failed & {"mannwhitney_p", "wilcoxon_p", "permutation_p", "ci95"}:
        doubts.append("chance alone could have made it")
    if "position" in failed:
        doubts.append("the judge prefers the reply that it is shown first")
    if "length_controlled" in failed:
        doubts.append("at equal length the trained model is not shown to win")
    if "style" in failed:
        doubts.append("at equal style it is not shown to win" + explained_by(report.headline))
    if "unjudged" in failed:
        doubts.append("the judge owes too many answers")
    if "baseline" in failed:
        doubts.append("the base model left tweets unanswered, and a win over no reply says nothing")
    if flawed := [row.label for row in report.gate.criteria if row.name in failed & set(OF_REPLIES)]:
        doubts.append(f"the replies have flaws that a judge may not mind ({', '.join(map(str, flawed))})")
    if doubt := _doubt_of_judge(report.judge):
        doubts.append(doubt)
    canaries = report.judge.canaries
    if canaries and canaries.held < canaries.n:
        doubts.append("a reply can give the judge orders")
    if doubts:
        return f"Only in part: {'; '.join(doubts)}."
    trust = report.judge.trust
    accuracy = report.judge.calibration.accuracy if report.judge.calibration else None
    why = (
        f"the judge has earned it: {trust.sentence}"
        if trust and trust.sentence
        else "of two real replies this judge picks the one that was liked more in "
        f"{accuracy or 0:.0%} of cases"
    )
    styled = report.headline and report.headline.style
    habits = "the order, the length and the style" if styled else "the order and the length"
    return f"Yes, as far as one judge goes: chance, {habits} of the replies do not explain it, and {why}."


def _doubt_of_judge(judge: Judge) -> str | None:
    """The doubt about the judge itself, None where likes or people vouch for it."""
    if judge.trust:
        return None if judge.trust.status == "trusted" else f"the judge is unproven: {judge.trust.sentence}"
    status = judge.calibration and judge.calibration.status
    if status == "better than chance":
        return None
    if status and status != "not calibrated":
        return f"the judge is {status} at telling which of two real replies was liked more"
    return "nobody knows how often the judge is right: too few real replies to try it on"


def forgetting(found: Equivalence) -> str:
    """General English before and after. An improvement is named as one."""
    (low, high), size = found.ci90, f"{abs(found.mean_diff):.3f} nats per token"
    measured = (
        f"(90 % interval of the change in loss {low:+.3f} to {high:+.3f}, allowed up to +{found.margin:g})"
    )
    if found.equivalent:
        return f"General English: as good as the base, nothing was forgotten {measured}."
    if high <= found.margin and found.mean_diff < 0:
        return f"General English: nothing was forgotten. The trained model is better, by {size} {measured}."
    if high <= found.margin:
        return f"General English: worse by {size}, less than is allowed {measured}."
    if low > found.margin:
        return f"General English: some was forgotten. The trained model is worse, by {size} {measured}."
    return f"General English: too few texts to tell whether some was forgotten {measured}."


def tally(steps: Iterable[float]) -> str:
    """The judge's answers, one step of tuned over base a tweet, for the reader's own to stand beside."""
    found = list(steps)
    tuned, base = sum(step > 0 for step in found), sum(step < 0 for step in found)
    return f"tuned {tuned:,}, base {base:,}, neither {len(found) - tuned - base:,}"
