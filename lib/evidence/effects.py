"""Tests and effect sizes of paired outcomes, every one a call to scipy or statsmodels."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from lib.evidence.intervals import N_RESAMPLES, wilson

if TYPE_CHECKING:
    import numpy as np


def score_tests(score_a: np.ndarray, score_b: np.ndarray) -> dict[str, float]:
    """Mann-Whitney U (the seed's gate: safe but weak on pairs), Wilcoxon signed-rank on the same scores,
    Cliff's delta = 2U/n^2 - 1.
    """
    from scipy import stats

    u, p = stats.mannwhitneyu(score_a, score_b, alternative="two-sided")
    return {
        "mannwhitney_p": float(p),
        "wilcoxon_p": wilcoxon(score_a, score_b),
        "cliffs_delta": float(2 * u / len(score_a) ** 2 - 1),
    }


def wilcoxon(a: np.ndarray, b: np.ndarray) -> float:
    """Two-sided p with Pratt zeros (scipy's default drops ties); 1 where no pair differs."""
    from scipy import stats

    return 1.0 if (a == b).all() else float(stats.wilcoxon(a, b, zero_method="pratt").pvalue)


def permutation_test(
    difference: np.ndarray, author: np.ndarray, seed: int = 17, n_resamples: int = N_RESAMPLES
) -> float:
    """Two-sided p of no mean difference: the two systems swap places at random, all tweets of an author
    together.

    The only test here that holds at any n, correlation, share of ties and number of tweets per author.
    """
    import numpy as np
    from scipy import stats

    sums = np.bincount(author, weights=difference)
    rng = np.random.default_rng(seed)

    def swapped(size: tuple[int, ...]) -> np.ndarray:
        return sums * rng.choice([-1.0, 1.0], size=size)

    # Swapping a pair flips the sign of its difference; permutation_test does the same 20 times slower.
    return float(
        stats.monte_carlo_test(sums, swapped, np.mean, vectorized=True, n_resamples=n_resamples).pvalue
    )


def verdict_tests(sign: np.ndarray, author: np.ndarray) -> dict[str, Any]:
    """Tests of no net win. sign: (n,) of +1, 0, -1.

    sign_test_p (the exact paired permutation test of the net win) and the Wilson interval: decisive tweets.
    cluster_p: OLS with author-robust errors; None where the verdicts do not vary, or not from author to
    author.
    """
    import numpy as np
    import statsmodels.api as sm
    from scipy import stats

    wins, losses = int((sign > 0).sum()), int((sign < 0).sum())
    cluster_p = None
    if np.ptp(sign) > 0 and author.max() > 0:
        fit = sm.OLS(sign, np.ones(len(sign))).fit(
            cov_type="cluster", cov_kwds={"groups": author}, use_t=True
        )
        cluster_p = float(fit.pvalues[0]) if fit.bse[0] > 1e-12 else None
    return {
        "sign_test_p": float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0,
        "cluster_p": cluster_p,
        "decisive_win_rate": wins / (wins + losses) if wins + losses else None,
        "decisive_ci95": wilson(wins, wins + losses),
    }


def effect_sizes(score_a: np.ndarray, score_b: np.ndarray) -> dict[str, float | None]:
    """cohens_d (pooled SD: the t statistic times sqrt(2/n)), hedges_g (the same, small-sample corrected), d_z
    and r over tweets.

    None where there is no spread to divide by; 0 where the systems are equal on every tweet.
    """
    import numpy as np
    from scipy import stats
    from statsmodels.stats.meta_analysis import effectsize_smd

    n, sizes = len(score_a), dict.fromkeys(("cohens_d", "hedges_g", "d_z", "r"))
    if (score_a == score_b).all():
        sizes |= {"cohens_d": 0.0, "hedges_g": 0.0, "d_z": 0.0}
    if n < 2:
        return sizes
    varies = {
        "a": np.ptp(score_a) > 1e-12,
        "b": np.ptp(score_b) > 1e-12,
        "difference": np.ptp(score_a - score_b) > 1e-12,
    }
    if varies["a"] or varies["b"]:
        g, _ = effectsize_smd(score_a.mean(), score_a.std(ddof=1), n, score_b.mean(), score_b.std(ddof=1), n)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one of the two may be constant; the pooled SD is not
            sizes |= {
                "cohens_d": float(stats.ttest_ind(score_a, score_b).statistic * np.sqrt(2 / n)),
                "hedges_g": float(g),
            }
    if varies["difference"]:
        sizes["d_z"] = float(stats.ttest_rel(score_a, score_b).statistic / np.sqrt(n))
    if varies["a"] and varies["b"]:
        sizes["r"] = float(stats.pearsonr(score_a, score_b).statistic)
    return sizes
