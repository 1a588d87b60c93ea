"""Every pair of systems that was judged, with what is missing counted against the one that lacks it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lib.base.schema import Judgment, Reply, TestPrompt
from lib.evidence.outcomes import Counted, Gaps, Texts, counted
from lib.evidence.stats import Comparison, compare
from lib.judge.comparisons import system_pairs
from lib.model.flaws import EMPTY, UNREADABLE, UNUSABLE, Flaws

HEADLINE = ("tuned", "base")


@dataclass(frozen=True)
class Pairings:
    """found: (a, b) -> comparison, an answer that the judge owes counted against a.

    headline: the rows of tuned against base; judged: its steps by tweet, those alone that the judge gave.
    unjudged: the share of its tweets that lack an answer. base_absent: the share of all tweets without a
    readable reply of base. best_net_win: points, if all of these were wins.
    """

    found: dict[tuple[str, str], Comparison]
    headline: Counted | None = None
    judged: dict[str, float] | None = None
    unjudged: float = 0.0
    best_net_win: float | None = None
    base_absent: float = 0.0


def pairings(
    judgments: Sequence[Judgment],
    failures: Sequence[Mapping[str, Any]],
    replies: Sequence[Reply],
    prompts: Mapping[str, TestPrompt],
    systems: Sequence[str],
    flaws: Flaws,
    seed: int = 17,
) -> Pairings:
    """Compare every pair of systems. prompts: by tweet."""
    authors = {tweet: prompt.tweet_author for tweet, prompt in prompts.items()}
    said = {tweet: prompt.tweet for tweet, prompt in prompts.items()}
    texts = {(reply.tweet_id, reply.system): reply.reply for reply in replies}
    gaps = Gaps(
        asked=frozenset(reply.tweet_id for reply in replies if reply.system != "human"),
        failures=failures,
        unusable=frozenset(key for key, found in flaws.items() if found & UNUSABLE),
    )
    given = {frozenset((row.a, row.b)) for row in judgments if row.verdict is not None}
    result = Pairings({})
    for a, b in system_pairs(systems):
        if frozenset((a, b)) not in given:
            continue
        rows = counted(judgments, texts, authors, a, b, gaps, said)
        result.found[a, b] = compare(rows.rows, seed)
        if (a, b) == HEADLINE:
            best = counted(judgments, texts, authors, a, b, replace(gaps, owed="for")).rows.step
            result = replace(
                result,
                headline=rows,
                judged=_judged(rows),
                unjudged=len(rows.owing) / len(rows.tweets),
                base_absent=sum(_is_absent(tweet, b, texts, flaws) for tweet in gaps.asked)
                / max(len(gaps.asked), 1),
                best_net_win=100 * sum((step > 0) - (step < 0) for step in best) / len(best),
            )
    return result


def _is_absent(tweet: str, system: str, texts: Texts, flaws: Flaws) -> bool:
    there = texts.get((tweet, system), "").strip()
    return not there or bool(flaws.get((tweet, system), frozenset()) & {EMPTY, UNREADABLE})


def _judged(rows: Counted) -> dict[str, float]:
    return {
        tweet: step
        for tweet, step in zip(rows.tweets, rows.rows.step, strict=True)
        if tweet not in rows.owing and tweet not in rows.settled
    }
