"""Ids that a spreadsheet rounded: it keeps 15 digits of a number, so that a post's 19 end in 0000."""

from collections import defaultdict
from collections.abc import Iterable

from lib.base.schema import Pair
from lib.data.items import Post
from lib.data.sources import place_of

LEAST = 2  # ids; one in 10,000 ends in 0000 by itself
_LONG = 16  # digits


def rounded_columns(posts: Iterable[Post], pairs: Iterable[Pair]) -> dict[str, str]:
    """file -> why none of its rows is used: most long ids of one of its fields are rounded.

    What has one id and two texts counts twice: these are two posts.
    """
    found: dict[str, str] = {}
    for (file, name), seen in _columns(posts, pairs).items():
        long = sorted(one for one, _ in seen if len(one) >= _LONG and one.isdigit())
        rounded = [one for one in long if one.endswith("0000")]
        if len(rounded) >= LEAST and len(rounded) > len(long) / 2:
            sentence = (
                f"{name} is {rounded[0]}: {len(rounded):,} of the {len(long):,} long ids end in 0000, "
                "because a spreadsheet rounded them to 15 digits, and different posts became one"
            )
            found.setdefault(file, sentence)  # of a field before that of all
    return found


def _columns(posts: Iterable[Post], pairs: Iterable[Pair]) -> dict[tuple[str, str], set[tuple[str, str]]]:
    """(file, field) -> (id, text) of its rows."""
    columns: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for post in posts:
        file = place_of(post.source)[0]
        columns[file, "id"].add((post.id, post.text))
        columns[file, "inReplyToId"].add((post.parent or "", ""))
    for pair in pairs:
        file = place_of(pair.source)[0]
        columns[file, "tweet_id"].add((pair.tweet_id, pair.tweet))
        columns[file, "reply_id"].add((pair.reply_id, pair.reply))
        columns[file, "one of its ids"] |= {(pair.tweet_id, pair.tweet), (pair.reply_id, pair.reply)}
    return columns
