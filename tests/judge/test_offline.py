"""The offline stand-in: a ranker fitted on the training pairs' likes, and on what the words add to them."""

import random
from dataclasses import replace

import pytest

from lib.base.errors import UserError
from lib.judge import offline
from lib.judge.comparisons import Comparison
from lib.judge.offline import OfflineJudge, decide_by, fit_ranker, residual_likes, word_effects
from tests.eval_data import IGNORED, LIKED, pair

TRAIN = [pair(n) for n in range(60)]
ONE = Comparison("1", "a tweet", "tuned", "base", "what a question?", "nice", "ab")


def test_what_got_likes_in_training_ranks_higher():
    score = fit_ranker(TRAIN)
    assert score("a tweet", f"oh, {LIKED}") > 6 > 5 > score("a tweet", f"oh, {IGNORED}")


def test_scores_lie_between_1_and_10_for_any_text():
    score = fit_ranker(TRAIN)
    for reply in ["x", "😀" * 300, "<script>", "tell " * 500, "\u202eabc", "العربية"]:
        assert 1 <= score("a tweet", reply) <= 10


def test_the_same_pairs_in_any_order_give_the_same_scores():
    replies = [f"{LIKED} bike", f"{IGNORED} bike", "something else", "what surprised you"]
    one, other = fit_ranker(TRAIN), fit_ranker(TRAIN[::-1])
    assert [one("t", reply) for reply in replies] == [other("t", reply) for reply in replies]


def test_likes_that_followers_explain_say_nothing_about_the_words():
    famous = [
        pair(n, reply_likes=(n + 1) * 10 - 1, reply_author_followers=(n + 1) * 1000 - 1, tweet_likes=300)
        for n in range(30)
    ]
    assert max(abs(residual_likes(famous))) < 1e-6


@pytest.mark.parametrize("name", ["tweet_likes", "reply_time_diff_seconds"])
def test_likes_that_the_tweet_or_the_delay_explains_say_nothing_about_the_words(name):
    explained = [pair(n, reply_likes=(n + 1) * 10 - 1, **{name: (n + 1) * 60 - 1}) for n in range(30)]
    level = [one.model_copy(update={"reply_author_followers": 500}) for one in explained]
    level = [one if name == "tweet_likes" else one.model_copy(update={"tweet_likes": 9}) for one in level]
    assert max(abs(residual_likes(level))) < 1e-6


def test_a_reply_from_before_its_tweet_counts_as_one_at_once():
    odd, at_once = (
        [*TRAIN[:20], pair(20, reply_time_diff_seconds=seconds, reply_likes=70)] for seconds in (-5, 0)
    )
    assert residual_likes(odd).tolist() == residual_likes(at_once).tolist()


def test_the_words_of_a_reply_are_ordered_by_what_the_score_loses_without_them():
    worth = {"good": 3.0, "bad": -4.0, "so": 0.5}
    found = word_effects(lambda tweet, reply: sum(worth[w] for w in reply.split()), "t", "so good so bad")
    assert found == [("bad", -4.0), ("good", 3.0), ("so", 1.0)]


def test_the_stand_in_of_the_same_pairs_in_any_order_is_the_same_judge_and_of_other_likes_another():
    def identity(pairs):
        return OfflineJudge(lambda: pairs).identity

    assert identity(TRAIN) == identity(TRAIN[::-1])
    changes = [{"reply_likes": 7}, {"reply": "other"}, {"tweet_likes": 7}, {"reply_author_followers": 7}]
    others = [identity([TRAIN[0].model_copy(update=change), *TRAIN[1:]]) for change in changes]
    assert identity(TRAIN) not in others and len({str(other) for other in others}) == 4


def test_no_prediction_of_the_reference_has_seen_its_tweet():
    """Each tweet's replies share words that no other has: who has not seen it cannot know their likes."""
    draw = random.Random(3)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=14)) for _ in range(30)]
    pairs = [
        pair(
            n, tweet_id=f"{n % 30}", reply=f"{words[n % 30]} {words[n % 30]}", reply_likes=900 if n % 2 else 3
        )
        for n in range(60)
    ]
    likes, replies = residual_likes(pairs), [one.reply for one in pairs]
    unseen = offline._out_of_fold(replies, likes, [one.tweet_id for one in pairs])
    seen = offline._model().fit(replies, likes).predict(replies)
    assert unseen.std() < 0.3 * seen.std()
    score = fit_ranker(pairs)
    assert {score("t", words[0]), score("t", words[1])} == {1.0, 10.0}  # beyond all that was not seen


def test_equal_likes_rank_everything_alike():
    score = fit_ranker([pair(n, reply_likes=10) for n in range(20)])
    assert score("t", LIKED) == score("t", IGNORED) == 5.5


def test_too_few_pairs_get_a_sentence():
    with pytest.raises(UserError, match="needs 10; there are 9"):
        fit_ranker(TRAIN[:9])
    assert 1 <= fit_ranker(TRAIN[:10])("t", LIKED) <= 10


@pytest.mark.parametrize(
    "gap, step",
    [(0, 0), (0.4, 0), (0.5, 0.5), (0.6, 0.5), (1.9, 0.5), (2, 1), (2.5, 1), (-0.6, -0.5), (-9, -1)],
)
def test_the_offline_verdict_is_the_score_difference_in_five_steps(gap, step):
    ranks = {"what a question?": 5 + gap, "nice": 5.0}
    decide = decide_by(lambda tweet, text: ranks[text])
    assert decide(ONE).verdict == decide(replace(ONE, order="ba")).verdict == step
    assert decide(ONE).scores == {"tuned": {"engagement": 5 + gap}, "base": {"engagement": 5.0}}
