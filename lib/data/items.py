"""One item of a provider -> a typed, checked post, or the reason why not.

Actors name the same field differently.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lib.base.schema import Flag
from lib.data import signs
from lib.data.fields import (
    BadItem,
    is_true,
    storable,
    to_count,
    to_handle,
    to_id,
    to_language,
    to_moment,
    to_text,
)
from lib.data.shapes import OTHER_TEXTS, TEXTS, flat, found, is_post, paths, unknown_shape
from lib.data.text import has_url, without_picture_link

# A dot goes one level down, case and punctuation do not matter; the first name that holds something wins.
ID_FIELDS = ("id_str", "idStr", "rest_id", "id", "tweet_id", "tweetId")
_IDS, _TEXTS, _OTHER_TEXTS = paths(*ID_FIELDS, "status_id"), paths(*TEXTS), paths(*OTHER_TEXTS)
_ADDRESSES = paths("url", "twitterUrl", "tweetUrl", "permanentUrl", "permalink", "link")
LIKES = paths(
    *("likeCount", "favoriteCount", "likes", "likes_count", "favorites", "public_metrics.like_count"),
    *("tweet_likes", "favorites_count"),
)
_RETWEETS = paths("retweetCount", "retweets", "retweets_count", "public_metrics.retweet_count", "repostCount")
_CREATED = paths(
    "createdAt", "tweet_created_at", "date", "timestamp", "timeParsed", "created_utc", "datetime"
)
_CONVERSATION = paths("conversationIdStr", "conversationId")
_LANGUAGE, _COLLECTED = paths("lang", "language"), paths("collectedAt", "scrapedAt")
_ERRORS = paths("error", "errors", "errorMessage")
_AUTHOR = paths("author", "user")
_HANDLE = paths(
    *("screen_name", "userName", "handle", "author_username", "author_screen_name", "author_handle"),
    *("user_screen_name", "user_username", "user_handle"),
)
_FOLLOWERS = paths(
    *("followers", "followersCount", "follower_count", "num_followers", "public_metrics.followers_count"),
    *("relationship_counts.followers", "author_followers", "author_followers_count", "user_followers_count"),
    *("user_followers", "author_public_metrics.followers_count"),
)
# X cut at 140, later at 280, and wrote an ellipsis, in old items with a link after it.
_CUT = re.compile(r"…\s*(?:https?://t\.co/\w+\s*)?$")


@dataclass(frozen=True)
class Post:
    """A tweet or a reply. followers is None where a tweet's item does not say; a reply always has it."""

    id: str
    text: str
    author: str
    followers: int | None
    likes: int
    retweets: int
    created_at: datetime
    parent: str | None
    conversation: str | None
    lang: str | None
    collected_at: datetime
    source: str
    is_retweet: bool
    is_quote: bool
    marks: list[str]  # media, url, truncated
    versions: tuple[str, ...]  # ids of an edited post, oldest first; its own among them
    author_created_at: datetime | None = None


def post_of(item: Any, source: str, collected_at: datetime) -> Post:
    """Read one item. collected_at: of its file, unless the item says so itself. Raises BadItem."""
    item = _tweet_in(item)
    holder = _holder(item)
    text, parent = _longest_text(item), signs.parent_of(item)
    own_id = to_id(_own_id(item), "id")
    versions = signs.versions_of(item, own_id)
    # A reply that begins with RT quotes by hand; the filter for copies judges that.
    is_retweet = signs.is_retweet(item) or (parent is None and text.startswith("RT @"))
    if parent is None and not signs.is_retweet(item) and (sign := signs.reply_sign(item, versions)):
        said = storable(str(item.get(sign, "another post's")))[:60]
        detail = f"{sign} is {said}: a reply, and no field names the tweet that it answers (inReplyToId)"
        raise BadItem("missing_field", detail)
    return Post(
        id=own_id,
        text=text,
        author=_handle(item, holder),
        followers=_followers(item, holder, needed=parent is not None),
        likes=to_count(found(item, LIKES), "likeCount"),
        retweets=to_count(found(item, _RETWEETS), "retweetCount"),
        created_at=to_moment(found(item, _CREATED), "createdAt"),
        parent=None if parent is None else to_id(parent, "inReplyToId"),
        conversation=_optional_id(found(item, _CONVERSATION)),
        lang=to_language(found(item, _LANGUAGE)),
        collected_at=_optional_moment(found(item, _COLLECTED)) or collected_at,
        source=source,
        is_retweet=is_retweet,
        is_quote=signs.is_quote(item),
        marks=_marks(item, text),
        versions=versions,
        author_created_at=_optional_moment(found(holder, _CREATED)) if holder is not item else None,
    )


def tweet_flags(tweet: Post) -> list[Flag]:
    """Flags of a pair: all that an item says of a tweet beside its text."""
    text = without_picture_link(tweet.text) if "media" in tweet.marks else tweet.text
    flags: dict[Flag, bool] = {
        "retweet": tweet.is_retweet,
        "quote": tweet.is_quote,
        "tweet_truncated": "truncated" in tweet.marks,
        "tweet_media": "media" in tweet.marks,
        "tweet_url": "url" in tweet.marks or has_url(text),
    }
    return [flag for flag, is_set in flags.items() if is_set]


def reply_flags(reply: Post) -> list[Flag]:
    """Flags of a pair: all that an item says of a reply beside its text."""
    flags: dict[Flag, bool] = {
        "reply_retweet": reply.is_retweet,
        "reply_quote": reply.is_quote,
        "reply_media": "media" in reply.marks,
        "reply_url": "url" in reply.marks,
        "truncated": "truncated" in reply.marks,
    }
    return [flag for flag, is_set in flags.items() if is_set]


def seen_of(item: Any) -> dict[str, Any]:
    """The legible part of an unusable item, for its rejection: enough to find it, and to forget it."""
    seen: dict[str, Any] = {}
    if not isinstance(item, dict):
        return {"item": storable(item)[:280]} if isinstance(item, str) else seen
    item = flat(item)
    author = found(item, _AUTHOR)
    values = {
        "reply_id": found(item, _IDS),
        "tweet_id": signs.parent_of(item),
        "reply": found(item, (*_TEXTS, *_OTHER_TEXTS)),
        "reply_author": found(_holder(item), _HANDLE) or author,
    }
    for name, value in values.items():
        if isinstance(value, str):
            seen[name] = storable(value)[:4000]
        elif isinstance(value, int) and abs(value) < 10**30:
            seen[name] = str(value)
    return seen


def is_filler(item: Any) -> bool:
    """Rows that providers deliver, and bill, where they found nothing."""
    return isinstance(item, dict) and (
        is_true(item.get("noResults"))
        or is_true(item.get("demo"))
        or item.get("type") == "mock_tweet"
        or item.get("id") in (-1, "-1")
    )


def _tweet_in(item: Any) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise BadItem(
            "not_an_item", f"expected an object, found {'null' if item is None else type(item).__name__}"
        )
    if is_filler(item):
        raise BadItem("provider_filler", "noResults row" if item.get("noResults") else "mock or demo row")
    post = flat(item)
    kind = str(post.get("type") or post.get("typename") or "").lower()
    if "tombstone" in kind or "unavailable" in kind or post.get("tombstone"):
        raise BadItem("unavailable", "deleted, withheld or private")
    if kind == "error" or (found(post, _ERRORS) is not None and found(post, _TEXTS) is None):
        raise BadItem("error_row", "the provider reports an error in place of a tweet")
    if kind in ("user", "list", "trend", "community"):
        raise BadItem("not_an_item", f"a {kind}, not a tweet")
    if item and not is_post(item):
        raise BadItem("unknown_shape", unknown_shape([storable(str(name)) for name in item]))
    return post


def _holder(item: dict[str, Any]) -> dict[str, Any]:
    return author if isinstance(author := found(item, _AUTHOR), dict) else item


def _handle(item: dict[str, Any], holder: dict[str, Any]) -> str:
    handle, author = found(holder, _HANDLE), found(item, _AUTHOR)
    return to_handle(author if handle is None and isinstance(author, str) else handle, "author.userName")


def _own_id(item: dict[str, Any]) -> Any:
    value = found(item, _IDS)
    return signs.status_id(found(item, _ADDRESSES)) if value is None else value


def _longest_text(item: dict[str, Any]) -> str:
    """Actors cut `text` or `fullText`, whichever: the longer one is whole."""
    texts = [value for name in _TEXTS if isinstance(value := found(item, (name,)), str)]
    other = found(item, _OTHER_TEXTS)
    return to_text(max(texts, key=len, default=other), "text")


def _followers(item: dict[str, Any], holder: dict[str, Any], needed: bool) -> int | None:
    value = found(holder, _FOLLOWERS)
    value = found(item, _FOLLOWERS) if value is None else value
    try:
        return to_count(value, "author.followers")
    except BadItem:
        if needed:
            raise
        return None  # of a tweet's author nobody asks


def _marks(item: dict[str, Any], text: str) -> list[str]:
    is_short = text == item.get("text") or found(item, _TEXTS) is None
    is_cut = bool(_CUT.search(text)) and len(text) >= 130  # in a short text an ellipsis is the author's
    # `truncated` speaks of `text`; where another field holds more, that is the whole.
    if is_true(item.get("truncated")):
        is_cut = is_cut or bool(_CUT.search(text)) or is_short
    marks = {"media": signs.has_media(item), "url": signs.has_links(item), "truncated": is_cut}
    return [name for name, is_set in marks.items() if is_set]


def _optional_id(value: Any) -> str | None:
    try:
        return to_id(value, "conversationId")
    except BadItem:
        return None


def _optional_moment(value: Any) -> datetime | None:
    try:
        return to_moment(value, "collectedAt")
    except BadItem:
        return None
