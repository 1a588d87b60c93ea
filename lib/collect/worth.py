"""Raw items as the collector sees them: tweets worth paying replies for, and the pairs that these make."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from lib.base.console import counted
from lib.base.errors import UserError
from lib.base.settings import FilterConfig
from lib.data.checks import ENGAGEMENT, STRUCTURE, TEXT, first_problem, tweet_problem
from lib.data.fields import BadItem
from lib.data.items import Post, post_of
from lib.data.pairs import join
from lib.data.raw import Row, ignored_files, raw_files

WHENEVER = datetime(2000, 1, 1, tzinfo=UTC)  # when an item was collected does not matter here


def read_items(path: Path) -> list[Any]:
    """The items of a raw file that this project wrote; lines that do not parse are left to the pair stage."""
    items = []
    if path.is_file():
        with path.open("rb") as handle:
            for line in handle:
                try:
                    items.append(json.loads(line))
                except (ValueError, RecursionError):
                    continue
    return items


def own_files(raw: Path, outside: Sequence[str]) -> str:
    """A summary of raw/ and collect.files, where nothing is to be collected.

    The files are those that pairing reads. Raises UserError where there is none at all.
    """
    files, ignored = raw_files(raw, outside), ignored_files(raw)
    if not files:
        raise UserError(
            f"{raw} holds no .jsonl or .csv file, nor another that can be read, and collect.source is files. "
            "Put JSONL of items or of pairs, or a CSV with a header, "
            f"there; or set collect.source: apify. {' '.join(ignored)}".rstrip()
        )
    rows = []
    for file in files:
        with file.path.open("rb") as handle:
            rows.append(f"  {file.path}  {sum(1 for line in handle if line.strip()):,} lines")
    rows += [f"  {sentence}" for sentence in ignored]
    return "\n".join([f"collect: {counted(len(files), 'file')} of your own, nothing to collect", *rows])


def is_post(item: Any) -> bool:
    """Not filler, not an error row, and readable."""
    return post_in(item) is not None


def is_storable(is_forgotten: Callable[..., bool], item: Any) -> bool:
    """False for the posts and the authors that were forgotten: they are not stored a second time."""
    post = post_in(item)
    return post is None or not is_forgotten(post.id, post.author, post.parent)


def wanted_tweets(searches: Sequence[Sequence[Any]], config: FilterConfig) -> dict[str, Any]:
    """id -> item of the wanted tweets of all searches: a query's most discussed first, the queries by turns.

    By turns, so that a job that ends early has heard every topic.
    """
    columns = []
    for items in searches:
        found = {tweet_id: item for item in items if (tweet_id := wanted_tweet(item, config))}
        columns.append(sorted(found.items(), key=lambda pair: (-_n_replies(pair[1]), pair[0])))
    wanted: dict[str, Any] = {}
    for tweet_id, item in (pair for pair in chain.from_iterable(zip_longest(*columns)) if pair):
        wanted.setdefault(tweet_id, item)
    return wanted


def wanted_tweet(item: Any, config: FilterConfig) -> str | None:
    """The id of a tweet whose replies are worth paying for.

    It passes the filter, has replies, and conversation_id finds them.
    """
    post, joined = post_in(item), join([Row("search", WHENEVER, item)])
    if (
        post is None
        or not joined.tweets
        or tweet_problem(joined.tweets[0], config)
        or item.get("replyCount") == 0
    ):
        return None
    return (
        post.id if post.conversation in (None, post.id) else None
    )  # a reply's conversation has the root's id


def _n_replies(item: dict[str, Any]) -> int:
    return n if isinstance(n := item.get("replyCount"), int) else 0


def count_pairs(tweet: Any, replies: Sequence[Any], config: FilterConfig) -> int:
    """Number of replies that pass the filter, language and toxicity aside."""
    joined = join(Row("replies", WHENEVER, item) for item in (tweet, *replies))
    return sum(first_problem(pair, config, (*STRUCTURE, *ENGAGEMENT, *TEXT)) is None for pair in joined.pairs)


def post_in(item: Any) -> Post | None:
    """The post that an item holds; None where it is filler or cannot be read."""
    try:
        return post_of(item, "", WHENEVER)
    except BadItem:
        return None
