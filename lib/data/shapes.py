"""The shapes in which posts are delivered: pages are taken apart, and nested items laid flat.

X API v2 (as it comes, or flattened) and v1.1, X's GraphQL, Community Archive, Apify, twscrape, snscrape, and
pages of these.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from lib.data.fields import is_absent

MAX_DEPTH = 6  # of nested objects whose names are read: no shape needs more
TEXTS = ("fullText", "full_text", "text", "rawContent", "content", "note_tweet.text", "noteTweet.text")
OTHER_TEXTS = ("tweet_text", "tweetText", "tweet", "body", "renderedContent")
# Fields by which people can tell the shapes apart.
KNOWN = {
    "an Apify item": {"id", "text", "createdAt", "likeCount", "retweetCount", "author", "inReplyToId"},
    "X API v2": {
        "id",
        "text",
        "created_at",
        "author_id",
        "public_metrics",
        "referenced_tweets",
        "data",
        "includes",
    },
    "X API v1.1": {"id_str", "full_text", "text", "user", "favorite_count", "retweet_count", "created_at"},
    "X's GraphQL": {"rest_id", "core", "legacy", "tweet_results", "instructions", "entries", "data"},
    "snscrape or twscrape": {"id", "content", "rawContent", "date", "user", "likeCount", "inReplyToTweetId"},
    "a table of pairs": {
        "tweet_id",
        "tweet",
        "tweet_likes",
        "reply_id",
        "reply",
        "reply_likes",
        "reply_author",
    },
}

Path = tuple[str, ...]


@lru_cache(maxsize=10_000)
def spelling(name: str) -> str:
    """A field's name without case and punctuation: likeCount, like_count and "Like Count" are one."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def paths(*names: str) -> tuple[Path, ...]:
    """Names of fields for `found`; a dot goes one level down."""
    return tuple(tuple(map(spelling, name.split("."))) for name in names)


def found(item: Any, names: tuple[Path, ...]) -> Any:
    """The first of these fields of a flat item that holds something."""
    for path in names:
        value = item
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        if not is_absent(value):
            return value
    return None


def spelled(value: dict[Any, Any], depth: int = MAX_DEPTH) -> dict[str, Any]:
    """An object under its names' spellings; of names with one spelling the first that holds something."""
    renamed: dict[str, Any] = {}
    for key, inner in value.items():
        name = spelling(str(key))
        if is_absent(renamed.get(name)):
            renamed[name] = spelled(inner, depth - 1) if isinstance(inner, dict) and depth else inner
    return renamed


_GRAPHQL_USER = paths("core.user_results.result", "core.user_result.result")
_GRAPHQL_NOTE = paths("note_tweet.note_tweet_results.result.text")


def flat(item: dict[str, Any]) -> dict[str, Any]:
    """An item under the spellings of its names, with what its shape nests brought to the top."""
    if isinstance(inner := item.get("tweet"), dict):  # {"tweet": {...}, "author": {...}}
        item = {**{key: value for key, value in item.items() if key != "tweet"}, **inner}
    item = spelled(item)
    if isinstance(legacy := item.get("legacy"), dict):  # X's GraphQL
        item = {**item, **legacy}
        if isinstance(author := found(item, _GRAPHQL_USER), dict):
            item["user"] = {**author, **_object(author, "legacy"), **_object(author, "core")}
        if text := found(item, _GRAPHQL_NOTE):
            item["fulltext"] = text
    if isinstance(whole := item.get("extendedtweet"), dict):  # the item around it is cut, its links too
        kept = {name: whole[name] for name in ("fulltext", "entities", "extendedentities") if name in whole}
        item = {**item, "entities": None, **kept, "truncated": not kept.get("fulltext")}
    return item


def _object(value: dict[str, Any], name: str) -> dict[str, Any]:
    return inner if isinstance(inner := value.get(name), dict) else {}


def items_in(value: Any, depth: int = MAX_DEPTH) -> Iterator[Any]:
    """The items of one value of a raw file: of a page its posts, and the tweets that came along with them.

    What is no page is passed on as it is.
    """
    posts = list(_posts_in(value, depth))
    for post in posts or [value]:
        yield post
        for other in _alongside(post) if depth else ():
            yield from items_in(other, depth - 1)


def _posts_in(value: Any, depth: int) -> Iterator[Any]:
    if not isinstance(value, dict) or not depth or is_post(value):
        return
    if isinstance(value.get("includes"), dict) and isinstance(value.get("data"), dict | list):
        yield from _of_v2(value)
    elif "account" in value and isinstance(value.get("tweets"), list):
        yield from _of_archive(value)
    elif results := list(_results_in(value)):
        yield from results
    elif isinstance(value.get("globalObjects"), dict):
        tweets, users = (_object(value["globalObjects"], name) for name in ("tweets", "users"))
        for tweet in tweets.values():
            yield (
                {**tweet, "user": users.get(str(tweet.get("user_id_str")))}
                if isinstance(tweet, dict)
                else tweet
            )
    else:
        for inner in value.values():
            yield from _listed(inner, depth)


def _listed(value: Any, depth: int) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from [value] if is_post(value) else _posts_in(value, depth - 1)
    elif isinstance(value, list) and any(isinstance(one, dict) and is_post(one) for one in value):
        yield from value
    elif isinstance(value, list):
        for one in value:
            yield from _posts_in(one, depth - 1)


def is_post(value: dict[str, Any]) -> bool:
    """True of a post and of what stands in a post's place, be it broken; false of a page and of all else."""
    value = _object(value, "tweet") or value
    names = {spelling(str(key)) for key, held in value.items() if not isinstance(held, dict | list)}
    return not (names.isdisjoint(_TEXT_NAMES) and set(map(spelling, map(str, value))).isdisjoint(_OF_POSTS))


def is_text(name: str) -> bool:
    """True of a field that holds a post's text."""
    return spelling(name) in _TEXT_NAMES


_TEXT_NAMES = {spelling(name) for name in (*TEXTS, *OTHER_TEXTS)}
_OF_POSTS = {
    "legacy",
    "tombstone",
    "noresults",
    "likecount",
    "favoritecount",
    "publicmetrics",
    "retweetcount",
}


def _results_in(value: Any, depth: int = 30) -> Iterator[dict[str, Any]]:
    """The results of X's GraphQL, wherever its page holds them; not the tweets that they quote."""
    if not depth:
        return
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in ("tweet_results", "tweetResult") and isinstance(inner, dict):
                if isinstance(result := inner.get("result"), dict):
                    yield result
            else:
                yield from _results_in(inner, depth - 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _results_in(inner, depth - 1)


def _of_v2(page: dict[str, Any]) -> Iterator[Any]:
    """A page of X's API v2: its posts and those that it includes, each with its author and its media."""
    users = {user.get("id"): user for user in _dicts(page["includes"].get("users"))}
    posts = page["data"] if isinstance(page["data"], list) else [page["data"]]
    for post in (*posts, *_dicts(page["includes"].get("tweets"))):
        author = users.get(post.get("author_id")) if isinstance(post, dict) else None
        yield {**post, "author": author} if author else post


def _of_archive(archive: dict[str, Any]) -> Iterator[Any]:
    """A Community Archive: everything that one account posted. Its followers are listed, not counted."""
    accounts = [_object(one, "account") or one for one in _dicts(archive["account"])]
    n_followers = len(archive["follower"]) if isinstance(archive.get("follower"), list) else None
    for entry in (*archive["tweets"], *_dicts(archive.get("community-tweet"))):
        yield with_author(entry, accounts[0] if accounts else {}, n_followers)


def with_author(entry: Any, account: dict[str, Any], n_followers: int | None) -> Any:
    """A post of an archive, which does not say who wrote it, with its author."""
    if not isinstance(entry, dict):
        return entry
    post = entry.get("tweet") if isinstance(entry.get("tweet"), dict) else entry
    author = {"username": account.get("username"), "followers": n_followers}
    return post if "user" in post or "author" in post else {**post, "user": author}


def _alongside(post: Any) -> Iterator[dict[str, Any]]:
    """The posts that an item holds whole: what it answers, in X's API v2 flattened; else its replies."""
    if not isinstance(post, dict):
        return
    for one in _dicts(post.get("referenced_tweets")):
        if one.get("type") == "replied_to" and one.get("text"):
            yield {name: value for name, value in one.items() if name != "type"}
    for one in _dicts(post.get("replies") or post.get("comments")):
        if is_post(one):
            yield one


def _dicts(values: Any) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def unknown_shape(names: list[str]) -> str:
    """A sentence on fields that are no post's: what they are, what known shape is nearest, what to do."""
    shown = ", ".join(names[:8])[:200] or "none"
    spellings = set(map(spelling, names))
    near = {shape: len({*map(spelling, fields)} & spellings) for shape, fields in KNOWN.items()}
    nearest = max(near, key=lambda shape: near[shape])
    lacking = ", ".join(sorted(name for name in KNOWN[nearest] if spelling(name) not in spellings))
    return (
        f"no known shape: its first row has the fields {shown}; nearest is {nearest}, of which it lacks "
        f"{lacking}. Rename the fields to those of a known shape, export it again as JSON of Apify or of X "
        "API v2, or move it away"
    )
