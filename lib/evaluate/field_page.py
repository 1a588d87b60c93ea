"""The result of a field test in words and as a page, with the doubts that its numbers leave."""

from collections.abc import Mapping
from typing import Any

from lib.base.html import render
from lib.base.plots import intervals
from lib.evaluate.field_plan import RULES, FieldPlan
from lib.evaluate.field_records import FieldReport

MANY = 0.1  # share of posts that may be gone or edited before it is a doubt


def sentence(found: Mapping[str, Any], plan: FieldPlan) -> str:
    """The result in one sentence. found: the fields of FieldResult."""
    n, mean = found["n"], found["mean_likes"]
    said = {
        "more": "Replies by the tuned model got more likes than those by the base",
        "fewer": "Replies by the tuned model got fewer likes than those by the base",
        "not shown": "No difference in likes is shown",
    }[found["verdict"]]
    ratio = "the ratio of the likes cannot be told"
    if found["ratio"] is not None:
        low, high = found["ratio_ci95"]
        ratio = f"{found['ratio']:.2f} times as many (95 % interval {low:.2f} to {high:.2f})"
    power = f"a true {plan.smallest_ratio:g} times would have been shown with a chance of {plan.power:.0%}"
    return (
        f"{said}: {mean['tuned']:.2f} a reply on {n['tuned']} posts against {mean['base']:.2f} on "
        f"{n['base']}, {ratio}, randomisation test p = {found['p']:.4f}; {power}."
    )


def doubts(found: Mapping[str, Any]) -> list[str]:
    """The reasons to believe the result less."""
    n = sum(found["n"].values())
    said = []
    if found["left_out_p"] < 0.1:
        said.append(
            "Drafts of one arm were left out more often than those of the other (p = "
            f"{found['left_out_p']:.3f}): what was posted is not what was drawn, and the comparison may lean."
        )
    if n_gone := sum(found["gone"].values()):
        said.append(
            f"{n_gone} posts have no count: base {found['gone']['base']}, tuned {found['gone']['tuned']}."
        )
    if sum(found["edited"].values()) > MANY * n:
        said.append(
            f"{sum(found['edited'].values())} posts are not their draft word for word: what was measured is "
            "the draft and your pen."
        )
    if found["verdict"] != "not shown" and found["ratio_ci95"] and _holds_one(found["ratio_ci95"]):
        said.append(
            "The interval of the ratio holds 1: that there is a difference is shown, its size is not."
        )
    if (
        found["per_view"] is not None
        and _holds_one(found["per_view_ci95"])
        and found["verdict"] != "not shown"
    ):
        said.append("Per view no difference is shown: one arm may have been seen more often.")
    return said


def page(report: FieldReport) -> str:
    """field/report.html."""
    rows = [
        ("likes", report.ratio, report.ratio_ci95),
        ("likes per view", report.per_view, report.per_view_ci95),
    ]
    drawn = [(name, ratio, *ci95) for name, ratio, ci95 in rows if ratio is not None and ci95]
    title = "Tuned over base, with 95 % interval"
    return render(
        "field.html",
        title=f"Do replies by {report.run} get more likes?",
        report=report,
        rules=RULES,
        plot=intervals(drawn, title, reference=1) if drawn else "",
    )


def _holds_one(interval: tuple[float, float]) -> bool:
    return interval[0] <= 1 <= interval[1]
