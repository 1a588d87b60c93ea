"""From judgments to one row a tweet: the unit that every statistic counts."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

from lib.base.characters import n_characters
from lib.base.schema import Judgment
from lib.evidence.bias import Positions
from lib.evidence.stats import Outcomes
from lib.evidence.style import amounts

Steps = dict[tuple[str, int], dict[str, float]]  # (tweet, repeat) -> order -> step of a over b


def outcomes(
    judgments: Sequence[Judgment],
    replies: Mapping[tuple[str, str], str],
    authors: Mapping[str, str],
    a: str,
    b: str,
    tweets_of: Mapping[str, str] | None = None,
) -> tuple[Outcomes, list[str]]:
    """Gather what was judged of a against b, and the ids of the tweets behind the rows, in the order of the
    rows.

    replies: (tweet_id, system) -> text. authors: tweet_id -> author. tweets_of: tweet_id -> text, for the
    words that a reply takes from it. A judgment without a verdict counts
    nowhere; a tweet whose judgments all failed has no row.
    """
    steps: Steps = defaultdict(dict)
    scores: dict[tuple[str, str], list[float]] = defaultdict(list)
    for judgment in judgments:
        if {judgment.a, judgment.b} != {a, b} or judgment.verdict is None:
            continue
        straight = judgment.a == a
        order = judgment.order if straight else judgment.order[::-1]
        steps[judgment.tweet_id, judgment.repeat][order] = judgment.verdict if straight else -judgment.verdict
        for system, by_criterion in judgment.scores.items():
            if by_criterion:
                scores[judgment.tweet_id, system].append(fmean(by_criterion.values()))
    combined: dict[str, list[float]] = defaultdict(list)
    for (tweet, _), by_order in steps.items():
        combined[tweet].append(combine(by_order))
    tweets = sorted(tweet for tweet in combined if scores[tweet, a] and scores[tweet, b])
    texts = [[replies[tweet, system] for tweet in tweets] for system in (a, b)]
    return Outcomes(
        step=[fmean(combined[tweet]) for tweet in tweets],
        score_a=[fmean(scores[tweet, a]) for tweet in tweets],
        score_b=[fmean(scores[tweet, b]) for tweet in tweets],
        chars_a=[n_characters(text) for text in texts[0]],
        chars_b=[n_characters(text) for text in texts[1]],
        cluster=[authors.get(tweet, "") for tweet in tweets],
        positions=positions(steps),
        a=a,
        b=b,
        habits=amounts(*texts, tweets_of and [tweets_of[tweet] for tweet in tweets]),
    ), tweets


def combine(by_order: Mapping[str, float]) -> float:
    """The step of one repeat.

    Two orders that name different winners are a tie: the judge followed the position, not the text.
    """
    values = list(by_order.values())
    if len(values) == 2 and values[0] * values[1] < 0:
        return 0.0
    return fmean(values)


def positions(steps: Steps) -> Positions:
    """Counts of how often the reply shown first won, and how often the two orders contradict each other."""
    verdicts = [(order, step) for by_order in steps.values() for order, step in by_order.items() if step]
    both = [by_order for by_order in steps.values() if len(by_order) == 2]
    return Positions(
        first_wins=sum((step > 0) == (order == "ab") for order, step in verdicts),
        decisive=len(verdicts),
        order_flips=sum(by_order["ab"] * by_order["ba"] < 0 for by_order in both),
        both_orders=len(both),
        one_order=len(steps) - len(both),
    )
