"""The offline stand-in for a judge: a small model of which replies got likes in the training pairs, and no
more than that.
"""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.base.errors import UserError
from lib.base.files import content_hash
from lib.base.ledger import Ledger
from lib.base.schema import Pair
from lib.judge.comparisons import Comparison, Decide, Verdict, judge_all

if TYPE_CHECKING:
    import numpy as np

VERSION = 1  # of the steps and the ranker
MIN_PAIRS = 10
FOLDS = 5
RIDGE = 10.0  # few noisy like counts, thousands of n-grams: almost everything has to be shrunk away

Ranker = Callable[[str, str], float]


@dataclass(frozen=True)
class OfflineJudge:
    """The stand-in made of these training pairs. They are read when they are needed, not before."""

    read_pairs: Callable[[], Sequence[Pair]]
    title = "offline stand-in"
    is_stand_in = True
    is_free = True
    canaries: tuple[Comparison, ...] = ()

    @cached_property
    def pairs(self) -> Sequence[Pair]:
        return self.read_pairs()

    @property
    def name(self) -> str:
        return f"offline engagement ranker (stand-in, n={len(self.pairs)})"

    @property
    def identity(self) -> list[Any]:
        rows = sorted(
            (p.reply_id, p.reply, p.reply_likes, p.tweet_id, p.tweet_likes, p.reply_author_followers)
            for p in self.pairs
        )
        return ["offline", VERSION, content_hash(rows)]

    def check(self) -> None:
        """It needs no key and no budget."""

    def ask(
        self,
        questions: Sequence[Comparison],
        work: Path,
        ledger: Ledger,
        say: Callable[[str], None],
        again: bool = False,
    ) -> None:
        judge_all(
            questions, decide_by(fit_ranker(self.pairs)), self.name, self.identity, work / "judgments.jsonl"
        )

    def account(self, work: Path, ledger: Ledger, keys: Container[str]) -> None:
        return None

    def estimate(self, n_verdicts: int) -> None:
        return None


def decide_by(ranker: Ranker) -> Decide:
    """The score difference in 5 steps: below half a point a tie, from 2 points on "much better".

    It scores each reply alone, so the order cannot matter to it.
    """

    def decide(comparison: Comparison) -> Verdict:
        score_a = ranker(comparison.tweet, comparison.reply_a)
        score_b = ranker(comparison.tweet, comparison.reply_b)
        gap = score_a - score_b
        step = 0.0 if abs(gap) < 0.5 else 0.5 if abs(gap) < 2 else 1.0
        scores = {comparison.a: {"engagement": score_a}, comparison.b: {"engagement": score_b}}
        return Verdict(
            step if gap > 0 else 0.0 - step, scores, "score difference of a stand-in, not a judgement"
        )

    return decide


def fit_ranker(pairs: Sequence[Pair]) -> Ranker:
    """(tweet, reply) -> predicted engagement, 1 to 10: the place of the reply among the training replies.

    Fitted on log likes from which the reply author's followers, the tweet's likes and the delay have been
    regressed out, so that it rates the words. The place is taken among out-of-fold predictions: those of
    replies the model has seen are spread wider. Only the reply's words count, the tweet is not looked at. The
    same pairs in any order give the same ranker. Raises UserError for fewer than MIN_PAIRS pairs.
    """
    import numpy as np

    if len(pairs) < MIN_PAIRS:
        raise UserError(
            f"The offline judge learns from the training pairs' likes and needs {MIN_PAIRS}; there are "
            f"{len(pairs)}. Collect more pairs."
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


def word_effects(ranker: Ranker, tweet: str, reply: str) -> list[tuple[str, float]]:
    """(word, how much lower the score is without it), the strongest first; a word that stands twice, once."""
    score, words = ranker(tweet, reply), reply.split()
    effects = {
        word: score - ranker(tweet, " ".join(other for other in words if other != word))
        for word in dict.fromkeys(words)
    }
    return sorted(effects.items(), key=lambda effect: -abs(effect[1]))


def residual_likes(pairs: Sequence[Pair]) -> "np.ndarray":
    """(n,) log(1 + likes) of the replies, minus what followers, the tweet's likes and the delay explain
    (least squares).
    """
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
    """Predictions for each reply by a model that has not seen its tweet; one tweet only: by the model that
    has.
    """
    from sklearn.model_selection import GroupKFold, cross_val_predict

    n_folds = min(FOLDS, len(set(tweets)))
    if n_folds < 2:
        return _model().fit(replies, target).predict(replies)
    return cross_val_predict(_model(), replies, target, groups=tweets, cv=GroupKFold(n_folds))
