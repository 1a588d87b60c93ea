"""The people's answers, with the statistics of every other judge, and how far they agree with each other and
with the judge.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lib.base.files import content_hash, lock, read_json, read_jsonl, write_json, write_jsonl
from lib.base.schema import Judgment
from lib.base.seals import seal_file
from lib.evaluate.evaluation import Evaluation, adapter_sha256
from lib.evaluate.people_agreement import between_raters, with_judge
from lib.evaluate.people_answers import DEMO, Imported, import_files
from lib.evaluate.people_page import A, B, Item, make_items, read_key
from lib.evidence.intervals import wilson
from lib.evidence.outcomes import outcomes
from lib.evidence.stats import compare


def take_in(
    evaluation: Evaluation, files: Sequence[Path], instead_of: str | None = None
) -> tuple[Imported, dict[str, Any]]:
    """Read answer files into human/judgments.jsonl, rejected.jsonl and report.json; a second import at the
    same time is refused.

    instead_of: how the names of raters begin whose earlier answers these files replace.
    """
    human = evaluation.folder / "human"
    path = human / "judgments.jsonl"
    with lock(human / "import.lock"):
        earlier = read_jsonl(path, Judgment) if path.exists() else []
        if instead_of:
            earlier = [judgment for judgment in earlier if not judgment.raw.startswith(instead_of)]
        found = import_files(files, read_key(human), earlier)
        write_jsonl(human / "rejected.jsonl", found.rejected)
        write_jsonl(path, found.judgments)
        report = human_report(
            evaluation,
            {item.id: item for item in make_items(evaluation)},
            found.judgments,
            len(found.rejected),
        )
        write_json(human / "report.json", report)
        write_json(human / "manifest.json", {"files": {"report.json": seal_file(human / "report.json")}})
    return found, report


def human_report(
    evaluation: Evaluation, items: Mapping[str, Item], judgments: Sequence[Judgment], rejected: int = 0
) -> dict[str, Any]:
    """human/report.json.

    items: those of the replies as they are now; answers to others are counted as `outdated` and left out.
    """
    answers = [judgment for judgment in judgments if judgment.raw != DEMO]
    current = [judgment for judgment in answers if judgment.usage["item"] in items]
    replies = {
        (item.tweet_id, system): text for item in items.values() for system, text in item.replies.items()
    }
    authors = {prompt.tweet_id: prompt.tweet_author for prompt in evaluation.prompts()}
    comparison = _compared(current, replies, authors)
    report = {
        "run": evaluation.run,
        "eval": evaluation.folder.name,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "replies_sha256": content_hash(evaluation.folder / "replies.jsonl"),
        "n_items": len(items),
        "n_answered": len({judgment.usage["item"] for judgment in current}),
        "n_answers": len(current),
        "n_both_bad": sum(judgment.usage["choice"] == "both_bad" for judgment in current),
        "n_outdated": len(answers) - len(current),
        "n_rejected": rejected,
        "raters": _raters(current),
        "comparison": comparison,
        "agreement": {
            "raters": between_raters(current),
            "judge": with_judge(current, evaluation.folder / "judgments.jsonl"),
        },
        "demo": _demo(evaluation, judgments),
        "crowd": read_json(result)
        if (result := evaluation.folder / "human/crowd/result.json").is_file()
        else None,
    }
    return report | {"sentence": sentence(report)}


def _compared(
    judgments: Sequence[Judgment], replies: Mapping[tuple[str, str], str], authors: Mapping[str, str]
) -> dict[str, Any] | None:
    if not judgments:
        return None
    rows, _ = outcomes(judgments, replies, authors, A, B)
    return compare(rows).to_dict()


def _raters(judgments: Sequence[Judgment]) -> dict[str, dict[str, Any]]:
    """rater -> answers, ties and the share of decisive ones that went to A: somebody who always presses one
    key shows here.
    """
    found = {}
    for rater in sorted({judgment.raw for judgment in judgments}):
        own = [judgment for judgment in judgments if judgment.raw == rater]
        decisive = [judgment for judgment in own if judgment.verdict]
        n_first = sum(judgment.usage["choice"] == "A" for judgment in decisive)
        found[rater] = {
            "n": len(own),
            "ties": len(own) - len(decisive),
            "first_chosen": n_first / len(decisive) if decisive else None,
            "first_ci95": list(wilson(n_first, len(decisive))),
        }
    return found


def _demo(evaluation: Evaluation, judgments: Sequence[Judgment]) -> dict[str, Any] | None:
    """The demo's votes on this very adapter, apart: their tweets are not the held-out ones, and nobody knows
    who voted how often.
    """
    votes = [judgment for judgment in judgments if judgment.raw == DEMO]
    adapter = adapter_sha256(evaluation.run_folder)
    own = [
        vote
        for vote in votes
        if vote.usage["run"] == evaluation.run and vote.usage["adapter_sha256"] == adapter
    ]
    if not votes:
        return None
    # Every vote has its own two replies: its length difference is its own, and the tweet is the cluster.
    rows = [vote.model_copy(update={"tweet_id": vote.key[:64]}) for vote in own]
    replies = {(vote.key[:64], system): "x" * n for vote in own for system, n in vote.usage["chars"].items()}
    tweets = {vote.key[:64]: vote.tweet_id for vote in own}
    return {
        "n_votes": len(own),
        "n_other_adapters": len(votes) - len(own),
        "comparison": _compared(rows, replies, tweets),
    }


def sentence(report: Mapping[str, Any]) -> str:
    """The people's verdict in one sentence, with what it rests on."""
    c, judge = report["comparison"], report["agreement"]["judge"]
    if c is None:
        return "No answers to this page yet."
    low, high = c["ci95"]
    n_raters = len(report["raters"])
    verdict = (
        "People prefer tuned"
        if low > 0
        else "People prefer base"
        if high < 0
        else "People do not tell tuned from base"
    )
    parts = [
        f"{verdict}: {c['net_win']:+.1f} net win points on {c['n']} tweets (95% CI {low:+.1f} to "
        f"{high:+.1f}; {c['wins']} wins, {c['ties']} ties, {c['losses']} losses; {report['n_answers']} "
        f"answers by {n_raters} rater{'s' * (n_raters != 1)}; smallest net win that could have been seen "
        f"{_number(c['mde']['net_win'])} points)"
    ]
    if c["underpowered"]:
        parts.append("too few tweets to be sure" if not low <= 0 <= high else "underpowered, not equal")
    if judge:
        kappa = "undefined" if judge["kappa"] is None else f"{judge['kappa']:.2f}"
        parts.append(
            f"the judge agrees with them on {judge['share']:.0%} of {judge['n']} tweets (kappa {kappa})"
        )
    return "; ".join(parts) + "."


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f}"
