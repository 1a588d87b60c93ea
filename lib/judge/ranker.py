"""A small model of which replies got likes in the training pairs. The offline judge's stand-in for engagement, and no more than that."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from lib.base.errors import UserError
from lib.base.schema import Pair

if TYPE_CHECKING:
    import numpy as np

MIN_PAIRS = 10
FOLDS = 5
RIDGE = 10.0  # a few hundred noisy like counts against thousands of n-grams: almost everything has to be shrunk away

Ranker = Callable[[str, str], float]


def fit_ranker(pairs: Sequence[Pair]) -> Ranker:
    """(tweet, reply) -> predicted engagement, 1 to 10: the place of the reply among the training replies.

    Fitted on log likes from which the reply author's followers, the tweet's likes and the delay have been regressed out, so that
    it rates the words. The place is taken among out-of-fold predictions: those of replies the model has seen are spread wider.
    Only the reply's words count, the tweet is not looked at. The same pairs in any order give the same ranker.
    Raises UserError for fewer than MIN_PAIRS pairs.
    """
    import numpy as np

    if len(pairs) < MIN_PAIRS:
        raise UserError(
            f"The offline judge learns from the training pairs' likes and needs {MIN_PAIRS}; there are {len(pairs)}. Collect more pairs."
        )
    pairs = sorted(pairs, key=lambda pair: pair.reply_id)
    target, replies = residual_likes(pairs), [pair.reply for pair in pairs]
    reference = np.sort(_out_of_fold(replies, target, [pair.tweet_id for pair in pairs]))
    model = _model().fit(replies, target)

    @cache
    def place(reply: str) -> float:
        predicted = float(model.predict([reply])[0])
        below, upto = np.searchsorted(reference, [predicted - 1e-9, predicted + 1e-9])
        return round(1 + 9 * float(below + upto) / 2 / len(reference), 4)

    return lambda tweet, reply: place(reply)


def residual_likes(pairs: Sequence[Pair]) -> "np.ndarray":
    """(n,) log(1 + likes) of the replies, minus what followers, the tweet's likes and the delay explain (least squares)."""
    import numpy as np
    from sklearn.linear_model import LinearRegression

    likes = np.log1p([pair.reply_likes for pair in pairs])
    columns = [
        (pair.reply_author_followers, pair.tweet_likes, max(pair.reply_time_diff_seconds, 0))
        for pair in pairs
    ]
    confounders = np.log1p(np.asarray(columns, dtype=float))
    return likes - LinearRegression().fit(confounders, likes).predict(confounders)


def _model() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline, make_union

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+")
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
    return make_pipeline(make_union(words, characters), Ridge(alpha=RIDGE, solver="lsqr", tol=1e-8))


def _out_of_fold(replies: list[str], target: "np.ndarray", tweets: list[str]) -> "np.ndarray":
    """Predictions for each reply by a model that has not seen its tweet; one tweet only: by the model that has."""
    from sklearn.model_selection import GroupKFold, cross_val_predict

    n_folds = min(FOLDS, len(set(tweets)))
    if n_folds < 2:
        return _model().fit(replies, target).predict(replies)
    return cross_val_predict(_model(), replies, target, groups=tweets, cv=GroupKFold(n_folds))
