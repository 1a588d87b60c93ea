"""Trust in a judge: shown on real likes against a coin and against simple rules, and what it then means."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from lib.base.schema import Judgment, Preference
from lib.evaluate.measures import Calibration
from lib.evidence.calibration import calibrate, true_win_rate, true_win_rate_interval, verdicts_of
from lib.evidence.intervals import net_interval, share_interval

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def pairs_of(rng, n_tweets, per_tweet=4, longer=0.5):
    """Real pairs; `longer`: the share in which the chosen reply is the longer one."""
    found = []
    for tweet in range(n_tweets):
        for number in range(per_tweet):
            chosen_chars, rejected_chars = (80, 60) if rng.random() < longer else (60, 80)
            followers = rng.integers(500, 1500, 2)
            found.append(
                Preference(
                    tweet_id=f"t{tweet}",
                    tweet="a tweet",
                    tweet_author=f"author{tweet}",
                    chosen=f"c{tweet}-{number} ".ljust(chosen_chars, "x"),
                    rejected=f"r{tweet}-{number} ".ljust(rejected_chars, "x"),
                    chosen_id=f"c{tweet}-{number}",
                    rejected_id=f"r{tweet}-{number}",
                    chosen_likes=20,
                    rejected_likes=3,
                    chosen_created_at=NOON + timedelta(hours=1),
                    rejected_created_at=NOON,
                    chosen_followers=int(followers[0]),
                    rejected_followers=int(followers[1]),
                    chosen_first=bool(rng.random() < 0.5),
                )
            )
    return found


def judged(rng, pairs, accuracy):
    return [1.0 if rng.random() < accuracy else -1.0 for _ in pairs]


def test_a_judge_that_beats_a_coin_and_every_rule_is_trusted_and_the_sentence_says_by_how_much():
    rng = np.random.default_rng(1)
    pairs = pairs_of(rng, 150)
    found = calibrate(pairs, judged(rng, pairs, 0.7), [])
    assert (found["beats_coin"], found["beats_baselines"], found["trusted"]) == (True, True, True)
    assert found["status"] == "better than chance" and found["unbeaten"] == []
    assert "600 pairs of real replies to 150 tweets" in found["sentence"]
    assert "better than every simple rule: the best one, " in found["sentence"]


def test_85_pairs_are_enough_and_84_are_not():
    rng = np.random.default_rng(1)
    pairs = pairs_of(rng, 85, per_tweet=1)
    few, enough = (calibrate(pairs[:n], [1.0] * n, []) for n in (84, 85))
    assert (few["status"], few["beats_coin"], few["trusted"]) == ("not calibrated", None, False)
    assert (enough["status"], enough["beats_coin"]) == ("better than chance", True)


def test_a_judge_that_is_right_as_often_as_the_longer_reply_is_not_trusted():
    rng = np.random.default_rng(2)
    pairs = pairs_of(rng, 150, longer=0.66)
    found = calibrate(pairs, [float(len(pair.chosen) - len(pair.rejected)) for pair in pairs], [])
    assert (found["beats_coin"], found["beats_baselines"], found["trusted"]) == (True, False, False)
    assert found["unbeaten"] == ["longer"]
    assert "not shown to be better than a simple rule: the longer reply (6" in found["sentence"]


def test_a_judge_that_is_worse_than_the_shorter_reply_is_not_trusted_either():
    rng = np.random.default_rng(3)
    pairs = pairs_of(rng, 150, longer=0.3)
    assert calibrate(pairs, judged(rng, pairs, 0.66), [])["unbeaten"] == ["shorter"]


@pytest.mark.parametrize(
    "n_right, status, beats",
    [
        (54, "no better than chance", False),
        (75, "better than chance", True),
        (20, "worse than chance", False),
    ],
)
def test_a_coin_is_beaten_where_the_whole_interval_lies_above_one_half(n_right, status, beats):
    pairs = pairs_of(np.random.default_rng(8), 100, per_tweet=1)
    found = calibrate(pairs, [1.0] * n_right + [-1.0] * (100 - n_right), [])
    assert (found["status"], found["beats_coin"]) == (status, beats)
    assert beats or not found["trusted"]


def test_enough_pairs_are_85_and_not_one_less():
    pairs = pairs_of(np.random.default_rng(9), 85, per_tweet=1)
    verdicts = [1.0] * 70 + [-1.0] * 15
    assert calibrate(pairs, verdicts, [])["status"] == "better than chance"
    lacking = calibrate(pairs, [None, *verdicts[1:]], [])
    assert (lacking["status"], lacking["n_failed"], lacking["beats_coin"]) == ("not calibrated", 1, None)


def test_the_earlier_reply_competes_with_nobody():
    rng = np.random.default_rng(4)
    pairs = pairs_of(rng, 150)
    found = calibrate(pairs, judged(rng, pairs, 0.7), [])
    assert found["baselines"]["earlier"]["accuracy"] == 0 and "earlier" not in found["unbeaten"]


def test_too_few_pairs_ask_nothing_and_prove_nothing():
    rng = np.random.default_rng(5)
    pairs = pairs_of(rng, 20)
    found = calibrate(pairs, [1.0] * 80, [])
    assert (found["beats_coin"], found["beats_baselines"], found["trusted"]) == (None, None, False)
    assert found["status"] == "not calibrated"


def test_the_difference_to_a_rule_is_counted_on_the_same_pairs_and_clustered_by_tweet():
    rng = np.random.default_rng(6)
    pairs = pairs_of(rng, 60)
    verdicts = judged(rng, pairs, 0.7)
    right = (np.array(verdicts) + 1) / 2
    longer = np.array([len(pair.chosen) > len(pair.rejected) for pair in pairs], dtype=float)
    found, tweet = (
        calibrate(pairs, verdicts, []),
        np.unique([p.tweet_id for p in pairs], return_inverse=True)[1],
    )
    row = found["baselines"]["longer"]
    assert row["difference"] == pytest.approx(right.mean() - longer.mean())
    assert row["difference_ci95"] == pytest.approx(list(net_interval(right - longer, tweet)))
    assert found["ci95"] == pytest.approx(list(share_interval(right, tweet)))


def test_what_is_found_is_a_calibration_and_an_older_one_is_read_as_not_known():
    rng = np.random.default_rng(7)
    pairs = pairs_of(rng, 30)
    found = Calibration.model_validate(calibrate(pairs, judged(rng, pairs, 0.6), []))
    assert found.baselines["longer"].difference is not None
    older = Calibration.model_validate({"accuracy": 0.6, "ci95": [0.5, 0.7], "n": 100})
    assert (older.beats_coin, older.beats_baselines, older.trusted) == (None, None, None)


def test_a_judge_that_is_no_better_than_the_best_rule_is_hardly_ever_trusted():
    rng, trusted = np.random.default_rng(8), 0
    for _ in range(100):
        pairs = pairs_of(rng, 60, longer=0.62)
        trusted += calibrate(pairs, judged(rng, pairs, 0.62), [])["trusted"]
    assert trusted <= 5


def changed(pairs, **values):
    return [pair.model_copy(update=values) for pair in pairs]


@pytest.mark.parametrize(
    ("values", "accuracy"),
    [
        ({"chosen_followers": 900, "rejected_followers": 100}, {"more_followers": 1}),
        ({"chosen_followers": 100, "rejected_followers": 900}, {"more_followers": 0}),
        ({"chosen_followers": 100, "rejected_followers": 100}, {"more_followers": 0.5}),
        ({"chosen": "a word", "rejected": "word"}, {"longer": 1, "shorter": 0}),
        ({"chosen": "👩‍👩‍👧‍👦", "rejected": "abc"}, {"longer": 0, "shorter": 1}),  # one character to a reader
        ({"chosen": "abc", "rejected": "cba"}, {"longer": 0.5, "shorter": 0.5}),
    ],
)
def test_a_rule_prefers_what_it_says_and_ties_where_it_cannot(values, accuracy):
    pairs = changed(pairs_of(np.random.default_rng(3), 3), **values)
    found = calibrate(pairs, [1.0] * 12, [])["baselines"]
    assert {name: found[name]["accuracy"] for name in accuracy} == accuracy


@pytest.mark.parametrize(("n_train", "is_asked"), [(19, False), (20, True)])
def test_words_are_a_rule_from_20_training_pairs_on(n_train, is_asked):
    pairs = pairs_of(np.random.default_rng(3), 3)
    train = changed(pairs_of(np.random.default_rng(4), n_train, 1), chosen="what a find", rejected="so true")
    seen = changed(pairs, chosen="a find indeed", rejected="true enough")
    found = calibrate(seen, [1.0] * 12, train)["baselines"]["tfidf_logistic"]
    assert (found["accuracy"] if found else None) == (1 if is_asked else None)


def test_ties_are_counted_and_left_out_of_the_decisive_accuracy():
    found = calibrate(pairs_of(np.random.default_rng(3), 2), [1, 1, 1, -1, 0, 0, 0, None], [])
    assert (found["n"], found["n_ties"], found["n_failed"], found["n_tweets"]) == (7, 3, 1, 2)
    assert (found["accuracy"], found["accuracy_decisive"]) == (pytest.approx(4.5 / 7), 0.75)


def test_the_best_rule_is_named_with_the_lead_over_it():
    rng = np.random.default_rng(1)
    pairs = changed(pairs_of(rng, 150, longer=0.4), chosen_followers=100, rejected_followers=900)
    said = calibrate(pairs, judged(rng, pairs, 0.8), [])["sentence"]
    assert "the best one, the shorter reply, reaches 59%, 22 points less" in said


def test_a_pair_has_the_mean_verdict_of_its_repeats_and_none_where_it_was_not_judged():
    one, other = pairs_of(np.random.default_rng(3), 1, per_tweet=2)
    said = [
        Judgment(
            tweet_id="t0", a=one.chosen_id, b=one.rejected_id, order=order, repeat=n, verdict=verdict,
            scores={}, model="m", key=f"{n}{order}",
        )
        for n, order, verdict in [(0, "ab", 1.0), (0, "ba", 0.5), (1, "ab", -1.0), (1, "ba", 1.0)]
    ]  # fmt: skip
    assert verdicts_of([one, other], said) == [0.375, None]


# The true win rate


@pytest.mark.parametrize(("accuracy", "n_tweets"), [(0.6, 150), (0.62, 120), (0.7, 60)])
@pytest.mark.parametrize("true", [0.4, 0.5, 0.65, 0.8])
def test_the_interval_of_the_true_win_rate_covers_it(accuracy, n_tweets, true):
    rng, hits, n_known = np.random.default_rng(9), 0, 0
    tweet, author = np.repeat(np.arange(n_tweets), 4), np.arange(200)
    seen = accuracy * true + (1 - accuracy) * (1 - true)
    for _ in range(1000):
        right = (rng.random(len(tweet)) < accuracy).astype(float)
        sign = np.where(rng.random(200) < seen, 1.0, -1.0)
        net = [100 * end for end in net_interval(sign, author)]
        interval = true_win_rate_interval(100 * sign.mean(), net, right.mean(), share_interval(right, tweet))
        if interval is not None:
            n_known += 1
            hits += interval[0] <= true <= interval[1]
    assert n_known > 500
    assert hits / n_known >= 0.93


def test_the_interval_holds_the_estimate_and_is_wider_than_one_that_believes_the_accuracy():
    low, high = true_win_rate_interval(8.0, (2.0, 14.0), 0.65, (0.6, 0.7))
    assert low < true_win_rate(0.54, 0.65) < high
    believed = [0.5 + end / 200 / 0.3 for end in (2.0, 14.0)]
    assert low < believed[0] and high > believed[1]


def test_an_exactly_known_accuracy_gives_the_interval_of_the_verdicts_alone():
    low, high = true_win_rate_interval(20.0, (8.0, 32.0), 0.75, (0.75, 0.75))
    assert (low, high) == (pytest.approx(0.58), pytest.approx(0.82))


def test_a_judge_that_is_not_better_than_a_coin_has_no_true_win_rate():
    assert true_win_rate_interval(8.0, (1.0, 15.0), 0.54, (0.49, 0.59)) is None
