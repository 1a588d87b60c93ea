"""Judges of the same replies: two evaluations of a run find each other by the hash of what was compared, and
each report says how far the other one agrees.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from lib.base.errors import UserError
from lib.base.files import content_hash, read_jsonl, write_json, write_text
from lib.base.html import render
from lib.base.schema import Judgment, Reply
from lib.base.seals import damage
from lib.evaluate.inputs import Files
from lib.evaluate.judge_records import Habits, SecondJudge
from lib.evaluate.report import Report, read_report
from lib.evaluate.steps import read_judgments_manifest
from lib.evidence.agreement import clustered_agreement, contradictions
from lib.evidence.outcomes import combine
from lib.judge.families import kin

HEADLINE = ("tuned", "base")
MAX_SHOWN = 5
MARKS = ("<!-- other judges -->", "<!-- /other judges -->")


@dataclass(frozen=True)
class Pair:
    """Two replies to one tweet, and the step from the point of view of `a`, over orders and repeats."""

    tweet_id: str
    a: str
    b: str
    step: float


def habits(files: Files) -> Habits:
    """The judge's consistency with itself, and its kin."""
    against, n_scored = contradictions(files.judgments)
    judge = files.judge_manifest.model or files.evaluation.eval.judge.model
    return Habits(
        contradictions=len(against), n_scored=n_scored, kin=kin(judge, files.evaluation.config.model)
    )


def second_judges(folder: Path) -> list[SecondJudge]:
    """Every other evaluation of the run that judged some of the same pairs, by name.

    folder: adapters/<run>/eval/<eval>. One whose files are damaged or unfinished is left out.
    """
    own, found = judged(folder), []
    for path in sorted(folder.parent.glob("*/judgments.jsonl")):
        other = {} if path.parent == folder else judged(path.parent)
        if common := [key for key in own if key in other]:
            found.append(_compared(path.parent, [own[key] for key in common], [other[key] for key in common]))
    return found


def judged(folder: Path) -> dict[str, Pair]:
    """Hash of tweet, systems and both texts -> its verdict; {} where a file is missing or damaged."""
    files = [folder / "replies.jsonl", folder / "judgments.jsonl"]
    if not all(path.is_file() and not damage(path) for path in files):
        return {}
    texts = {(one.tweet_id, one.system): one.reply for one in read_jsonl(files[0], Reply)}
    steps: dict[tuple[str, str, str], dict[int, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for one in read_jsonl(files[1], Judgment):
        if one.verdict is not None and {(one.tweet_id, one.a), (one.tweet_id, one.b)} <= texts.keys():
            steps[one.tweet_id, one.a, one.b][one.repeat][one.order] = one.verdict
    return {
        content_hash([*names, *(texts[names[0], system] for system in names[1:])]): Pair(
            *names, fmean(map(combine, by_repeat.values()))
        )
        for names, by_repeat in steps.items()
    }


def _compared(folder: Path, own: list[Pair], other: list[Pair]) -> SecondJudge:
    both = list(zip(own, other, strict=True))
    found = clustered_agreement(
        [(_side(one.step), _side(two.step)) for one, two in both], [one.tweet_id for one, _ in both]
    )
    headline = [(one.tweet_id, one.step, two.step) for one, two in both if (one.a, one.b) == HEADLINE]
    net = [100 * fmean(_sign(row[side]) for row in headline) for side in (1, 2)] if headline else None
    manifest = read_judgments_manifest(folder)
    return SecondJudge(
        eval=folder.name,
        kind=manifest.kind,
        model=manifest.model,
        n=found.n,
        n_tweets=found.n_clusters,
        share=found.share,
        share_ci95=found.share_ci95,
        kappa=found.kappa,
        kappa_ci95=found.kappa_ci95,
        n_headline=len(headline),
        net_win=(net[0], net[1]) if net else None,
        opposed=[tweet for tweet, one, two in headline if one * two < 0],
    )


def _sign(step: float) -> int:
    return (step > 0) - (step < 0)


def _side(step: float) -> str:
    return ("b", "tie", "a")[_sign(step) + 1]


# --- what is shown -------------------------------------------------------------------------------------


def sentences(report: Report) -> list[str]:
    """The judge's contradictions, its kin and the other judges, a line each for the console."""
    habits = report.judge.habits
    lines = [habits.kin] if habits and habits.kin else []
    if habits and habits.contradictions:
        n = f"{habits.contradictions:,} of {habits.n_scored:,}"
        lines.append(f"{n} verdicts of the judge contradict the scores that it gave with them")
    return lines + [
        f"{one.model} (EVAL={one.eval}) agrees on {one.share:.0%} of {one.n:,} pairs of the same replies, "
        + (
            "kappa unknown"
            if one.kappa is None or one.kappa_ci95 is None
            else f"kappa {one.kappa:.2f} (95% CI {one.kappa_ci95[0]:.2f} to {one.kappa_ci95[1]:.2f})"
        )
        + (
            f"; net win {one.net_win[0]:+.0f} here, {one.net_win[1]:+.0f} there, opposite verdicts on "
            f"{len(one.opposed):,} of {one.n_headline:,} tweets"
            if one.net_win
            else ""
        )
        for one in report.second_judges
    ]


def shown(report: Report, files: Files) -> str:
    """The part of report.html about other judges, between two marks, with tweets on which they differ."""
    ids = {tweet for one in report.second_judges for tweet in one.opposed[:MAX_SHOWN]}
    examples = {
        tweet: (files.tweets[tweet], [files.texts[tweet, system] for system in HEADLINE])
        for tweet in ids & files.tweets.keys()
    }
    part = render("second_judges.html", judges=report.second_judges, examples=examples, n_shown=MAX_SHOWN)
    return f"{MARKS[0]}\n{part}\n{MARKS[1]}"


def tell_the_others(files: Files, names: Iterable[str]) -> list[str]:
    """Write this judge into the reports of the others, which were made before it. Returns their names.

    A report that cannot be read, or has no place for it, is left as it is: its own `make eval` writes it.
    """
    told = []
    for folder in (files.evaluation.folder.parent / name for name in names):
        try:
            report = read_report(folder / "report.json")
            page = (folder / "report.html").read_text(encoding="utf-8")
        except (UserError, OSError, UnicodeDecodeError):
            continue
        report = report.model_copy(update={"second_judges": second_judges(folder)})
        before, mark, rest = page.partition(MARKS[0])
        if mark and MARKS[1] in rest:
            write_text(folder / "report.html", before + shown(report, files) + rest.partition(MARKS[1])[2])
            write_json(folder / "report.json", report.as_written())
            told.append(folder.name)
    return told
