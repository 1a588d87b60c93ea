"""The quality of a pair in [0, 1], and the trim that leaves max_pairs of the best, spread out.

quality = 0.6 engagement + 0.2 credibility + 0.2 timing

engagement   the mean of two shares, each ln(1 + r) / ln(1 + size), at most 1, with r = likes + 2 retweets of
             the reply: against the tweet's own likes + 2 retweets, and against the reply author's followers
credibility  the mean of what is known: ln(1 + followers) / ln(1 + 10,000), and the age of the account when it
             replied / 2 years, each at most 1
timing       1 up to an hour after the tweet, then down by the logarithm of the delay to 0 after seven days:
             few are still reading, and likes say less
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from lib.base.files import read_json
from lib.base.schema import Pair, Rejection
from lib.data.heuristics import SENTENCES

ENGAGEMENT, CREDIBILITY, TIMING = 0.6, 0.2, 0.2
KNOWN_FOLLOWERS, KNOWN_YEARS = 10_000, 2.0  # from here on an account is as credible as can be told
HOUR_S, WEEK_S, YEAR_S = 3_600, 604_800, 31_557_600


def with_quality(pairs: Sequence[Pair]) -> list[Pair]:
    """The same pairs, each with its quality."""
    return [pair.model_copy(update={"quality": round(quality(pair), 4)}) for pair in pairs]


def quality(pair: Pair) -> float:
    """The score of the module's formula. It depends on the pair alone, never on the set or the config."""
    reach = pair.reply_likes + 2 * pair.reply_retweets
    engagement = fmean(
        _share(reach, size)
        for size in (pair.tweet_likes + 2 * pair.tweet_retweets, pair.reply_author_followers)
    )
    known = [_share(pair.reply_author_followers, KNOWN_FOLLOWERS)]
    if pair.reply_author_created_at is not None:
        age_s = (pair.reply_created_at - pair.reply_author_created_at).total_seconds()
        known.append(min(1.0, max(0.0, age_s / YEAR_S / KNOWN_YEARS)))
    delay = min(max(pair.reply_time_diff_seconds, HOUR_S), WEEK_S)
    timing = math.log(WEEK_S / delay) / math.log(WEEK_S / HOUR_S)
    return ENGAGEMENT * engagement + CREDIBILITY * fmean(known) + TIMING * timing


def _share(part: int, whole: int) -> float:
    return min(1.0, math.log1p(part) / math.log1p(whole)) if whole else float(part > 0)


def topics_of(raw: Path) -> dict[str, str]:
    """raw file -> the search that it answers, from the .meta.json beside it."""
    metas = {path: read_json(path) for path in sorted(raw.glob("*.meta.json"))}
    return {
        path.name.removesuffix(".meta.json") + ".jsonl": str(meta["query"])
        for path, meta in metas.items()
        if meta.get("query")
    }


def topic_of(pair: Pair, topics: Mapping[str, str]) -> str:
    """The search that found the pair, or else its raw file."""
    file = pair.source.rpartition(":")[0]
    return topics.get(file, file)


def trim(
    pairs: Sequence[Pair], max_pairs: int, topics: Mapping[str, str]
) -> tuple[list[Pair], list[Rejection]]:
    """The max_pairs best; the others as rejections, reason max_pairs. pairs: with their quality.

    A pair's quality counts the less, the more better ones its tweet, its author and its topic have, measured
    in fair shares (max_pairs over the number of tweets, authors, topics): so what goes first is the weak tail
    of the crowded; before it, what has a bad sign. The result does not depend on the order of pairs.
    """
    if len(pairs) <= max_pairs:
        return list(pairs), []
    groups: tuple[Callable[[Pair], str], ...] = (
        lambda pair: pair.tweet_id,
        author_of,
        lambda pair: topic_of(pair, topics),
    )
    ranked = sorted(pairs, key=lambda pair: (-(pair.quality or 0.0), pair.id))
    crowding: dict[str, float] = defaultdict(float)
    for group in groups:
        seen: dict[str, int] = defaultdict(int)
        fair = max(1.0, max_pairs / len({group(pair) for pair in pairs}))
        for pair in ranked:
            crowding[pair.id] += seen[group(pair)] / fair
            seen[group(pair)] += 1
    order = sorted(
        ranked,
        key=lambda pair: (has_sign(pair), -(pair.quality or 0.0) / (1 + crowding[pair.id]), pair.id),
    )
    dropped = {pair.id for pair in order[max_pairs:]}
    rule = f"not among the best {max_pairs:,} of {len(pairs):,}, spread over tweets, authors and topics"
    return [pair for pair in pairs if pair.id not in dropped], [
        Rejection.of(pair, "clean", "max_pairs", f"quality {pair.quality or 0.0:.2f}, {rule}")
        for pair in order[max_pairs:]
    ]


def capped(
    pairs: Sequence[Pair], per_author: int | None, per_tweet: int | None
) -> tuple[list[Pair], list[tuple[Pair, str, str]]]:
    """At most so many replies to one tweet, then of one author, over the whole set: the best by quality.

    Those with a bad sign, which a person is asked about, give way first.
    Returns kept, in the order of pairs, and (pair, reason, detail). None: no cap. One cap after the other, so
    that a large set can be capped in parts: tweet by tweet, then author by author.
    """
    kept, dropped = list(pairs), []
    rules: tuple[tuple[str, str, int | None, Callable[[Pair], str]], ...] = (
        ("replies_per_tweet", "to this tweet", per_tweet, lambda pair: pair.tweet_id),
        ("replies_per_author", "of this author", per_author, author_of),
    )
    for reason, whose, most, group in rules:
        if most is None:
            continue
        seen: dict[str, int] = defaultdict(int)
        over: set[str] = set()
        for pair in sorted(kept, key=lambda pair: (has_sign(pair), -quality(pair), pair.id)):
            seen[group(pair)] += 1
            if seen[group(pair)] > most:
                over.add(pair.id)
                dropped.append((pair, reason, f"{most} better replies {whose} are kept"))
        kept = [pair for pair in kept if pair.id not in over]
    return kept, dropped


def has_sign(pair: Pair) -> bool:
    """True of a pair that the filter kept although something speaks against it."""
    return pair.validation is not None and not SENTENCES.keys().isdisjoint(pair.validation.reasons)


def author_of(pair: Pair) -> str:
    """The reply's author, however the handle is spelled."""
    return pair.reply_author.lstrip("@").casefold()
