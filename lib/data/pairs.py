"""Rows of raw/ -> pairs: every reply joined to the tweet that it answers."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from lib.base.schema import Pair, Rejection, Tweet
from lib.data.fields import BadItem
from lib.data.items import Post, post_of, reply_flags, seen_of, tweet_flags
from lib.data.own_pairs import extra_fields, is_pair, pair_of
from lib.data.rounding import rounded_columns
from lib.data.sources import Row, place_of


@dataclass
class Joined:
    """All that came of raw/: n_rows == len(tweets that are items) + len(pairs) + len(rejected).

    tweets also holds the tweets of ready-made pairs, which have no row of their own; n_tweet_rows leaves
    those out.
    """

    pairs: list[Pair] = field(default_factory=list)
    tweets: list[Tweet] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    n_rows: int = 0
    n_tweet_rows: int = 0
    ignored_fields: dict[str, list[str]] = field(default_factory=dict)  # file -> names that no pair has
    rounded: dict[str, str] = field(default_factory=dict)  # file -> why its ids, and so its rows, are refused
    missing_tweets: list[str] = field(default_factory=list)  # ids that replies answer and raw/ does not hold


def join(
    rows: Iterable[Row],
    is_forgotten: Callable[..., bool] = lambda *names: False,
    rounded: dict[str, str] | None = None,
) -> Joined:
    """Join replies to their tweets. Of two observations of one post the newer counts (then the more liked).

    The order of rows does not matter. is_forgotten: is one of these ids or handles never to come back?
    rounded: rounded_columns of the whole files, where rows are only some of theirs.
    """
    joined = Joined()
    posts: list[Post] = []
    ready: list[Pair] = []
    for row in rows:
        joined.n_rows += 1
        try:
            read = read_row(row, is_forgotten)
            if isinstance(read, Pair):
                ready.append(read)
                _note_extra(row, joined)
            else:
                posts.append(read)
        except BadItem as bad:
            joined.rejected.append(_unusable(row, bad))
    joined.rounded = rounded_columns(posts, ready) if rounded is None else rounded
    posts = [post for post in posts if not _is_rounded(post, joined)]
    ready = [pair for pair in ready if not _is_rounded(pair, joined)]
    longest_last = sorted(posts, key=lambda post: len(post.versions))
    roots = {version: post.versions[0] for post in longest_last for version in post.versions}
    tweets = _newest([post for post in posts if post.parent is None], roots, joined)
    replies = _newest([post for post in posts if post.parent is not None], roots, joined)
    made = [pair for reply in replies.values() if (pair := _paired(reply, roots, tweets, replies, joined))]
    joined.missing_tweets = sorted(set(joined.missing_tweets))
    joined.pairs = sorted(_newest_pairs([*made, *ready], joined), key=_order)
    joined.tweets = _all_tweets(tweets, joined.pairs)
    joined.n_tweet_rows = len(tweets)
    joined.rejected.sort(
        key=lambda rejection: (place_of(rejection.pair.get("source", "")), rejection.id, rejection.reason)
    )
    return joined


def read_row(row: Row, is_forgotten: Callable[..., bool]) -> Post | Pair:
    """The post or the pair that a row holds. Raises BadItem if it cannot be used."""
    if row.problem:
        raise row.problem
    if is_pair(row.value):
        read: Post | Pair = pair_of(row.value, row.where, row.collected_at)
        names = (read.tweet_id, read.reply_id, read.tweet_author, read.reply_author)
    else:
        read = post_of(row.value, row.where, row.collected_at)
        names = (read.id, read.author, read.parent or "", read.conversation or "")
    if is_forgotten(*names):
        raise BadItem("forgotten", "on the list of what must not come back")
    return read


def _unusable(row: Row, bad: BadItem) -> Rejection:
    # What was forgotten must not live on in the list of what was dropped.
    seen: dict[str, Any] = {} if bad.reason == "forgotten" else seen_of(row.value)
    identity = "" if bad.reason == "forgotten" else seen.get("reply_id", "")
    return Rejection(
        id=identity or row.where,
        stage="pair",
        reason=bad.reason,
        detail=bad.detail,
        pair={**seen, "source": row.where},
    )


def _note_extra(row: Row, joined: Joined) -> None:
    if extra := extra_fields(row.value):
        names = joined.ignored_fields.setdefault(place_of(row.where)[0], [])
        names += [name for name in extra if name not in names]


def _is_rounded(one: Post | Pair, joined: Joined) -> bool:
    detail = joined.rounded.get(place_of(one.source)[0])
    if detail is not None and isinstance(one, Pair):
        joined.rejected.append(Rejection.of(one, "pair", "bad_id", detail))
    elif detail is not None:
        joined.rejected.append(_dropped(one, "bad_id", detail))
    return detail is not None


def _newest(posts: list[Post], roots: dict[str, str], joined: Joined) -> dict[str, Post]:
    """id of the first version -> the last version, as it was seen last."""
    newest: dict[str, Post] = {}
    for post in sorted(
        posts,
        key=lambda post: (
            post.versions.index(post.id),
            post.collected_at,
            post.likes + post.retweets,
            post.likes,
            place_of(post.source),
            post.text,
        ),
    ):
        root = roots[post.id]
        if (older := newest.get(root)) is not None:
            joined.rejected.append(_dropped(older, "older_observation", f"{post.source} saw it later"))
        newest[root] = post
    return newest


def _newest_pairs(pairs: list[Pair], joined: Joined) -> list[Pair]:
    newest: dict[str, Pair] = {}
    for pair in sorted(
        pairs,
        key=lambda pair: (
            pair.collected_at,
            pair.reply_likes + pair.reply_retweets,
            place_of(pair.source),
            pair.tweet_id,
        ),
    ):
        if (older := newest.get(pair.reply_id)) is not None:
            detail = f"{pair.source} saw it later"
            joined.rejected.append(Rejection.of(older, "pair", "older_observation", detail))
        newest[pair.reply_id] = pair
    return list(newest.values())


def _paired(
    reply: Post, roots: dict[str, str], tweets: dict[str, Post], replies: dict[str, Post], joined: Joined
) -> Pair | None:
    """The pair, if reply answers a tweet directly; else None, and the reason is among the rejected."""
    parent, conversation = (roots.get(name or "", name) for name in (reply.parent, reply.conversation))
    tweet = tweets.get(parent or "")
    if tweet is None:
        is_nested = parent in replies or conversation in tweets
        reason = "nested_reply" if is_nested else "other_conversation"
        detail = f"answers {reply.parent}, " + (
            "which is itself a reply" if is_nested else "of which raw/ holds no usable tweet"
        )
        joined.rejected.append(_dropped(reply, reason, detail))
        if not is_nested and reply.parent and reply.conversation in (None, reply.parent):
            joined.missing_tweets.append(reply.parent)  # of another conversation, it is itself a reply
        return None
    if conversation not in (None, roots.get(tweet.conversation or "", tweet.conversation), roots[tweet.id]):
        detail = f"belongs to conversation {reply.conversation}, not to {tweet.id}"
        joined.rejected.append(_dropped(reply, "other_conversation", detail))
        return None
    return Pair(
        tweet_id=tweet.id,
        tweet=tweet.text,
        tweet_author=tweet.author,
        tweet_likes=tweet.likes,
        tweet_retweets=tweet.retweets,
        tweet_created_at=tweet.created_at,
        reply_id=reply.id,
        reply=reply.text,
        reply_author=reply.author,
        reply_author_followers=reply.followers or 0,  # a reply without it was rejected when it was read
        reply_likes=reply.likes,
        reply_retweets=reply.retweets,
        reply_created_at=reply.created_at,
        reply_time_diff_seconds=int((reply.created_at - tweet.created_at).total_seconds()),
        collected_at=reply.collected_at,
        source=reply.source,
        tweet_lang=tweet.lang,
        reply_lang=reply.lang,
        reply_author_created_at=reply.author_created_at,
        flags=[*tweet_flags(tweet), *reply_flags(reply)],
    )


def _all_tweets(tweets: dict[str, Post], pairs: list[Pair]) -> list[Tweet]:
    own, there = {pair.tweet_id: pair for pair in pairs}, {post.id for post in tweets.values()}
    found = [
        Tweet(
            **{name: getattr(pair, name) for name in Tweet.model_fields if name != "flags"},
            flags=[flag for flag in pair.flags if flag in ("retweet", "quote") or flag.startswith("tweet_")],
        )
        for pair in own.values()
        if pair.tweet_id not in there
    ]
    for post in tweets.values():
        found.append(
            Tweet(
                tweet_id=post.id,
                tweet=post.text,
                tweet_author=post.author,
                tweet_likes=post.likes,
                tweet_retweets=post.retweets,
                tweet_created_at=post.created_at,
                collected_at=post.collected_at,
                source=post.source,
                tweet_lang=post.lang,
                flags=tweet_flags(post),
            )
        )
    return sorted(found, key=lambda tweet: (tweet.tweet_created_at, tweet.tweet_id))


def _dropped(post: Post, reason: str, detail: str) -> Rejection:
    pair = {
        "reply_id": post.id,
        "reply": post.text,
        "reply_author": post.author,
        "reply_likes": post.likes,
        "source": post.source,
        **({"tweet_id": post.parent} if post.parent else {}),
    }
    return Rejection(id=post.id, stage="pair", reason=reason, detail=detail, pair=pair)


def _order(pair: Pair) -> tuple[Any, ...]:
    return (pair.tweet_created_at, pair.tweet_id, pair.reply_created_at, pair.reply_id)
