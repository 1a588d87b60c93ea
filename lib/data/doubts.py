"""Doubtful pairs, which a person should see first: with a bad sign, near a threshold, near another reply."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from lib.base.schema import Pair
from lib.base.settings import FilterConfig
from lib.data.heuristics import SENTENCES
from lib.data.text import is_instruction, normalised, reply_length

Doubt = tuple[float, str]  # how much it counts, and the sentence a person reads

NEAR = 0.2  # the share of the range, counted from a bound inwards, that is near it
MIN_OVERLAP = 0.5  # of the words of two replies; unrelated replies share up to about a third
BAD_SIGN = 20.0  # more than all others together: the config sends these to the top
COMMON = 40  # a word in more replies than this says nothing about two of them


@dataclass(frozen=True)
class Doubtful:
    """A pair, how doubtful it is (0: not at all), and why, the weightiest reason first."""

    pair: Pair
    doubt: float
    why: tuple[str, ...]


def most_doubtful_first(pairs: Sequence[Pair], bounds: FilterConfig) -> list[Doubtful]:
    """Every pair once, in an order that depends on the pairs and not on how they were ordered."""
    twins = nearest([pair.reply for pair in pairs])
    queue = []
    for pair, (overlap, other) in zip(pairs, twins, strict=True):
        doubts = [*_measured(pair, bounds), *_alike(pairs, overlap, other)]
        doubts.sort(key=lambda doubt: (-doubt[0], doubt[1]))
        doubt = round(math.fsum(weight for weight, _ in doubts), 6)
        queue.append(Doubtful(pair, doubt, tuple(why for _, why in doubts)))
    return sorted(queue, key=lambda item: (-item.doubt, item.pair.id))


def _measured(pair: Pair, bounds: FilterConfig) -> Iterator[Doubt]:
    """Doubt by reason.

    Weights: how likely a close call hides a bad pair. A toxic or foreign reply harms more than an unpopular.
    """
    seen = pair.validation
    for reason in seen.reasons if seen else ():
        if reason in SENTENCES:
            yield BAD_SIGN, SENTENCES[reason]
    if seen and seen.toxicity is not None and bounds.toxicity_model != "none":
        yield from _above(
            3, seen.toxicity, bounds.max_toxicity / 3, bounds.max_toxicity, f"toxicity {seen.toxicity:.2f}"
        )
    if seen and seen.language_confidence is not None:
        unsure = 1 - seen.language_confidence
        allowed = 1 - bounds.min_language_confidence
        yield from _above(
            2, unsure, allowed / 4, allowed, f"language {seen.language or '?'} {seen.language_confidence:.2f}"
        )
    if is_instruction(pair.reply) or is_instruction(pair.tweet):
        yield 3.0, "talks to a language model"
    yield from _near(1.5, reply_length(pair.reply), bounds.reply_chars, "{} characters")
    yield from _near(1, pair.reply_likes, bounds.reply_likes, "{} likes")
    yield from _near(1, pair.reply_author_followers, bounds.reply_author_followers, "{} followers")
    yield from _near(
        1, pair.reply_time_diff_seconds, bounds.reply_delay_seconds, "{} after the tweet", duration
    )
    yield from _near(0.5, pair.tweet_likes, bounds.tweet_likes, "{} likes of the tweet")
    yield from _near(0.5, pair.tweet_retweets, bounds.tweet_retweets, "{} retweets of the tweet")


def _near(
    weight: float, value: int, bounds: list[int], label: str, number: Callable[[int], str] = "{:,}".format
) -> Iterator[Doubt]:
    """Nearness to a bound: 1 at or beyond it, 0 from NEAR of the range inwards.

    On a log scale, because likes and delays span orders.
    """
    low, high, at = (math.log1p(max(0, number)) for number in (*bounds, value))
    if high == low:
        return
    inside, limit = min((at - low, bounds[0]), (high - at, bounds[1]))
    closeness = min(1.0, 1 - inside / (high - low) / NEAR)
    if closeness > 0:
        yield weight * closeness, f"{label.format(number(value))} (limit {number(limit)})"


def _above(weight: float, value: float, start: float, limit: float, label: str) -> Iterator[Doubt]:
    """0 up to start, 1 at limit and beyond."""
    if limit > start and value > start:
        yield weight * min(1.0, (value - start) / (limit - start)), label


def _alike(pairs: Sequence[Pair], overlap: float, other: int) -> Iterator[Doubt]:
    if overlap >= MIN_OVERLAP:
        quote = " ".join(pairs[other].reply.split())
        quote = quote if len(quote) <= 40 else quote[:39].rstrip() + "…"
        yield 2.5 * overlap, f"shares {overlap:.0%} of the words of “{quote}”"


def nearest(texts: Sequence[str]) -> list[tuple[float, int]]:
    """The largest share of words that each text has in common with another (Jaccard, 0 to 1).

    With that one's index (-1: none). Only texts that share a word which few others use are compared.
    """
    words = [frozenset(normalised(text).split()) for text in texts]
    holders: dict[str, list[int]] = defaultdict(list)
    for row, bag in enumerate(words):
        for word in bag:
            holders[word].append(row)
    best = [(0.0, -1)] * len(texts)
    for a, b in {pair for rows in holders.values() if len(rows) <= COMMON for pair in combinations(rows, 2)}:
        overlap = len(words[a] & words[b]) / len(words[a] | words[b])
        for row, other in ((a, b), (b, a)):
            if (overlap, texts[other]) > (best[row][0], texts[best[row][1]] if best[row][1] >= 0 else ""):
                best[row] = (overlap, other)
    return best


def duration(seconds: float) -> str:
    """45 s, 12 min, 3 h 05 min"""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"
