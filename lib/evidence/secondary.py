"""Beyond the headline: several comparisons, more than two systems, equivalence, perplexity, agreement of
raters.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lib.base.errors import UserError
from lib.evidence.intervals import MIN_CLUSTERS, N_RESAMPLES

if TYPE_CHECKING:
    import numpy as np


def holm(pvalues: Mapping[str, float]) -> dict[str, float]:
    """Holm-adjusted p values under the same names, for the secondary comparisons."""
    from statsmodels.stats.multitest import multipletests

    if not pvalues:
        return {}
    adjusted = multipletests(list(pvalues.values()), method="holm")[1]
    return {name: float(p) for name, p in zip(pvalues, adjusted, strict=True)}


def bradley_terry(
    judgments: Sequence[tuple[str, str, float, str]], reference: str = "base"
) -> dict[str, dict[str, Any]]:
    """Strengths of more than two systems on one scale, as a logistic regression clustered by tweet.

    judgments: (system a, system b, step of a over b in [-1, 1], tweet id). Returns, per system, strength (log
    odds against the reference), ci95, win_rate against the reference and its win_rate_ci95; None for a system
    that always or never wins. Raises UserError if the reference is unknown, the tweets are not more than the
    systems, or the systems are not all connected.
    """
    import numpy as np
    import statsmodels.api as sm
    from scipy.special import expit

    systems = sorted({name for a, b, _, _ in judgments for name in (a, b)})
    if reference not in systems:
        raise UserError(
            f"No judgment has the reference system {reference!r}; judged were {', '.join(systems) or 'none'}."
        )
    others = [name for name in systems if name != reference]
    design = np.array(
        [[(a == name) - (b == name) for name in others] for a, b, _, _ in judgments], dtype=float
    )
    if np.linalg.matrix_rank(design) < len(others):
        raise UserError(
            f"The systems {', '.join(systems)} are not all connected by judgments. Judge each against "
            f"{reference}."
        )
    won = (np.sign([step for _, _, step, _ in judgments]) + 1) / 2
    tweet = np.unique([tweet for *_, tweet in judgments], return_inverse=True)[1]
    if tweet.max() + 1 <= len(systems):
        raise UserError(
            f"{len(systems)} systems need judgments on more than {len(systems)} tweets to be ranked, not "
            f"{tweet.max() + 1}."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # separation is read from the result
        # A system that always wins has no finite strength; 20 steps find the others and stop before the
        # numbers overflow.
        fit = sm.GLM(won, design, family=sm.families.Binomial()).fit(
            maxiter=20, cov_type="cluster", cov_kwds={"groups": tweet}
        )
    table = {reference: {"strength": 0.0, "ci95": (0.0, 0.0), "win_rate": 0.5, "win_rate_ci95": (0.5, 0.5)}}
    for name, strength, interval in zip(others, fit.params, fit.conf_int(), strict=True):
        known = abs(strength) < 10 and np.isfinite(interval).all()
        values = (
            float(strength),
            tuple(map(float, interval)),
            float(expit(strength)),
            tuple(map(float, expit(interval))),
        )
        table[name] = dict(zip(table[reference], values if known else (None,) * 4, strict=True))
    return table


def equivalence(a: Sequence[float], b: Sequence[float], margin: float) -> dict[str, Any]:
    """Is the mean of a - b inside -margin..margin? Two one-sided paired t tests, for forgetting; margin in
    the unit of a and b.

    Returns n, mean_diff, ci90 (inside the margin exactly when p < 0.05), margin, p, equivalent, noninferior
    (the upper one of the two tests alone: a is worse by less than the margin, or better). Raises UserError
    below two pairs.
    """
    import numpy as np
    from scipy import stats
    from statsmodels.stats.weightstats import ttost_paired

    difference = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    if len(difference) < 2 or not np.isfinite(difference).all() or margin <= 0:
        raise UserError("Equivalence needs two or more pairs of finite numbers and a margin above 0.")
    mean = float(difference.mean())
    if np.ptp(difference) < 1e-12:  # no spread: a t test would divide by zero
        p, ci90 = float(abs(mean) >= margin), (mean, mean)
    else:
        p = float(ttost_paired(np.asarray(a, dtype=float), np.asarray(b, dtype=float), -margin, margin)[0])
        ci90 = tuple(map(float, stats.ttest_1samp(difference, 0).confidence_interval(0.90)))
    return {
        "n": len(difference),
        "mean_diff": mean,
        "ci90": ci90,
        "margin": margin,
        "p": p,
        "equivalent": p < 0.05,
        "noninferior": ci90[1] < margin,
    }


def perplexity_interval(losses: Sequence[Sequence[float]], seed: int = 17) -> tuple[float, float] | None:
    """95% interval of the perplexity of replies: BCa bootstrap over replies, whole, for their tokens depend
    on each other.

    losses: (sum in nats, number of tokens) a reply. None below MIN_CLUSTERS replies, or without any spread.
    """
    import numpy as np
    from scipy import stats

    sums, sizes = np.asarray(losses, dtype=float).reshape(-1, 2).T
    if len(sums) < MIN_CLUSTERS or np.ptp(sums / sizes) < 1e-12:
        return None

    def perplexity(total: np.ndarray, n: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.exp(total.sum(axis=axis) / n.sum(axis=axis))

    options = {"n_resamples": N_RESAMPLES, "method": "BCa", "vectorized": True, "paired": True, "rng": seed}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a degenerate bootstrap answers nan
        result = stats.bootstrap((sums, sizes), perplexity, **options).confidence_interval
    low, high = map(float, result)
    return (low, high) if np.isfinite([low, high]).all() else None


def agreement(ratings: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Agreement beyond chance: Cohen's kappa for two raters (people and judge), Fleiss' for more.

    ratings: one row per item, one label per rater. Returns n, n_raters, share (items on which all agree),
    kappa, ci95 (two raters only).
    kappa is None where every label is the same: chance agreement is then complete. Raises UserError on no
    items or ragged rows.
    """
    import numpy as np
    from statsmodels.stats.inter_rater import aggregate_raters, cohens_kappa, fleiss_kappa, to_table

    n_raters = {len(row) for row in ratings}
    if len(n_raters) != 1 or min(n_raters) < 2:
        raise UserError(
            "Agreement needs one or more items, each with a label from the same two or more raters."
        )
    _, codes = np.unique([str(label) for row in ratings for label in row], return_inverse=True)
    codes = codes.reshape(len(ratings), -1)
    kappa, ci95 = None, None
    if codes.max() > 0 and codes.shape[1] == 2:
        result = cohens_kappa(to_table(codes)[0])
        kappa, ci95 = _known(result.kappa), (_known(result.kappa_low), _known(result.kappa_upp))
        ci95 = None if None in ci95 else ci95
    elif codes.max() > 0:
        kappa = float(fleiss_kappa(aggregate_raters(codes)[0]))
    share = float((codes == codes[:, :1]).all(axis=1).mean())
    return {"n": len(codes), "n_raters": codes.shape[1], "share": share, "kappa": kappa, "ci95": ci95}


def _known(value: float) -> float | None:
    """None for a number that does not exist: one rater gave every item the same label."""
    return float(value) if value == value else None
