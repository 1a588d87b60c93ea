"""The habits that a judge may follow instead of quality: the length of the replies, and which of them it
reads first.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lib.base.errors import UserError
from lib.evidence.intervals import MIN_CLUSTERS, Interval, wilson

if TYPE_CHECKING:
    import numpy as np


LENGTH_EXPLAINS = 0.9  # Somers' D of verdict and length difference: above it length alone orders the verdicts


@dataclass(frozen=True)
class Positions:
    """The judge's treatment of the reply shown first, counted in judged comparisons.

    decisive: comparisons that were not ties; first_wins: those that the reply shown first won. both_orders:
    pairs judged in both orders; order_flips: those whose two verdicts contradict each other. one_order:
    comparisons whose swapped twin is missing.
    """

    first_wins: int
    decisive: int
    order_flips: int
    both_orders: int
    one_order: int = 0


def length_control(sign: np.ndarray, longer: np.ndarray, author: np.ndarray) -> dict[str, Any]:
    """Does the win remain at equal length? sign: (n,) of +1, 0, -1. longer: characters of a minus those of b.
    Shares are 0..1.

    win_rate, ci95: the regression's intercept (see _win_rate_at_equal_length). balanced_win_rate,
    balanced_ci95: the mean of the win rates where a is the longer and where it is the shorter reply. A judge
    of length alone is at 0.5 in one of them: the first follows a preference that grows with length, the
    second one that only asks which is longer.
    correlation, correlation_p: Spearman, verdict with length difference. explained: length alone may have
    made the verdicts, because Somers' D of the two is 0.9 or more or because length and system cannot be told
    apart.
    low: what the gate reads, the smaller lower bound; at 99% where the verdicts follow length, for such a
    judge gets no free 2.5%.
    """
    import numpy as np
    from scipy import stats

    r = p = None
    explained = False
    if len(sign) > 2 and np.ptp(sign) > 0 and np.ptp(longer) > 0:
        r, p = map(float, stats.spearmanr(sign, longer))
        explained = abs(float(stats.somersd(sign, longer).statistic)) >= LENGTH_EXPLAINS
    win_rate, ci95, strict, note = _win_rate_at_equal_length((sign + 1) / 2, longer, author)
    explained, follows = explained or win_rate is None, p is not None and p < 0.05
    balanced, balanced_ci95, balanced_strict = _balanced_win_rate((sign + 1) / 2, longer)
    lows = (strict[0], balanced_strict[0]) if follows else (ci95[0], balanced_ci95[0])
    return {
        "win_rate": win_rate,
        "ci95": ci95,
        "balanced_win_rate": balanced,
        "balanced_ci95": balanced_ci95,
        "low": 0.0 if explained else min(lows),
        "correlation": r,
        "correlation_p": p,
        "follows_length": follows,
        "explained": explained,
        "a_longer": float((longer > 0).mean()),
        "longer_wins": float((sign * longer > 0).sum() / max((sign * longer != 0).sum(), 1)),
        "notes": [note] if note else [],
    }


def _win_rate_at_equal_length(
    won: np.ndarray, longer: np.ndarray, author: np.ndarray
) -> tuple[float | None, Interval, Interval, str]:
    """Logistic regression of won (0, 0.5, 1) on tanh(length difference / its SD), not centred: the intercept
    is equal length.

    Returns the win rate, its 95% and 99% intervals, and a note. Where length and system cannot be told apart:
    None, (0, 1), (0, 1).
    """
    import numpy as np
    import statsmodels.api as sm
    from scipy.special import expit
    from statsmodels.tools.sm_exceptions import PerfectSeparationWarning

    unknown = (None, (0.0, 1.0), (0.0, 1.0))
    if np.ptp(won) == 0 or np.ptp(longer) == 0:
        if np.ptp(longer) == 0 and longer[0] != 0:
            return (
                *unknown,
                "length control is not possible: the length difference is the same on every tweet",
            )
        if not (longer >= 0).any() or not (longer <= 0).any():
            return (
                *unknown,
                "length control is not possible: all verdicts agree and one system is always the longer",
            )
        strict = _share_interval(won, 0.01)
        return float(won.mean()), _share_interval(won, 0.05), strict, ""
    design = np.column_stack([np.ones(len(won)), np.tanh(longer / longer.std())])
    clustered = MIN_CLUSTERS <= author.max() + 1 < len(won)  # errors by author need many authors
    errors = {"cov_type": "cluster", "cov_kwds": {"groups": author}} if clustered else {"cov_type": "HC1"}
    separated = (*unknown, "length control is not possible: length separates the verdicts perfectly")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", PerfectSeparationWarning)
        try:
            fit = sm.GLM(won, design, family=sm.families.Binomial()).fit(**errors)
        except (PerfectSeparationWarning, np.linalg.LinAlgError):
            return separated
        intervals = [tuple(map(float, expit(fit.conf_int(alpha)[0]))) for alpha in (0.05, 0.01)]
    if not np.isfinite(intervals).all():
        return separated
    return float(expit(fit.params[0])), intervals[0], intervals[1], ""


def _share_interval(won: np.ndarray, alpha: float) -> Interval:
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(won.sum(), len(won), alpha=alpha, method="wilson")
    return float(low), float(high)


def _balanced_win_rate(won: np.ndarray, longer: np.ndarray) -> tuple[float | None, Interval, Interval]:
    """Mean of the win rates where a is longer and where it is shorter, with 95% and 99% Newcombe intervals;
    equal lengths count half.

    Half the difference of a's wins when longer and b's wins when longer, plus a half. (0, 1) if one system is
    always the longer.
    """
    from statsmodels.stats.proportion import confint_proportions_2indep

    weight = (longer > 0) + 0.5 * (longer == 0)
    n_longer, n_shorter = float(weight.sum()), float((1 - weight).sum())
    if not n_longer or not n_shorter:
        return None, (0.0, 1.0), (0.0, 1.0)
    a_wins, b_wins = float((won * weight).sum()), float(((1 - won) * (1 - weight)).sum())
    intervals = []
    for alpha in (0.05, 0.01):
        options = {"compare": "diff", "method": "newcomb", "alpha": alpha}
        low, high = confint_proportions_2indep(a_wins, n_longer, b_wins, n_shorter, **options)
        intervals.append((float(0.5 + low / 2), float(0.5 + high / 2)))
    return 0.5 + (a_wins / n_longer - b_wins / n_shorter) / 2, intervals[0], intervals[1]


def position_bias(positions: Positions | None) -> dict[str, Any] | None:
    """P(first chosen) among decisive comparisons and the share of order flips, each with a Wilson interval.
    Shares are 0..1.

    harmless: every pair was judged in both orders (a flip is then a tie), or the interval of P(first chosen)
    includes 0.5.
    """
    if positions is None:
        return None
    first, decisive, flips, both = (
        positions.first_wins,
        positions.decisive,
        positions.order_flips,
        positions.both_orders,
    )
    if not (0 <= first <= decisive and 0 <= flips <= both and positions.one_order >= 0):
        raise UserError(
            f"Position counts contradict each other: {positions}. Count wins of the first reply among "
            "decisive comparisons."
        )
    ci95 = wilson(first, decisive)
    one_order = max(positions.one_order, decisive if both == 0 else 0)
    return asdict(positions) | {
        "one_order": one_order,
        "first_chosen": first / decisive if decisive else None,
        "ci95": ci95,
        "flip_share": flips / both if both else None,
        "flip_ci95": wilson(flips, both),
        "harmless": one_order == 0 or ci95[0] <= 0.5 <= ci95[1],
    }


def named_biases(
    net_win_ci95: Interval, length: dict[str, Any], position: dict[str, Any] | None
) -> list[str]:
    """The habits that the judge follows besides the replies' quality, in words."""
    named = []
    if position and not position["ci95"][0] <= 0.5 <= position["ci95"][1]:
        low, high = position["ci95"]
        named.append(
            f"position: the reply shown first won {position['first_chosen']:.0%} of {position['decisive']} "
            f"decisive comparisons (95% CI {low:.0%} to {high:.0%}); {position['order_flips']} of "
            f"{position['both_orders']} pairs changed with the order"
        )
    if position and position["both_orders"] >= 30 and position["flip_ci95"][1] >= 0.5:
        named.append(
            f"consistency: {position['flip_share']:.0%} of the verdicts changed with the order; a coin "
            "changes 50%"
        )
    if length["follows_length"]:
        named.append(
            f"length: the longer reply won {length['longer_wins']:.0%} of decisive tweets (Spearman "
            f"{length['correlation']:+.2f})"
        )
    elif net_win_ci95[0] > 0 and (length["win_rate"] is None or length["balanced_win_rate"] is None):
        named.append(
            f"length: the candidate is longer on {length['a_longer']:.0%} of the tweets; its win cannot be "
            "told from length"
        )
    return named
