"""Rows of raw/ that are pairs already: Pair records, or a spreadsheet with their names as its header."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from lib.base.schema import Pair
from lib.data.fields import (
    BadItem,
    is_absent,
    to_count,
    to_handle,
    to_id,
    to_language,
    to_moment,
    to_text,
)

REQUIRED = (
    *("tweet_id", "tweet", "tweet_author", "tweet_likes", "tweet_retweets", "tweet_created_at"),
    *(
        "reply_id",
        "reply",
        "reply_author",
        "reply_author_followers",
        "reply_likes",
        "reply_retweets",
        "reply_created_at",
    ),
)
# Derived where they are absent: the file's time, its line, the difference of the two times.
OPTIONAL = (
    "collected_at",
    "source",
    "reply_time_diff_seconds",
    "tweet_lang",
    "reply_lang",
    "flags",
    "reply_author_created_at",
    "quality",
    "validation",
)
_FIELDS = frozenset((*REQUIRED, *OPTIONAL))


def is_pair(row: Any) -> bool:
    """True of a row that means to be a pair: it has both texts under their names."""
    return (
        isinstance(row, dict)
        and isinstance(row.get("tweet"), str)
        and "reply" in row
        and isinstance(row["reply"], str | None)
    )


def extra_fields(row: dict[str, Any]) -> list[str]:
    """The names in a row that are no field of a pair: people's own notes, which are not read."""
    return [str(name) for name in row if name not in _FIELDS]


def missing_columns(names: Iterable[str]) -> list[str]:
    """The required columns that names lack, in the order of the record."""
    there = set(names)
    return [name for name in REQUIRED if name not in there]


def pair_of(row: dict[str, Any], source: str, collected_at: datetime) -> Pair:
    """Read one row; counts and times may be text, as in a CSV. Raises BadItem.

    A validation and a quality that came with the row are dropped: the stages give their own. So are other
    fields.
    """
    if lacking := missing_columns(name for name, value in row.items() if not is_absent(value)):
        raise BadItem("missing_field", f"{', '.join(lacking)} absent")
    tweeted, replied = (to_moment(row[name], name) for name in ("tweet_created_at", "reply_created_at"))
    try:
        return Pair(
            **{name: to_id(row[name], name) for name in ("tweet_id", "reply_id")},
            **{name: to_text(row[name], name) for name in ("tweet", "reply")},
            **{name: to_handle(row[name], name) for name in ("tweet_author", "reply_author")},
            **{
                name: to_count(row[name], name)
                for name in REQUIRED
                if name.endswith(("_likes", "_retweets", "_followers"))
            },
            tweet_created_at=tweeted,
            reply_created_at=replied,
            reply_time_diff_seconds=int((replied - tweeted).total_seconds()),
            collected_at=to_moment(row["collected_at"], "collected_at")
            if not is_absent(row.get("collected_at"))
            else collected_at,
            source=source,
            tweet_lang=to_language(row.get("tweet_lang")),
            reply_lang=to_language(row.get("reply_lang")),
            flags=_flags(row.get("flags")),
            reply_author_created_at=to_moment(moment, "reply_author_created_at")
            if not is_absent(moment := row.get("reply_author_created_at"))
            else None,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise BadItem("bad_field", f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _flags(value: Any) -> Any:
    """A list, or in a CSV words with spaces, commas or semicolons between them."""
    if isinstance(value, str):
        return [] if is_absent(value) else value.translate(_SEPARATORS).split()
    return value or []


_SEPARATORS = str.maketrans(",;[]'\"", "      ")
