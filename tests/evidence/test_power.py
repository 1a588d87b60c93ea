"""How many tweets, and what they can show.

Expected numbers: shared facts, section 4 (computed there independently, by simulation too).
"""

import pytest

from lib.evidence.power import power_table, required_decisive, required_tweets, smallest_effects


@pytest.mark.parametrize(("r", "wilcoxon"), [(0, 185), (0.3, 130), (0.5, 94), (0.7, 57)])
def test_d_of_0_3_needs_184_tweets_for_mann_whitney_and_fewer_for_a_paired_test_the_more_the_scores_correlate(
    r, wilcoxon
):
    needed = required_tweets(0.3, r=r)
    assert needed["mannwhitney"] == 184
    assert needed["wilcoxon"] == wilcoxon
    assert needed["tweets"] == max(184, wilcoxon)


@pytest.mark.parametrize(("ties", "tweets"), [(0.25, 254), (0.0, 341)])
def test_a_true_net_win_of_15_points_needs_254_tweets_with_a_quarter_of_ties_and_341_without(ties, tweets):
    assert required_tweets(ties=ties)["net_win"] == tweets


@pytest.mark.parametrize(
    ("win_rate", "pairs"), [(0.55, 783), (0.575, 347), (0.60, 194), (0.65, 85), (0.40, 194)]
)
def test_a_sign_test_needs_this_many_decisive_pairs(win_rate, pairs):
    assert required_decisive(win_rate) == pairs


@pytest.mark.parametrize(
    ("n", "mannwhitney", "d_z", "at_r"),
    [
        (100, 0.408, 0.290, {0.3: 0.343, 0.5: 0.290, 0.7: 0.224}),
        (150, 0.332, 0.236, {0.3: 0.279, 0.5: 0.236, 0.7: 0.183}),
        (200, 0.287, 0.204, {0.3: 0.241, 0.5: 0.204, 0.7: 0.158}),
    ],
)
def test_the_smallest_visible_effect_shrinks_with_tweets_and_with_correlation(n, mannwhitney, d_z, at_r):
    for r, d in at_r.items():
        seen = smallest_effects(n, r=r)
        assert seen["d_mannwhitney"] == pytest.approx(mannwhitney, abs=0.001)
        assert seen["d_z"] == pytest.approx(d_z, abs=0.001)
        assert seen["d"] == pytest.approx(d, abs=0.001)


@pytest.mark.parametrize(("ties", "points"), [(0.25, (23, 19, 17)), (0.0, (27, 22, 19)), (0.4, (21, 17, 15))])
def test_the_smallest_visible_net_win_shrinks_with_tweets_and_with_ties(ties, points):
    assert tuple(round(smallest_effects(n, ties=ties)["net_win"]) for n in (100, 150, 200)) == points


def test_the_smallest_visible_effect_in_score_points_is_d_z_times_the_sd_of_the_differences():
    assert smallest_effects(200, sd_difference=1.5)["score"] == pytest.approx(0.204 * 1.5, abs=0.001)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_fewer_than_three_tweets_show_no_effect_of_any_size(n):
    assert set(smallest_effects(n).values()) == {None}


def test_more_power_and_smaller_effects_need_more_tweets():
    assert (
        required_tweets(0.3, power=0.9)["tweets"]
        > required_tweets(0.3)["tweets"]
        > required_tweets(0.4)["tweets"]
    )


def test_a_pass_never_needs_fewer_than_100_tweets():
    assert required_tweets(1.0)["tweets"] == 100


@pytest.mark.parametrize(
    ("n", "enough"), [(0, False), (40, False), (90, False), (97, False), (100, True), (200, True)]
)
def test_the_table_says_whether_the_prompts_at_hand_can_show_d_of_0_3(n, enough):
    table = power_table(n)
    assert table["enough"] is enough
    assert [row["r"] for row in table["by_r"]] == [0.0, 0.3, 0.5, 0.7]
    assert [row["ties"] for row in table["by_ties"]] == [0.0, 0.25, 0.4]


@pytest.mark.parametrize(("row", "n"), [(0, 185), (1, 130), (2, 94), (3, 57)])
def test_the_tweets_that_d_of_0_3_takes_at_a_correlation_see_it_with_power_0_8(row, n):
    assert power_table(n)["by_r"][row]["power_at_target"] == pytest.approx(0.80, abs=0.01)
