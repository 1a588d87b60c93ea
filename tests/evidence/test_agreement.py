"""Agreement with people: several answers to one tweet are not several tweets."""

import numpy as np
import pytest

from lib.base.schema import Judgment
from lib.evidence.agreement import clustered_agreement, contradictions
from lib.evidence.secondary import agreement

LABELS = ("tuned", "base", "tie")


def world(seed, n_tweets=60, votes=3, follows=0.0):
    """Votes that lean one way on each tweet; a judge that follows the lean so often, else draws a coin."""
    rng = np.random.default_rng(seed)
    lean = rng.choice(LABELS, n_tweets, p=(0.5, 0.3, 0.2))
    judge = np.where(rng.random(n_tweets) < follows, lean, rng.choice(LABELS, n_tweets, p=(0.6, 0.3, 0.1)))
    vote = np.where(rng.random((n_tweets, votes)) < 0.7, lean[:, None], rng.choice(LABELS, (n_tweets, votes)))
    pairs = [(vote[n, k], judge[n]) for n in range(n_tweets) for k in range(votes)]
    return pairs, [str(n) for n in range(n_tweets) for _ in range(votes)]


def test_share_and_kappa_are_cohens():
    pairs, _ = world(1, follows=0.5)
    found = clustered_agreement(pairs, [str(n) for n in range(len(pairs))])
    expected = agreement(pairs)
    assert (found.share, found.kappa) == pytest.approx((expected["share"], expected["kappa"]))
    assert found.kappa_ci95 == pytest.approx(expected["ci95"], abs=0.03)


def test_answers_counted_twice_do_not_narrow_the_interval():
    pairs, tweets = world(2, votes=1, follows=0.5)
    once, thrice = clustered_agreement(pairs, tweets), clustered_agreement(pairs * 3, tweets * 3)
    assert thrice.kappa == pytest.approx(once.kappa)
    assert thrice.kappa_ci95 == pytest.approx(once.kappa_ci95, abs=0.01)


def test_a_judge_that_always_names_one_side_does_not_agree_beyond_chance():
    pairs = [("tuned", "tuned")] * 80 + [("base", "tuned")] * 20
    found = clustered_agreement(pairs, [str(n) for n in range(100)])
    assert found.share == 0.8
    assert found.kappa == pytest.approx(0)
    assert found.kappa_ci95[0] < 0
    assert clustered_agreement([("tuned", "tuned")] * 5, list("abcde")).kappa is None


def test_full_agreement_has_an_interval_of_the_tweets_and_not_of_the_answers():
    pairs = [("tuned", "tuned"), ("base", "base")] * 30
    wide = clustered_agreement(pairs, [str(n % 6) for n in range(60)])
    narrow = clustered_agreement(pairs, [str(n) for n in range(60)])
    assert wide.kappa == narrow.kappa == 1
    assert wide.kappa_ci95[0] < narrow.kappa_ci95[0] < 1


def test_a_judge_that_draws_coins_is_rarely_shown_to_agree_and_one_that_follows_people_is():
    by_chance = [clustered_agreement(*world(seed)).kappa_ci95[0] > 0 for seed in range(300)]
    following = [clustered_agreement(*world(seed, follows=0.6)).kappa_ci95[0] > 0 for seed in range(60)]
    assert np.mean(by_chance) <= 0.035  # 2.5 % are meant
    assert np.mean(following) >= 0.95


@pytest.mark.parametrize(
    ("verdict", "scores", "found"),
    [
        (1, {"tuned": {"tone": 2, "wit": 2}, "base": {"tone": 4, "wit": 1}}, (1, 1)),  # 2 against 2.5
        (-1, {"tuned": {"tone": 4}, "base": {"tone": 2}}, (1, 1)),
        (1, {"tuned": {"tone": 4}, "base": {"tone": 2}}, (0, 1)),
        (0, {"tuned": {"tone": 4}, "base": {"tone": 2}}, (0, 1)),  # a tie is for neither side
        (1, {"tuned": {"tone": 3}, "base": {"tone": 3}}, (0, 1)),
        (1, {"tuned": {"tone": 2}}, (0, 0)),
        (None, {"tuned": {"tone": 2}, "base": {"tone": 4}}, (0, 0)),
    ],
)
def test_a_contradiction_is_a_verdict_for_the_side_with_the_lower_mean(verdict, scores, found):
    one = Judgment(
        tweet_id="1",
        a="tuned",
        b="base",
        order="ab",
        repeat=0,
        verdict=verdict,
        model="m",
        key="k",
        scores=scores,
    )
    wrong, n = contradictions([one])
    assert (len(wrong), n) == found
