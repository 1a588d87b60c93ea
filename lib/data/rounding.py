"""Ids that a spreadsheet rounded: it keeps 15 digits of a number, so that a post's 19 end in 0000."""

from collections import defaultdict
from collections.abc import Callable, Iterable

from lib.base.schema import Pair
from lib.data.items import Post
from lib.data.sources import place_of

LEAST = 2  # ids; one in 10,000 ends in 0000 by itself
_LONG = 16  # digits

Columns = defaultdict[tuple[str, str], set[tuple[str, str]]]  # (file, field) -> (id, text) of its rows


def rounded_columns(posts: Iterable[Post], pairs: Iterable[Pair]) -> dict[str, str]:
    """file -> why none of its rows is used: most long ids of one of its fields are rounded.

    What has one id and two texts counts twice: these are two posts.
    """
    columns: Columns = defaultdict(set)
    for one in (*posts, *pairs):
        note_ids(columns, one, str)
    return rounded_in(columns)


def note_ids(columns: Columns, one: Post | Pair, key_of: Callable[[str], str]) -> None:
    """Add the ids of a row to those of its file. key_of: a text, or what stands for it."""
    file = place_of(one.source)[0]
    if isinstance(one, Pair):
        tweet, reply = (one.tweet_id, key_of(one.tweet)), (one.reply_id, key_of(one.reply))
        columns[file, "tweet_id"].add(tweet)
        columns[file, "reply_id"].add(reply)
        columns[file, "one of its ids"] |= {tweet, reply}
    else:
        columns[file, "id"].add((one.id, key_of(one.text)))
        columns[file, "inReplyToId"].add((one.parent or "", ""))


def rounded_in(columns: Columns) -> dict[str, str]:
    """rounded_columns of the ids of whole files."""
    found: dict[str, str] = {}
    for (file, name), seen in columns.items():
        long = sorted(one for one, _ in seen if len(one) >= _LONG and one.isdigit())
        rounded = [one for one in long if one.endswith("0000")]
        if len(rounded) >= LEAST and len(rounded) > len(long) / 2:
            sentence = (
                f"{name} is {rounded[0]}: {len(rounded):,} of the {len(long):,} long ids end in 0000, "
                "because a spreadsheet rounded them to 15 digits, and different posts became one"
            )
            found.setdefault(file, sentence)  # of a field before that of all
    return found
