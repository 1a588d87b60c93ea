import numpy as np
import pytest

from lib.base.schema import Judgment
from lib.evidence.effects import permutation_test
from lib.evidence.outcomes import Gaps, combine, counted, outcomes


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


def rows(*judgments, a="tuned", b="base", gaps=None):
    return outcomes(judgments, REPLIES, {"1": "ann", "2": "bob"}, a, b, gaps)


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


def test_a_tweet_that_was_forgotten_since_it_was_judged_still_counts():
    judgments, said = [judged("1", "ab", 1), judged("2", "ab", -1)], {"1": "a tweet that is left"}
    _, tweets = outcomes(judgments, REPLIES, {"1": "ann"}, "tuned", "base", said=said)
    assert tweets == ["1", "2"]


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


@pytest.mark.parametrize("order, is_flip", [("ab", True), ("ba", False)])
def test_a_judgment_with_its_sides_the_other_way_round_is_the_other_order(order, is_flip):
    """tuned was shown first and won; then base stands as a, is shown first ("ab") or second, and wins."""
    found, _ = rows(judged("1", "ab", 1), judged("1", order, 1, a="base", b="tuned"))
    assert found.positions.order_flips == int(is_flip)
    assert found.step == ([0] if is_flip else [-1])  # the same order again: the later answer counts
    first = 2 if is_flip else 0
    assert (found.positions.first_wins, found.positions.decisive) == ((first, 2) if is_flip else (0, 1))


def test_an_answer_that_the_judge_owes_counts_against_a_or_for_it():
    judgments = [
        judged("1", "ab", None, scores=(0, 0)),
        judged("1", "ba", None, scores=(0, 0)),
        judged("2", "ab", 0.5, scores=(9, 3)),
        judged("2", "ba", 0.5, scores=(9, 3)),
    ]
    worst, _ = rows(*judgments)
    best, _ = rows(*judgments, gaps=Gaps(owed="for"))
    assert (worst.step, best.step) == ([-1, 0.5], [1, 0.5])
    assert (worst.score_a, worst.score_b) == ([3, 9], [9, 3])
    assert (best.score_a, best.score_b) == ([9, 9], [3, 3])


def test_one_answer_of_two_orders_leaves_a_tie_at_worst():
    failure = {"tweet_id": "1", "a": "tuned", "b": "base", "order": "ba", "repeat": 0, "reason": "refusal"}
    found = counted([judged("1", "ab", 0.5)], REPLIES, {}, "tuned", "base", Gaps(failures=[failure]))
    assert (found.rows.step, found.owing) == ([0], {"1"})
    best = counted(
        [judged("1", "ab", 0.5)], REPLIES, {}, "tuned", "base", Gaps(failures=[failure], owed="for")
    )
    assert best.rows.step == [0.75]


def test_a_failure_that_was_answered_since_owes_nothing():
    failure = {"tweet_id": "1", "a": "base", "b": "tuned", "order": "ba", "repeat": 0, "reason": "truncated"}
    found = counted([judged("1", "ab", 0.5)], REPLIES, {}, "tuned", "base", Gaps(failures=[failure]))
    assert (found.rows.step, found.owing) == ([0.5], set())


@pytest.mark.parametrize(
    ("of_tuned", "of_base", "unusable", "step"),
    [
        (None, "fine", (), -1),
        ("", "fine", (), -1),
        (" \n", "fine", (), -1),
        ("fine", None, (), 1),
        (None, None, (), 0),
        (None, "", (), 0),
        ("I can't help with that", "fine", ("tuned",), -1),
        ("fine", "I can't help with that", ("base",), 1),
        ("I can't help with that", "", ("tuned",), 0),
        ("the very same", " the very  same", (), 0),
    ],
)
@pytest.mark.parametrize("says", [1.0, -1.0, None])
def test_a_reply_that_nobody_can_use_loses_whatever_the_judge_said(of_tuned, of_base, unusable, step, says):
    given = {"tuned": of_tuned, "base": of_base}
    replies = {("9", system): text for system, text in given.items() if text is not None}
    gaps = Gaps(asked=frozenset("9"), unusable=frozenset(("9", system) for system in unusable))
    judgments = [judged("9", order, says) for order in ("ab", "ba")] if says else []
    found = counted(judgments, replies, {}, "tuned", "base", gaps)
    assert (found.tweets, found.rows.step, found.owing) == (["9"], [step], set())
    assert (found.rows.score_a[0] - found.rows.score_b[0]) * step >= 0


def test_a_reply_that_is_not_there_did_not_lose_by_its_length():
    found = counted([], {("9", "base"): "x" * 40}, {}, "tuned", "base", Gaps(asked=frozenset("9")))
    assert found.rows.chars_a == found.rows.chars_b == [40]


def test_a_tweet_that_left_no_trace_of_a_judgment_is_owed():
    replies = {(tweet, system): f"{system} {tweet}" for tweet in "12" for system in ("tuned", "base")}
    won = [judged("1", order, 1.0) for order in ("ab", "ba")]
    found = counted(won, replies, {}, "tuned", "base", Gaps(asked=frozenset("12")))
    assert (found.rows.step, found.owing) == ([1.0, -1.0], {"2"})


def test_a_tweet_that_no_person_answered_is_no_loss_of_people():
    replies = {("1", "tuned"): "a", ("2", "tuned"): "a", ("1", "human"): "b"}
    found = counted([], replies, {}, "tuned", "human", Gaps(asked=frozenset("12")))
    assert found.tweets == []


def test_judgments_of_other_systems_are_left_out():
    found, tweets = rows(judged("1", "ab", 1, b="fewshot"))
    assert (tweets, list(found.step)) == ([], [])


def test_one_order_alone_counts_as_it_is_and_is_reported():
    found, _ = rows(judged("1", "ab", 0.5))
    assert found.step == [0.5]
    assert found.positions.one_order == 1


def test_a_tie_in_one_order_is_neither_decisive_nor_a_flip():
    found, _ = rows(judged("1", "ab", 1), judged("1", "ba", 0), judged("2", "ab", 0), judged("2", "ba", -1))
    counts = found.positions
    assert (counts.first_wins, counts.decisive, counts.order_flips) == (2, 2, 0)
    assert (counts.both_orders, counts.one_order) == (2, 0)


def test_the_score_of_a_reply_is_the_mean_of_its_criteria():
    scores = {"tuned": {"engagement": 9, "tone": 4}, "base": {"engagement": 2, "tone": 5}}
    found, _ = rows(judged("1", "ab", 1).model_copy(update={"scores": scores}))
    assert (found.score_a, found.score_b) == ([6.5], [3.5])


def test_a_winner_that_was_never_scored_has_its_systems_usual_score_and_the_loser_the_lowest():
    judgments = [judged(tweet, "ab", 1, scores=(11 - int(tweet), 2 * int(tweet))) for tweet in "123"]
    replies = REPLIES | {("9", "base"): "fine"}
    found, _ = outcomes(judgments, replies, {}, "tuned", "base", Gaps(asked=frozenset("9")))
    assert (found.score_a[-1], found.score_b[-1]) == (2, 4)


def test_a_tweet_that_its_replies_decide_owes_no_answer():
    found = counted([judged("9", "ab", None)], {("9", "base"): "fine"}, {}, "tuned", "base")
    assert (found.rows.step, found.owing) == ([-1], set())


def test_the_scores_that_were_given_count_beside_those_that_are_owed():
    found, _ = rows(
        judged("1", "ab", 0.5, scores=(8, 4)), judged("1", "ba", None), judged("2", "ab", 1, scores=(10, 2))
    )
    assert (found.score_a, found.score_b) == ([5, 10], [7, 2])


def test_a_failure_of_another_repeat_is_owed_beside_the_answer_of_the_first():
    failure = {"tweet_id": "1", "a": "tuned", "b": "base", "order": "ab", "repeat": 1, "reason": "refusal"}
    found = counted([judged("1", "ab", 0.5)], REPLIES, {}, "tuned", "base", Gaps(failures=[failure]))
    assert (found.rows.step, found.owing) == ([-0.25], {"1"})


def test_rows_and_their_habits_are_the_same_whatever_the_order_of_the_judgments():
    replies = {("1", "tuned"): "really? rates", ("1", "base"): "no", ("2", "tuned"): "a", ("2", "base"): "b"}
    judgments, said = [judged("2", "ab", -1), judged("1", "ab", 1)], {"1": "rates rise", "2": "a tweet"}
    one, other = (
        outcomes(given, replies, {}, "tuned", "base", said=said) for given in (judgments, judgments[::-1])
    )
    assert one == other
    assert one[0].habits["questions"] == ([1, 0], [0, 0]) and one[0].habits["overlap"] == ([0.5, 1], [0, 0])


def test_half_a_win_and_a_tie_are_a_quarter():
    assert combine({"ab": 0.5, "ba": 0.0}) == 0.25


# 200 tweets on which a clear win turns into a loss once 30 % of the candidate's replies are counted


def world(rng, n=200, net=0.33, ties=0.25, lost=0.3):
    """Judgments of what was answered, and all replies: a judged net win of this much, the rest empty."""
    wins = (1 - ties + net) / 2
    step = rng.choice([0.5, 0.0, -0.5], n, p=[wins, ties, 1 - ties - wins])
    gone = rng.random(n) < lost
    score = np.clip(np.round(6 + 2 * step + rng.normal(0, 1.2, n)), 1, 10)
    rival = np.clip(np.round(6 - 2 * step + rng.normal(0, 1.2, n)), 1, 10)
    replies = {(str(i), "base"): "x" * 40 for i in range(n)}
    replies |= {(str(i), "tuned"): "" if gone[i] else "y" * int(rng.integers(20, 60)) for i in range(n)}
    judgments = [
        judged(str(i), order, step[i], scores=(score[i], rival[i]))
        for i in np.flatnonzero(~gone)
        for order in ("ab", "ba")
    ]
    return judgments, replies


def test_empty_replies_on_3_of_10_tweets_turn_a_win_of_33_points_into_a_loss_of_7():
    rng = np.random.default_rng(12)
    ignored, counted_in = [], []
    for _ in range(100):
        judgments, replies = world(rng)
        authors = {tweet: f"author{int(tweet) % 180}" for tweet, _ in replies}
        gaps = Gaps(asked=frozenset(authors))
        for found, kept in ((ignored, None), (counted_in, gaps)):
            rows, _ = outcomes(judgments, replies, authors, "tuned", "base", kept)
            step = np.sign(rows.step)
            found.append((100 * step.mean(), permutation_test(step, np.arange(len(step)), n_resamples=199)))
    assert np.mean([net for net, _ in ignored]) == pytest.approx(33, abs=2)
    assert sum(net > 15 and p < 0.05 for net, p in ignored) > 90
    assert np.mean([net for net, _ in counted_in]) == pytest.approx(-7, abs=2)
    assert sum(net >= 15 for net, _ in counted_in) == 0
