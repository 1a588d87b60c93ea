"""Every shape in which people have tweets gives the same pair; what is none is refused with a sentence."""

import contextlib
import csv
import io
import json
from datetime import UTC, datetime

import pytest

from lib.base.errors import UserError
from lib.data.items import post_of
from lib.data.pairs import join
from lib.data.raw import ignored_files, raw_files, read_raw
from lib.data.refusals import notes, refuse_unknown
from lib.data.shapes import spelled, with_author

TWEET, REPLY, TEXT, ANSWER = (
    "1871234567890123456",
    "1871234567890129999",
    "Who feeds the swans?",
    "@kim Nobody does.",
)
V2 = [
    {
        "id": TWEET,
        "text": TEXT,
        "created_at": "2025-03-01T09:00:00.000Z",
        "author_id": "5",
        "conversation_id": TWEET,
        "edit_history_tweet_ids": [TWEET],
        "public_metrics": {"like_count": 400, "retweet_count": 30, "reply_count": 2, "quote_count": 1},
        "lang": "en",
    },
    {
        "id": REPLY,
        "text": ANSWER,
        "created_at": "2025-03-01T10:00:00.000Z",
        "author_id": "6",
        "conversation_id": TWEET,
        "in_reply_to_user_id": "5",
        "referenced_tweets": [{"type": "replied_to", "id": TWEET}],
        "public_metrics": {"like_count": 12, "retweet_count": 0, "reply_count": 0, "quote_count": 0},
        "lang": "en",
    },
]
USERS = [
    {"id": "5", "username": "kim", "public_metrics": {"followers_count": 90}},
    {"id": "6", "username": "lou", "public_metrics": {"followers_count": 80}},
]
V2_FLAT = [{**post, "author": user} for post, user in zip(V2, USERS, strict=True)]
V11 = [
    {
        "created_at": "Sat Mar 01 09:00:00 +0000 2025",
        "id_str": TWEET,
        "full_text": TEXT,
        "truncated": False,
        "in_reply_to_status_id_str": None,
        "in_reply_to_user_id": None,
        "user": {"screen_name": "kim", "followers_count": 90},
        "is_quote_status": False,
        "retweet_count": 30,
        "favorite_count": 400,
        "retweeted": True,
        "favorited": False,
        "lang": "en",
    },
    {
        "created_at": "Sat Mar 01 10:00:00 +0000 2025",
        "id_str": REPLY,
        "full_text": ANSWER,
        "in_reply_to_status_id": int(TWEET),
        "in_reply_to_status_id_str": TWEET,
        "in_reply_to_screen_name": "kim",
        "user": {"screen_name": "lou", "followers_count": 80},
        "retweet_count": 0,
        "favorite_count": 12,
        "lang": "en",
    },
]


def graphql(item, note=None, renamed=False):
    """renamed: names are under core since 2025, and a restricted tweet has one more level."""
    legacy = {key: value for key, value in item.items() if key != "user"}
    name, followers = item["user"]["screen_name"], item["user"]["followers_count"]
    user = {
        "__typename": "User",
        "rest_id": "5",
        "legacy": {"followers_count": followers, "screen_name": name},
    }
    if renamed:
        user |= {"core": {"screen_name": name}, "legacy": {"followers_count": followers}}
    result = {
        "__typename": "Tweet",
        "id": "VHdlZXQ6MQ==",
        "rest_id": item["id_str"],
        "core": {"user_results": {"result": user}},
        "edit_control": {"edit_tweet_ids": [item["id_str"]]},
        "quoted_status_result": {},
        "legacy": {**legacy, "conversation_id_str": TWEET},
    }
    if note:
        result["note_tweet"] = {"is_expandable": True, "note_tweet_results": {"result": {"text": note}}}
    return {"__typename": "TweetWithVisibilityResults", "tweet": result} if renamed else result


def entry(result):
    content = {"itemType": "TimelineTweet", "tweet_results": {"result": result}}
    return {"entryId": "tweet-1", "content": {"entryType": "TimelineTimelineItem", "itemContent": content}}


def graphql_page(results):
    instructions = [{"type": "TimelineClearCache"}, {"entries": [entry(result) for result in results]}]
    return {"data": {"threaded_conversation_with_injections_v2": {"instructions": instructions}}}


SNSCRAPE = [
    {
        "_type": "snscrape.modules.twitter.Tweet",
        "url": f"https://twitter.com/x/status/{tweet_id}",
        "date": f"2025-03-01T{hour}:00:00+00:00",
        "content": text,
        "renderedContent": text,
        "id": int(tweet_id),
        "user": {"_type": "snscrape.modules.twitter.User", "username": name, "followersCount": followers},
        "replyCount": 1,
        "retweetCount": retweets,
        "likeCount": likes,
        "quoteCount": 0,
        "conversationId": int(TWEET),
        "lang": "en",
        "outlinks": None,
        "media": None,
        "retweetedTweet": None,
        "quotedTweet": None,
        "inReplyToTweetId": parent,
        "inReplyToUser": {"username": "kim"} if parent else None,
    }
    for tweet_id, hour, text, name, followers, retweets, likes, parent in (
        (TWEET, "09", TEXT, "kim", 90, 30, 400, None),
        (REPLY, "10", ANSWER, "lou", 80, 0, 12, int(TWEET)),
    )
]
RAW_CONTENT = [{**item, "rawContent": item["content"], "content": None} for item in SNSCRAPE]
TWSCRAPE = [
    {
        **{key: value for key, value in item.items() if key not in ("content", "outlinks", "_type")},
        "id_str": str(item["id"]),
        "rawContent": item["content"],
        "links": [],
        "media": {"photos": [], "videos": [], "animated": []},
        "conversationIdStr": TWEET,
    }
    for item in SNSCRAPE
]
APIFY = [
    {
        "type": "tweet",
        "id": item["id_str"],
        "text": item["full_text"],
        "createdAt": item["created_at"],
        "likeCount": item["favorite_count"],
        "retweetCount": item["retweet_count"],
        "lang": "en",
        "isReply": "in_reply_to_screen_name" in item,
        "conversationId": TWEET,
        "author": {"userName": item["user"]["screen_name"], "followers": item["user"]["followers_count"]},
        "media": [],
        **({"inReplyToId": TWEET} if "in_reply_to_screen_name" in item else {}),
    }
    for item in V11
]
SOCIALDATA = [
    {
        **{key: value for key, value in item.items() if key != "created_at"},
        "tweet_created_at": made,
        "text": None,
    }
    for item, made in zip(V11, ("2025-03-01T09:00:00.000000Z", "2025-03-01T10:00:00.000000Z"), strict=True)
]
COUNTED = ("favorite_count", "retweet_count")
ARCHIVED = [
    {"tweet": {key: str(value) if key in COUNTED else value for key, value in item.items() if key != "user"}}
    for item in V11
]
SHAPES = {
    "X API v2 page": [{"data": V2, "includes": {"users": USERS}, "meta": {"result_count": 2}}],
    "X API v2 page, the tweet included": [{"data": [V2[1]], "includes": {"users": USERS, "tweets": [V2[0]]}}],
    "X API v2 stream": [{"data": post, "includes": {"users": USERS}, "matching_rules": []} for post in V2],
    "X API v2 flattened": V2_FLAT,
    "X API v2 flattened, the tweet inside": [
        {**V2_FLAT[1], "referenced_tweets": [{"type": "replied_to", **V2_FLAT[0]}]}
    ],
    "X API v1.1": V11,
    "X API v1.1 search": [{"statuses": V11, "search_metadata": {"count": 2}}],
    "GraphQL results": [graphql(item) for item in V11],
    "GraphQL results since 2025": [graphql(item, renamed=True) for item in V11],
    "GraphQL page": [graphql_page(map(graphql, V11))],
    "snscrape before 0.5": SNSCRAPE,
    "snscrape": RAW_CONTENT,
    "twscrape": TWSCRAPE,
    "socialdata page": [{"tweets": SOCIALDATA, "next_cursor": "x"}],
    "twitterapi.io page": [{"tweets": APIFY, "has_next_page": True, "next_cursor": "x"}],
    "a page in a page": [{"status": "success", "code": 0, "data": {"tweets": APIFY}}],
    "a tweet and its replies": [{"tweet_data": APIFY[0], "replies": [APIFY[1]]}],
    "a tweet that holds its replies": [{**APIFY[0], "replies": [APIFY[1]]}],
    "a wrapped tweet beside its replies": [{"tweet": APIFY[0], "replies": [{"tweet": APIFY[1]}]}],
    "Apify": APIFY,
}


def joined_files(folder, **files):
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return join(read_raw(raw_files(folder)))


def the_pair(joined):
    (pair,) = joined.pairs
    return pair


def is_right(joined):
    pair = the_pair(joined)
    assert (pair.tweet_id, pair.tweet, pair.tweet_author) == (TWEET, TEXT, "kim")
    assert (pair.tweet_likes, pair.tweet_retweets, pair.reply_time_diff_seconds) == (400, 30, 3600)
    assert (pair.reply_id, pair.reply, pair.reply_author) == (REPLY, ANSWER, "lou")
    assert (pair.reply_author_followers, pair.reply_likes, pair.reply_retweets) == (80, 12, 0)
    assert (pair.flags, joined.rejected, len(joined.tweets)) == ([], [], 1)
    return True


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ending", [".jsonl", ".JSONL", ".ndjson", ".json", ".txt"])
def test_every_shape_gives_the_same_pair(tmp_path, shape, ending):
    items = SHAPES[shape]
    is_one = ending in (".json", ".txt")
    text = (
        json.dumps(items[0] if len(items) == 1 else items, indent=2)
        if is_one
        else "\n".join(map(json.dumps, items))
    )
    assert is_right(joined_files(tmp_path, **{f"items{ending}": text}))


def table(items, separator, as_text=str):
    """The items as Apify (author/userName) and pandas (author.userName) write them."""
    rows = [
        {
            (f"{name}{separator}{inner}" if inner else name): as_text(cell)
            for name, value in item.items()
            for inner, cell in (value.items() if isinstance(value, dict) else [("", value)])
        }
        for item in items
    ]
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


@pytest.mark.parametrize("separator", ["/", "."])
@pytest.mark.parametrize("items", [APIFY, V11, V2_FLAT, SNSCRAPE], ids=["Apify", "v1.1", "v2", "snscrape"])
def test_a_table_of_items_is_read_like_the_items(tmp_path, separator, items):
    assert is_right(joined_files(tmp_path, **{"dataset.csv": table(items, separator)}))


def test_a_table_of_items_with_cells_that_pandas_filled_is_read(tmp_path):
    text = table([{**item, "quoteId": None, "note": float("nan")} for item in APIFY], ".", str)
    assert is_right(joined_files(tmp_path, **{"dataset.CSV": "\ufeff" + text.replace(",400,", ",400.0,")}))


def test_a_table_with_lists_in_columns_of_their_own_is_read(tmp_path):
    header, tweet, reply = table(APIFY, "/").splitlines()
    text = (
        f"{header},media/0,entities/urls/0/url\n{tweet},https://p.example/1.jpg,https://t.co/x\n{reply},,\n"
    )
    assert the_pair(joined_files(tmp_path, **{"dataset.csv": text})).flags == ["tweet_media", "tweet_url"]


def test_columns_of_twarc_name_the_parent(tmp_path):
    items = [{**item, "referenced_tweets.replied_to.id": ""} for item in V2_FLAT]
    items[1] = {**items[1], "referenced_tweets": "", "referenced_tweets.replied_to.id": TWEET}
    flat = [{**item, "author.public_metrics": json.dumps(item["author"]["public_metrics"])} for item in items]
    assert is_right(joined_files(tmp_path, **{"twarc.csv": table(flat, ".")}))


def archive(items=ARCHIVED, part="tweets.part0"):
    return f"window.YTD.{part} = {json.dumps(items, indent=2)}"


ACCOUNT = 'window.YTD.account.part0 = [{"account": {"username": "lou", "accountId": "6"}}]'
FOLLOWERS = "window.YTD.follower.part0 = " + json.dumps(
    [{"follower": {"accountId": str(n)}} for n in range(80)]
)


@pytest.mark.parametrize("part", ["tweets.part0", "tweet.part0"])
def test_an_archive_gives_its_owners_replies_to_tweets_that_are_there(tmp_path, part):
    files = {"tweets.js": archive(ARCHIVED[1:], part), "account.js": ACCOUNT, "follower.js": FOLLOWERS}
    alone = joined_files(tmp_path, **files)
    assert (alone.pairs, [one.reason for one in alone.rejected]) == ([], ["other_conversation"])
    assert alone.missing_tweets == [TWEET]
    assert any("replies answer 1 tweets that are not in raw/" in note for note in notes(alone))
    assert is_right(joined_files(tmp_path, **{"bought.jsonl": json.dumps(APIFY[0])}))
    assert ignored_files(tmp_path) == []


def test_an_archive_without_its_owner_says_which_files_are_lacking(tmp_path):
    (rejection,) = joined_files(tmp_path, **{"tweets.js": archive()}).rejected
    assert "put both beside tweets.js" in rejection.detail
    (rejection,) = joined_files(tmp_path, **{"account.js": ACCOUNT}).rejected
    assert (rejection.reason, rejection.detail) == ("missing_field", "author.followers is absent")


@pytest.mark.parametrize("name", ["archive.json", "archive.jsonl"])
def test_a_community_archive_is_read_and_its_likes_are_not(tmp_path, name):
    content = {
        "account": [{"account": {"username": "lou", "accountId": "6"}}],
        "profile": [{"profile": {}}],
        "follower": [{"follower": {"accountId": str(n)}} for n in range(80)],
        "like": [{"like": {"tweetId": "1", "fullText": "not mine"}}],
        "tweets": ARCHIVED[1:],
    }
    assert is_right(
        joined_files(tmp_path, **{name: json.dumps(content), "bought.json": json.dumps(APIFY[:1])})
    )


def test_a_text_that_looks_like_a_list_is_a_text(tmp_path):
    items = [{**APIFY[0], "text": "[1] swans, [2] geese"}, {**APIFY[1], "text": "[1]"}]
    pair = the_pair(joined_files(tmp_path, **{"a.csv": table(items, "/")}))
    assert (pair.tweet, pair.reply) == ("[1] swans, [2] geese", "[1]")


def nest(name, depth=900):
    value = {}
    for _ in range(depth):
        value = {name: value}
    return value


@pytest.mark.parametrize("name", ["tweet", "id", "media", "data", "legacy", "in_reply_to", "tweet_results"])
def test_a_bottomless_item_is_a_rejected_row(tmp_path, name):
    deep = {**APIFY[1], "inReplyToId": None, **nest(name)}
    lines = [json.dumps(nest(name)), json.dumps(deep), *map(json.dumps, APIFY)]
    joined = joined_files(tmp_path, **{"a.jsonl": "\n".join(lines)})
    assert len(joined.pairs) == 1
    wide = table([{f"{name}." * 5000 + "x": "x", **APIFY[0]}], ".")
    with contextlib.suppress(UserError):  # that no shape has such columns, for one of the names
        joined_files(tmp_path, **{"b.csv": wide})


def test_a_note_tweet_is_whole(tmp_path):
    long = "A long story about swans. " * 20
    items = [graphql(V11[0], note=long), graphql(V11[1])]
    assert the_pair(joined_files(tmp_path, **{"a.jsonl": "\n".join(map(json.dumps, items))})).tweet == long


@pytest.mark.parametrize("name", ["mine.jsonl", "mine.json", "mine.csv"])
def test_an_unknown_shape_is_refused_with_its_fields_and_the_nearest_known_one(tmp_path, name):
    rows = [{"rest_id": "5", "entries": "x", "core": "y", "ünknown": "z"}] * 2
    text = table(rows, ".") if name.endswith("csv") else json.dumps(rows[0]) + "\n" + json.dumps(rows[1])
    with pytest.raises(UserError) as refused:
        refuse_unknown(joined_files(tmp_path, **{name: text}))
    for part in (name, "rest_id, entries, core, ünknown", "nearest is X's GraphQL", "Rename the fields"):
        assert part in str(refused.value)


def test_one_row_of_an_unknown_shape_stops_nobody(tmp_path):
    joined = joined_files(tmp_path, **{"a.jsonl": "\n".join(map(json.dumps, [*APIFY, {"cursor": "x"}]))})
    refuse_unknown(joined)
    assert (len(joined.pairs), [one.reason for one in joined.rejected]) == (1, ["unknown_shape"])


def test_a_broken_post_is_not_replaced_by_the_one_that_it_quotes(tmp_path):
    joined = joined_files(
        tmp_path, **{"a.jsonl": json.dumps({**APIFY[1], "text": None, "quoted_tweet": APIFY[0]})}
    )
    assert (joined.tweets, [one.reason for one in joined.rejected]) == ([], ["missing_field"])
    gone = {"__typename": "TweetTombstone", "tombstone": {"text": {"text": "This Post was deleted."}}}
    joined = joined_files(tmp_path, **{"a.jsonl": json.dumps(gone)})
    assert [one.reason for one in joined.rejected] == ["unavailable"]


@pytest.mark.parametrize(
    "whole, text, marks",
    [
        ({"full_text": "the whole of it"}, "the whole of it", []),
        ({"full_text": "the whole of it", "entities": {"urls": [{"url": "u"}]}}, "the whole of it", ["url"]),
        ({"entities": {"urls": []}}, "the wh", ["truncated"]),
    ],
)
def test_what_a_cut_item_holds_whole_replaces_it(whole, text, marks):
    cut = {"id": "1", "text": "the wh", "truncated": True, "entities": {"urls": [{"url": "self"}]}}
    cut |= {"created_at": "2025-02-04T08:00:00Z", "favorite_count": 1, "retweet_count": 0}
    cut |= {"user": {"screen_name": "ann", "followers_count": 1}, "extended_tweet": whole}
    post = post_of(cut, "a:1", datetime(2026, 1, 1, tzinfo=UTC))
    assert (post.text, post.marks) == (text, marks)


def test_of_names_with_one_spelling_the_first_that_holds_something_counts():
    assert spelled({"likeCount": None, "like_count": 3, "Like Count": 4}) == {"likecount": 3}
    assert spelled({"a-b": {"C d": "", "cd": 1}}) == {"ab": {"cd": 1}}


@pytest.mark.parametrize(
    "entry, author",
    [
        ({"tweet": {"id": "1"}}, {"user": {"username": "lou", "followers": 2}}),
        ({"id": "1"}, {"user": {"username": "lou", "followers": 2}}),
        ({"id": "1", "user": {"x": 1}}, {"user": {"x": 1}}),
        ({"id": "1", "author": "ann"}, {"author": "ann"}),
    ],
)
def test_a_post_of_an_archive_keeps_its_author_or_gets_the_owner(entry, author):
    assert with_author(entry, {"username": "lou"}, 2) == {"id": "1", **author}
