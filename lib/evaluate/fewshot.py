"""The few-shot baseline: for each tweet the training tweets nearest to it, with their best reply, as examples
in the prompt.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lib.base.errors import UserError
from lib.base.schema import Pair

if TYPE_CHECKING:
    import numpy as np


def nearest(
    tweets: Sequence[str], pairs: Sequence[Pair], k: int, vectors_of: "Callable[[Sequence[str]], np.ndarray]"
) -> list[list[Pair]]:
    """k training pairs per tweet, by cosine similarity of the tweets, the nearest last: next to the question.

    Of a training tweet with several replies only the most liked one is an example. Fewer than k tweets: all
    of them.
    vectors_of: texts -> (n, d) unit rows. Raises UserError if there is no training pair.
    """
    import numpy as np

    examples = one_per_tweet(pairs)
    if not examples:
        raise UserError(
            "fewshot needs training pairs, and processed/train.jsonl has none. Remove fewshot from "
            "`systems:`."
        )
    if not tweets:
        return []
    similarity = (
        np.asarray(vectors_of(list(tweets))) @ np.asarray(vectors_of([pair.tweet for pair in examples])).T
    )
    # Rounded, then stable: equal tweets come in the order of their ids on every machine.
    order = np.argsort(-similarity.round(6), axis=1, kind="stable")[:, :k]
    return [[examples[column] for column in reversed(row)] for row in order.tolist()]


def one_per_tweet(pairs: Sequence[Pair]) -> list[Pair]:
    """The most liked reply of each tweet, by tweet id."""
    best: dict[str, Pair] = {}
    for pair in sorted(pairs, key=lambda pair: (-pair.reply_likes, -pair.reply_retweets, pair.reply_id)):
        best.setdefault(pair.tweet_id, pair)
    return [best[tweet_id] for tweet_id in sorted(best)]
