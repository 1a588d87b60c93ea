"""The 95% intervals cover what they say, with few and many authors, pairs of one tweet, and shares near 1."""

import numpy as np
import pytest
from scipy import stats

from lib.evidence.intervals import ClusteredMean, mean_interval, net_win_interval, share_interval, wilson

RUNS = 600


def steps(rng, author, together, ties=0.25, shift=0.4):
    """Verdicts of +1, 0, -1; a share `together` of their variance is the author's own. And the true mean."""
    bounds = stats.norm.ppf([0.5 - ties / 2, 0.5 + ties / 2])
    own, tweet = rng.normal(size=author.max() + 1)[author], rng.normal(size=len(author))
    seen = np.sqrt(together) * own + np.sqrt(1 - together) * tweet + shift
    return (seen > bounds[1]) * 1.0 - (seen < bounds[0]), stats.norm.sf(bounds[1] - shift) - stats.norm.cdf(
        bounds[0] - shift
    )


def authors(rng, n_authors, kind):
    """200 tweets of n_authors: in equal shares, at random, or a few writing most of them (Zipf)."""
    if kind == "equal":
        return np.arange(200) % n_authors
    weights = np.ones(n_authors) if kind == "random" else 1 / np.arange(1, n_authors + 1)
    drawn = rng.choice(n_authors, 200 - n_authors, p=weights / weights.sum())
    return np.concatenate([np.arange(n_authors), drawn])


@pytest.mark.parametrize("kind", ["equal", "random", "few write most"])
@pytest.mark.parametrize("n_authors", [10, 20, 50])
@pytest.mark.parametrize("shift", [0.0, 0.4, 1.2])
def test_the_net_win_of_200_tweets_is_covered_whether_10_authors_wrote_them_or_50(n_authors, kind, shift):
    rng, hits = np.random.default_rng(n_authors), 0
    for _ in range(RUNS):
        sign, truth = steps(rng, author := authors(rng, n_authors, kind), 0.2, shift=shift)
        (low, high), how = net_win_interval(sign, author)
        hits += low <= 100 * truth <= high
    assert hits / RUNS >= 0.93
    assert "clustered by author" in how


@pytest.mark.parametrize(("n_authors", "unit"), [(180, "authors"), (200, "tweets")])
def test_the_net_win_of_authors_who_hardly_repeat_is_covered_by_the_bootstrap(n_authors, unit):
    rng, hits, author = np.random.default_rng(3), 0, np.arange(200) % n_authors
    for _ in range(RUNS):
        sign, truth = steps(rng, author, 0.2)
        (low, high), how = net_win_interval(sign, author, n_resamples=399)
        hits += low <= 100 * truth <= high
    assert hits / RUNS >= 0.93
    assert how == f"BCa bootstrap over {unit}"


@pytest.mark.parametrize("n_authors", [10, 50])
def test_the_mean_score_difference_is_covered(n_authors):
    rng, hits = np.random.default_rng(n_authors), 0
    for _ in range(RUNS):
        author = authors(rng, n_authors, "few write most")
        difference = 0.3 + rng.normal(0, 0.5, n_authors)[author] + rng.normal(size=200)
        low, high = mean_interval(difference, author)
        hits += low <= 0.3 <= high
    assert hits / RUNS >= 0.93


def pairs_right(rng, tweet, accuracy, together, ties):
    """1 where a judge is right, 0 where wrong, a half where it ties; pairs of one tweet go together."""
    own, pair = rng.normal(size=tweet.max() + 1)[tweet], rng.normal(size=len(tweet))
    seen = np.sqrt(together) * own + np.sqrt(1 - together) * pair
    return np.where(rng.random(len(tweet)) < ties, 0.5, seen < stats.norm.ppf(accuracy))


@pytest.mark.parametrize("n_tweets", [25, 60, 150])
@pytest.mark.parametrize(("accuracy", "ties"), [(0.5, 0.0), (0.62, 0.2), (0.75, 0.0), (0.95, 0.0)])
@pytest.mark.parametrize("together", [0.0, 0.3])
def test_a_judges_accuracy_on_up_to_five_pairs_a_tweet_is_covered(n_tweets, accuracy, ties, together):
    rng, hits, naive = np.random.default_rng(n_tweets), 0, 0
    truth = accuracy * (1 - ties) + ties / 2
    for _ in range(RUNS):
        tweet = np.repeat(np.arange(n_tweets), rng.integers(1, 6, n_tweets))
        right = pairs_right(rng, tweet, accuracy, together, ties)
        low, high = share_interval(right, tweet)
        hits += low <= truth <= high
        low, high = wilson(right.sum(), len(right))
        naive += low <= truth <= high
    assert hits / RUNS >= 0.93
    if together and not ties:
        assert naive < hits - 0.02 * RUNS  # an interval that knows no tweets is too narrow


def test_a_few_large_clusters_are_worth_a_few():
    equal, unequal = np.repeat(np.arange(10), 20), np.repeat(np.arange(10), [110] + [10] * 9)
    values = np.random.default_rng(1).normal(size=200)
    assert ClusteredMean.of(values, equal).df == pytest.approx(9)
    assert ClusteredMean.of(values, unequal).df == pytest.approx(200**2 / (110**2 + 9 * 100) - 1)


@pytest.mark.parametrize(
    ("values", "cluster", "expected"),
    [
        ([], [], (0, 1)),
        ([1.0, 1.0], [0, 0], (0, 1)),  # one tweet says nothing about others
        ([1.0] * 149 + [0.0], [0] * 149 + [1], (0, 1)),  # nor do two, one of which is nearly all
    ],
)
def test_what_is_hardly_more_than_one_cluster_bounds_nothing(values, cluster, expected):
    assert share_interval(np.array(values), np.array(cluster, dtype=int)) == expected


def test_a_judge_that_was_always_right_is_not_certain_to_be_right():
    low, high = share_interval(np.ones(100), np.repeat(np.arange(50), 2))
    assert 0.9 < low < 0.95 and high == 1.0
