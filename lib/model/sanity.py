"""Sanity of replies: counts and shares per system; none of it says that a reply is good."""

import re
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

from lib.base.schema import Pair, Reply, TestPrompt
from lib.data.control_tokens import control_tokens
from lib.data.text import is_copy
from lib.model.overlap import (
    copied_share,
    distinct,
    learned_runs,
    overlap_with_human,
    self_repetition,
    share,
)

MAX_CHARS = 280
TOXIC = 0.3  # the data filter's own bound
_I_AM = r"\bi(?:'|’)?m (?:just |so |really )?"
_CANNOT = r"\bi (?:can(?:'|’)?t|cannot|can not|am unable to|(?:'|’)m unable to|won(?:'|’)?t)"
REFUSAL = re.compile(
    rf"\bas an? (?:ai|artificial intelligence|language model|large language model)\b|{_I_AM}an? "
    r"(?:ai|language model)\b"
    rf"|{_CANNOT} (?:help with|assist|comply|fulfil|generate|create|provide|write) |{_I_AM}sorry,? but "
    r"(?:i|as)\b"
    r"|\bagainst my (?:guidelines|programming)\b",
    re.IGNORECASE,
)

DetectLanguages = Callable[[Sequence[str]], list[tuple[str, float]]]
ScoreToxicity = Callable[[Sequence[str]], list[float]]


def sanity(
    replies: Sequence[Reply],
    prompts: Sequence[TestPrompt],
    train: Sequence[Pair],
    detect_languages: DetectLanguages,
    score_toxicity: ScoreToxicity | None = None,
    leaks: Mapping[str, int] | None = None,
    language: str = "en",
) -> dict[str, dict[str, Any]]:
    """system -> metrics.

    Shares are 0..1 of the replies that are not empty (`empty`: of all); None where there is nothing to
    measure.

    leaks: system -> think blocks and control tokens that were taken out when the replies were made.
    score_toxicity None: not measured. `overlap_with_human` (ROUGE-L, chrF against the real reply) is sanity
    only: a good reply need not be the one that was written.
    """
    by_system: dict[str, list[Reply]] = {}
    for reply in replies:
        by_system.setdefault(reply.system, []).append(reply)
    tweets = {prompt.tweet_id: prompt for prompt in prompts}
    learned = learned_runs(pair.reply for pair in train)
    found = {}
    for system, own in by_system.items():
        written = [reply for reply in own if reply.reply.strip()]
        texts = [reply.reply for reply in written]
        n_copies = sum(
            is_copy(tweets[reply.tweet_id].tweet, reply.reply)
            for reply in written
            if reply.tweet_id in tweets
        )
        found[system] = {
            "n": len(own),
            "empty": share(len(own) - len(written), len(own)),
            **_lengths(texts),
            "distinct_1": distinct(texts, 1),
            "distinct_2": distinct(texts, 2),
            "self_repetition": self_repetition(texts),
            "copies_of_tweet": share(n_copies, len(written)),
            "copies_of_training": copied_share(texts, learned),
            "refusals": share(sum(bool(REFUSAL.search(text)) for text in texts), len(texts)),
            "leaks": (leaks or {}).get(system, 0) + sum(len(control_tokens(text)) for text in texts),
            "language": language,
            "language_share": share(sum(code == language for code, _ in detect_languages(texts)), len(texts))
            if texts
            else None,
            **_toxicity(texts, score_toxicity),
            "tokens": sum(reply.tokens for reply in own),
            "overlap_with_human": None if system == "human" else overlap_with_human(written, tweets),
        }
    return found


def _lengths(texts: Sequence[str]) -> dict[str, float | None]:
    sizes = [len(text) for text in texts]
    return {
        "mean_chars": fmean(sizes) if sizes else None,
        "median_chars": float(median(sizes)) if sizes else None,
        "over_280": share(sum(size > MAX_CHARS for size in sizes), len(sizes)),
    }


def _toxicity(texts: Sequence[str], score_toxicity: ScoreToxicity | None) -> dict[str, float | None]:
    if score_toxicity is None or not texts:
        return {"toxicity_mean": None, "toxic": None}
    scores = score_toxicity(texts)
    return {
        "toxicity_mean": fmean(scores),
        "toxic": share(sum(score > TOXIC for score in scores), len(scores)),
    }
