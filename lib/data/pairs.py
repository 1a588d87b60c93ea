"""Rows of raw/ -> pairs: every reply joined to the tweet that it answers."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from lib.base.errors import UserError
from lib.base.schema import Flag, Pair, Rejection, Tweet
from lib.data.fields import BadItem
from lib.data.items import Post, post_of, seen_of
from lib.data.own_pairs import is_pair, pair_of
from lib.data.raw import Row

FILLER = "provider_filler"


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


def join(rows: Iterable[Row], is_forgotten: Callable[..., bool] = lambda *names: False) -> Joined:
    """Join replies to their tweets. Of two observations of one post the newer counts (then the more liked).

    The order of rows does not matter. is_forgotten: is one of these ids or handles never to come back?
    """
    joined = Joined()
    posts: list[Post] = []
    ready: list[Pair] = []
    for row in rows:
        joined.n_rows += 1
        try:
            read = _read(row, is_forgotten)
            (ready if isinstance(read, Pair) else posts).append(read)
        except BadItem as bad:
            joined.rejected.append(_unusable(row, bad))
    tweets = _newest([post for post in posts if post.parent is None], joined)
    replies = _newest([post for post in posts if post.parent is not None], joined)
    made = [pair for reply in replies.values() if (pair := _paired(reply, tweets, replies, joined))]
    joined.pairs = sorted(_newest_pairs([*made, *ready], joined), key=_order)
    joined.tweets = _all_tweets(tweets, joined.pairs)
    joined.n_tweet_rows = len(tweets)
    joined.rejected.sort(
        key=lambda rejection: (_place(rejection.pair.get("source", "")), rejection.id, rejection.reason)
    )
    return joined


def _read(row: Row, is_forgotten: Callable[..., bool]) -> Post | Pair:
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


def _newest(posts: list[Post], joined: Joined) -> dict[str, Post]:
    newest: dict[str, Post] = {}
    for post in sorted(
        posts,
        key=lambda post: (
            post.collected_at,
            post.likes + post.retweets,
            post.likes,
            _place(post.source),
            post.text,
        ),
    ):
        if (older := newest.get(post.id)) is not None:
            joined.rejected.append(_dropped(older, "older_observation", f"{post.source} saw it later"))
        newest[post.id] = post
    return newest


def _newest_pairs(pairs: list[Pair], joined: Joined) -> list[Pair]:
    newest: dict[str, Pair] = {}
    for pair in sorted(
        pairs,
        key=lambda pair: (
            pair.collected_at,
            pair.reply_likes + pair.reply_retweets,
            _place(pair.source),
            pair.tweet_id,
        ),
    ):
        if (older := newest.get(pair.reply_id)) is not None:
            detail = f"{pair.source} saw it later"
            joined.rejected.append(Rejection.of(older, "pair", "older_observation", detail))
        newest[pair.reply_id] = pair
    return list(newest.values())


def _paired(reply: Post, tweets: dict[str, Post], replies: dict[str, Post], joined: Joined) -> Pair | None:
    """The pair, if reply answers a tweet directly; else None, and the reason is among the rejected."""
    tweet = tweets.get(reply.parent or "")
    if tweet is None:
        is_nested = reply.parent in replies or reply.conversation in tweets
        reason = "nested_reply" if is_nested else "other_conversation"
        detail = f"answers {reply.parent}, " + (
            "which is itself a reply" if is_nested else "of which raw/ holds no usable tweet"
        )
        joined.rejected.append(_dropped(reply, reason, detail))
        return None
    if reply.conversation not in (None, tweet.conversation or tweet.id, tweet.id):
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
        flags=[*_tweet_flags(tweet), *_reply_flags(reply)],
    )


def _tweet_flags(tweet: Post) -> list[Flag]:
    # The tweet's own pictures and links do not matter; a text that X cut does.
    flags: list[tuple[Flag, bool]] = [
        ("retweet", tweet.is_retweet),
        ("quote", tweet.is_quote),
        ("tweet_truncated", "truncated" in tweet.marks),
    ]
    return [flag for flag, is_set in flags if is_set]


def _reply_flags(reply: Post) -> list[Flag]:
    flags: list[tuple[Flag, bool]] = [
        ("reply_retweet", reply.is_retweet),
        ("reply_quote", reply.is_quote),
        ("reply_media", "media" in reply.marks),
        ("reply_url", "url" in reply.marks),
        ("truncated", "truncated" in reply.marks),
    ]
    return [flag for flag, is_set in flags if is_set]


def _all_tweets(tweets: dict[str, Post], pairs: list[Pair]) -> list[Tweet]:
    own = {pair.tweet_id: pair for pair in pairs}
    found = [
        Tweet(
            **{name: getattr(pair, name) for name in Tweet.model_fields if name != "flags"},
            flags=[flag for flag in pair.flags if flag in ("retweet", "quote", "tweet_truncated")],
        )
        for pair in own.values()
        if pair.tweet_id not in tweets
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
                flags=_tweet_flags(post),
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


def _place(source: str) -> tuple[str, int]:
    """items.jsonl:12 -> ("items.jsonl", 12): line 9 comes before line 10."""
    name, _, number = source.rpartition(":")
    return name, int(number) if number.isdigit() else 0


def refuse_nothing(joined: Joined) -> None:
    """Raise UserError if there is no pair: nothing but filler, or nothing that could be used."""
    if joined.pairs:
        return
    reasons = {rejection.reason for rejection in joined.rejected}
    if joined.rejected and reasons == {FILLER} and not joined.tweets:
        raise UserError(
            f"all {joined.n_rows:,} rows of raw/ are the provider's filler (noResults, mock tweets): it "
            "found nothing, or your plan does"
            " not cover the search. Check the queries and the plan, move these files away, and collect again."
        )
    why = f" Reasons: {', '.join(sorted(reasons))}." if reasons else ""
    raise UserError(
        f"nothing usable in raw/: {joined.n_rows:,} rows, {joined.n_tweet_rows:,} tweets and no reply to one "
        f"of them.{why}"
        " Put items, pairs or a CSV of pairs into raw/, or collect again."
    )
