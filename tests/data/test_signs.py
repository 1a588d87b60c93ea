"""A reply is never taken for a tweet, and quotes, retweets and media are seen under every name."""

import pytest

from lib.data.fields import BadItem
from lib.data.items import post_of
from tests.items import REPLY_ID, SEEN, TWEET_ID, joined_of, outcome, reply_item, tweet_item

NO_PARENT = {"inReplyToId": ..., "isReply": ..., "conversationId": ...}


def read(item):
    return post_of(item, "items.jsonl:1", SEEN)


@pytest.mark.parametrize(
    "sign",
    [
        {"isReply": True},
        {"is_reply": "True"},
        {"IsReply": "1"},
        {"isreply": "yes"},
        {"is-reply": 1},
        {"Is Reply": "TRUE"},
        {"reply": True},
        {"type": "reply"},
        {"tweetType": "Reply"},
        {"inReplyToUsername": "baker"},
        {"in_reply_to_screen_name": "baker"},
        {"in_reply_to_user_id": 71},
        {"inReplyToUserId": "71"},
        {"in_reply_to_user": {"id": "71", "username": "baker"}},
        {"replying_to_user": "baker"},
        {"replyingTo": ["baker"]},
        {"reply_to": [{"screen_name": "baker", "id": "71"}]},
        {"reply_to_username": "baker"},
        {"in_reply_to": "https://x.com/baker"},
        {"referenced_tweets": [{"type": "replied_to"}]},
        {"referencedTweets": [{"type": "replied_to", "id": None}]},
        {"conversationId": "99"},
        {"conversation_id_str": "99"},
        {"conversation_id": 1.5e18},
        {"isReply": True, "text": "RT @baker what a day"},
    ],
)
def test_any_sign_of_a_reply_without_a_parent_is_no_tweet(sign):
    item = reply_item(**{**NO_PARENT, **sign})
    assert outcome(tweet_item(), item) == "missing_field"
    assert [tweet.tweet_id for tweet in joined_of(tweet_item(), item).tweets] == [TWEET_ID]
    with pytest.raises(BadItem, match=r"a reply, and no field names the tweet that it answers"):
        read(item)


@pytest.mark.parametrize(
    "parent",
    [
        {"in_reply_to_status_id_str": TWEET_ID},
        {"in_reply_to_status_id": int(TWEET_ID)},
        {"inReplyToStatusId": TWEET_ID},
        {"inReplyToTweetId": int(TWEET_ID)},
        {"in_reply_to_tweet_id": TWEET_ID},
        {"in_reply_to": TWEET_ID},
        {"InReplyTo": int(TWEET_ID)},
        {"inReplyToTweet": {"id": TWEET_ID, "text": "..."}},
        {"inReplyToUrl": f"https://twitter.com/baker/status/{TWEET_ID}?s=20"},
        {"reply_to_tweet_id": TWEET_ID},
        {"replyToId": TWEET_ID},
        {"respondingTo": {"tweetUrl": f"https://x.com/baker/status/{TWEET_ID}"}},
        {"reply_to_status_id": TWEET_ID},
        {"replying_to_tweet": f"https://x.com/baker/status/{TWEET_ID}"},
        {"replyingTo": f"https://mobile.twitter.com/baker/statuses/{TWEET_ID}"},
        {"in_response_to_tweet_id": TWEET_ID},
        {"repliedTo": {"tweet_id": TWEET_ID}},
        {"replied_to_tweet_id": TWEET_ID},
        {"parent_tweet_id": TWEET_ID},
        {"parentId": int(TWEET_ID)},
        {"referenced_tweets": [{"type": "quoted", "id": "1"}, {"type": "replied_to", "id": TWEET_ID}]},
        {"referencedTweets": [{"type": "replied_to", "id": int(TWEET_ID)}]},
        {"referenced_tweets": {"replied_to": {"id": TWEET_ID}}},
    ],
)
def test_a_parent_is_read_from_every_name_that_carries_one(parent):
    item = reply_item(**{**NO_PARENT, "inReplyToUserId": "71", "inReplyToUsername": "baker", **parent})
    assert read(item).parent == TWEET_ID
    assert len(joined_of(tweet_item(), item).pairs) == 1


@pytest.mark.parametrize(
    "sign",
    [
        {"isReply": False},
        {"isReply": "false"},
        {"is_reply": "0"},
        {"isReply": "No"},
        {"inReplyToId": "", "inReplyToUserId": None, "inReplyToUsername": "nan"},
        {"in_reply_to_status_id": "None", "in_reply_to_user_id": 0},
        {"in_reply_to_status_id_str": "null", "replyingTo": [], "in_reply_to_status_id": "0"},
        {"referenced_tweets": [{"type": "quoted", "id": "5"}]},
        {"reply_settings": "everyone", "replyCount": 9, "replies": 3},
        {"conversationId": int(TWEET_ID)},
        {"conversation_id": float(TWEET_ID), "conversationId": ...},
        {"type": "tweet"},
    ],
)
def test_a_tweet_with_empty_signs_is_a_tweet(sign):
    assert read(tweet_item(**sign)).parent is None


def test_a_parent_that_lost_its_digits_is_a_bad_id():
    for sign in (
        {"in_reply_to_status_id": 1.88e18},
        {"inReplyToId": "1.88668E+18"},
        {"reply_to_tweet_id": 1.8e18},
    ):
        assert outcome(tweet_item(), reply_item(**{**NO_PARENT, **sign})) in ("bad_id", "missing_field")
        assert len(joined_of(tweet_item(), reply_item(**{**NO_PARENT, **sign})).tweets) == 1


@pytest.mark.parametrize(
    "sign",
    [
        {"isQuote": "true"},
        {"is_quote_status": True},
        {"isQuoteTweet": 1},
        {"isQuoted": True},
        {"quoteId": "5"},
        {"quoted_status_id": 5},
        {"quoted_status_id_str": "5"},
        {"quotedStatusId": "5"},
        {"quotedTweet": {"id": 5}},
        {"quotedTweetId": "5"},
        {"quoted_status_result": {"result": {"rest_id": "5"}}},
        {"quoted_status_permalink": {"url": "https://t.co/x"}},
        {"quote": {"id": "5"}},
        {"quote_url": "https://x.com/a/status/5"},
        {"referenced_tweets": [{"type": "quoted", "id": "5"}]},
        {"referenced_tweets": {"quoted": {"id": "5"}}},
    ],
)
def test_quotes_are_seen_under_every_name(sign):
    (pair,) = joined_of(tweet_item(**sign), reply_item(**sign)).pairs
    assert pair.flags == ["quote", "reply_quote"]


@pytest.mark.parametrize(
    "sign",
    [
        {"isRetweet": "True"},
        {"is_retweet": 1},
        {"isRepost": True},
        {"retweeted_status": {"id": 5}},
        {"retweetedStatusId": "5"},
        {"retweetedTweet": {"id": 5}},
        {"retweeted_status_result": {"result": {}, "id": "5"}},
        {"retweet_id": "5"},
        {"retweet": "True"},
        {"referenced_tweets": [{"type": "retweeted", "id": "5"}]},
    ],
)
def test_retweets_are_seen_under_every_name_and_whatever_their_conversation(sign):
    assert read(tweet_item(**sign)).is_retweet
    assert read(tweet_item(**sign, conversationId="5")).parent is None


@pytest.mark.parametrize(
    "nothing",
    [
        {"isQuote": "False", "isRetweet": "0", "quoteId": "nan", "quoted_status": None, "media": "[]"},
        {
            "is_quote_status": "no",
            "retweeted_tweet": {},
            "quoted_tweet": "null",
            "retweeted_status_id": "None",
        },
        {"quote_count": 4, "quoteCount": 4, "quote": 4, "retweet": 7, "retweeted": True, "favorited": True},
        {"video": 0, "photos": [], "videos": "[]", "urls": [], "media": {"photos": [], "videos": []}},
        {"profile_image_url": "https://p.example/me.jpg", "url": "https://x.com/baker/status/1"},
        {"quoted_status_result": {}, "entities": {"urls": [], "media": []}, "attachments": {}},
        {"card": {"name": "summary"}, "poll": None, "isPoll": "false", "polls": []},
    ],
)
def test_counts_and_empty_fields_are_no_sign(nothing):
    post = read(tweet_item(**nothing))
    assert not (post.is_quote or post.is_retweet or post.marks)


@pytest.mark.parametrize(
    "media",
    [
        {"photos": ["u"]},
        {"video": 1},
        {"images": ["u"]},
        {"mediaUrls": ["u"]},
        {"media_details": [{"type": "photo"}]},
        {"hasMedia": "true"},
        {"attachments": {"media_keys": ["3_1"]}},
        {"extended_entities": {"media": [{"type": "video"}]}},
        {"entities": {"media": [{"type": "photo"}]}},
        {"attachments": {"poll_ids": ["1"]}},
        {"attachments.poll_ids": ["1"]},
        {"card": {"name": "poll2choice_text_only"}},
        {"card": {"rest_id": "card://1", "legacy": {"name": "poll4choice_text_only"}}},
        {"card": {"_type": "snscrape.modules.twitter.PollCard", "options": []}},
        {"poll": {"options": [{"label": "soup"}, {"label": "bread"}]}},
        {"poll_options": "soup,bread"},
        {"isPoll": True},
    ],
)
def test_media_are_seen_under_every_name(media):
    (pair,) = joined_of(tweet_item(**media), reply_item(**media)).pairs
    assert pair.flags == ["tweet_media", "reply_media"]


def test_a_link_in_a_tweet_is_seen_in_its_text_or_beside_it():
    for link in (
        {"text": "So this is who has the gnomes https://t.co/abc"},
        {"outlinks": ["https://e.example"]},
    ):
        (pair,) = joined_of(tweet_item(**link), reply_item()).pairs
        assert pair.flags == ["tweet_url"]


EDITED = [str(int(TWEET_ID) - 5), TWEET_ID]


@pytest.mark.parametrize(
    "history",
    [
        {"edit_history_tweet_ids": EDITED},
        {"edit_control": {"edit_tweet_ids": EDITED}},
        {"edit_control": {"edit_control_initial": {"edit_tweet_ids": EDITED}}},
        {"edit_info": {"initial": {"editTweetIds": EDITED}}},
    ],
)
def test_replies_to_an_earlier_version_belong_to_the_edited_tweet(history):
    first = tweet_item(id=EDITED[0], conversationId=EDITED[0], text="Before the edit", **history)
    last = tweet_item(conversationId=EDITED[0], **history)
    early = reply_item(inReplyToId=EDITED[0], conversationId=EDITED[0])
    late = reply_item(id="1886684680768013999", conversationId=EDITED[0])
    for items in ([last, early, late], [first, last, early, late], [late, early, last, first]):
        joined = joined_of(*items)
        assert {pair.tweet_id for pair in joined.pairs} == {TWEET_ID}
        assert {pair.tweet for pair in joined.pairs} == {last["text"]}
        assert len(joined.pairs) == 2
        assert [tweet.tweet_id for tweet in joined.tweets] == [TWEET_ID]


def test_a_nested_reply_to_an_earlier_version_of_a_reply_is_nested():
    edited = reply_item(edit_history_tweet_ids=["1886684680768013800", REPLY_ID])
    nested = reply_item(id="77", inReplyToId="1886684680768013800")
    assert [one.reason for one in joined_of(tweet_item(), edited, nested).rejected] == ["nested_reply"]


LONG = "The bakery on our street closed without a word, and since then forty pigeons have held a vigil at "
WHOLE = LONG + "its door, from six in the morning until the lamps go on."


@pytest.mark.parametrize(
    ("changes", "text", "is_cut"),
    [
        ({"text": LONG + "its… https://t.co/abc", "truncated": True}, None, True),
        ({"text": LONG[:100] + " https://t.co/abc", "truncated": "true"}, None, True),
        ({"text": LONG + "its door, from six in… https://t.co/abcdefghij"}, None, True),
        ({"text": LONG, "truncated": True, "extended_tweet": {"full_text": WHOLE}}, WHOLE, False),
        ({"text": LONG, "truncated": True, "extendedTweet": {"fullText": WHOLE}}, WHOLE, False),
        ({"text": LONG, "truncated": True, "full_text": WHOLE}, WHOLE, False),
        ({"text": LONG + "…", "fullText": WHOLE, "truncated": False}, WHOLE, False),
        ({"text": LONG, "truncated": "false"}, LONG, False),
        ({"text": LONG, "truncated": True, "extended_tweet": {}}, LONG, True),
        ({"text": "well… https://t.co/abc"}, None, False),
    ],
)
def test_a_cut_text_is_whole_or_marked(changes, text, is_cut):
    post = read(reply_item(**changes))
    assert ("truncated" in post.marks) == is_cut
    assert text is None or post.text == text


def test_the_link_of_a_cut_tweet_to_itself_is_no_link_of_the_whole_one():
    own = {"urls": [{"expanded_url": f"https://twitter.com/i/web/status/{REPLY_ID}"}]}
    cut = {"text": LONG + "…", "truncated": True, "entities": own}
    assert read(reply_item(**cut, extended_tweet={"full_text": WHOLE, "entities": {"urls": []}})).marks == []


def test_an_id_is_read_from_the_address_where_no_field_has_it():
    assert read(tweet_item(id=..., url=f"https://x.com/baker/status/{TWEET_ID}")).id == TWEET_ID


@pytest.mark.parametrize(
    ("ids", "versions"),
    [
        ([TWEET_ID], (TWEET_ID,)), (["1", TWEET_ID], ("1", TWEET_ID)), ([1, int(TWEET_ID)], ("1", TWEET_ID)),
        (["1", "2"], (TWEET_ID,)), ([], (TWEET_ID,)), ("1", (TWEET_ID,)), (None, (TWEET_ID,)),
    ],
)  # fmt: skip
def test_versions_are_those_among_which_the_post_itself_is(ids, versions):
    assert read(tweet_item(edit_history_tweet_ids=ids)).versions == versions
