"""De-duplication of replies: the same text, the same words, the same meaning.

The most liked of each stays.
"""

import unicodedata
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from lib.base.schema import Pair, Rejection
from lib.data.greedy import greedy_keep

if TYPE_CHECKING:
    import numpy as np

__all__ = ["drop_duplicates", "drop_equal", "greedy_keep", "same_words_key"]


def drop_duplicates(
    pairs: Sequence[Pair], vectors_of: "Callable[[Sequence[str]], np.ndarray]", threshold: float
) -> tuple[list[Pair], list[Rejection]]:
    """Keep one reply of those that say the same, to whichever tweet: the one with most likes, then retweets.

    vectors_of: texts to (n, d) float32 unit rows. threshold: cosine similarity in (0, 1].
    Both lists come in order of engagement, ties by reply id, so neither they nor the choice depend on the
    order of pairs: at a cosine of 0.9 several per cent of real replies are kept in one order and dropped in
    another.
    Reasons: exact_duplicate, normalised_duplicate, near_duplicate; the detail names the kept reply last.
    """
    unique, equal = _drop_equal(pairs)
    kept, near = _drop_near(unique, vectors_of, threshold)
    return kept, _rejections([*equal, *near])


def drop_equal(pairs: Sequence[Pair]) -> tuple[list[Pair], list[Rejection]]:
    """drop_duplicates without a look at what is only similar: pairs of one same_words_key need no others."""
    kept, equal = _drop_equal(pairs)
    return kept, _rejections(equal)


def same_words_key(text: str) -> str:
    """Two texts with one key differ in case, spaces, punctuation and emoji only.

    A text of nothing else keeps its symbols.
    """
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    # Marks stay: in Hindi or Thai they are the vowels. Variation selectors only choose how an emoji is drawn.
    words = [c for c in text if unicodedata.category(c) in _WORD_CATEGORIES and not "\ufe00" <= c <= "\ufe0f"]
    if any(unicodedata.category(c)[0] in "LN" for c in words):
        return "".join(words)
    return "".join(c for c in text if unicodedata.category(c)[0] not in "ZCM")


_WORD_CATEGORIES = {"Lu", "Ll", "Lt", "Lm", "Lo", "Nd", "Nl", "No", "Mn", "Mc"}


class Drop(NamedTuple):
    """A pair that is dropped for another one that says the same."""

    pair: Pair
    keeper: Pair  # dropped itself, perhaps, for one that is liked more
    reason: str
    detail: str


def _drop_equal(pairs: Sequence[Pair]) -> tuple[list[Pair], list[Drop]]:
    ranked = sorted(
        pairs,
        key=lambda pair: (-pair.reply_likes, -pair.reply_retweets, pair.reply_id, pair.tweet_id, pair.reply),
    )
    unique, same_text = _first_of(ranked, lambda text: text, "exact_duplicate", "the same text as reply {}")
    unique, same_words = _first_of(
        unique, same_words_key, "normalised_duplicate", "the same words as reply {}"
    )
    return unique, [*same_text, *same_words]


def _first_of(
    ranked: Sequence[Pair], key: Callable[[str], str], reason: str, detail: str
) -> tuple[list[Pair], list[Drop]]:
    first: dict[str, Pair] = {}
    drops = []
    for pair in ranked:
        keeper = first.setdefault(key(pair.reply), pair)
        if keeper is not pair:
            drops.append(Drop(pair, keeper, reason, detail.format(keeper.reply_id)))
    return list(first.values()), drops


def _drop_near(
    ranked: Sequence[Pair], vectors_of: "Callable[[Sequence[str]], np.ndarray]", threshold: float
) -> tuple[list[Pair], list[Drop]]:
    if len(ranked) < 2:
        return list(ranked), []
    vectors = vectors_of([pair.reply for pair in ranked])
    if len(vectors) != len(ranked):
        raise ValueError(f"{len(ranked)} replies have {len(vectors)} vectors")
    keep, dropped_by = greedy_keep(vectors, threshold)
    drops = []
    for row in (~keep).nonzero()[0]:
        keeper = ranked[dropped_by[row]]
        similarity = float(vectors[row] @ vectors[dropped_by[row]])
        drops.append(
            Drop(
                ranked[row], keeper, "near_duplicate", f"cosine {similarity:.3f} with reply {keeper.reply_id}"
            )
        )
    return [ranked[row] for row in keep.nonzero()[0]], drops


def _rejections(drops: Sequence[Drop]) -> list[Rejection]:
    drop_of = {id(drop.pair): drop for drop in drops}
    rejected = []
    for pair, keeper, reason, detail in drops:
        while drop := drop_of.get(id(keeper)):
            keeper = drop.keeper
            detail += f", itself dropped: {drop.detail}"
        rejected.append(Rejection.of(pair, "clean", reason, detail))
    return rejected
