"""The tweets that an evaluation needs, and the smallest effect that a number of tweets can show.

Every number is a two-sided test at alpha 0.05. Rank tests get the t-test's sample size divided by 0.955,
their asymptotic relative efficiency under normality. d is Cohen's d (pooled SD), d_z the mean difference over
the SD of the differences; d_z = d / sqrt(2 (1 - r)) with r the correlation of the two systems' scores over
tweets (Miller 2024, arXiv:2411.00640).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

ALPHA = 0.05
POWER = 0.8
TARGET_D = 0.3
MIN_TWEETS = 100
RANK_EFFICIENCY = 0.955


def _number(solved: Any) -> float:
    """solve_power may return a 1-element array or the negative root."""
    import numpy as np

    return abs(float(np.ravel(solved)[0]))


@lru_cache(maxsize=256)
def _standard_effects(n: float) -> tuple[float, float, float]:
    """Effects that n tweets show: d_z (Wilcoxon), d of two samples (Mann-Whitney), effect of a one-sample z
    test. n >= 3.
    """
    from statsmodels.stats.power import NormalIndPower, TTestIndPower, TTestPower

    d_z = _number(TTestPower().solve_power(nobs=n * RANK_EFFICIENCY, alpha=ALPHA, power=POWER))
    two_samples = _number(TTestIndPower().solve_power(nobs1=n * RANK_EFFICIENCY, alpha=ALPHA, power=POWER))
    z_effect = _number(
        NormalIndPower(ddof=0).solve_power(nobs1=n, alpha=ALPHA, power=POWER, ratio=0)
    )  # ratio=0: one sample
    return d_z, two_samples, z_effect


def smallest_effects(
    n: float, r: float = 0.5, ties: float = 0.25, sd_difference: float | None = None
) -> dict[str, float | None]:
    """The smallest true effects that n tweets show with power 0.8.

    r: correlation of the systems' scores over tweets. ties: share of tied tweets, 0..1. sd_difference: SD of
    the score differences. Returns d (Wilcoxon, pooled SD, at r), d_mannwhitney, d_z (Wilcoxon), net_win
    (points), score (score points; needs sd_difference). All are None where n < 3: no test exists there.
    """
    if n < 3:
        return dict.fromkeys(("d", "d_mannwhitney", "d_z", "net_win", "score"))
    d_z, two_samples, z_effect = _standard_effects(n)
    return {
        "d": d_z * math.sqrt(2 * (1 - r)),
        "d_mannwhitney": two_samples,
        "d_z": d_z,
        # z_effect is net / sqrt(decisive - net**2), solved for net.
        "net_win": 100 * z_effect * math.sqrt((1 - ties) / (1 + z_effect**2)),
        "score": None if sd_difference is None else d_z * sd_difference,
    }


def required_tweets(
    effect_d: float = TARGET_D, power: float = POWER, r: float = 0.5, ties: float = 0.25, net_win: float = 15
) -> dict[str, int]:
    """Tweets needed to see Cohen's d = effect_d, and a true net win of net_win points, with this power.

    r: correlation of the systems' scores over tweets, -1 < r < 1. ties: share of tied tweets, 0..1.
    Returns mannwhitney, wilcoxon, net_win (tweets each), and tweets: what the gate's two rank tests need.
    Seeing an effect is not passing: the gate also asks for an *observed* d above its threshold, which a true
    d of exactly that threshold reaches half the time whatever n is.
    """
    from statsmodels.stats.power import NormalIndPower, TTestIndPower, TTestPower

    d_z, net = effect_d / math.sqrt(2 * (1 - r)), net_win / 100
    z_effect = net / math.sqrt(max(1 - ties - net**2, 1e-12))
    per_arm = _number(TTestIndPower().solve_power(effect_size=effect_d, alpha=ALPHA, power=power))
    paired = _number(TTestPower().solve_power(effect_size=d_z, alpha=ALPHA, power=power))
    needed = {
        "mannwhitney": math.ceil(per_arm / RANK_EFFICIENCY),
        "wilcoxon": math.ceil(paired / RANK_EFFICIENCY),
        "net_win": math.ceil(
            _number(
                NormalIndPower(ddof=0).solve_power(effect_size=z_effect, alpha=ALPHA, power=power, ratio=0)
            )
        ),
    }
    return {"tweets": max(MIN_TWEETS, needed["mannwhitney"], needed["wilcoxon"]), **needed}


def required_decisive(win_rate: float, power: float = POWER) -> int:
    """Decisive pairs that a sign test needs to tell a true win rate (0..1, not 0.5) from a coin, e.g.

    in calibration.
    """
    from statsmodels.stats.power import normal_sample_size_one_tail

    sd = math.sqrt(win_rate * (1 - win_rate))
    return math.ceil(
        normal_sample_size_one_tail(abs(win_rate - 0.5), power, ALPHA / 2, std_null=0.5, std_alternative=sd)
    )


def power_table(n: int) -> dict[str, Any]:
    """The effects that n test prompts can show: rows over the correlation r (d units) and over the share of
    ties (net win points).

    `enough` is whether n reaches both MIN_TWEETS and a smallest visible d of TARGET_D or less at r = 0.5.
    power_at_target is the chance that the Wilcoxon test sees d = TARGET_D.
    """
    from statsmodels.stats.power import TTestPower

    by_r, by_ties = [], []
    for r in (0.0, 0.3, 0.5, 0.7):
        seen = smallest_effects(n, r=r)
        d_z = TARGET_D / math.sqrt(2 * (1 - r))
        power = float(TTestPower().power(d_z, n * RANK_EFFICIENCY, ALPHA)) if n >= 3 else 0.0
        by_r.append(
            {
                "r": r,
                "d": seen["d"],
                "d_mannwhitney": seen["d_mannwhitney"],
                "d_z": seen["d_z"],
                "power_at_target": power,
            }
        )
    for ties in (0.0, 0.25, 0.4):
        by_ties.append({"ties": ties, "net_win": smallest_effects(n, ties=ties)["net_win"]})
    at_half = by_r[2]["d"]
    return {
        "n": n,
        "by_r": by_r,
        "by_ties": by_ties,
        "enough": n >= MIN_TWEETS and at_half is not None and at_half <= TARGET_D,
    }
