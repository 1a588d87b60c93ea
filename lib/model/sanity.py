"""Tier 1: is this text at all what a reply should be? Per system, counts and shares; none of it says that a reply is good."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

from lib.base.schema import Pair, Reply, TestPrompt
from lib.data.text import is_copy, normalised
from lib.model.chat import control_tokens
from lib.model.memorisation import copied_share, grams, learned_runs

MAX_CHARS = 280
NEAR = 0.8  # of the word pairs of two replies are the same
TOXIC = 0.3  # the data filter's own bound
_I_AM = r"\bi(?:'|’)?m (?:just |so |really )?"
_CANNOT = r"\bi (?:can(?:'|’)?t|cannot|can not|am unable to|(?:'|’)m unable to|won(?:'|’)?t)"
REFUSAL = re.compile(
    rf"\bas an? (?:ai|artificial intelligence|language model|large language model)\b|{_I_AM}an? (?:ai|language model)\b"
    rf"|{_CANNOT} (?:help with|assist|comply|fulfil|generate|create|provide|write) |{_I_AM}sorry,? but (?:i|as)\b"
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
    """system -> metrics. Shares are 0..1 of the replies that are not empty (`empty`: of all); None where there is nothing to measure.

    leaks: system -> think blocks and control tokens that were taken out when the replies were made. score_toxicity None: not measured.
    `overlap_with_human` (ROUGE-L, chrF against the real reply) is sanity only: a good reply need not be the one that was written.
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
            "empty": _share(len(own) - len(written), len(own)),
            **_lengths(texts),
            "distinct_1": distinct(texts, 1),
            "distinct_2": distinct(texts, 2),
            "self_repetition": self_repetition(texts),
            "copies_of_tweet": _share(n_copies, len(written)),
            "copies_of_training": copied_share(texts, learned),
            "refusals": _share(sum(bool(REFUSAL.search(text)) for text in texts), len(texts)),
            "leaks": (leaks or {}).get(system, 0) + sum(len(control_tokens(text)) for text in texts),
            "language": language,
            "language_share": _share(sum(code == language for code, _ in detect_languages(texts)), len(texts))
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
        "over_280": _share(sum(size > MAX_CHARS for size in sizes), len(sizes)),
    }


def distinct(texts: Sequence[str], n: int) -> float | None:
    """Different n-grams of words over all n-grams, of all texts together (Li et al. 2016, arXiv:1510.03055)."""
    found = [gram for text in texts for gram in grams(text.casefold().split(), n)]
    return _share(len(set(found)), len(found))


def self_repetition(texts: Sequence[str]) -> float | None:
    """Share of texts that are equal or near to another one: one voice for every tweet."""
    words = [normalised(text) for text in texts]
    counts = Counter(words)
    pairs = [frozenset(grams(text.split(), 2)) for text in words]
    by_gram: dict[tuple[str, ...], list[int]] = {}
    for number, own in enumerate(pairs):
        for gram in own:
            by_gram.setdefault(gram, []).append(number)

    def is_near(number: int) -> bool:
        shared = Counter(other for gram in pairs[number] for other in by_gram[gram] if other != number)
        return any(
            same / (len(pairs[number]) + len(pairs[other]) - same) >= NEAR for other, same in shared.items()
        )

    return _share(sum(counts[text] > 1 or is_near(number) for number, text in enumerate(words)), len(texts))


def overlap_with_human(replies: Sequence[Reply], prompts: Mapping[str, TestPrompt]) -> dict[str, Any] | None:
    """Mean ROUGE-L F1 (0..1) and corpus chrF (0..100) against the real reply; None where there is none."""
    pairs = [
        (reply.reply, prompts[reply.tweet_id].human_reply) for reply in replies if reply.tweet_id in prompts
    ]
    pairs = [(text, human) for text, human in pairs if human]
    if not pairs:
        return None
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu import corpus_chrf

    scorer = RougeScorer(["rougeL"])
    return {
        "rouge_l": fmean(scorer.score(human, text)["rougeL"].fmeasure for text, human in pairs),
        "chrf": corpus_chrf([text for text, _ in pairs], [[human for _, human in pairs]]).score,
        "n": len(pairs),
        "note": "sanity only",
    }


def _toxicity(texts: Sequence[str], score_toxicity: ScoreToxicity | None) -> dict[str, float | None]:
    if score_toxicity is None or not texts:
        return {"toxicity_mean": None, "toxic": None}
    scores = score_toxicity(texts)
    return {
        "toxicity_mean": fmean(scores),
        "toxic": _share(sum(score > TOXIC for score in scores), len(scores)),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
