"""Replies find their tweets; what does not become a pair is counted with its reason."""

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from lib.base.errors import UserError
from lib.data.forget import Forgotten
from lib.data.pairs import join
from lib.data.refusals import refuse_nothing
from tests.items import REPLY_ID, SEEN, TWEET_ID, joined_of, reply_item, rows_of, tweet_item


def reasons(joined):
    return sorted(rejection.reason for rejection in joined.rejected)


def test_a_reply_is_joined_to_its_tweet():
    (pair,) = joined_of(tweet_item(), reply_item(id=int(REPLY_ID), inReplyToId=int(TWEET_ID))).pairs
    assert (pair.tweet_id, pair.reply_id) == (TWEET_ID, REPLY_ID)
    assert (pair.tweet_likes, pair.reply_likes, pair.reply_author_followers) == (600, 30, 800)
    assert pair.reply_time_diff_seconds == 3600
    assert (pair.source, pair.collected_at, pair.tweet_lang, pair.flags) == ("items.jsonl:2", SEEN, "en", [])


def test_every_row_is_counted_once():
    joined = joined_of(
        tweet_item(),
        reply_item(),
        None,
        {"noResults": True},
        reply_item(),
        reply_item(id="3", inReplyToId="5", conversationId="5"),
        "x",
    )
    assert joined.n_rows == joined.n_tweet_rows + len(joined.pairs) + len(joined.rejected) == 7
    assert reasons(joined) == [
        "not_an_item",
        "not_an_item",
        "older_observation",
        "other_conversation",
        "provider_filler",
    ]
    assert all(rejection.pair["source"].startswith("items.jsonl:") for rejection in joined.rejected)


def test_nested_and_strange_replies_have_different_reasons():
    nested = reply_item(id="3", inReplyToId=REPLY_ID)
    strange = reply_item(id="4", inReplyToId="99", conversationId="99")
    mixed_up = reply_item(id="5", conversationId="98")
    joined = joined_of(tweet_item(), reply_item(), nested, strange, mixed_up)
    assert {rejection.id: rejection.reason for rejection in joined.rejected} == {
        "3": "nested_reply",
        "4": "other_conversation",
        "5": "other_conversation",
    }


def test_a_reply_of_a_known_conversation_is_nested_although_its_parent_was_not_collected():
    joined = joined_of(tweet_item(), reply_item(), reply_item(id="3", inReplyToId="88"))
    assert [(one.id, one.reason) for one in joined.rejected] == [("3", "nested_reply")]
    assert joined.missing_tweets == []


def test_what_was_dropped_comes_in_the_order_of_the_file_line_9_before_line_10():
    joined = joined_of(*[None] * 12)
    assert [one.pair["source"] for one in joined.rejected] == [f"items.jsonl:{n}" for n in range(1, 13)]


def test_the_newest_observation_counts_whatever_the_order():
    old, new = rows_of(reply_item(likeCount=90), reply_item(likeCount=10))
    rows = [*rows_of(tweet_item()), old, replace(new, collected_at=SEEN + timedelta(days=1))]
    for order in (rows, rows[::-1]):
        assert [pair.reply_likes for pair in join(order).pairs] == [10]
    same_time = joined_of(
        tweet_item(), reply_item(likeCount=12), reply_item(likeCount=90), reply_item(likeCount=11)
    )
    assert [pair.reply_likes for pair in same_time.pairs] == [90]
    assert reasons(same_time) == ["older_observation"] * 2


def test_the_order_of_rows_does_not_matter():
    rows = rows_of(
        tweet_item(),
        *(reply_item(id=str(number), likeCount=number) for number in range(1, 20)),
        None,
        {"noResults": True},
    )
    expected = join(rows)
    for seed in range(3):
        shuffled = random.Random(seed).sample(rows, len(rows))
        again = join(shuffled)
        assert (again.pairs, again.tweets, again.rejected) == (
            expected.pairs,
            expected.tweets,
            expected.rejected,
        )


def test_tweets_without_replies_are_kept_for_asking():
    joined = joined_of(tweet_item(), reply_item(), tweet_item(id="77", conversationId="77", isQuote=True))
    assert [(tweet.tweet_id, tweet.flags) for tweet in joined.tweets] == [(TWEET_ID, []), ("77", ["quote"])]


def test_flags_say_what_the_text_does_not():
    (pair,) = joined_of(tweet_item(isRetweet=True, media=["u"]), reply_item(isQuote=True, media=["u"])).pairs
    assert pair.flags == ["retweet", "tweet_media", "reply_quote", "reply_media"]


def test_forgotten_posts_stay_away_and_leave_no_text():
    rows = rows_of(
        tweet_item(), reply_item(), reply_item(id="3", author={"userName": "Gone", "followers": 1})
    )
    joined = join(rows, lambda *names: "Gone" in names)
    assert [pair.reply_id for pair in joined.pairs] == [REPLY_ID]
    (rejection,) = joined.rejected
    assert (rejection.id, rejection.reason, rejection.pair) == (
        "items.jsonl:3",
        "forgotten",
        {"source": "items.jsonl:3"},
    )


READY = {
    "tweet_id": TWEET_ID,
    "tweet": "chess on Thursdays",
    "tweet_author": "Baker",
    "tweet_likes": 600,
    "tweet_retweets": 40,
    "tweet_created_at": "2025-02-04T07:00:00Z",
    "reply_id": REPLY_ID,
    "reply": "count me in",
    "reply_author": "Reader",
    "reply_author_followers": 800,
    "reply_likes": 30,
    "reply_retweets": 1,
    "reply_created_at": "2025-02-04T08:00:00Z",
}


@pytest.mark.parametrize("forgotten", [TWEET_ID, REPLY_ID, "baker", "@READER"])
@pytest.mark.parametrize(
    "items", [(READY,), (tweet_item(), reply_item())], ids=["a ready-made pair", "items"]
)
def test_nothing_of_a_forgotten_post_or_author_comes_back(forgotten, items):
    assert len(joined_of(*items).pairs) == 1
    listed = Forgotten("salt")
    listed.add(forgotten)
    joined = join(rows_of(*items), listed.holds)
    assert joined.pairs == []
    assert "forgotten" in reasons(joined)
    gone = [one for one in joined.rejected if one.reason == "forgotten"]
    assert all(set(one.pair) == {"source"} and one.id == one.pair["source"] for one in gone)


def test_filler_alone_is_an_error_that_says_so():
    with pytest.raises(UserError, match=r"all 3 rows of raw/ are the provider's filler .* plan"):
        refuse_nothing(joined_of(*[{"noResults": True}] * 2, {"type": "mock_tweet", "id": -1}))


def test_nothing_usable_is_an_error_with_the_reasons():
    with pytest.raises(
        UserError, match=r"nothing usable in raw/: 2 rows, 1 tweets and no reply .* Reasons: bad_id"
    ):
        refuse_nothing(joined_of(tweet_item(), reply_item(id=1.9e18)))
    with pytest.raises(UserError, match=r"nothing usable in raw/: 0 rows"):
        refuse_nothing(joined_of())
