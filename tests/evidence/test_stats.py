"""Comparing two systems: every number is what scipy or statsmodels say, and no outcome however odd breaks it
or earns a false claim.
"""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.inter_rater import cohens_kappa, fleiss_kappa
from statsmodels.stats.meta_analysis import effectsize_smd
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import ttost_paired

from lib.base.errors import UserError
from lib.evidence.bias import Positions
from lib.evidence.effects import permutation_test
from lib.evidence.equal_style import PRIOR
from lib.evidence.intervals import wilson
from lib.evidence.secondary import agreement, bradley_terry, equivalence, holm, perplexity_interval
from lib.evidence.stats import Outcomes, compare


def outcomes_of(step, score_a=None, score_b=None, chars_a=None, chars_b=None, cluster=None, positions=None):
    n = len(step)
    rng = np.random.default_rng(n)
    return Outcomes(
        step=step,
        score_a=6.0 + np.asarray(step) if score_a is None else score_a,
        score_b=[6.0] * n if score_b is None else score_b,
        chars_a=rng.integers(60, 200, n) if chars_a is None else chars_a,
        chars_b=rng.integers(60, 200, n) if chars_b is None else chars_b,
        cluster=[f"author{i}" for i in range(n)] if cluster is None else cluster,
        positions=positions,
    )


def judged(n=160, shift=0.6, seed=3, tweets_per_author=1):
    """A judge that scores 1-10 in whole numbers and prefers the higher score."""
    rng = np.random.default_rng(seed)
    tweet = rng.normal(0, 1, n)
    a, b = (np.clip(np.round(6 + tweet + rng.normal(0, 1, n) + extra), 1, 10) for extra in (shift, 0))
    cluster = [f"author{i // tweets_per_author}" for i in range(n)]
    return outcomes_of(
        np.clip((a - b) / 2, -1, 1), a, b, cluster=cluster, positions=Positions(170, 300, 30, n)
    )


OUTCOMES = judged()
RESULT = compare(OUTCOMES)
A, B, SIGN = np.asarray(OUTCOMES.score_a), np.asarray(OUTCOMES.score_b), np.sign(OUTCOMES.step)
LONGER = np.asarray(OUTCOMES.chars_a, dtype=float) - OUTCOMES.chars_b


def same(value, expected):
    return value == pytest.approx(expected, abs=1e-9, rel=0)


def test_wins_ties_and_losses_make_the_win_rate_with_ties_as_half_and_the_net_win_in_points():
    result = compare(outcomes_of([1, 0.5, 0.5, 0, 0, -1]))
    assert (result.n, result.wins, result.ties, result.losses) == (6, 3, 2, 1)
    assert same(result.win_rate, 4 / 6)
    assert same(result.net_win, 100 * 2 / 6)
    assert same(result.decisive_win_rate, 3 / 4)


def test_p_values_are_those_of_scipy():
    assert same(RESULT.mannwhitney_p, stats.mannwhitneyu(A, B, alternative="two-sided").pvalue)
    assert same(RESULT.wilcoxon_p, stats.wilcoxon(A, B, zero_method="pratt").pvalue)
    assert same(RESULT.step_wilcoxon_p, stats.wilcoxon(OUTCOMES.step, zero_method="pratt").pvalue)
    assert same(RESULT.sign_test_p, stats.binomtest(RESULT.wins, RESULT.wins + RESULT.losses).pvalue)


def test_effect_sizes_are_those_of_scipy_and_statsmodels():
    n, pooled = len(A), np.sqrt((A.var(ddof=1) + B.var(ddof=1)) / 2)
    u = stats.mannwhitneyu(A, B).statistic
    assert same(RESULT.cohens_d, (A.mean() - B.mean()) / pooled)
    assert same(RESULT.hedges_g, effectsize_smd(A.mean(), A.std(ddof=1), n, B.mean(), B.std(ddof=1), n)[0])
    assert same(RESULT.d_z, (A - B).mean() / (A - B).std(ddof=1))
    assert same(RESULT.cliffs_delta, 2 * u / n**2 - 1)
    assert same(RESULT.r, stats.pearsonr(A, B).statistic)


def test_means_and_the_relative_improvement_in_percent():
    assert same(RESULT.mean_diff, A.mean() - B.mean())
    assert same(RESULT.relative_mean, 100 * (A.mean() - B.mean()) / B.mean())


def test_intervals_are_bca_bootstraps_over_tweets():
    options = {"method": "BCa", "n_resamples": 9999, "rng": 17}
    low, high = stats.bootstrap((SIGN,), np.mean, **options).confidence_interval
    assert same(RESULT.ci95, (100 * low, 100 * high))
    assert same(
        RESULT.mean_diff_ci95, tuple(stats.bootstrap((A - B,), np.mean, **options).confidence_interval)
    )
    assert RESULT.ci_method == "BCa bootstrap over tweets"


def test_the_permutation_test_agrees_with_scipys_paired_one():
    outcomes = judged(shift=0.15)
    a, b = np.asarray(outcomes.score_a), np.asarray(outcomes.score_b)
    expected = stats.permutation_test(
        (a, b), lambda x, y: (x - y).mean(), permutation_type="samples", n_resamples=4999, rng=1
    ).pvalue
    assert compare(outcomes).permutation_p == pytest.approx(expected, abs=0.015)
    assert 0.01 < expected < 0.5


def regression(columns):
    """Intercept, error and the other coefficients by statsmodels: the prior as one more row per column."""
    design, n = np.column_stack([np.ones(len(SIGN)), *columns]), len(SIGN)
    variance = SIGN.var()
    for _ in range(3):
        rows = np.eye(design.shape[1])[1:] * np.sqrt(variance) / PRIOR["length"]
        x, y = np.vstack([design, rows]), np.concatenate([SIGN, np.zeros(len(rows))])
        fit = sm.OLS(y, x).fit()
        residual = SIGN - design @ fit.params
        hat = design @ np.linalg.inv(x.T @ x) @ design.T
        variance = residual @ residual / (n - np.trace(hat))
    return fit.params[0], np.sqrt(variance * np.linalg.inv(x.T @ x)[0, 0])


@pytest.mark.parametrize(
    ("rate", "ci95", "coding"), [("win_rate", "ci95", 0), ("balanced_win_rate", "balanced_ci95", 1)]
)
def test_the_win_rate_at_equal_length_is_the_intercept_of_a_regression_whose_prior_is_data(
    rate, ci95, coding
):
    chars = [np.log2(1 + np.asarray(side, float)) for side in (OUTCOMES.chars_a, OUTCOMES.chars_b)]
    amount = (chars[0] - chars[1]) / np.sqrt(((chars[0] - chars[1]) ** 2).mean())
    at_equal, error = regression([[amount, np.sign(LONGER)][coding]])
    low, high = RESULT.length[ci95]
    assert same(RESULT.length[rate], (1 + at_equal) / 2)
    assert high - low >= stats.t.ppf(0.975, len(A) - 1) * error - 1e-9  # the larger of two errors is taken
    assert high - low == pytest.approx(stats.t.ppf(0.975, len(A) - 1) * error, rel=0.1)


def test_the_correlation_of_verdict_and_length_is_spearmans():
    expected = stats.spearmanr(SIGN, LONGER)
    assert same(RESULT.length["correlation"], expected.statistic)
    assert same(RESULT.length["correlation_p"], expected.pvalue)


def test_wilson_intervals_are_those_of_scipy():
    assert same(wilson(30, 50), tuple(stats.binomtest(30, 50).proportion_ci(method="wilson")))
    assert same(
        RESULT.decisive_ci95,
        tuple(stats.binomtest(RESULT.wins, RESULT.wins + RESULT.losses).proportion_ci(method="wilson")),
    )
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_smallest_visible_effect_is_at_the_observed_correlation_spread_and_ties():
    d_z = RESULT.mde["d_z"]
    assert RESULT.mde["n_effective"] == len(A)
    assert same(RESULT.mde["d"], d_z * np.sqrt(2 * (1 - RESULT.r)))
    assert same(RESULT.mde["score"], d_z * (A - B).std(ddof=1))


def test_the_same_seed_gives_the_same_answer_and_another_seed_hardly_another_one():
    assert compare(OUTCOMES) == RESULT
    assert compare(OUTCOMES, seed=18).ci95 == pytest.approx(RESULT.ci95, abs=2)
    unsure = np.resize([1.0, -1.0, 0.5, 0.0, 1.0], 40)
    assert permutation_test(unsure, np.arange(40)) == permutation_test(unsure, np.arange(40)) < 0.5


@pytest.mark.parametrize(("n", "is_many"), [(9, False), (10, True)])
def test_fewer_than_ten_tweets_are_too_few_for_a_bootstrap(n, is_many):
    assert ("bootstrap" in compare(outcomes_of(np.resize([1.0, -1.0, 0.0], n))).ci_method) == is_many


def test_swapping_the_systems_mirrors_the_comparison():
    o = OUTCOMES
    swapped = compare(
        dataclasses.replace(
            o,
            step=-np.asarray(o.step),
            score_a=B,
            score_b=A,
            chars_a=o.chars_b,
            chars_b=o.chars_a,
            a="base",
            b="tuned",
        )
    )
    assert (swapped.wins, swapped.losses, swapped.net_win) == (RESULT.losses, RESULT.wins, -RESULT.net_win)
    assert same(swapped.cohens_d, -RESULT.cohens_d)
    assert same(swapped.cliffs_delta, -RESULT.cliffs_delta)
    assert same(swapped.length["win_rate"], 1 - RESULT.length["win_rate"])
    assert same(swapped.wilcoxon_p, RESULT.wilcoxon_p)


# Authors


def test_authors_who_hardly_repeat_are_resampled_whole():
    outcomes = judged(n=100)
    author = np.concatenate([np.arange(92), np.arange(8)])
    names = [f"{number:02}" for number in author]
    sums, sizes = np.bincount(author, weights=np.sign(outcomes.step)), np.bincount(author)
    low, high = stats.bootstrap(
        (sums, sizes),
        lambda s, k, axis=-1: s.sum(axis) / k.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=9999,
        rng=17,
    ).confidence_interval
    result = compare(dataclasses.replace(outcomes, cluster=names))
    assert result.n_authors == 92
    assert same(result.ci95, (100 * low, 100 * high))
    assert result.ci_method == "BCa bootstrap over authors"


def test_tweets_of_one_author_count_together_in_the_interval():
    outcomes = judged(tweets_per_author=8)
    won = (np.sign(outcomes.step) + 1) / 2
    fit = sm.OLS(won, np.ones(160)).fit(cov_type="cluster", cov_kwds={"groups": np.arange(160) // 8})
    p, t = won.mean(), stats.t.ppf(0.975, 19)
    # with equal clusters the jackknife has the error of OLS clustered by author
    n = p * (1 - p) / fit.bse[0] ** 2
    low, high = (
        (p + t**2 / (2 * n) + side * t * np.sqrt(p * (1 - p) / n + t**2 / (4 * n**2))) / (1 + t**2 / n)
        for side in (-1, 1)
    )
    result = compare(outcomes)
    assert result.n_authors == 20
    assert same(result.ci95, (200 * low - 100, 200 * high - 100))
    assert result.ci_method == "Wilson with Student's t, clustered by author"


def test_the_cluster_p_value_is_that_of_ols_with_author_robust_errors():
    outcomes = judged(tweets_per_author=4, shift=0.2)
    fit = sm.OLS(np.sign(outcomes.step), np.ones(160)).fit(
        cov_type="cluster", cov_kwds={"groups": np.arange(160) // 4}, use_t=True
    )
    assert same(compare(outcomes).cluster_p, fit.pvalues[0])


def test_copies_of_a_tweet_by_its_author_add_no_evidence():
    single = judged(n=60, shift=0.35)
    copied = Outcomes(
        **{
            name: np.repeat(np.asarray(getattr(single, name)), 5)
            for name in ("step", "score_a", "score_b", "chars_a", "chars_b", "cluster")
        },
        positions=None,
    )
    few, many = compare(single), compare(copied)
    assert many.wilcoxon_p < few.wilcoxon_p / 10  # what a test that knows no authors believes
    assert many.permutation_p == pytest.approx(few.permutation_p, abs=0.02)
    assert many.ci95 == pytest.approx(few.ci95, abs=3)
    assert many.mde["n_effective"] == pytest.approx(60, rel=0.05)


def test_an_unknown_author_stands_alone():
    assert compare(judged(n=30)).ci95 == compare(dataclasses.replace(judged(n=30), cluster=[""] * 30)).ci95


def test_a_single_author_is_one_independent_tweet():
    result = compare(dataclasses.replace(OUTCOMES, cluster=["ann"] * 160))
    assert result.ci95[0] < 0 < result.ci95[1]
    assert result.permutation_p > 0.9
    assert result.mde["n_effective"] == 1
    assert result.underpowered


# Odd outcomes


def finite(value):
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(finite, value))
    return value is None or isinstance(value, str) or np.isfinite(value)


@pytest.mark.parametrize(
    "outcomes",
    [
        outcomes_of([0.5]),
        outcomes_of([0]),
        outcomes_of([1, -1]),
        outcomes_of([1, 1]),
        outcomes_of([0, 0, 1]),
        outcomes_of([0.0] * 150),
        outcomes_of([1.0] * 150),
        outcomes_of([-1.0] * 150),
        outcomes_of([1.0] * 149 + [0]),
        outcomes_of([0.0] * 149 + [1]),
        outcomes_of([1, -1] * 75, score_a=[5] * 150, score_b=[5] * 150),
        outcomes_of([1, -1] * 75, score_a=[8] * 150, score_b=[5] * 150),
        outcomes_of([1, -1] * 75, chars_a=[100] * 150, chars_b=[100] * 150),
        outcomes_of([1, -1] * 75, chars_a=[130] * 150, chars_b=[100] * 150),
        outcomes_of([1, -1] * 75, score_a=[-0.5] * 150, score_b=[-1] * 150),
        outcomes_of([1, -1] * 75, cluster=["ann"] * 150),
        outcomes_of([1, -1] * 75, cluster=["ann", "bob"] * 75),
        outcomes_of(
            [0, -1, 0, 0, 1], chars_a=[6, 10, 11, 17, 8], chars_b=[10] * 5, cluster=["b", "b", "a", "a", "b"]
        ),
        outcomes_of([1, 1, -1], chars_a=[30, 20, 10], chars_b=[10, 10, 40]),
        outcomes_of([0.5, 0, -0.5] * 50, positions=Positions(0, 0, 0, 0)),
    ],
    ids=range(20),
)
def test_odd_outcomes_give_numbers_or_none_that_json_can_hold(outcomes):
    result = compare(outcomes)
    as_json = result.to_dict()
    assert json.loads(json.dumps(as_json, allow_nan=False))["n"] == len(outcomes.step)
    assert finite(as_json)
    assert result.ci95[0] <= result.net_win <= result.ci95[1]
    assert result.ci95[0] < result.ci95[1]


def test_equal_systems_are_not_told_apart():
    result = compare(outcomes_of([0.0] * 150))
    assert (result.net_win, result.cohens_d, result.d_z, result.cliffs_delta) == (0, 0, 0, 0)
    assert (result.mannwhitney_p, result.wilcoxon_p, result.permutation_p, result.sign_test_p) == (1, 1, 1, 1)
    assert same(result.ci95, tuple(200 * x - 100 for x in proportion_confint(75, 150, method="wilson")))
    assert "Wilson" in result.ci_method


def test_a_candidate_that_won_every_tweet_is_not_certain_to_win_every_tweet():
    result = compare(outcomes_of([1.0] * 150))
    assert same(result.ci95, tuple(200 * x - 100 for x in proportion_confint(150, 150, method="wilson")))
    assert result.ci95[0] == pytest.approx(95.0, abs=0.1)


def test_one_tweet_proves_nothing():
    result = compare(outcomes_of([1.0]))
    assert result.net_win == 100
    assert result.ci95[0] < 0
    assert min(result.mannwhitney_p, result.wilcoxon_p, result.permutation_p, result.sign_test_p) > 0.9
    assert (result.cohens_d, result.d_z, result.r, result.mean_diff_ci95) == (None, None, None, None)
    assert result.underpowered


def test_scores_that_never_vary_have_no_effect_size_and_say_so():
    result = compare(outcomes_of([1.0] * 150, score_a=[8.0] * 150, score_b=[6.0] * 150))
    assert (result.cohens_d, result.d_z, result.mean_diff_ci95) == (None, None, None)
    assert "cohens_d does not exist: the scores do not vary" in result.notes
    assert any("no interval" in note for note in result.notes)


def test_a_baseline_mean_of_zero_or_less_has_no_relative_improvement():
    result = compare(outcomes_of([1, -1] * 20, score_b=[0.0] * 40))
    assert result.relative_mean is None
    assert any("relative mean" in note for note in result.notes)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (outcomes_of([]), "No tweet has a verdict"),
        (outcomes_of([1.0, float("nan")]), "step of tweet 1 is nan"),
        (outcomes_of([1.0, 0.0], score_b=[6.0, float("inf")]), "score_b of tweet 1 is inf"),
        (outcomes_of([1.0, 0.0], score_b=[6.0]), "differ in length"),
        (outcomes_of([2.0, 0.0]), "outside -1..1"),
        (outcomes_of([1.0], positions=Positions(5, 4, 0, 0)), "Position counts contradict"),
        (outcomes_of([1.0], positions=Positions(1, 2, 3, 2)), "Position counts contradict"),
        (outcomes_of([1.0], positions=Positions(1, 2, 0, 2, one_order=-1)), "Position counts contradict"),
    ],
)
def test_outcomes_that_cannot_be_compared_are_refused_with_a_sentence(broken, message):
    with pytest.raises(UserError, match=message):
        compare(broken)


@pytest.mark.parametrize(("n", "underpowered"), [(40, True), (99, True), (100, False), (200, False)])
def test_fewer_than_100_tweets_are_underpowered_however_large_the_effect(n, underpowered):
    assert compare(judged(n=n, shift=2)).underpowered is underpowered


# Length and position


def test_equal_lengths_leave_nothing_for_length_to_explain():
    result = compare(outcomes_of([1.0] * 90 + [-1.0] * 30, chars_a=[100] * 120, chars_b=[100] * 120))
    assert same(result.length["win_rate"], 0.75)
    assert result.length["ci95"] == pytest.approx(wilson(90, 120), abs=0.02)
    assert result.length["low"] > 0.5
    assert result.biases == []


def test_a_constant_length_difference_cannot_be_told_from_the_system():
    result = compare(outcomes_of([1.0] * 90 + [-1.0] * 30, chars_a=[150] * 120, chars_b=[100] * 120))
    assert result.length["win_rate"] is None
    assert result.length["low"] == 0
    assert result.biases == [
        "length: the candidate is longer on 100% of the tweets; its win cannot be told from length"
    ]


def test_winning_everywhere_with_replies_that_are_always_longer_proves_nothing():
    rng = np.random.default_rng(1)
    result = compare(
        outcomes_of([1.0] * 120, chars_a=rng.integers(120, 200, 120), chars_b=rng.integers(40, 100, 120))
    )
    assert result.length["explained"]
    assert result.length["low"] == 0
    assert [bias.split(":")[0] for bias in result.biases] == ["length"]


def test_winning_everywhere_with_replies_of_any_length_is_not_explained_by_length():
    result = compare(outcomes_of([1.0] * 120))
    assert result.length["win_rate"] == pytest.approx(1)
    assert result.length["low"] > 0.9
    assert result.biases == []


@pytest.mark.parametrize("threshold", [-20, 0, 20])
def test_perfect_separation_by_length_is_length_whatever_the_threshold(threshold):
    longer = np.random.default_rng(2).integers(-50, 80, 150)
    result = compare(
        outcomes_of(np.where(longer > threshold, 1.0, -1.0), chars_a=100 + longer, chars_b=[100] * 150)
    )
    assert result.length["win_rate"] is None
    assert result.length["explained"]
    assert result.length["low"] == 0
    assert any("separates the verdicts" in note for note in result.notes)


@pytest.mark.parametrize("dead_zone", [5, 15, 40])
def test_a_judge_of_length_that_calls_similar_lengths_a_tie_is_found_out(dead_zone):
    longer = np.random.default_rng(3).integers(-60, 120, 200)
    step = np.where(abs(longer) <= dead_zone, 0.0, np.sign(longer))
    result = compare(outcomes_of(step, chars_a=100 + longer, chars_b=[100] * 200))
    assert result.ci95[0] > 0
    assert result.length["explained"]
    assert result.length["low"] == 0


def test_first_place_counts_as_bias_when_its_interval_leaves_one_half():
    result = compare(
        outcomes_of(
            [0.0] * 150, positions=Positions(first_wins=290, decisive=300, order_flips=140, both_orders=150)
        )
    )
    assert same(result.position["first_chosen"], 290 / 300)
    assert same(result.position["ci95"], wilson(290, 300))
    assert same(result.position["flip_share"], 140 / 150)
    assert result.biases[0].startswith("position: the reply shown first won 97% of 300 decisive comparisons")
    assert result.biases[1].startswith("consistency: 93% of the verdicts changed with the order")


@pytest.mark.parametrize(
    ("flips", "both", "is_named"), [(12, 30, True), (12, 29, False), (60, 150, False), (70, 150, True)]
)
def test_a_judge_is_named_inconsistent_where_its_flips_may_be_a_coins(flips, both, is_named):
    positions = Positions(first_wins=150, decisive=300, order_flips=flips, both_orders=both)
    said = compare(outcomes_of([0.0] * 150, positions=positions)).biases
    assert any(bias.startswith("consistency: ") for bias in said) == is_named


@pytest.mark.parametrize(
    ("positions", "harmless"),
    [
        (Positions(290, 300, 140, 150), True),
        (Positions(140, 150, 0, 0), False),
        (Positions(75, 150, 0, 0), True),
        (Positions(290, 300, 100, 140, one_order=10), False),
    ],
)
def test_position_bias_is_harmless_only_when_every_pair_was_judged_in_both_orders(positions, harmless):
    assert compare(outcomes_of([1.0, 0.0, 0.0] * 50, positions=positions)).position["harmless"] is harmless


# Several comparisons, several systems, forgetting, people


def test_holm_adjusts_p_values_under_their_names():
    raw = {"fewshot": 0.01, "human": 0.04, "other": 0.03}
    assert holm(raw) == pytest.approx(
        dict(zip(raw, multipletests(list(raw.values()), method="holm")[1], strict=True)), abs=1e-9
    )
    assert holm({}) == {}


def simulated_judgments(strengths, n=300, seed=4):
    rng, names = np.random.default_rng(seed), list(strengths)
    rows = []
    for tweet in range(n):
        a, b = rng.choice(names, 2, replace=False)
        wins = rng.random() < 1 / (1 + np.exp(strengths[b] - strengths[a]))
        rows.append((str(a), str(b), 1.0 if wins else -1.0, f"t{tweet}"))
    return rows


def test_bradley_terry_finds_the_strengths_that_made_the_judgments():
    table = bradley_terry(simulated_judgments({"base": 0.0, "fewshot": 0.5, "tuned": 1.2}, n=1500))
    assert table["base"] == {
        "strength": 0.0,
        "ci95": (0.0, 0.0),
        "win_rate": 0.5,
        "win_rate_ci95": (0.5, 0.5),
    }
    for name, strength in (("fewshot", 0.5), ("tuned", 1.2)):
        assert table[name]["ci95"][0] < strength < table[name]["ci95"][1]
    assert table["tuned"]["strength"] > table["fewshot"]["strength"] > 0


def test_bradley_terry_of_two_systems_is_the_log_odds_of_winning():
    table = bradley_terry(
        [("tuned", "base", 1.0, f"t{i}") for i in range(30)]
        + [("base", "tuned", 0.5, f"s{i}") for i in range(10)]
    )
    assert table["tuned"]["strength"] == pytest.approx(np.log(3), abs=1e-6)
    assert table["tuned"]["win_rate"] == pytest.approx(0.75, abs=1e-6)


def test_in_bradley_terry_a_tie_is_half_a_win():
    table = bradley_terry(
        [("tuned", "base", step, f"{step}{i}") for step in (0.5, 0.0) for i in range(20)]
        + [("base", "tuned", 0.0, f"s{i}") for i in range(10)]
    )
    assert table["tuned"]["win_rate"] == pytest.approx(35 / 50, abs=1e-6)


def test_in_bradley_terry_verdicts_copied_on_their_tweets_add_no_certainty():
    rows = simulated_judgments({"base": 0.0, "fewshot": 0.5, "tuned": 1.2}, n=150)
    once, thrice = bradley_terry(rows)["tuned"], bradley_terry(rows * 3)["tuned"]
    assert thrice["strength"] == pytest.approx(once["strength"])
    assert thrice["ci95"] == pytest.approx(once["ci95"], abs=0.02)


def test_bradley_terry_has_no_number_for_a_system_that_always_wins():
    rows = simulated_judgments({"base": 0.0, "fewshot": 0.5}) + [
        ("tuned", "base", 1.0, f"x{i}") for i in range(50)
    ]
    table = bradley_terry(rows)
    assert table["tuned"]["strength"] is None
    assert table["fewshot"]["strength"] is not None


def test_bradley_terry_refuses_systems_that_no_chain_of_judgments_connects():
    with pytest.raises(UserError, match="not all connected"):
        bradley_terry([("base", "tuned", 1.0, "t1"), ("x", "y", 1.0, "t2")])
    with pytest.raises(UserError, match="reference system 'base'"):
        bradley_terry([("x", "y", 1.0, "t2")])
    with pytest.raises(UserError, match="more than 2 tweets"):
        bradley_terry([("base", "tuned", 1.0, "t1"), ("tuned", "base", 1.0, "t2")])


def test_equivalence_is_two_one_sided_paired_t_tests():
    rng = np.random.default_rng(5)
    before = rng.normal(3, 0.5, 60)
    after = before + rng.normal(0.01, 0.05, 60)
    result = equivalence(after, before, margin=0.05)
    assert same(result["p"], ttost_paired(after, before, -0.05, 0.05)[0])
    assert result["equivalent"]
    assert -0.05 < result["ci90"][0] < result["ci90"][1] < 0.05
    assert not equivalence(after, before, margin=0.011)["equivalent"]


@pytest.mark.parametrize("shift", np.linspace(0.02, 0.09, 15))
def test_the_interval_of_90_percent_lies_within_the_margin_exactly_where_the_tests_say_so(shift):
    before = np.linspace(1, 2, 20)
    spread = np.tile([-0.1, 0.1], 10)
    found = equivalence(before + shift + spread, before, margin=0.1)
    assert found["equivalent"] == (found["ci90"][0] > -0.1 and found["ci90"][1] < 0.1)
    assert found["noninferior"] == (found["ci90"][1] < 0.1)


@pytest.mark.parametrize(("shift", "equivalent"), [(0.0, True), (0.2, False)])
def test_equivalence_without_any_spread_compares_the_difference_with_the_margin(shift, equivalent):
    before = np.linspace(1, 2, 20)
    assert equivalence(before + shift, before, margin=0.1)["equivalent"] is equivalent


@pytest.mark.parametrize(
    ("a", "b", "margin"),
    [([1.0], [1.0], 0.1), ([1.0, 2.0], [1.0, float("nan")], 0.1), ([1.0, 2.0], [1.0, 2.0], 0)],
)
def test_equivalence_refuses_too_few_pairs_numbers_that_are_none_and_no_margin(a, b, margin):
    with pytest.raises(UserError, match="Equivalence needs"):
        equivalence(a, b, margin)


@pytest.mark.parametrize(
    ("shift", "spread", "noninferior"),
    [(-1.9, 0.05, True), (0.0, 0.05, True), (0.2, 0.05, False), (0.05, 0.9, False)],
)
def test_getting_better_is_no_damage_and_too_few_texts_are_no_proof(shift, spread, noninferior):
    rng = np.random.default_rng(5)
    before = rng.normal(3, 0.5, 30)
    found = equivalence(before + rng.normal(shift, spread, 30), before, margin=0.1)
    assert found["noninferior"] is noninferior


def test_the_interval_of_perplexity_holds_it_and_covers_the_truth():
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(60):
        sizes = rng.integers(5, 40, 100)
        own = rng.normal(2.3, 0.4, 100)
        low, high = perplexity_interval(np.column_stack([own * sizes, sizes]))
        assert low < np.exp((own * sizes).sum() / sizes.sum()) < high
        covered += low < np.exp(2.3) < high
    assert covered >= 52
    losses = np.column_stack([own * sizes, sizes])
    assert perplexity_interval(losses) == perplexity_interval(losses)
    assert perplexity_interval([(10.0, 5)] * 9) is None
    assert perplexity_interval([(10.0, 5)] * 50) is None


def test_agreement_of_two_raters_is_cohens_kappa():
    rows = (
        [("a", "a")] * 20 + [("b", "b")] * 15 + [("a", "b")] * 5 + [("tie", "a")] * 4 + [("tie", "tie")] * 6
    )
    table = np.array([[20, 5, 0], [0, 15, 0], [4, 0, 6]])
    result = agreement(rows)
    assert same(result["kappa"], cohens_kappa(table).kappa)
    assert same(result["share"], 41 / 50)
    assert result["ci95"][0] < result["kappa"] < result["ci95"][1]


def test_agreement_of_three_raters_is_fleiss_kappa():
    rows = [("a", "a", "a")] * 10 + [("b", "b", "a")] * 5 + [("b", "b", "b")] * 5
    assert same(agreement(rows)["kappa"], fleiss_kappa(np.array([[3, 0]] * 10 + [[1, 2]] * 5 + [[0, 3]] * 5)))


def test_raters_agree_on_an_item_where_all_of_them_do():
    assert agreement([("a", "a", "b"), ("a", "b", "a"), ("b", "b", "b"), ("a", "b", "b")])["share"] == 0.25


def test_raters_who_only_ever_use_one_label_agree_but_show_no_skill():
    assert agreement([("a", "a")] * 10) == {"n": 10, "n_raters": 2, "share": 1.0, "kappa": None, "ci95": None}
    with pytest.raises(UserError, match="Agreement needs"):
        agreement([])


def test_importing_the_statistics_loads_no_heavy_library():
    code = (
        "import sys, lib.evidence.stats, lib.evidence.gate, lib.evidence.power; print([m for m in "
        "('numpy', 'scipy', 'statsmodels', 'pandas') if m in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
