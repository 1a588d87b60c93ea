"""Signs under many names: that a post is a reply, and to which; a quote, a retweet; media and links."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from lib.data.fields import is_absent, is_true
from lib.data.shapes import Path, found, paths, spelled

_KIND = r"(?:status|tweet|post)"
_REF = r"(?:id|idstr|url|link|permalink|results?)"
# Spelled as `shapes.spelling` does: likeCount is likecount.
_REPLY = re.compile(
    rf"(?:in)?(?:reply|replying|replied|respon[sd]\w*)to.*|isa?reply{_KIND}?|replied{_KIND}.*"
    rf"|parent{_KIND}?{_REF}?"
)
_NO_ID = re.compile(r"^isa?reply|user|screen|name|handle|author|account|profile|people")
_QUOTE = re.compile(
    rf"isa?quoted?{_KIND}?|quot(?:e|ed|ing){_KIND}(?:id)?{_REF}?|quoted?{_REF}?|quot(?:e|ing)of{_REF}?"
)
_RETWEET = re.compile(
    rf"isa?(?:retweet|repost){_KIND}?|(?:retweeted|reposted){_KIND}{_REF}?"
    rf"|(?:retweet|repost)(?:of|from)?{_KIND}?{_REF}?"
)
_MEDIA = re.compile(
    r"(?:has|contains)?(?:attached|attachments?|tweet)?"
    r"(?:media|photo|video|image|picture|pic|gif|animatedgif)s?"
    r"(?:urls?|links?|keys?|details?|entities|files?)?(?:https)?"
    r"|(?:is|has)?(?:attachments?|tweet)?polls?"
    r"(?:ids?|cards?|data|details?|options?|choices?|labels?|results?)?"
)
_COUNTABLE = ("quote", "quoted", "retweet", "repost")  # a number under these counts, "1" and true do not
_MEDIA_PATHS = paths(
    *("extended_entities.media", "entities.media", "attachments.media_keys", "attachments.media"),
    *("attachments.poll_ids", "attachments.polls"),
)
_CARD_KIND = paths("name", "legacy.name", "type", "typename", "cardType")
_URLS = paths("entities.urls", "links", "urls", "outlinks", "tcooutlinks", "outlinksss", "tcooutlinksss")
_PARENT = paths(
    *("inReplyToId", "in_reply_to_status_id_str", "in_reply_to_status_id", "inReplyToTweetIdStr"),
    *("inReplyToTweetId", "in_reply_to_tweet_id_str", "in_reply_to_id_str"),
)
_VERSIONS = paths(
    *("edit_history_tweet_ids", "edit_control.edit_tweet_ids", "edit_info.initial.edit_tweet_ids"),
    *(
        "edit_control.edit_control_initial.edit_tweet_ids",
        "edit_info.edit.edit_control_initial.edit_tweet_ids",
    ),
    *("edit_history.edit_tweet_ids", "edit_history.tweet_ids", "edit_tweet_ids"),
)
_CONVERSATION = paths("conversationIdStr", "conversationId")
_STATUS = re.compile(r"/status(?:es)?/(\d+)")
_TYPES = paths("type", "tweet_type", "post_type", "kind")


def parent_of(item: dict[str, Any]) -> Any:
    """The id of the post that a flat item answers, under whatever name; None where none can be read."""
    value = found(item, _PARENT)
    if is_true(value):
        return _id_in(value) or value
    for kind, reference in _references(item):
        if kind == "repliedto" and (parent := _id_in(reference)):
            return parent
    for name, value in item.items():
        if "reply" in _meanings(name) and (parent := _id_in(value, may_be_plain=not _NO_ID.search(name))):
            return parent
    return None


def reply_sign(item: dict[str, Any], own_ids: tuple[str, ...]) -> str | None:
    """The first field that says that a flat item is a reply, or None. own_ids: of all its versions."""
    for name, value in item.items():
        if ("reply" in _meanings(name) and is_true(value)) or (
            name == "reply" and str(value).lower() == "true"
        ):
            return name
    if any(kind == "repliedto" for kind, _ in _references(item)):
        return "referenced_tweets"
    kinds = (str(found(item, (name,))).lower().replace("_", "") for name in _TYPES)
    if any(kind in ("reply", "repliedto") for kind in kinds):
        return "type"
    conversation = found(item, _CONVERSATION)
    if not is_true(conversation) or str(conversation) in own_ids:
        return None
    # A float that lost its last digits is still its own id, if that id loses the same ones.
    is_own = isinstance(conversation, float) and any(
        one.isdigit() and float(one) == conversation for one in own_ids
    )
    return None if is_own else "conversationId"


def versions_of(item: dict[str, Any], own_id: str) -> tuple[str, ...]:
    """The ids of an edited post, oldest first; only its own where it was never edited."""
    versions = found(item, _VERSIONS)
    ids = tuple(map(str, versions)) if isinstance(versions, list) else ()
    return ids if own_id in ids else (own_id,)


def is_quote(item: dict[str, Any]) -> bool:
    """True of a flat item that quotes another post, under whatever name it says so."""
    return _says(item, "quote") or any(kind == "quoted" for kind, _ in _references(item))


def is_retweet(item: dict[str, Any]) -> bool:
    """True of a flat item that repeats another post. v1.1's `retweeted` is about the reader, and no sign."""
    return _says(item, "retweet") or any(kind == "retweeted" for kind, _ in _references(item))


def has_media(item: dict[str, Any]) -> bool:
    """True of a flat item with a picture, a video, a GIF, or a poll, whose choices are no text either."""
    card = item.get("card")
    is_poll = isinstance(card, dict) and "poll" in str(found(card, _CARD_KIND)).lower()
    return is_poll or _says(item, "media") or is_true(found(item, _MEDIA_PATHS))


def has_links(item: dict[str, Any]) -> bool:
    """True of a flat item whose links are listed beside its text."""
    return is_true(found(item, _URLS))


def status_id(value: Any) -> str | None:
    """The id in the address of a post."""
    match = _STATUS.search(value) if isinstance(value, str) else None
    return match[1] if match else None


@lru_cache(maxsize=10_000)
def _meanings(name: str) -> frozenset[str]:
    """The kinds of fields that a name is one of; items have the same few names again and again."""
    patterns = {"reply": _REPLY, "quote": _QUOTE, "retweet": _RETWEET, "media": _MEDIA}
    return frozenset(kind for kind, pattern in patterns.items() if pattern.fullmatch(name))


def _says(item: dict[str, Any], kind: str) -> bool:
    return any(
        kind in _meanings(name)
        and is_true(value)
        and not (name in _COUNTABLE and isinstance(value, int | float) and not isinstance(value, bool))
        for name, value in item.items()
    )


def _references(item: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """(kind, post) of X API v2's referenced_tweets: a list, or in a table columns such as replied_to.id."""
    references = item.get("referencedtweets")
    if isinstance(references, dict):
        yield from ((kind, post) for kind, post in references.items() if is_true(post))
    for one in references if isinstance(references, list) else []:
        if isinstance(one, dict):
            post = spelled(one)
            yield str(post.get("type")).lower().replace("_", ""), post


def _id_in(value: Any, may_be_plain: bool = True) -> Any:
    """An id, or a float that was one: as it is, in an object, or in the address of a post."""
    if isinstance(value, dict):
        value = found(value, _IDS)
    if (address := status_id(value)) or not may_be_plain or isinstance(value, bool) or is_absent(value):
        return address
    is_number = isinstance(value, int | float) and value > 0
    return (
        value
        if is_number or (isinstance(value, str) and value.strip("=\"' ").isdigit() and is_true(value))
        else None
    )


_IDS: tuple[Path, ...] = paths(
    *("id_str", "rest_id", "id", "tweet_id", "status_id"),
    *("url", "tweet_url", "status_url", "permalink", "link", "uri"),
)
