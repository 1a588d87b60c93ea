"""Which of two replies people liked more, where neither time nor audience explains it."""

import random
from datetime import timedelta

import pytest

from lib.base.settings import PreferencesConfig
from lib.data.preferences import better_of, make_preferences, preference_candidates
from tests.items import pairs_of

CONFIG = PreferencesConfig()
TEMPLATE = pairs_of()[0]


def reply(name, likes, minutes=0, followers=1000, tweet="t1", text=None):
    return TEMPLATE.model_copy(
        update={
            "tweet_id": tweet,
            "reply_id": name,
            "reply": text or f"the words of {name}",
            "reply_author": f"by_{name}",
            "reply_likes": likes,
            "reply_author_followers": followers,
            "reply_created_at": TEMPLATE.reply_created_at + timedelta(minutes=minutes),
        }
    )


@pytest.mark.parametrize(
    ("better", "worse", "says"),
    [
        (reply("a", 10, minutes=1), reply("b", 5), True),
        (reply("a", 10), reply("b", 5), True),
        (reply("a", 10, minutes=-1), reply("b", 5), False),  # it had a head start
        (reply("a", 9), reply("b", 5), False),  # not twice the likes
        (reply("a", 10), reply("b", 1), False),  # one like is chance
        (reply("a", 10, followers=3000), reply("b", 5), True),
        (reply("a", 10, followers=3001), reply("b", 5), False),  # its audience explains it
        (reply("a", 10), reply("b", 10), False),
    ],
)
def test_the_chosen_reply_won_in_spite_of_time_and_audience(better, worse, says):
    for one, other in ((better, worse), (worse, better)):
        assert better_of(one, other, CONFIG) == ((better, worse) if says else None)


def test_without_a_floor_the_chosen_must_still_have_more():
    no_floor = PreferencesConfig(min_likes=0)
    assert better_of(reply("a", 1), reply("b", 0), no_floor)
    assert better_of(reply("a", 0), reply("b", 0), no_floor) is None


def test_the_chosen_reply_has_a_floor_of_its_own():
    config = PreferencesConfig(min_likes=0, min_chosen_likes=5)
    assert better_of(reply("a", 5), reply("b", 0), config)
    assert better_of(reply("a", 4), reply("b", 0), config) is None


def test_two_replies_of_one_author_or_of_one_text_are_not_compared():
    same_author = reply("b", 5).model_copy(update={"reply_author": "BY_A"})
    assert better_of(reply("a", 10), same_author, CONFIG) is None
    assert (
        make_preferences([reply("a", 10, text="So true!"), reply("b", 5, text="so true")], CONFIG, 17) == []
    )


def test_at_most_so_many_per_tweet_and_every_reply_as_seldom_as_possible():
    replies = [reply(f"r{n}", 2 * 3**n, minutes=n, tweet=tweet) for tweet in ("t1", "t2") for n in range(5)]
    replies = [one.model_copy(update={"reply_id": one.tweet_id + one.reply_id}) for one in replies]
    made = make_preferences(replies, PreferencesConfig(max_per_tweet=2, max_follower_ratio=10), 17)
    assert [one.tweet_id for one in made] == ["t1", "t1", "t2", "t2"]
    used = [name for one in made for name in (one.chosen_id, one.rejected_id)]
    assert len(set(used)) == len(used) == 8


def test_the_result_depends_on_nothing_but_the_replies():
    replies = [reply(f"r{n}", n * n, minutes=n % 7) for n in range(2, 30)]
    expected = make_preferences(replies, CONFIG, 17)
    assert make_preferences(random.Random(1).sample(replies, len(replies)), CONFIG, 17) == expected
    assert 0 < len(expected) <= 5


def test_which_is_shown_first_is_a_fair_coin_that_likes_do_not_bend():
    many = [
        reply(f"{side}{n}", likes, tweet=f"t{n}") for n in range(600) for side, likes in (("a", 10), ("b", 5))
    ]
    made = make_preferences(many, CONFIG, 17)
    assert 0.42 < sum(one.chosen_first for one in made) / len(made) < 0.58
    swapped = make_preferences(
        [one.model_copy(update={"reply_likes": 15 - one.reply_likes}) for one in many], CONFIG, 17
    )
    shown_first = [one.chosen_id if one.chosen_first else one.rejected_id for one in made]
    assert shown_first == [one.chosen_id if one.chosen_first else one.rejected_id for one in swapped]


def test_likes_times_and_followers_are_recorded():
    (made,) = make_preferences([reply("a", 10, minutes=3, followers=900), reply("b", 4)], CONFIG, 17)
    assert (made.chosen_id, made.chosen_likes, made.chosen_followers) == ("a", 10, 900)
    assert (made.rejected_id, made.rejected_likes, made.rejected_followers) == ("b", 4, 1000)
    assert made.chosen_created_at - made.rejected_created_at == timedelta(minutes=3)


def test_only_replies_that_could_be_half_of_a_preference_are_candidates():
    replies = [reply("a", 10), reply("b", 5), reply("c", 1), reply("d", 100, tweet="t2")]
    assert preference_candidates(replies, CONFIG) == {"a", "b"}
