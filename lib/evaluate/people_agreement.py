"""Agreement of people with each other and with the judge, as human/report.json has it."""

import math
import warnings
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations, permutations
from pathlib import Path
from statistics import fmean
from typing import Any

from lib.base.files import read_jsonl
from lib.base.schema import Judgment
from lib.base.seals import checked
from lib.evaluate.people_page import A, B
from lib.evidence.agreement import Agreed, clustered_agreement
from lib.evidence.intervals import wilson
from lib.evidence.outcomes import combine
from lib.evidence.secondary import agreement

MAX_LISTED_PAIRS = 20  # of raters, in report.json


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
        "votes": {"n": found.n, "n_tweets": found.n_clusters, **_shown(found)},
    }


def _shown(found: Agreed) -> dict[str, Any]:
    """As the records of human/report.json have it."""
    ci95 = list(found.kappa_ci95) if found.kappa_ci95 else None
    return {
        "share": found.share,
        "share_ci95": list(found.share_ci95),
        "kappa": found.kappa,
        "ci95": ci95,
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
