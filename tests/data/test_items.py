"""One item of any actor -> one post, or the reason why not."""

from datetime import UTC, datetime

import pytest

from lib.data.fields import BadItem, to_count, to_id, to_moment
from lib.data.items import is_filler, post_of, reply_flags, seen_of, tweet_flags
from tests.items import REPLY_ID, SEEN, TWEET_ID, reply_item, tweet_item

FEB_4 = datetime(2025, 2, 4, 8, tzinfo=UTC)


def read(item):
    return post_of(item, "items.jsonl:1", SEEN)


def why_not(item):
    with pytest.raises(BadItem) as bad:
        read(item)
    return bad.value.reason


SNAKE = {
    "id_str": REPLY_ID,
    "id": 1.8866846807680138e18,
    "full_text": "@baker same here",
    "favorite_count": 30,
    "retweet_count": 1,
    "created_at": "Tue Feb 04 08:00:00 +0000 2025",
    "in_reply_to_status_id_str": TWEET_ID,
    "conversation_id_str": TWEET_ID,
    "lang": "en",
    "user": {"screen_name": "reader", "followers_count": 800},
}
TWSCRAPE = {
    "id": int(REPLY_ID),
    "id_str": REPLY_ID,
    "rawContent": "@baker same here",
    "likeCount": 30,
    "retweetCount": 1,
    "date": "2025-02-04 08:00:00+00:00",
    "inReplyToTweetId": int(TWEET_ID),
    "conversationId": int(TWEET_ID),
    "lang": "en",
    "user": {"username": "reader", "followersCount": 800},
    "media": {"photos": [], "videos": [], "animated": []},
    "links": [],
    "retweetedTweet": None,
    "quotedTweet": None,
}
SHAPES = {
    "apidojo": reply_item(text="@baker same here"),
    "kaito": {
        **reply_item(text="@baker same here"),
        "isRetweet": None,
        "quoted_tweet": None,
        "retweeted_tweet": None,
    },
    "snake case": SNAKE,
    "nested": {"tweet": {key: value for key, value in SNAKE.items() if key != "user"}, "user": SNAKE["user"]},
    "epoch ms": {**reply_item(text="@baker same here"), "createdAt": 1738656000000},
    "twscrape": TWSCRAPE,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_actors_shape_gives_the_same_post(shape):
    post = read(SHAPES[shape])
    assert (post.id, post.parent, post.conversation) == (REPLY_ID, TWEET_ID, TWEET_ID)
    assert (post.text, post.author, post.followers) == ("@baker same here", "reader", 800)
    assert (post.likes, post.retweets, post.created_at, post.lang) == (30, 1, FEB_4, "en")
    assert not (post.is_retweet or post.is_quote or post.marks)


def test_a_kaito_tweet_with_an_empty_parent_is_no_reply():
    assert read(tweet_item(inReplyToId="")).parent is None


def test_the_longer_of_text_and_full_text_is_used():
    assert read(tweet_item(text="cut…", fullText="cut no more")).text == "cut no more"
    assert read(tweet_item(text="a note tweet in full", fullText="a note…")).text == "a note tweet in full"


def test_a_text_that_x_cut_is_marked():
    assert read(reply_item(text="x" * 139 + "…")).marks == ["truncated"]
    assert read(reply_item(text="well…")).marks == []


@pytest.mark.parametrize(
    ("changes", "mark"),
    [
        ({"media": ["https://pbs.example/1.jpg"]}, "media"),
        ({"extendedEntities": {"media": [{"type": "photo"}]}}, "media"),
        ({"media": {"photos": [{"url": "u"}], "videos": []}}, "media"),
        ({"entities": {"urls": [{"url": "https://t.co/x"}]}}, "url"),
    ],
)
def test_media_and_links_are_marked_wherever_they_stand(changes, mark):
    assert read(reply_item(**changes)).marks == [mark]


@pytest.mark.parametrize(
    "changes", [{"isRetweet": True}, {"retweeted_status": {"id": 1}}, {"text": "RT @x: old news"}]
)
def test_retweets_are_recognised(changes):
    assert read(tweet_item(**changes)).is_retweet


@pytest.mark.parametrize("changes", [{"isQuote": True}, {"quoteId": "123"}, {"quoted_tweet": {"id": "1"}}])
def test_quotes_are_recognised(changes):
    assert read(tweet_item(**changes)).is_quote


@pytest.mark.parametrize("lang", ["und", "qme", "qht", "zxx", "", None, 7])
def test_a_language_that_x_does_not_know_is_none(lang):
    assert read(reply_item(lang=lang)).lang is None


def test_ids_keep_every_digit():
    assert to_id(1886675324152567949, "id") == "1886675324152567949"
    for value in (1.9e18, "1.9e18", "19e17", -1, True, None, "../x", "", "a b", "9" * 65):
        with pytest.raises(BadItem, match="bad_id"):
            to_id(value, "id")


def test_counts_are_read_or_refused_and_never_guessed():
    assert [to_count(value, "n") for value in (0, 12, 12.0, "1,025", "1025", "1.2K", "3M", " 7 ")] == [
        0,
        12,
        12,
        1025,
        1025,
        1200,
        3_000_000,
        7,
    ]
    for value in (-1, float("nan"), float("inf"), True, "many", "1.2", "-3", [], {}, 1.5, "1,02"):
        with pytest.raises(BadItem, match="bad_count"):
            to_count(value, "n")
    for value in (None, ""):
        with pytest.raises(BadItem, match="missing_field"):
            to_count(value, "n")


def test_times_become_aware_utc_or_are_refused():
    same = [
        "Tue Feb 04 08:00:00 +0000 2025",
        "Tue Feb 04 09:00:00 +0100 2025",
        "2025-02-04T08:00:00.000Z",
        1738656000000,
        1738656000,
        "1738656000000",
    ]
    assert {to_moment(value, "t") for value in same} == {FEB_4}
    for value in (
        "2025-02-04T08:00:00",
        "yesterday",
        "Tue Foo 04 08:00:00 +0000 2025",
        12,
        True,
        [],
        "9" * 20,
        -1,
        "Tue Feb 31 08:00:00 +0000 2025",
    ):
        with pytest.raises(BadItem, match="bad_date"):
            to_moment(value, "t")


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (None, "not_an_item"),
        ("text", "not_an_item"),
        ([], "not_an_item"),
        ({}, "missing_field"),
        ({"noResults": True}, "provider_filler"),
        ({"type": "mock_tweet", "id": -1, "text": "x"}, "provider_filler"),
        ({"type": "tombstone"}, "unavailable"),
        ({"__typename": "TweetTombstone"}, "unavailable"),
        ({"error": "rate limited"}, "error_row"),
        ({"type": "user", "id": "1"}, "not_an_item"),
        (reply_item(author=...), "missing_field"),
        (reply_item(author={"userName": "reader"}), "missing_field"),
        (reply_item(likeCount=None), "missing_field"),
        (reply_item(text=" "), "missing_field"),
        (reply_item(inReplyToId=...), "missing_field"),
        (reply_item(retweetCount=...), "missing_field"),
    ],
)
def test_what_cannot_be_used_has_a_reason(item, reason):
    assert why_not(item) == reason


def test_nobody_asks_for_the_followers_of_a_tweets_author():
    assert read(tweet_item(author={"userName": "baker"})).followers is None


@pytest.mark.parametrize(
    "text, is_cut",
    [
        ("x" * 129 + "…", True), ("x" * 128 + "…", False), ("x" * 129 + "… https://t.co/ab", True),
        ("x" * 129 + "… https://x.com/ab", False), ("x" * 200, False), ("well…", False),
    ],
)  # fmt: skip
def test_an_ellipsis_at_the_end_of_a_long_text_is_a_cut(text, is_cut):
    assert ("truncated" in read(tweet_item(text=text)).marks) == is_cut


@pytest.mark.parametrize(
    "item, is_one",
    [
        ({"noResults": True}, True), ({"noResults": "true"}, True), ({"demo": True}, True),
        ({"type": "mock_tweet"}, True), ({"id": -1}, True), ({"id": "-1"}, True),
        ({"noResults": False}, False), ({"demo": False}, False), ({"type": "tweet"}, False),
        ({"id": 1}, False), ("noResults", False), (None, False),
    ],
)  # fmt: skip
def test_filler_of_a_provider_is_told_from_posts(item, is_one):
    assert is_filler(item) == is_one
    assert is_filler({**tweet_item(), **item}) == is_one if isinstance(item, dict) else True


@pytest.mark.parametrize(
    "item, reason",
    [
        ({"error": "gone", "id": "1"}, "error_row"), ({**tweet_item(), "error": "partial"}, None),
        ({**tweet_item(), "type": "error"}, "error_row"), ({"type": "user", "text": "x"}, "not_an_item"),
        ({**tweet_item(), "type": "TweetTombstone"}, "unavailable"), ([], "not_an_item"),
        (None, "not_an_item"),
        ({**tweet_item(), "demo": True}, "provider_filler"),
    ],
)  # fmt: skip
def test_a_row_in_a_posts_place_says_what_it_is(item, reason):
    assert (why_not(item) if reason else read(item).id) == (reason or TWEET_ID)


@pytest.mark.parametrize(
    "item, is_retweet",
    [
        (tweet_item(text="RT @ann: so true"), True), (tweet_item(text="RT so true"), False),
        (reply_item(text="RT @ann: so true"), False),  # quotes by hand; the filter for copies judges that
        (reply_item(isRetweet=True), True),
    ],
)  # fmt: skip
def test_a_tweet_that_begins_with_rt_is_a_retweet_and_a_reply_is_not(item, is_retweet):
    assert read(item).is_retweet == is_retweet


def test_an_item_says_itself_when_it_was_collected_and_how_old_its_author_is():
    post = read(reply_item(collectedAt="2025-03-01T00:00:00Z"))
    assert post.collected_at == datetime(2025, 3, 1, tzinfo=UTC) and post.author_created_at is None
    author = {"userName": "reader", "followers": 800, "createdAt": "2020-01-01T00:00:00Z"}
    post = read(reply_item(author=author))
    assert (post.collected_at, post.author_created_at) == (SEEN, datetime(2020, 1, 1, tzinfo=UTC))
    flat = reply_item(author=..., user_screen_name="reader", user_followers=800)
    assert read(flat).author_created_at is None  # the item's own time is the reply's
    assert read(reply_item(collectedAt="soon")).collected_at == SEEN


PICTURE = "look at that https://t.co/ab"


@pytest.mark.parametrize(
    "changes, flags",
    [
        ({"text": PICTURE}, ["tweet_url"]), ({"text": PICTURE, "media": ["p"]}, ["tweet_media"]),
        ({"text": "see example.com now", "media": ["p"]}, ["tweet_media", "tweet_url"]),
        ({"entities": {"urls": [{"url": "u"}]}}, ["tweet_url"]), ({"isQuote": True}, ["quote"]),
        ({"isRetweet": True}, ["retweet"]), ({"text": "x" * 140 + "…"}, ["tweet_truncated"]), ({}, []),
    ],
)  # fmt: skip
def test_a_tweets_flags_say_what_its_item_says_beside_the_text(changes, flags):
    assert tweet_flags(read(tweet_item(**changes))) == flags


@pytest.mark.parametrize(
    "changes, flags",
    [
        ({"text": PICTURE}, []),  # a link in a reply's own text is judged from the text
        ({"media": ["p"]}, ["reply_media"]), ({"entities": {"urls": [{"url": "u"}]}}, ["reply_url"]),
        ({"isQuote": True}, ["reply_quote"]), ({"isRetweet": True}, ["reply_retweet"]),
        ({"text": "x" * 140 + "…"}, ["truncated"]),
    ],
)  # fmt: skip
def test_a_replys_flags_say_what_its_item_says_beside_the_text(changes, flags):
    assert reply_flags(read(reply_item(**changes))) == flags


def test_an_unusable_item_is_legible_in_its_rejection():
    seen = {"reply_id": REPLY_ID, "tweet_id": TWEET_ID, "reply": "hi", "reply_author": "reader"}
    assert seen_of(reply_item(text="hi", likeCount="many")) == seen
    assert seen_of({"id": 12, "body": "x" * 5000, "author": "ann"}) == {
        "reply_id": "12", "reply": "x" * 4000, "reply_author": "ann",
    }  # fmt: skip
    assert seen_of({"id": 10**30, "text": ["no"]}) == {}
    assert (seen_of("y" * 300), seen_of(None), seen_of([1])) == ({"item": "y" * 280}, {}, {})
