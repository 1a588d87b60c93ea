"""Texts beside other texts: recited from training, near to the real reply."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from lib.base.schema import Reply, TestPrompt
from lib.data.text import normalised
from lib.model.likeness import alike, folded

COPIED_WORDS = 8  # so many consecutive words of a training reply are recited, not written
MAX_ALIKE = 0.5  # of the replies: above it, and above the base model's, a model has one reply for all tweets

Grams = list[tuple[str, ...]]


def grams(words: Sequence[str], n: int) -> Grams:
    """All runs of n words; a shorter text is one run of what it has, unless n is COPIED_WORDS or more."""
    if 0 < len(words) < n < COPIED_WORDS:
        return [tuple(words)]
    return [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]


def learned_runs(replies: Iterable[str]) -> set[tuple[str, ...]]:
    """Every run of COPIED_WORDS words of the training replies, in the form that copies() compares."""
    return {run for reply in replies for run in grams(normalised(reply).split(), COPIED_WORDS)}


def copies(text: str, learned: set[tuple[str, ...]]) -> bool:
    """True where text holds one of the learned runs; case, punctuation and leading mentions do not matter."""
    return not learned.isdisjoint(grams(normalised(text).split(), COPIED_WORDS))


def copied_share(texts: Sequence[str], learned: set[tuple[str, ...]]) -> float | None:
    """Share of the texts that are not empty which copy. None if there is none."""
    written = [text for text in texts if text.strip()]
    return share(sum(copies(text, learned) for text in written), len(written))


def distinct(texts: Sequence[str], n: int) -> float | None:
    """Different n-grams of words over all n-grams of all texts (Li et al. 2016, arXiv:1510.03055)."""
    found = [gram for text in texts for gram in grams(text.casefold().split(), n)]
    return share(len(set(found)), len(found))


@dataclass(frozen=True)
class Diversity:
    """The variety of one model's replies to different tweets."""

    distinct_2: float | None  # different word pairs over all word pairs; None: nothing was written
    alike: float | None  # share of replies that repeat others, as the gate counts them; None: not measured

    def collapsed(self, base: "Diversity") -> bool:
        """True if the model has come to say the same thing whatever the tweet: compared with its base."""
        repeats = self.alike is not None and self.alike > max(MAX_ALIKE, base.alike or 0.0)
        poorer = None not in (self.distinct_2, base.distinct_2) and self.distinct_2 < base.distinct_2 / 2
        return repeats or poorer


def diversity(replies: Sequence[str]) -> Diversity:
    """Of all replies; an empty one is like every other one."""
    return Diversity(
        distinct(replies, 2), share(sum(alike([folded(text) for text in replies])), len(replies))
    )


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


def share(part: int, whole: int) -> float | None:
    """part of whole, 0..1; None where there is no whole."""
    return part / whole if whole else None
