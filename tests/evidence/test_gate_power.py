"""What passes the whole gate, at a judge's accuracy."""

import numpy as np
import pytest

from lib.evidence.gate_power import (
    gate_power,
    required_gate_tweets,
    required_pairs,
    smallest_gate_effect,
)
from lib.evidence.power import smallest_effects
from lib.evidence.stats import compare
from tests.evidence.test_gate import gate, honest_judge


@pytest.mark.parametrize(("accuracy", "passes"), [(0.59, 0.25), (0.64, 0.83)])
def test_a_true_d_of_0_8_on_200_tweets_passes_as_often_as_the_judge_is_able(accuracy, passes):
    assert gate_power(0.8, 200, accuracy) == pytest.approx(passes, abs=0.08)


def test_a_judge_that_sees_everything_passes_d_of_one_half_and_hardly_ever_no_effect():
    assert gate_power(0.5, 200) >= 0.95
    assert gate_power(0.0, 200) <= 0.001


def test_a_true_d_at_the_threshold_passes_at_most_half_the_time_whatever_the_tweets():
    assert gate_power(0.3, 200) < 0.5 and gate_power(0.3, 1000) <= 0.52
    assert required_gate_tweets(0.3) is None


def test_more_tweets_and_better_judges_pass_more():
    assert gate_power(0.5, 100, 0.75) < gate_power(0.5, 200, 0.75) < gate_power(0.5, 200, 0.9)
    assert required_gate_tweets(0.8, 0.7) < required_gate_tweets(0.8, 0.65)
    assert smallest_gate_effect(200, 0.8) < smallest_gate_effect(200, 0.65) < smallest_gate_effect(200, 0.6)


def test_no_number_of_tweets_shows_what_the_judge_cannot_see():
    assert required_gate_tweets(0.5, 0.6) is None
    assert required_gate_tweets(0.5, 0.5) is None and smallest_gate_effect(200, 0.5) is None
    assert smallest_gate_effect(60) is None  # the gate asks for 100


@pytest.mark.parametrize("n", [100, 200])
def test_what_passes_the_gate_is_larger_than_what_wilcoxon_shows(n):
    assert smallest_gate_effect(n) > smallest_effects(n, r=0.3)["d"]
    assert gate_power(smallest_effects(n, r=0.3)["d"], n) < 0.7


def test_pairs_of_real_replies_that_trust_needs():
    assert required_pairs(0.65) == pytest.approx(255, abs=15)
    assert required_pairs(0.62) == pytest.approx(400, abs=20)
    assert required_pairs(0.5) is None
    assert required_pairs(0.99) == 85


@pytest.mark.slow
@pytest.mark.parametrize("d", [0.35, 0.5])
def test_the_real_gate_passes_about_as_often(d):
    rng = np.random.default_rng(4)
    runs = [gate(compare(honest_judge(rng, d=d, r=0.3, noise=0.1), n_resamples=999)) for _ in range(80)]
    share = sum(run["verdict"] == "pass" for run in runs) / 80
    assert share == pytest.approx(gate_power(d, 200), abs=0.15)
