"""The results on a model card: the verdict, the numbers behind it, and how far the judge can be trusted."""

import re

from lib.base.characters import visible
from lib.evaluate.measures import Accuracy, Calibration, Interval, Position
from lib.evaluate.report import Report

JUDGES = {"claude": "Claude", "openai": "a model behind an OpenAI-compatible API"}
STAND_IN = (
    "**The judge was an offline stand-in**: a small ranker fitted on the likes of the training replies, no "
    "language model and no person. These numbers show that the pipeline runs. They are no evidence that the "
    "replies are better."
)
CAVEATS = (
    "What these numbers do not say: a judge's preference is not a like, and the tweets are of the same "
    "collection as the training data; elsewhere it may do worse. One training was evaluated, not several."
)

_TAG = re.compile(r"<(?=[/!?a-zA-Z])")  # "< 0.001" stays


def evaluation(report: Report | None) -> str:
    """The card's section on what was measured, with all that is needed to doubt it."""
    if report is None:
        return "## Evaluation\n\n**Not evaluated.** Nothing is claimed about the quality of the replies."
    lines = ["## Evaluation", f"Verdict of the gate: **{verdict(report)}**."]
    if is_stand_in(report):
        lines.append(STAND_IN)
    if verdict(report) == "underpowered":
        lines.append("Underpowered: too few tweets to tell. It is neither a success nor a failure.")
    if verdict(report) == "unproven":
        lines.append(
            "Unproven: the judge prefers these replies, and neither likes nor people vouch for the judge."
        )
    rows = [*_numbers(report), *_more_numbers(report), *_second_judges(report)]
    lines.append(table(("tuned against base, on held-out tweets", "value"), rows))
    if report.gate.criteria:
        rows = [
            (c.label or f"`{c.name}`", number(c.value), number(c.threshold), "yes" if c.passed else "no")
            for c in report.gate.criteria
        ]
        lines.append(table(("criterion of the gate", "value", "threshold", "met"), rows))
    if verdict(report) == "pass" and not (report.judge.trust and report.judge.trust.status == "trusted"):
        lines.append(
            "Nothing vouches for the judge: this gate did not ask for it (`judge_trust: reported`), or an "
            "earlier version evaluated."
        )
    lines.append(CAVEATS)
    return "\n\n".join(lines)


def _numbers(report: Report) -> list[tuple[str, str]]:
    judge, smallest = report.judge, report.headline.mde if report.headline else {}
    return [
        ("tweets", n_tweets(report)),
        (
            "net win, points (wins - losses) / tweets, 95% interval",
            f"{number(report.net_win)} {_interval(report.ci95)}",
        ),
        ("win rate, a tie counts half", number(report.win_rate)),
        ("Wilcoxon signed rank, p", number(report.wilcoxon_p, 3)),
        ("Mann-Whitney U, p", number(report.mannwhitney_p, 3)),
        ("Cohen's d", number(report.cohens_d)),
        ("smallest d these tweets show with power 0.8", number(report.mde)),
        ("smallest net win these tweets show with power 0.8, points", number(smallest.get("net_win"))),
        ("judge", f"{_kind(report)}, {_named(judge.model)}"),
        ("judge's accuracy on real engagement", _calibration(judge.calibration)),
        ("trust in the judge", _trust(report)),
        ("judge's position bias", _position(judge.position_bias)),
    ]


def _kind(report: Report) -> str:
    return "offline stand-in" if is_stand_in(report) else JUDGES[str(report.judge.kind)]


def _named(model: str | None) -> str:
    """A model's name as code: Markdown in it is none."""
    return f"`{(model or 'unnamed').replace('`', '')}`"


def _more_numbers(report: Report) -> list[tuple[str, str]]:
    """Rows that not every report has: earlier versions wrote fewer, and some evaluations compare less."""
    found, rows = report.headline, []
    if found and None not in (found.wins, found.ties, found.losses):
        rows.append(("wins / ties / losses", f"{found.wins} / {found.ties} / {found.losses}"))
    if found and found.length and found.length.win_rate is not None:
        shown = f"{number(found.length.win_rate)} {_interval(found.length.ci95)}"
        rows.append(("win rate at equal length, 95% interval", shown))
    if found and found.style:
        shown = f"{number(found.style.net_win)} {_interval(found.style.ci95)}"
        rows.append(("net win at equal style, points, 95% interval", shown))
    if report.gate.bounds and report.gate.bounds.net_win:
        shown = _interval(report.gate.bounds.net_win)
        rows.append(("net win with every missing answer against it, and for it, points", shown))
    few = report.gate.fewshot
    if few and few.net_win is not None:
        shown = f"{number(few.net_win)} {_interval(few.ci95)}"
        rows.append(
            ("net win against the base model with examples in its prompt, points, 95% interval", shown)
        )
    people = report.people.comparison if report.people and not report.people.outdated else None
    if people and people.net_win is not None:
        shown = f"{number(people.net_win)} {_interval(people.ci95)} on {people.n} tweets"
        rows.append(("people, blind: net win, points, 95% interval", shown))
    return rows


def _second_judges(report: Report) -> list[tuple[str, str]]:
    rows = []
    for other in report.second_judges:
        kind = JUDGES.get(other.kind or "", "offline stand-in")
        shown = f"{number(other.share)} {_interval(other.share_ci95)} of {other.n} verdicts are the same"
        if other.net_win:
            shown += f"; its net win: {number(other.net_win[0])} points on {other.n_headline} tweets"
        rows.append((f"second judge: {kind}, {_named(other.model)}", shown))
    return rows


def _trust(report: Report) -> str:
    found = report.judge.trust
    return f"{found.status}: {found.sentence}" if found else "not measured"


def _position(bias: Position | None) -> str:
    if bias is None or bias.first_chosen is None:
        return "not measured"
    return f"chose the reply shown first in {number(bias.first_chosen)} of the decided comparisons"


def _calibration(calibration: Calibration | None) -> str:
    if calibration is None or calibration.accuracy is None:
        return "not measured"
    n_pairs = "an unknown number of" if calibration.n is None else calibration.n
    known = f"{number(calibration.accuracy)} {_interval(calibration.ci95)} on {n_pairs} pairs"
    if calibration.status:
        known += f" ({calibration.status})"
    baselines = [_baseline(name, found) for name, found in calibration.baselines.items()]
    return known + ("; baselines: " + ", ".join(baselines) if baselines else "")


def _baseline(name: str, found: Accuracy | None) -> str:
    return f"{name.replace('_', ' ')} {number(found.accuracy if found else None)}"


def is_stand_in(report: Report) -> bool:
    """True if the judge was no language model, or is not known, so that its numbers are no evidence."""
    return report.judge.kind not in JUDGES


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table; a cell is one line, without the bars that would end it, and opens no element."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    return _TAG.sub("‹", " ".join(visible(text).replace("|", "/").split()))


def n_tweets(report: Report) -> str:
    """The number of held-out tweets."""
    return "an unknown number of" if report.n_prompts is None else f"{report.n_prompts:,}"


def verdict(report: Report) -> str:
    """The gate's verdict: pass, fail, underpowered, unproven or none."""
    return report.gate.verdict or "none"


def number(value: float | None, digits: int = 2) -> str:
    """value to so many digits; "not measured" for None."""
    if value is None:
        return "not measured"
    smallest = 10**-digits
    return f"< {smallest:g}" if digits > 2 and 0 <= value < smallest else f"{value:.{digits}f}"


def _interval(bounds: Interval | None) -> str:
    return f"[{bounds[0]:.2f}, {bounds[1]:.2f}]" if bounds else ""
