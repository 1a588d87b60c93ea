"""The chance that a true effect passes the whole gate at a judge's accuracy, by simulated evaluations, and
the pairs of real replies on which such a judge earns trust.

A tweet's two replies share 30% of the variance of quality, in whose SDs d is counted. The judge sees each
quality with an error so large that of two real replies it prefers the better one in the given share of cases,
and scores in whole numbers from 1 to 10. A small loss of accuracy is a large one of effect: a judge that is
right on 60% of pairs sees d = 0.8 as 0.3.
"""

from __future__ import annotations

import math
from functools import lru_cache

from lib.evidence.calibration import MIN_PAIRS
from lib.evidence.power import POWER, required_decisive

RUNS = 2000
TWEETS = (100, 150, 200, 250, 300, 400, 500, 600, 800, 1000)
EFFECTS = tuple(round(0.05 * step, 2) for step in range(4, 31))  # 0.2 to 1.5
SHARED = 0.3  # of the variance of quality, by the replies to one tweet
SCORE_SD = 1.5
MAX_CHANCE = (
    0.005  # the gate's level of the permutation test, which its other tests of chance do not undercut
)
N_RULES = 2  # that a judge has to beat besides the longer and the shorter reply


@lru_cache(maxsize=4096)
def gate_power(d: float, n: int, accuracy: float = 1.0, min_d: float = 0.3, min_net: float = 15) -> float:
    """Share of evaluations of n tweets, each by another author, that pass where tuned is truly better by d.

    accuracy: of the judge on pairs of real replies, above 0.5; 1 sees the qualities themselves. What counts
    is what binds: the observed d and net win (points), chance, and the win at equal length (lengths alike).
    Sound replies and a judge that is trusted are taken for granted.
    """
    import numpy as np

    rng = np.random.default_rng(17)
    shared, *own = (rng.standard_normal((RUNS, n), dtype=np.float32) for _ in range(3))
    shared, own = math.sqrt(SHARED) * shared, math.sqrt(1 - SHARED + _error(accuracy)) * np.array(own)
    tuned, base = (
        np.clip(np.round(6 + SCORE_SD * seen), 1, 10) for seen in (d + shared + own[0], shared + own[1])
    )
    difference = tuned - base
    pooled = np.sqrt((tuned.var(axis=1, ddof=1) + base.var(axis=1, ddof=1)) / 2)
    net, z = np.sign(difference).mean(axis=1), _normal_point(0.05)
    # The two systems swapped at random: the sum is normal with this variance.
    swapped = difference.sum(axis=1) / np.maximum(np.sqrt((difference**2).sum(axis=1)), 1e-9)
    return float(
        np.mean(
            (difference.mean(axis=1) > min_d * pooled)
            & (100 * net >= min_net)
            & (swapped > _normal_point(MAX_CHANCE))
            & (net > z * np.sqrt((1 - net**2) / n))
        )
    )


def required_gate_tweets(
    d: float, accuracy: float = 1.0, min_d: float = 0.3, min_net: float = 15
) -> int | None:
    """The fewest of TWEETS with which d passes with power 0.8; None where 1,000 do not do.

    Often no number does: the gate asks for an observed d above min_d, and a poor judge sees less of it.
    """
    if accuracy <= 0.5 or d / math.sqrt(1 + _error(accuracy)) < min_d:
        return None
    return next((n for n in TWEETS if gate_power(d, n, accuracy, min_d, min_net) >= POWER), None)


def smallest_gate_effect(
    n: int, accuracy: float = 1.0, min_d: float = 0.3, min_net: float = 15
) -> float | None:
    """The smallest d, in steps of 0.05, that passes with n tweets and power 0.8; None where 1.5 does not."""
    if accuracy <= 0.5 or n < min(TWEETS):
        return None
    low, high = 0, len(EFFECTS)
    while low < high:  # the power rises with d
        middle = (low + high) // 2
        passes = gate_power(EFFECTS[middle], n, accuracy, min_d, min_net) >= POWER
        low, high = (low, middle) if passes else (middle + 1, high)
    return EFFECTS[low] if low < len(EFFECTS) else None


@lru_cache(maxsize=64)
def required_pairs(accuracy: float) -> int | None:
    """Pairs of real replies with which a judge of this accuracy is trusted with power 0.8: it beats a coin
    and the simple rules, each of which is a coin itself. None up to 0.5.

    Pairs are counted as independent; those of one tweet are worth less. Never fewer than MIN_PAIRS.
    """
    import numpy as np

    if accuracy <= 0.5:
        return None
    rng, z = np.random.default_rng(17), _normal_point(0.05)
    judge, length, *rules = rng.standard_normal((2 + N_RULES, 20_000))
    spread, coin = math.sqrt(accuracy * (1 - accuracy)), 0.5
    bound = z * math.sqrt(spread**2 + coin**2)

    def power(n: int) -> float:
        ahead = math.sqrt(n) * (accuracy - 0.5) + spread * judge
        beaten = [ahead - coin * rule > bound for rule in (length, -length, *rules)]
        return float(np.mean(np.all(beaten, axis=0)))

    n = max(MIN_PAIRS, required_decisive(accuracy) if accuracy < 1 else 0)
    while power(n) < POWER:
        n = math.ceil(1.02 * n)
    return n


def _normal_point(p: float) -> float:
    """The two-sided point of the normal distribution."""
    from scipy import stats

    return float(stats.norm.isf(p / 2))


def _error(accuracy: float) -> float:
    """Variance of the judge's error on one reply, from P(right) = 1/2 + asin(rho) / pi: rho is the
    correlation of the true and the seen difference of two replies, rho^2 the true share of what is seen.
    """
    rho = math.sin(math.pi * (min(accuracy, 1.0) - 0.5))
    return (1 - SHARED) * (1 / rho**2 - 1)
