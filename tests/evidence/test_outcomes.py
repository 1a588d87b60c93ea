import pytest

from lib.base.schema import Judgment
from lib.evidence.outcomes import combine, outcomes


def judged(tweet, order, verdict, a="tuned", b="base", repeat=0, scores=(6, 5)):
    by_system = {
        a: {"engagement": scores[0], "tone": scores[0]},
        b: {"engagement": scores[1], "tone": scores[1]},
    }
    return Judgment(
        tweet_id=tweet,
        a=a,
        b=b,
        order=order,
        repeat=repeat,
        verdict=verdict,
        scores=by_system,
        model="m",
        key=f"{tweet}{order}{repeat}",
    )


REPLIES = {(tweet, system): "x" * n for tweet in "123" for system, n in (("tuned", 30), ("base", 20))}


def rows(*judgments, a="tuned", b="base"):
    return outcomes(judgments, REPLIES, {"1": "ann", "2": "bob"}, a, b)


def test_both_orders_and_repeats_of_a_tweet_become_one_row():
    found, tweets = rows(
        judged("1", "ab", 1),
        judged("1", "ba", 0.5),
        judged("1", "ab", 0, repeat=1),
        judged("1", "ba", 0, repeat=1),
    )
    assert tweets == ["1"]
    assert found.step == [pytest.approx(0.375)]
    assert (found.score_a, found.score_b, found.chars_a, found.chars_b, found.cluster) == (
        [6],
        [5],
        [30],
        [20],
        ["ann"],
    )


def test_orders_that_contradict_each_other_are_a_tie_and_a_flip():
    found, _ = rows(judged("1", "ab", 1), judged("1", "ba", -0.5))
    assert found.step == [0]
    assert (found.positions.order_flips, found.positions.both_orders) == (1, 1)


def test_a_judge_that_always_picks_the_first_wins_nothing():
    found, _ = rows(
        *(judged(tweet, order, 1 if order == "ab" else -1) for tweet in "123" for order in ("ab", "ba"))
    )
    assert found.step == [0, 0, 0]
    assert (found.positions.first_wins, found.positions.decisive) == (6, 6)


def test_the_same_judgments_read_the_other_way_round_change_their_sign():
    found, _ = rows(judged("1", "ab", 1), judged("1", "ba", 0.5), a="base", b="tuned")
    assert found.step == [-0.75]
    assert (found.score_a, found.score_b) == ([5], [6])
    assert found.positions.first_wins == 1


def test_a_failed_judgment_is_no_tie_and_no_row():
    found, tweets = rows(
        judged("1", "ab", None), judged("1", "ba", None), judged("2", "ab", 0), judged("2", "ba", 0)
    )
    assert tweets == ["2"]
    assert found.step == [0]


def test_judgments_of_other_systems_are_left_out():
    found, tweets = rows(judged("1", "ab", 1, b="fewshot"))
    assert (tweets, list(found.step)) == ([], [])


def test_one_order_alone_counts_as_it_is_and_is_reported():
    found, _ = rows(judged("1", "ab", 0.5))
    assert found.step == [0.5]
    assert found.positions.one_order == 1


def test_half_a_win_and_a_tie_are_a_quarter():
    assert combine({"ab": 0.5, "ba": 0.0}) == 0.25
