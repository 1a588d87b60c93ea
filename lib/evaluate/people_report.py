"""The people's answers, with the statistics of every other judge, and how far they agree with each other and
with the judge.
"""

import math
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import combinations, permutations
from pathlib import Path
from statistics import fmean
from typing import Any

from lib.base.files import content_hash, lock, read_jsonl, write_json, write_jsonl
from lib.base.schema import Judgment
from lib.base.seals import checked
from lib.evaluate.evaluation import Evaluation, adapter_sha256
from lib.evaluate.people_answers import DEMO, Imported, import_files
from lib.evaluate.people_page import A, B, Item, make_items, read_key
from lib.evidence.agreement import Agreed, clustered_agreement
from lib.evidence.intervals import wilson
from lib.evidence.outcomes import combine, outcomes
from lib.evidence.secondary import agreement
from lib.evidence.stats import compare

MAX_LISTED_PAIRS = 20  # of raters, in report.json


def take_in(evaluation: Evaluation, files: Sequence[Path]) -> tuple[Imported, dict[str, Any]]:
    """Read answer files into human/judgments.jsonl, rejected.jsonl and report.json; a second import at the
    same time is refused.
    """
    human = evaluation.folder / "human"
    path = human / "judgments.jsonl"
    with lock(human / "import.lock"):
        found = import_files(files, read_key(human), read_jsonl(path, Judgment) if path.exists() else [])
        write_jsonl(human / "rejected.jsonl", found.rejected)
        write_jsonl(path, found.judgments)
        report = human_report(
            evaluation,
            {item.id: item for item in make_items(evaluation)},
            found.judgments,
            len(found.rejected),
        )
        write_json(human / "report.json", report)
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


def between_raters(judgments: Sequence[Judgment]) -> dict[str, Any] | None:
    """Agreement of every two answers of different raters to one item; None where nothing was answered twice.

    Labels: the winner, or tie (both bad is a tie). kappa: with the raters' common frequencies of the labels
    (Scott's pi); None where all labels were the same. pairs: of raters, those with most items in common.
    """
    labels: dict[str, dict[str, str]] = defaultdict(dict)
    by_item: dict[str, list[str]] = defaultdict(list)
    for judgment in judgments:
        labels[judgment.raw][judgment.usage["item"]] = winner(judgment.verdict or 0.0)
    for own in labels.values():
        for item, label in own.items():
            by_item[item].append(label)
    # Both ways round: neither of two raters is the first.
    twos = [(item, two) for item, said in by_item.items() for two in permutations(said, 2)]
    if not twos:
        return None
    found = clustered_agreement([two for _, two in twos], [item for item, _ in twos])
    common = {
        (one, other): sorted(labels[one].keys() & labels[other].keys())
        for one, other in combinations(sorted(labels), 2)
    }
    listed = sorted((raters for raters in common if common[raters]), key=lambda two: (-len(common[two]), two))
    return {
        "n": len(twos) // 2,
        "n_pairs": len(listed),
        **_shown(found),
        "pairs": [
            {
                "raters": list(raters),
                **_agreement([[labels[rater][item] for rater in raters] for item in common[raters]]),
            }
            for raters in listed[:MAX_LISTED_PAIRS]
        ],
    }


def with_judge(judgments: Sequence[Judgment], path: Path) -> dict[str, Any] | None:
    """The people's majority on each tweet against the judge's verdict, and the same vote by vote; None where
    either is missing.

    right: the share of tweets on which both are decisive and name the same winner, with Wilson's interval.
    """
    by_judge = _steps(read_jsonl(checked(path), Judgment)) if path.is_file() else {}
    by_people = _steps(judgments)
    common = sorted(by_judge.keys() & by_people.keys())
    if not common:
        return None
    decisive = [
        by_people[tweet] * by_judge[tweet] > 0 for tweet in common if by_people[tweet] and by_judge[tweet]
    ]
    ratings = [[winner(by_people[tweet]), winner(by_judge[tweet])] for tweet in common]
    votes = [vote for vote in judgments if vote.tweet_id in by_judge]
    found = clustered_agreement(
        [(winner(vote.verdict or 0.0), winner(by_judge[vote.tweet_id])) for vote in votes],
        [vote.tweet_id for vote in votes],
    )
    return {
        **_agreement(ratings),
        "n_decisive": len(decisive),
        "right": fmean(decisive) if decisive else None,
        "right_ci95": list(wilson(sum(decisive), len(decisive))),
        "votes": {"n_votes": found.n, "n_tweets": found.n_clusters, **_shown(found, "kappa_ci95")},
    }


def _shown(found: Agreed, of_kappa: str = "ci95") -> dict[str, Any]:
    """As the records of human/report.json have it."""
    ci95 = list(found.kappa_ci95) if found.kappa_ci95 else None
    return {
        "share": found.share,
        "share_ci95": list(found.share_ci95),
        "kappa": found.kappa,
        of_kappa: ci95,
    }


def _agreement(ratings: Sequence[Sequence[str]]) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of one or two items statsmodels divides 0 by 0 for a p value that nobody asks for
        found = agreement(ratings)
    # No interval either where one of the two gave every item the same label.
    ci95 = list(found["ci95"]) if found["ci95"] and all(map(math.isfinite, found["ci95"])) else None
    return found | {"ci95": ci95}


def _steps(judgments: Sequence[Judgment]) -> dict[str, float]:
    """tweet -> mean step of tuned over base, orders of one repeat that contradict each other a tie."""
    by_repeat: dict[tuple[str, int], dict[str, float]] = defaultdict(dict)
    for judgment in judgments:
        if (judgment.a, judgment.b) == (A, B) and judgment.verdict is not None:
            by_repeat[judgment.tweet_id, judgment.repeat][judgment.order] = judgment.verdict
    by_tweet: dict[str, list[float]] = defaultdict(list)
    for (tweet, _), by_order in by_repeat.items():
        by_tweet[tweet].append(combine(by_order))
    return {tweet: fmean(steps) for tweet, steps in by_tweet.items()}


def winner(step: float) -> str:
    """The better system by a step of tuned over base, or tie."""
    return A if step > 0 else B if step < 0 else "tie"


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
