"""Learned by heart? The share of written replies that repeat a run of words from a reply that was trained on."""

from collections.abc import Iterable, Sequence

from lib.data.text import normalised

COPIED_WORDS = 8  # so many consecutive words of a training reply are recited, not written
N_TWEETS = 50  # validation tweets that a finished run answers, as base and as tuned
TWEETS_PER_BATCH = 25
MAX_SECONDS = 120  # of answering, base and tuned together: a CPU must not spend longer on it than on training

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
    """Whether text holds one of the learned runs; case, punctuation and leading mentions do not matter."""
    return not learned.isdisjoint(grams(normalised(text).split(), COPIED_WORDS))


def copied_share(texts: Sequence[str], learned: set[tuple[str, ...]]) -> float | None:
    """Share of the texts that are not empty which copy. None if there is none."""
    written = [text for text in texts if text.strip()]
    return sum(copies(text, learned) for text in written) / len(written) if written else None
