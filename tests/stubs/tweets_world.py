"""Synthetic tweets and replies in the provider's shape: the stub's answers to searches and conversations."""

from typing import Any

CONFIG = """collect:
  source: apify
  queries: [{queries}]
  target_pairs: {target}
  min_pairs: 1
  tweets_per_query: 50
  replies_per_tweet: 50
  max_usd: {max_usd}
"""


def config_text(queries: str = "cats, dogs", target: int = 1000, max_usd: float = 5) -> str:
    return CONFIG.format(queries=queries, target=target, max_usd=max_usd)


def tweet(tweet_id: str, **changes: Any) -> dict[str, Any]:
    """A tweet that passes the default filter."""
    return {
        "type": "tweet",
        "id": tweet_id,
        "text": f"A thought about number {tweet_id} — ünïcode \u2028 and all",
        "likeCount": 500,
        "retweetCount": 50,
        "replyCount": 9,
        "createdAt": "Fri Nov 21 20:20:00 +0000 2025",
        "lang": "en",
        "isReply": False,
        "conversationId": tweet_id,
        "isRetweet": False,
        "isQuote": False,
        "author": {"userName": f"author{tweet_id}", "followers": 5000},
        **changes,
    }


def reply(tweet_id: str, n: int, **changes: Any) -> dict[str, Any]:
    """A reply that passes the default bounds."""
    fields = {
        "text": f"@author{tweet_id} the {n}th thing that anybody would want to answer here",
        "likeCount": 10 + n,
        "isReply": True,
        "conversationId": tweet_id,
        "inReplyToId": tweet_id,
        "createdAt": "Fri Nov 21 21:20:00 +0000 2025",
        "author": {"userName": f"fan{n}", "followers": 700},
    }
    return tweet(f"{tweet_id}{n:03}", **{**fields, **changes})


def world(
    run_input: dict[str, Any], tweets_per_query: int = 2, replies_per_tweet: int = 5
) -> list[dict[str, Any]]:
    """Each query finds its own tweets, each conversation its own replies.

    Ids follow from the words, so the world is always the same.
    """
    term = run_input["searchTerms"][0]
    if term.startswith("conversation_id:"):
        tweet_id = term.split()[0].partition(":")[2]
        return [reply(tweet_id, n) for n in range(replies_per_tweet)]
    base = 10_000 + sum(map(ord, term)) * 10
    return [tweet(str(base + n)) for n in range(tweets_per_query)]
