"""Sanity of replies: counts and shares per system; none of it says that a reply is good."""

from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

from lib.base.schema import Reply, TestPrompt
from lib.data.control_tokens import control_tokens
from lib.model.flaws import CUT_OFF, Flaws, shares
from lib.model.overlap import distinct, overlap_with_human, share

MAX_CHARS = 280


def sanity(
    replies: Sequence[Reply],
    prompts: Sequence[TestPrompt],
    flaws: Flaws,
    leaks: Mapping[str, int] | None = None,
    language: str = "en",
) -> dict[str, dict[str, Any]]:
    """system -> metrics: lengths, variety, and the shares of each flaw (lib.model.flaws).

    Shares are 0..1 of the replies that are not empty (`empty`: of all, `failed`: of the tweets); None where
    there is nothing to measure.

    leaks: system -> think blocks and control tokens that were taken out when the replies were made.
    `overlap_with_human` (ROUGE-L, chrF against the real reply) is sanity only: a good reply need not be the
    one that was written.
    """
    by_system: dict[str, list[Reply]] = {}
    for reply in replies:
        by_system.setdefault(reply.system, []).append(reply)
    tweets = {prompt.tweet_id: prompt for prompt in prompts}
    found = {}
    for system, own in by_system.items():
        written = [reply for reply in own if reply.reply.strip()]
        texts = [reply.reply for reply in written]
        n_cut_off = sum(CUT_OFF in flaws[reply.tweet_id, system] for reply in written)
        found[system] = {
            **shares(flaws, system, asked(replies, system)),
            "n": len(own),
            "empty": share(len(own) - len(written), len(own)),
            "truncated": share(n_cut_off, len(written)),
            **_lengths(texts),
            "distinct_1": distinct(texts, 1),
            "distinct_2": distinct(texts, 2),
            "leaks": (leaks or {}).get(system, 0) + sum(len(control_tokens(text)) for text in texts),
            "language": language,
            "tokens": sum(reply.tokens for reply in own),
            "overlap_with_human": None if system == "human" else overlap_with_human(written, tweets),
        }
    return found


def asked(replies: Sequence[Reply], system: str) -> list[str]:
    """The tweets that a system was to answer: all that anybody answered; of people, those that they did."""
    own = [reply for reply in replies if system != "human" or reply.system == system]
    return sorted({reply.tweet_id for reply in own})


def _lengths(texts: Sequence[str]) -> dict[str, float | None]:
    sizes = [len(text) for text in texts]
    return {
        "mean_chars": fmean(sizes) if sizes else None,
        "median_chars": float(median(sizes)) if sizes else None,
        "over_280": share(sum(size > MAX_CHARS for size in sizes), len(sizes)),
    }
