"""Two candidates against one opponent, on the same tweets."""

import numpy as np
import pytest

from lib.evidence.paired import net_win_difference
from lib.evidence.power import smallest_effects

ONE = [1.0, 0.5, 0.5, 0.0, -1.0, 0.5, 0.0, 1.0] * 5
OTHER = [0.5, 0.0, -0.5, 0.0, -0.5, -1.0, 0.5, 1.0] * 5
NAMES = [f"author{n}" for n in range(40)]


def test_the_difference_is_one_minus_the_other_in_points_and_a_win_is_a_win_however_large():
    found = net_win_difference(ONE, OTHER, NAMES)
    assert (found.n, found.difference) == (40, pytest.approx(100 * (1 + 2 + 2 - 1) / 8))
    assert found.ci95[0] < found.difference < found.ci95[1]
    turned = net_win_difference(OTHER, ONE, NAMES)
    assert (turned.difference, turned.mde) == (pytest.approx(-found.difference), found.mde)
    sd = (np.sign(ONE) - np.sign(OTHER)).std(ddof=1)
    assert found.mde == pytest.approx(100 * smallest_effects(40, sd_difference=sd)["score"])


def test_tweets_of_one_author_show_what_they_are_worth():
    few = net_win_difference(ONE[:8] * 5, OTHER[:8] * 5, [f"author{n % 8}" for n in range(40)])
    many = net_win_difference(ONE, OTHER, NAMES)
    assert few.difference == many.difference
    assert few.mde > 1.5 * many.mde and few.p > many.p


def test_the_same_verdict_twice_has_no_interval():
    found = net_win_difference(ONE, ONE, NAMES)
    assert (found.difference, found.ci95, found.p, found.mde) == (0, None, 1, 0)
