"""One item of a provider -> a typed, checked post, or the reason why not.

Actors name the same field differently.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lib.data.fields import BadItem, storable, to_count, to_handle, to_id, to_language, to_moment, to_text

# Field names of apidojo and kaito (camelCase), of X's own API and its imitations (snake_case), of twscrape.
# A dot goes one level down; the first name that holds something wins.
ID_FIELDS = ("id_str", "idStr", "id", "tweet_id", "tweetId", "rest_id")
_TEXTS = ("fullText", "full_text", "text", "rawContent", "note_tweet.text", "noteTweet.text")
_LIKES = ("likeCount", "favorite_count", "favoriteCount", "like_count", "likes", "public_metrics.like_count")
_RETWEETS = ("retweetCount", "retweet_count", "retweets", "public_metrics.retweet_count")
_CREATED = ("createdAt", "created_at", "date", "timestamp", "timeParsed")
_PARENT = (
    *(
        "inReplyToId",
        "in_reply_to_status_id_str",
        "in_reply_to_status_id",
        "inReplyToTweetIdStr",
        "inReplyToTweetId",
    ),
    *("in_reply_to_tweet_id", "inReplyToStatusId", "in_reply_to_id"),
)
_CONVERSATION = ("conversationIdStr", "conversationId", "conversation_id_str", "conversation_id")
_AUTHOR = ("author", "user")
_HANDLE = ("userName", "screen_name", "screenName", "username", "handle")
_FOLLOWERS = ("followers", "followersCount", "followers_count", "public_metrics.followers_count")
_RETWEETED = (
    "isRetweet",
    "is_retweet",
    "retweeted_status",
    "retweetedStatus",
    "retweetedTweet",
    "retweeted_tweet",
)
_QUOTED = (
    "isQuote",
    "is_quote",
    "is_quote_status",
    "quoteId",
    "quoted_status_id_str",
    "quoted_status",
    "quotedTweet",
    "quoted_tweet",
)
_MEDIA = (
    "media",
    "extendedEntities.media",
    "extended_entities.media",
    "entities.media",
    "attachments.media_keys",
)
_URLS = ("entities.urls", "links", "urls")


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
    is_retweet: bool = False
    is_quote: bool = False
    marks: list[str] = field(default_factory=list)  # media, url, truncated


def post_of(item: Any, source: str, collected_at: datetime) -> Post:
    """Read one item. collected_at: of its file, unless the item says so itself. Raises BadItem."""
    item = _tweet_in(item)
    author = _found(item, _AUTHOR)
    holder = author if isinstance(author, dict) else item
    parent = _found(item, _PARENT)
    if parent is None and _found(item, ("isReply", "is_reply")) is True:
        raise BadItem("missing_field", "inReplyToId is absent, though the item is a reply")
    text = _longest_text(item)
    return Post(
        id=to_id(_found(item, ID_FIELDS), "id"),
        text=text,
        author=to_handle(author if isinstance(author, str) else _found(holder, _HANDLE), "author.userName"),
        followers=_followers(_found(holder, _FOLLOWERS), parent is not None),
        likes=to_count(_found(item, _LIKES), "likeCount"),
        retweets=to_count(_found(item, _RETWEETS), "retweetCount"),
        created_at=to_moment(_found(item, _CREATED), "createdAt"),
        parent=None if parent is None else to_id(parent, "inReplyToId"),
        conversation=_optional_id(_found(item, _CONVERSATION)),
        lang=to_language(_found(item, ("lang", "language"))),
        collected_at=_optional_moment(_found(item, ("collectedAt", "collected_at", "scrapedAt")))
        or collected_at,
        source=source,
        # A reply that begins with RT quotes by hand; the filter for copies judges that.
        is_retweet=_found(item, _RETWEETED) is not None or (parent is None and text.startswith("RT @")),
        is_quote=_found(item, _QUOTED) is not None,
        marks=_marks(item, text),
    )


def seen_of(item: Any) -> dict[str, Any]:
    """The legible part of an unusable item, for its rejection: enough to find it, and to forget it."""
    found: dict[str, Any] = {}
    if not isinstance(item, dict):
        return {"item": storable(item)[:280]} if isinstance(item, str) else found
    author = _found(item, _AUTHOR)
    values = {
        "reply_id": _found(item, ID_FIELDS),
        "tweet_id": _found(item, _PARENT),
        "reply": _found(item, _TEXTS),
        "reply_author": author
        if isinstance(author, str)
        else _found(author if isinstance(author, dict) else item, _HANDLE),
    }
    for name, value in values.items():
        if isinstance(value, str):
            found[name] = storable(value)[:4000]
        elif isinstance(value, int) and abs(value) < 10**30:
            found[name] = str(value)
    return found


def is_filler(item: Any) -> bool:
    """Rows that providers deliver, and bill, where they found nothing."""
    return isinstance(item, dict) and (
        bool(item.get("noResults") or item.get("demo"))
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
    if isinstance(inner := item.get("tweet"), dict):  # {"tweet": {...}, "author": {...}}
        item = {**{key: value for key, value in item.items() if key != "tweet"}, **inner}
    kind = str(item.get("type") or item.get("__typename") or "").lower()
    if "tombstone" in kind or "unavailable" in kind or item.get("tombstone"):
        raise BadItem("unavailable", "deleted, withheld or private")
    if kind == "error" or (
        _found(item, ("error", "errors", "errorMessage")) is not None and _found(item, _TEXTS) is None
    ):
        raise BadItem("error_row", "the provider reports an error in place of a tweet")
    if kind in ("user", "list", "trend", "community"):
        raise BadItem("not_an_item", f"a {kind}, not a tweet")
    return item


def _found(item: dict[str, Any], names: tuple[str, ...]) -> Any:
    """The first of these fields that holds something: not null, "", False, [] or {}."""
    for name in names:
        value: Any = item
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is None or value is False or value in ("", [], {}):
            continue
        return value
    return None


def _longest_text(item: dict[str, Any]) -> str:
    """Actors cut `text` or `fullText`, whichever: the longer one is whole."""
    texts = [value for name in _TEXTS if isinstance(value := _found(item, (name,)), str)]
    return to_text(max(texts, key=len, default=None), "text")


def _followers(value: Any, needed: bool) -> int | None:
    try:
        return to_count(value, "author.followers")
    except BadItem:
        if needed:
            raise
        return None  # of a tweet's author nobody asks


def _marks(item: dict[str, Any], text: str) -> list[str]:
    media, urls = _found(item, _MEDIA), _found(item, _URLS)
    has_media = any(media.values()) if isinstance(media, dict) else media is not None
    # X cut at 140, later at 280, and wrote an ellipsis; in a short text an ellipsis is the author's.
    is_cut = text.rstrip().endswith("…") and (len(text) >= 130 or item.get("truncated") is True)
    return [
        name
        for name, is_set in (("media", has_media), ("url", urls is not None), ("truncated", is_cut))
        if is_set
    ]


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
