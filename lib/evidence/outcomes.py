"""From judgments to one row a tweet: the unit that every statistic counts. What is missing counts too."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any, Literal

from lib.base.characters import n_characters
from lib.base.schema import Judgment
from lib.evidence.bias import Positions
from lib.evidence.stats import Outcomes
from lib.evidence.style import amounts

Steps = dict[tuple[str, int], dict[str, float]]  # (tweet, repeat) -> order -> step of a over b
Texts = Mapping[tuple[str, str], str]  # (tweet, system) -> reply
HUMAN = "human"  # the one system that need not have answered every tweet


@dataclass(frozen=True)
class Gaps:
    """All that a comparison may lack.

    asked: the tweets that every system was to answer. failures: rows of judgments.failed.jsonl. unusable:
    (tweet, system) of replies that are there and are none: a refusal, one that cannot be read. owed: an
    answer that the judge owes counts against a, or for it.
    """

    asked: frozenset[str] = frozenset()
    failures: Sequence[Mapping[str, Any]] = ()
    unusable: frozenset[tuple[str, str]] = frozenset()
    owed: Literal["against", "for"] = "against"


@dataclass(frozen=True)
class Counted:
    """rows: one a tweet, in the order of tweets. owing: those that lack an answer of the judge. settled: the
    step of those whose replies decide it themselves.
    """

    rows: Outcomes
    tweets: list[str]
    owing: frozenset[str]
    settled: dict[str, float]


@dataclass
class _Asked:
    """The verdicts of a against b. steps: as the judge gave them. owed: (tweet, repeat, order)."""

    steps: Steps = field(default_factory=lambda: defaultdict(dict))
    scores: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    owed: set[tuple[str, int, str]] = field(default_factory=set)
    tweets: set[str] = field(default_factory=set)


def outcomes(
    judgments: Sequence[Judgment],
    replies: Texts,
    authors: Mapping[str, str],
    a: str,
    b: str,
    gaps: Gaps | None = None,
    said: Mapping[str, str] | None = None,
) -> tuple[Outcomes, list[str]]:
    """The rows of a against b, and the ids of their tweets: see counted."""
    found = counted(judgments, replies, authors, a, b, gaps, said)
    return found.rows, found.tweets


def counted(
    judgments: Sequence[Judgment],
    replies: Texts,
    authors: Mapping[str, str],
    a: str,
    b: str,
    gaps: Gaps | None = None,
    said: Mapping[str, str] | None = None,
) -> Counted:
    """One row for every tweet that was asked about, or judged. authors: tweet -> author.

    said: tweet -> its text, for the words that a reply takes from it; forgotten ones are not there.

    A reply that is missing, empty or unusable loses to one that is not, whatever the judge said; two of them
    tie, and so do two equal ones. The loser gets the lowest score that was given, the winner its own. An
    answer that the judge owes counts as gaps say, with the lowest and the highest score.
    """
    gaps = gaps or Gaps()
    asked = _gathered(judgments, gaps.failures, a, b)
    there = asked.tweets | {t for t in gaps.asked if HUMAN not in (a, b) or (t, HUMAN) in replies}
    settled = {
        tweet: step for tweet in there if (step := _settled(replies, gaps.unusable, tweet, a, b)) is not None
    }
    steps: Steps = defaultdict(dict, {key: dict(by_order) for key, by_order in asked.steps.items()})
    if HUMAN not in (a, b):  # asked about, and no trace is left
        asked.owed |= {(tweet, 0, "ab") for tweet in there - asked.tweets - settled.keys()}
    owed = 1.0 if gaps.owed == "for" else -1.0
    for tweet, repeat, order in asked.owed:
        steps[tweet, repeat][order] = owed
    by_tweet: dict[str, list[float]] = defaultdict(list)
    for (tweet, _), by_order in steps.items():
        by_tweet[tweet].append(combine(by_order))
    by_tweet |= {tweet: [step] for tweet, step in settled.items()}
    owing = {tweet for tweet, _, _ in asked.owed} - settled.keys()
    score_of = _Scores(asked.scores, a, b)
    tweets = sorted(by_tweet)
    scores = [score_of(tweet, settled.get(tweet), owed if tweet in owing else 0.0) for tweet in tweets]
    texts = [_texts(replies, tweet, a, b) for tweet in tweets]
    of_a, of_b = ([pair[side] for pair in texts] for side in (0, 1))
    rows = Outcomes(
        step=[fmean(by_tweet[tweet]) for tweet in tweets],
        score_a=[of_a for of_a, _ in scores],
        score_b=[of_b for _, of_b in scores],
        chars_a=[n_characters(text) for text in of_a],
        chars_b=[n_characters(text) for text in of_b],
        cluster=[authors.get(tweet, "") for tweet in tweets],
        positions=positions(asked.steps),
        a=a,
        b=b,
        habits=amounts(of_a, of_b, said and [said.get(tweet, "") for tweet in tweets]),
    )
    return Counted(rows, tweets, frozenset(owing), settled)


def _gathered(judgments: Sequence[Judgment], failures: Sequence[Mapping[str, Any]], a: str, b: str) -> _Asked:
    found = _Asked()
    for judgment in judgments:
        if {judgment.a, judgment.b} != {a, b}:
            continue
        straight, tweet = judgment.a == a, judgment.tweet_id
        order = judgment.order if straight else judgment.order[::-1]
        found.tweets.add(tweet)
        if judgment.verdict is None:
            found.owed.add((tweet, judgment.repeat, order))
            continue
        found.steps[tweet, judgment.repeat][order] = judgment.verdict if straight else -judgment.verdict
        for system, by_criterion in judgment.scores.items():
            if by_criterion:
                found.scores[tweet, system].append(fmean(by_criterion.values()))
    for failure in failures:
        if {failure.get("a"), failure.get("b")} == {a, b}:
            found.tweets.add(failure["tweet_id"])
            order = failure.get("order", "ab")  # without one: about the pair, not one of its questions
            order = order if failure["a"] == a else order[::-1]
            found.owed.add((failure["tweet_id"], failure.get("repeat", 0), order))
    found.owed = {
        (tweet, repeat, order)
        for tweet, repeat, order in found.owed
        if order not in found.steps.get((tweet, repeat), {})
    }
    return found


def _settled(
    replies: Texts, unusable: frozenset[tuple[str, str]], tweet: str, a: str, b: str
) -> float | None:
    """The step that the replies decide without a judge; None where one has to be asked."""
    of_a, of_b = (" ".join(replies.get((tweet, system), "").split()) for system in (a, b))
    good_a, good_b = (
        bool(text) and (tweet, system) not in unusable for text, system in ((of_a, a), (of_b, b))
    )
    if good_a and good_b:
        return 0.0 if of_a == of_b else None
    return float(good_a - good_b)


class _Scores:
    """The scores of a row, where need be of what was never scored."""

    def __init__(self, given: Mapping[tuple[str, str], list[float]], a: str, b: str) -> None:
        self.given, self.systems = given, (a, b)
        every = [score for (_, system), scores in given.items() if system in (a, b) for score in scores]
        self.low, self.high = min(every, default=0.0), max(every, default=0.0)
        self.usual = {
            system: median([s for (_, one), own in given.items() if one == system for s in own] or [0.0])
            for system in (a, b)
        }

    def __call__(self, tweet: str, settled: float | None, owed: float) -> tuple[float, float]:
        """(a's, b's). owed: -1 where a missing answer counts against a, 1 for it, 0 where none is."""
        of_a, of_b = (self._own(tweet, system) for system in self.systems)
        if settled == 0:
            return (same := min(of_a, of_b)), same
        if settled is not None:
            return (of_a, self.low) if settled > 0 else (self.low, of_b)
        if owed:
            ends = (self.high, self.low) if owed > 0 else (self.low, self.high)
            scored = [self.given.get((tweet, system), []) for system in self.systems]
            return tuple(fmean([*own, end]) for own, end in zip(scored, ends, strict=True))
        return of_a, of_b

    def _own(self, tweet: str, system: str) -> float:
        own = self.given.get((tweet, system))
        return fmean(own) if own else self.usual[system]


def _texts(replies: Texts, tweet: str, a: str, b: str) -> tuple[str, str]:
    """The replies. One that is not there is written like the other: it lost, but not by its style."""
    of_a, of_b = (replies.get((tweet, system), "").strip() for system in (a, b))
    return of_a or of_b, of_b or of_a


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
