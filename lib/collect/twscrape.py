"""twscrape: X through your own accounts, nothing paid. Only this module knows the package, which is optional.

Accounts come from its own database (data/accounts.db). It takes turns between them; how long it waits for one
is bounded.
"""

import asyncio
import importlib.util
import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import content_hash
from lib.base.settings import DataConfig
from lib.collect.provider import Delivery, Price, Provider, Request, Run

ACTOR = "twscrape"
ACCOUNTS = Path("data/accounts.db")
WAIT_S = 15 * 60  # X gives a limited account back after a quarter of an hour
INSTALL = (
    "source: twscrape needs a package that is not installed: pip install twscrape==0.20.1 (or source: apify)."
)
ADD_ACCOUNT = (
    f"Add one: twscrape --db {ACCOUNTS} add_cookies <name> 'auth_token=...; ct0=...'. X's terms do not allow "
    "automated accounts; "
    "docs/data-policy.md says more."
)
Scrape = Callable[[Request], AsyncIterator[Any]]  # Tweet objects


def request(config: DataConfig, step: str, query: str) -> Request:
    """The search for a query, or for the direct replies to the tweet with this id."""
    collect, bounds = config.collect, config.filter
    if step == "replies":
        return Request(
            step,
            f"replies to {query}",
            ACTOR,
            {"replies_to": query, "limit": collect.replies_per_tweet},
            collect.replies_per_tweet,
        )
    wanted = [
        f"lang:{bounds.language.split('-')[0]}",
        f"min_faves:{bounds.tweet_likes[0]}",
        f"min_retweets:{bounds.tweet_retweets[0]}",
    ]
    missing = [term for term in wanted if term.split(":")[0] + ":" not in query]
    run_input = {"search": " ".join([query, *missing]), "limit": collect.tweets_per_query}
    return Request(step, query, ACTOR, run_input, collect.tweets_per_query)


def connect() -> Provider:
    """The provider over twscrape itself. Raises UserError where the package or its accounts are missing."""
    if importlib.util.find_spec("twscrape") is None:
        raise UserError(INSTALL)
    if not ACCOUNTS.is_file():
        raise UserError(f"{ACCOUNTS} does not exist: twscrape has no account to search with. {ADD_ACCOUNT}")
    os.environ["TWS_TELEMETRY"] = "0"  # before the import: it reports home otherwise
    import twscrape

    return provider(
        scraper(twscrape.API(str(ACCOUNTS), raise_when_no_account=True, wait_timeout=WAIT_S, wait_interval=5))
    )


def scraper(api: Any) -> Scrape:
    """Requests as calls of a twscrape.API."""

    def scrape(request: Request) -> AsyncIterator[Any]:
        if "search" in request.input:
            return api.search(request.input["search"], limit=request.max_items)
        if "tweet_ids" in request.input:
            return _by_ids(api, request.input["tweet_ids"])
        return api.tweet_replies(int(request.input["replies_to"]), limit=request.max_items)

    return scrape


async def _by_ids(api: Any, ids: Iterable[str]) -> AsyncIterator[Any]:
    for tweet_id in ids:
        if (tweet := await api.tweet_details(int(tweet_id))) is not None:
            yield tweet


def provider(scrape: Scrape) -> Provider:
    """twscrape in the shape of a provider.

    A run is free and happens when its items are read, so one cut short is done anew.
    """
    return Provider(
        name=ACTOR,
        price=Price("free"),
        start=lambda request, max_usd: Run(id=_run_id(request)),
        run_ids=list,
        find=lambda request, not_these: None,
        wait=lambda run_id: Run(id=run_id, build=ACTOR),
        items=lambda request, run: Delivery(asyncio.run(_scraped(scrape, request))),
        n_parallel=1,
        check=f"Check with `twscrape --db {ACCOUNTS} accounts` that an account is logged in and not locked.",
    )


async def _scraped(scrape: Scrape, request: Request) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    try:
        # Closed early and on purpose: an abandoned generator keeps its account locked.
        async with aclosing(scrape(request)) as tweets:
            async for tweet in tweets:
                items.append(item_of(tweet))
                if len(items) >= request.max_items:  # twscrape's limit is a target that a page may exceed
                    break
    except (OSError, TimeoutError) as error:
        raise UserError(
            f"X cannot be reached ({type(error).__name__}). Run the same command again to go on from here."
        ) from error
    except Exception as error:
        kind = type(error).__name__  # the package is optional: its classes cannot be named here
        if kind == "GqlFeaturesOutdatedError":
            raise UserError(
                "X has changed its interface: pip install --upgrade twscrape, then run the same command "
                "again."
            ) from error
        if kind != "NoAccountError":
            raise
        raise UserError(
            f"No account of {ACCOUNTS} was free for {WAIT_S // 60} minutes: all are limited, or X has locked "
            "them "
            f"(`twscrape --db {ACCOUNTS} accounts` shows it). Run the same command again later. {ADD_ACCOUNT}"
        ) from error
    return items


def _run_id(request: Request) -> str:
    return f"tw{content_hash(request.input)[:12]}"


def item_of(tweet: Any) -> dict[str, Any]:
    """A twscrape Tweet in the shape of an apidojo item. What it does not know is absent, not zero."""
    tweet_id, conversation = str(tweet.id), getattr(tweet, "conversationId", None)
    parent, parent_user = getattr(tweet, "inReplyToTweetId", None), getattr(tweet, "inReplyToUser", None)
    item = {
        "type": "tweet",
        "id": tweet_id,
        "url": tweet.url,
        "text": tweet.rawContent,
        "fullText": tweet.rawContent,
        "source": getattr(tweet, "sourceLabel", None),
        "retweetCount": tweet.retweetCount,
        "replyCount": tweet.replyCount,
        "likeCount": tweet.likeCount,
        "quoteCount": tweet.quoteCount,
        "viewCount": getattr(tweet, "viewCount", None),
        "bookmarkCount": getattr(tweet, "bookmarkedCount", None),
        "createdAt": _x_date(tweet.date),
        "lang": tweet.lang,
        "isReply": parent is not None,
        "inReplyToId": str(parent) if parent is not None else None,
        "inReplyToUserId": str(parent_user.id) if parent_user else None,
        "inReplyToUsername": parent_user.username if parent_user else None,
        "conversationId": str(conversation) if conversation is not None else None,
        "isRetweet": getattr(tweet, "retweetedTweet", None) is not None,
        "isQuote": bool(getattr(tweet, "isQuoteStatus", False))
        or getattr(tweet, "quotedTweet", None) is not None,
        "author": _author(tweet.user),
        "entities": _entities(tweet),
        "media": _media(getattr(tweet, "media", None)),
        "isPoll": type(getattr(tweet, "card", None)).__name__ == "PollCard",
        "collector": ACTOR,
    }
    return {name: value for name, value in item.items() if value is not None}


def _author(user: Any) -> dict[str, Any]:
    author = {
        "type": "user",
        "id": str(user.id),
        "userName": user.username,
        "name": user.displayname,
        "url": f"https://x.com/{user.username}",
        "description": getattr(user, "rawDescription", None),
        "location": getattr(user, "location", None),
        "followers": getattr(user, "followersCount", None),
        "following": getattr(user, "friendsCount", None),
        "statusesCount": getattr(user, "statusesCount", None),
        "favouritesCount": getattr(user, "favouritesCount", None),
        "isVerified": getattr(user, "verified", None),
        "isBlueVerified": getattr(user, "blue", None),
        "createdAt": _x_date(user.created) if getattr(user, "created", None) else None,
    }
    return {name: value for name, value in author.items() if value is not None}


def _entities(tweet: Any) -> dict[str, Any]:
    links, mentioned = getattr(tweet, "links", None) or [], getattr(tweet, "mentionedUsers", None) or []
    return {
        "hashtags": [{"text": tag} for tag in getattr(tweet, "hashtags", None) or []],
        "urls": [
            {"url": link.tcourl or link.url, "expanded_url": link.url, "display_url": link.text or link.url}
            for link in links
        ],
        "user_mentions": [
            {"id_str": str(user.id), "screen_name": user.username, "name": user.displayname}
            for user in mentioned
        ],
    }


def _media(media: Any) -> list[str]:
    """Picture addresses, a video's by its still."""
    if media is None:
        return []
    stills = [*(getattr(media, "videos", None) or []), *(getattr(media, "animated", None) or [])]
    return [photo.url for photo in getattr(media, "photos", None) or []] + [
        video.thumbnailUrl for video in stills
    ]


def _x_date(moment: datetime) -> str:
    return moment.strftime("%a %b %d %H:%M:%S %z %Y")
