"""Two candidates that met the same opponent on the same tweets: the difference of their net win rates, tweet
by tweet.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lib.evidence.effects import permutation_test
from lib.evidence.intervals import design_effect, mean_interval
from lib.evidence.power import smallest_effects


@dataclass(frozen=True)
class Difference:
    """Net win points, one minus the other, on n tweets.

    ci95: None where every tweet got the same verdict twice. p: paired permutation test over authors. mde: the
    smallest difference that so many tweets show with power 0.8; None below three.
    """

    n: int
    difference: float
    ci95: list[float] | None
    p: float
    mde: float | None


def net_win_difference(one: Sequence[float], other: Sequence[float], authors: Sequence[str]) -> Difference:
    """one, other: the steps of two candidates over their common opponent, in [-1, 1], tweet by tweet.

    authors: of the tweets.
    """
    import numpy as np

    difference = np.sign(np.asarray(one, dtype=float)) - np.sign(np.asarray(other, dtype=float))
    author = np.unique(authors, return_inverse=True)[1]
    interval = mean_interval(difference, author)
    n_effective = len(difference) / design_effect(difference, author)
    smallest = smallest_effects(n_effective, sd_difference=float(difference.std(ddof=1)))["score"]
    return Difference(
        n=len(difference),
        difference=100 * float(difference.mean()),
        ci95=None if interval is None else [100 * interval[0], 100 * interval[1]],
        p=permutation_test(difference, author),
        mde=None if smallest is None else 100 * smallest,
    )
