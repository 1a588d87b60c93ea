"""Compare two systems on the same tweets. The unit is the tweet; every statistic is a call to scipy or statsmodels.

Pre-registered primary outcome: the net win rate, (wins - losses) / tweets in points of -100..100; ties and order disagreements
count 0. Everything else is a check on it. Sources: Miller 2024, arXiv:2411.00640 (paired, clustered);
Dubois et al. 2024, arXiv:2404.04475 (length control).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lib.errors import UserError
from lib.power import MIN_TWEETS, TARGET_D, smallest_effects

if TYPE_CHECKING:
    import numpy as np

Interval = tuple[float, float]

N_RESAMPLES = 9999
MIN_CLUSTERS = 10  # below this a bootstrap interval is too narrow
LENGTH_EXPLAINS = 0.9  # Somers' D of verdict and length difference: above it length alone orders the verdicts


@dataclass(frozen=True)
class Positions:
    """How the judge treated the reply shown first, counted in judged comparisons.

    decisive: comparisons that were not ties; first_wins: those that the reply shown first won. both_orders: pairs judged in both
    orders; order_flips: those whose two verdicts contradict each other. one_order: comparisons whose swapped twin is missing.
    """

    first_wins: int
    decisive: int
    order_flips: int
    both_orders: int
    one_order: int = 0


@dataclass(frozen=True)
class Outcomes:
    """One row per tweet: system a (the candidate) against system b.

    step: mean verdict in [-1, 1] over both orders and repeats (+1 a much better, +0.5 a better, 0 tie or the orders disagree).
    score_*: mean criterion score of the tweet's replies (1-10, or the offline judge's scale). chars_*: reply length, characters.
    cluster: author of the tweet; an empty string is an unknown author and stands alone.
    positions: None only for a judge that scores each reply alone and so has no position to prefer.
    """

    step: Sequence[float]
    score_a: Sequence[float]
    score_b: Sequence[float]
    chars_a: Sequence[float]
    chars_b: Sequence[float]
    cluster: Sequence[str]
    positions: Positions | None
    a: str = "tuned"
    b: str = "base"


@dataclass(frozen=True)
class Comparison:
    """What is known about a against b. None means that the number does not exist for these outcomes; `notes` says why.

    win_rate counts a tie as half (0..1). net_win, ci95: points, -100..100. relative_mean: % of mean_b, changes with the scale's origin.
    mannwhitney_p, wilcoxon_p, permutation_p, cohens_d (pooled SD), hedges_g, d_z, cliffs_delta, r: scores.
    step_wilcoxon_p: verdict steps. sign_test_p, cluster_p: net win.
    length, position, mde: see length_control, position_bias, smallest_effects.
    underpowered: fewer than 100 tweets, or the smallest Cohen's d that they show with power 0.8 is above 0.3 (at the observed
    correlation, tweets of one author counted for what they are worth).
    """

    a: str
    b: str
    n: int
    n_authors: int
    wins: int
    ties: int
    losses: int
    win_rate: float
    net_win: float
    ci95: Interval
    ci_method: str
    mean_a: float
    mean_b: float
    mean_diff: float
    mean_diff_ci95: Interval | None
    relative_mean: float | None
    mannwhitney_p: float
    wilcoxon_p: float
    step_wilcoxon_p: float
    permutation_p: float
    sign_test_p: float
    cluster_p: float | None
    cohens_d: float | None
    hedges_g: float | None
    d_z: float | None
    cliffs_delta: float
    r: float | None
    decisive_win_rate: float | None
    decisive_ci95: Interval
    length: dict[str, Any]
    position: dict[str, Any] | None
    biases: list[str]
    mde: dict[str, float | None]
    underpowered: bool
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: plain numbers, strings, lists and None, no NaN."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def compare(outcomes: Outcomes, seed: int = 17, n_resamples: int = N_RESAMPLES) -> Comparison:
    """Test a against b, tweet by tweet. The same outcomes and seed give the same answer.

    n_resamples: of the bootstrap and the permutation test. Raises UserError on no tweets, unequal lengths or values that are not numbers.
    """
    import numpy as np

    step, score_a, score_b, longer, author = _checked(outcomes)
    sign, difference, n = np.sign(step), score_a - score_b, len(step)
    wins, losses = int((sign > 0).sum()), int((sign < 0).sum())
    notes: list[str] = []
    ci95, ci_method = net_win_interval(sign, author, seed, n_resamples)
    effects = effect_sizes(score_a, score_b)
    notes += [f"{name} does not exist: the scores do not vary" for name in ("cohens_d", "d_z", "r") if effects[name] is None]
    mean_diff_ci95 = mean_interval(difference, author, seed, n_resamples)
    if mean_diff_ci95 is None:
        notes.append("the mean difference has no interval: fewer than two authors, or all differences are the same")
    mean_a, mean_b = float(score_a.mean()), float(score_b.mean())
    if mean_b <= 0:
        notes.append("the relative mean does not exist: the mean score of the baseline is not above 0")
    n_effective = n / max(design_effect(sign, author), design_effect(difference, author))
    sd = float(difference.std(ddof=1)) if n > 1 else None
    mde = smallest_effects(n_effective, effects["r"] or 0.0, 1 - (wins + losses) / n, sd) | {"n_effective": n_effective}
    length = length_control(sign, longer, author)
    position = position_bias(outcomes.positions)
    return Comparison(
        a=outcomes.a,
        b=outcomes.b,
        n=n,
        n_authors=int(author.max()) + 1,
        wins=wins,
        ties=n - wins - losses,
        losses=losses,
        win_rate=(wins - losses + n) / (2 * n),
        net_win=100 * (wins - losses) / n,
        ci95=ci95,
        ci_method=ci_method,
        mean_a=mean_a,
        mean_b=mean_b,
        mean_diff=float(difference.mean()),
        mean_diff_ci95=mean_diff_ci95,
        relative_mean=100 * (mean_a - mean_b) / mean_b if mean_b > 0 else None,
        **score_tests(score_a, score_b),
        step_wilcoxon_p=_wilcoxon(step, np.zeros(n)),
        permutation_p=permutation_test(difference, author, seed, n_resamples),
        **verdict_tests(sign, author),
        **effects,
        length=length,
        position=position,
        biases=_named_biases(ci95, length, position),
        mde=mde,
        underpowered=n < MIN_TWEETS or mde["d"] is None or mde["d"] > TARGET_D,
        notes=notes + length["notes"],
    )


def _checked(outcomes: Outcomes) -> tuple[np.ndarray, ...]:
    """step, score_a, score_b, length difference (characters) and author number, (n,) each; UserError if they cannot be compared."""
    import numpy as np

    columns = ("step", "score_a", "score_b", "chars_a", "chars_b")
    values = {name: np.asarray(getattr(outcomes, name), dtype=float) for name in columns}
    sizes = {name: len(column) for name, column in values.items()} | {"cluster": len(outcomes.cluster)}
    if sizes["step"] == 0:
        raise UserError(f"No tweet has a verdict for {outcomes.a} against {outcomes.b}. Run the judge first, or look at its failures.")
    if len(set(sizes.values())) > 1:
        raise UserError(f"The columns of {outcomes.a} against {outcomes.b} differ in length ({sizes}). Give one row per tweet.")
    for name, column in values.items():
        if not np.isfinite(column).all():
            row = int(np.flatnonzero(~np.isfinite(column))[0])
            raise UserError(f"{name} of tweet {row} is {column[row]}. Leave out tweets that the judge could not answer.")
    if np.abs(values["step"]).max() > 1:
        raise UserError("A verdict step lies outside -1..1. Use +1, +0.5, 0, -0.5, -1 or their mean.")
    names = [name or f"\0{row}" for row, name in enumerate(outcomes.cluster)]
    author = np.unique(names, return_inverse=True)[1]
    return values["step"], values["score_a"], values["score_b"], values["chars_a"] - values["chars_b"], author


def wilson(k: float, n: float) -> Interval:
    """95% Wilson interval of the share k / n; (0, 1) where n is 0. k may be a half: a tie."""
    from statsmodels.stats.proportion import proportion_confint

    if n == 0:
        return 0.0, 1.0
    low, high = proportion_confint(k, n, method="wilson")
    return float(low), float(high)


def net_win_interval(sign: np.ndarray, author: np.ndarray, seed: int = 17, n_resamples: int = N_RESAMPLES) -> tuple[Interval, str]:
    """95% interval of the net win rate in points, and how it was made. sign: (n,) of +1, 0, -1. author: (n,) int from 0.

    Where a bootstrap cannot know (few authors, all verdicts the same) it is Wilson's, of the win rate with ties as half and one
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


def mean_interval(difference: np.ndarray, author: np.ndarray, seed: int = 17, n_resamples: int = N_RESAMPLES) -> Interval | None:
    """95% interval of the mean score difference: BCa, Student's t for 2 to 9 authors, None without any spread."""
    import numpy as np
    from scipy import stats

    interval = _bca(difference, author, seed, n_resamples)
    means = np.bincount(author, weights=difference) / np.bincount(author)
    if interval is not None or len(means) < 2 or np.ptp(means) < 1e-12:
        return interval
    low, high = stats.ttest_1samp(means, 0).confidence_interval()
    return float(low), float(high)


def _bca(values: np.ndarray, author: np.ndarray, seed: int, n_resamples: int) -> Interval | None:
    """95% BCa interval of the mean over tweets; authors are resampled, whole, where they repeat. None where BCa is undefined."""
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


def score_tests(score_a: np.ndarray, score_b: np.ndarray) -> dict[str, float]:
    """Mann-Whitney U (the seed's gate: safe but weak on pairs), Wilcoxon signed-rank on the same scores, Cliff's delta = 2U/n^2 - 1."""
    from scipy import stats

    u, p = stats.mannwhitneyu(score_a, score_b, alternative="two-sided")
    return {"mannwhitney_p": float(p), "wilcoxon_p": _wilcoxon(score_a, score_b), "cliffs_delta": float(2 * u / len(score_a) ** 2 - 1)}


def _wilcoxon(a: np.ndarray, b: np.ndarray) -> float:
    """Two-sided p with Pratt zeros (scipy's default drops ties); 1 where no pair differs."""
    from scipy import stats

    return 1.0 if (a == b).all() else float(stats.wilcoxon(a, b, zero_method="pratt").pvalue)


def permutation_test(difference: np.ndarray, author: np.ndarray, seed: int = 17, n_resamples: int = N_RESAMPLES) -> float:
    """Two-sided p of no mean difference: the two systems swap places at random, all tweets of an author together.

    The only test here that holds at any n, correlation, share of ties and number of tweets per author.
    """
    import numpy as np
    from scipy import stats

    sums = np.bincount(author, weights=difference)
    rng = np.random.default_rng(seed)

    def swapped(size: tuple[int, ...]) -> np.ndarray:
        return sums * rng.choice([-1.0, 1.0], size=size)

    # Swapping a pair flips the sign of its difference; permutation_test does the same 20 times slower.
    return float(stats.monte_carlo_test(sums, swapped, np.mean, vectorized=True, n_resamples=n_resamples).pvalue)


def verdict_tests(sign: np.ndarray, author: np.ndarray) -> dict[str, Any]:
    """Tests of no net win. sign: (n,) of +1, 0, -1.

    sign_test_p (the exact paired permutation test of the net win) and the Wilson interval: decisive tweets.
    cluster_p: OLS with author-robust errors; None where the verdicts do not vary, or not from author to author.
    """
    import numpy as np
    import statsmodels.api as sm
    from scipy import stats

    wins, losses = int((sign > 0).sum()), int((sign < 0).sum())
    cluster_p = None
    if np.ptp(sign) > 0 and author.max() > 0:
        fit = sm.OLS(sign, np.ones(len(sign))).fit(cov_type="cluster", cov_kwds={"groups": author}, use_t=True)
        cluster_p = float(fit.pvalues[0]) if fit.bse[0] > 1e-12 else None
    return {
        "sign_test_p": float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0,
        "cluster_p": cluster_p,
        "decisive_win_rate": wins / (wins + losses) if wins + losses else None,
        "decisive_ci95": wilson(wins, wins + losses),
    }


def effect_sizes(score_a: np.ndarray, score_b: np.ndarray) -> dict[str, float | None]:
    """cohens_d (pooled SD: the t statistic times sqrt(2/n)), hedges_g (the same, small-sample corrected), d_z and r over tweets.

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
    varies = {"a": np.ptp(score_a) > 1e-12, "b": np.ptp(score_b) > 1e-12, "difference": np.ptp(score_a - score_b) > 1e-12}
    if varies["a"] or varies["b"]:
        g, _ = effectsize_smd(score_a.mean(), score_a.std(ddof=1), n, score_b.mean(), score_b.std(ddof=1), n)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one of the two may be constant; the pooled SD is not
            sizes |= {"cohens_d": float(stats.ttest_ind(score_a, score_b).statistic * np.sqrt(2 / n)), "hedges_g": float(g)}
    if varies["difference"]:
        sizes["d_z"] = float(stats.ttest_rel(score_a, score_b).statistic / np.sqrt(n))
    if varies["a"] and varies["b"]:
        sizes["r"] = float(stats.pearsonr(score_a, score_b).statistic)
    return sizes


def design_effect(values: np.ndarray, author: np.ndarray) -> float:
    """How much tweets of one author repeat each other: the variance of the mean by author over that by tweet, at least 1.

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


def length_control(sign: np.ndarray, longer: np.ndarray, author: np.ndarray) -> dict[str, Any]:
    """Does the win remain at equal length? sign: (n,) of +1, 0, -1. longer: characters of a minus those of b. Shares are 0..1.

    win_rate, ci95: the regression's intercept (see _win_rate_at_equal_length). balanced_win_rate, balanced_ci95: the mean of the win
    rates where a is the longer and where it is the shorter reply. A judge of length alone is at 0.5 in one of them: the first
    follows a preference that grows with length, the second one that only asks which is longer.
    correlation, correlation_p: Spearman, verdict with length difference. explained: length alone may have made the verdicts, because
    Somers' D of the two is 0.9 or more or because length and system cannot be told apart.
    low: what the gate reads, the smaller lower bound; at 99% where the verdicts follow length, for such a judge gets no free 2.5%.
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


def _win_rate_at_equal_length(won: np.ndarray, longer: np.ndarray, author: np.ndarray) -> tuple[float | None, Interval, Interval, str]:
    """Logistic regression of won (0, 0.5, 1) on tanh(length difference / its SD), not centred: the intercept is equal length.

    Returns the win rate, its 95% and 99% intervals, and a note. Where length and system cannot be told apart: None, (0, 1), (0, 1).
    """
    import numpy as np
    import statsmodels.api as sm
    from scipy.special import expit
    from statsmodels.tools.sm_exceptions import PerfectSeparationWarning

    unknown = (None, (0.0, 1.0), (0.0, 1.0))
    if np.ptp(won) == 0 or np.ptp(longer) == 0:
        if np.ptp(longer) == 0 and longer[0] != 0:
            return *unknown, "length control is not possible: the length difference is the same on every tweet"
        if not (longer >= 0).any() or not (longer <= 0).any():
            return *unknown, "length control is not possible: all verdicts agree and one system is always the longer"
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
    """Mean of the win rates where a is longer and where it is shorter, with 95% and 99% Newcombe intervals; equal lengths count half.

    Half the difference of a's wins when longer and b's wins when longer, plus a half. (0, 1) if one system is always the longer.
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
    """P(first chosen) among decisive comparisons and the share of order flips, each with a Wilson interval. Shares are 0..1.

    harmless: every pair was judged in both orders (a flip is then a tie), or the interval of P(first chosen) includes 0.5.
    """
    if positions is None:
        return None
    first, decisive, flips, both = positions.first_wins, positions.decisive, positions.order_flips, positions.both_orders
    if not (0 <= first <= decisive and 0 <= flips <= both and positions.one_order >= 0):
        raise UserError(f"Position counts contradict each other: {positions}. Count wins of the first reply among decisive comparisons.")
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


def _named_biases(net_win_ci95: Interval, length: dict[str, Any], position: dict[str, Any] | None) -> list[str]:
    """What the judge follows besides the replies' quality, in words."""
    named = []
    if position and not position["ci95"][0] <= 0.5 <= position["ci95"][1]:
        low, high = position["ci95"]
        named.append(
            f"position: the reply shown first won {position['first_chosen']:.0%} of {position['decisive']} decisive comparisons "
            f"(95% CI {low:.0%} to {high:.0%}); {position['order_flips']} of {position['both_orders']} pairs changed with the order"
        )
    if position and position["both_orders"] >= 30 and position["flip_ci95"][1] >= 0.5:
        named.append(f"consistency: {position['flip_share']:.0%} of the verdicts changed with the order; a coin changes 50%")
    if length["follows_length"]:
        named.append(f"length: the longer reply won {length['longer_wins']:.0%} of decisive tweets (Spearman {length['correlation']:+.2f})")
    elif net_win_ci95[0] > 0 and (length["win_rate"] is None or length["balanced_win_rate"] is None):
        named.append(f"length: the candidate is longer on {length['a_longer']:.0%} of the tweets; its win cannot be told from length")
    return named


def holm(pvalues: Mapping[str, float]) -> dict[str, float]:
    """Holm-adjusted p values under the same names, for the secondary comparisons."""
    from statsmodels.stats.multitest import multipletests

    if not pvalues:
        return {}
    adjusted = multipletests(list(pvalues.values()), method="holm")[1]
    return {name: float(p) for name, p in zip(pvalues, adjusted, strict=True)}


def bradley_terry(judgments: Sequence[tuple[str, str, float, str]], reference: str = "base") -> dict[str, dict[str, Any]]:
    """Strengths of more than two systems on one scale, as a logistic regression clustered by tweet.

    judgments: (system a, system b, step of a over b in [-1, 1], tweet id). Returns, per system, strength (log odds against the
    reference), ci95, win_rate against the reference and its win_rate_ci95; None for a system that always or never wins.
    Raises UserError if the reference is unknown or the systems are not all connected by judgments.
    """
    import numpy as np
    import statsmodels.api as sm
    from scipy.special import expit

    systems = sorted({name for a, b, _, _ in judgments for name in (a, b)})
    if reference not in systems:
        raise UserError(f"No judgment has the reference system {reference!r}; judged were {', '.join(systems) or 'none'}.")
    others = [name for name in systems if name != reference]
    design = np.array([[(a == name) - (b == name) for name in others] for a, b, _, _ in judgments], dtype=float)
    if np.linalg.matrix_rank(design) < len(others):
        raise UserError(f"The systems {', '.join(systems)} are not all connected by judgments. Judge each against {reference}.")
    won = (np.sign([step for _, _, step, _ in judgments]) + 1) / 2
    tweet = np.unique([tweet for *_, tweet in judgments], return_inverse=True)[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # separation is read from the result
        # A system that always wins has no finite strength; 20 steps find the others and stop before the numbers overflow.
        fit = sm.GLM(won, design, family=sm.families.Binomial()).fit(maxiter=20, cov_type="cluster", cov_kwds={"groups": tweet})
    table = {reference: {"strength": 0.0, "ci95": (0.0, 0.0), "win_rate": 0.5, "win_rate_ci95": (0.5, 0.5)}}
    for name, strength, interval in zip(others, fit.params, fit.conf_int(), strict=True):
        known = abs(strength) < 10 and np.isfinite(interval).all()
        values = (float(strength), tuple(map(float, interval)), float(expit(strength)), tuple(map(float, expit(interval))))
        table[name] = dict(zip(table[reference], values if known else (None,) * 4, strict=True))
    return table


def equivalence(a: Sequence[float], b: Sequence[float], margin: float) -> dict[str, Any]:
    """Is the mean of a - b inside -margin..margin? Two one-sided paired t tests, for forgetting; margin in the unit of a and b.

    Returns n, mean_diff, ci90 (inside the margin exactly when p < 0.05), margin, p, equivalent. Raises UserError below two pairs.
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
    return {"n": len(difference), "mean_diff": mean, "ci90": ci90, "margin": margin, "p": p, "equivalent": p < 0.05}


def agreement(ratings: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Agreement beyond chance: Cohen's kappa for two raters (people and judge), Fleiss' for more.

    ratings: one row per item, one label per rater. Returns n, n_raters, share (items on which all agree), kappa, ci95 (two raters only).
    kappa is None where every label is the same: chance agreement is then complete. Raises UserError on no items or ragged rows.
    """
    import numpy as np
    from statsmodels.stats.inter_rater import aggregate_raters, cohens_kappa, fleiss_kappa, to_table

    n_raters = {len(row) for row in ratings}
    if len(n_raters) != 1 or min(n_raters) < 2:
        raise UserError("Agreement needs one or more items, each with a label from the same two or more raters.")
    _, codes = np.unique([str(label) for row in ratings for label in row], return_inverse=True)
    codes = codes.reshape(len(ratings), -1)
    kappa, ci95 = None, None
    if codes.max() > 0 and codes.shape[1] == 2:
        result = cohens_kappa(to_table(codes)[0])
        kappa, ci95 = float(result.kappa), (float(result.kappa_low), float(result.kappa_upp))
    elif codes.max() > 0:
        kappa = float(fleiss_kappa(aggregate_raters(codes)[0]))
    share = float((codes == codes[:, :1]).all(axis=1).mean())
    return {"n": len(codes), "n_raters": codes.shape[1], "share": share, "kappa": kappa, "ci95": ci95}
