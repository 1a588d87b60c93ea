"""Confidence intervals of a share, of the net win rate and of a mean; tweets of one author are resampled
together.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


Interval = tuple[float, float]

N_RESAMPLES = 9999
MIN_CLUSTERS = 10  # below this a bootstrap interval is too narrow


def wilson(k: float, n: float) -> Interval:
    """95% Wilson interval of the share k / n; (0, 1) where n is 0. k may be a half: a tie."""
    from statsmodels.stats.proportion import proportion_confint

    if n == 0:
        return 0.0, 1.0
    low, high = proportion_confint(k, n, method="wilson")
    return float(low), float(high)


def net_win_interval(
    sign: np.ndarray, author: np.ndarray, seed: int = 17, n_resamples: int = N_RESAMPLES
) -> tuple[Interval, str]:
    """95% interval of the net win rate in points, and how it was made. sign: (n,) of +1, 0, -1. author: (n,)
    int from 0.

    Where a bootstrap cannot know (few authors, all verdicts the same) it is Wilson's, of the win rate with
    ties as half and one
    vote per author: wider than needed, never zero wide.
    """
    import numpy as np

    unit = "tweets" if len(sign) == author.max() + 1 else "authors"
    interval = _bca(sign, author, seed, n_resamples)
    if interval is not None:
        return (100 * interval[0], 100 * interval[1]), f"BCa bootstrap over {unit}"
    votes = np.bincount(author, weights=sign) / np.bincount(author)
    low, high = wilson(float((votes + 1).sum() / 2), len(votes))
    return (200 * low - 100, 200 * high - 100), f"Wilson over {unit}: too few, or too alike, for a bootstrap"


def mean_interval(
    difference: np.ndarray, author: np.ndarray, seed: int = 17, n_resamples: int = N_RESAMPLES
) -> Interval | None:
    """95% interval of the mean score difference: BCa, Student's t for 2 to 9 authors, None without any
    spread.
    """
    import numpy as np
    from scipy import stats

    interval = _bca(difference, author, seed, n_resamples)
    means = np.bincount(author, weights=difference) / np.bincount(author)
    if interval is not None or len(means) < 2 or np.ptp(means) < 1e-12:
        return interval
    low, high = stats.ttest_1samp(means, 0).confidence_interval()
    return float(low), float(high)


def _bca(values: np.ndarray, author: np.ndarray, seed: int, n_resamples: int) -> Interval | None:
    """95% BCa interval of the mean over tweets; authors are resampled, whole, where they repeat.

    None where BCa is undefined.
    """
    import numpy as np
    from scipy import stats

    sums, sizes = np.bincount(author, weights=values), np.bincount(author)
    if len(sums) < MIN_CLUSTERS or np.ptp(sums / sizes) < 1e-12:
        return None
    options = {"n_resamples": n_resamples, "method": "BCa", "vectorized": True, "rng": seed}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a degenerate bootstrap answers nan, which is looked at below
        if len(sums) == len(values):
            result = stats.bootstrap((values,), np.mean, **options)
        else:
            result = stats.bootstrap((sums, sizes), _mean_over_tweets, paired=True, **options)
    low, high = map(float, result.confidence_interval)
    return (low, high) if np.isfinite([low, high]).all() else None


def _mean_over_tweets(sums: np.ndarray, sizes: np.ndarray, axis: int = -1) -> np.ndarray:
    return sums.sum(axis=axis) / sizes.sum(axis=axis)


def design_effect(values: np.ndarray, author: np.ndarray) -> float:
    """The repetition among tweets of one author: the variance of the mean by author over that by tweet,
    at least 1.

    n / design effect is the number of independent tweets. A single author gives n: one independent tweet.
    """
    import numpy as np
    import statsmodels.api as sm

    n, n_authors = len(values), int(author.max()) + 1
    if n_authors == 1:
        return float(n)
    if n_authors == n or np.ptp(values) < 1e-12:
        return 1.0
    model = sm.OLS(values, np.ones(n))
    by_author = model.fit(cov_type="cluster", cov_kwds={"groups": author})
    return float(max(1.0, (by_author.bse[0] / model.fit().bse[0]) ** 2))
