"""Likes and views of posts, from what tells them: a provider's items, or the table of X's own analytics."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.text_files import refuse_no_file
from lib.data.fields import BadItem, is_absent, storable, to_count, to_id
from lib.data.items import ID_FIELDS, LIKES, is_filler
from lib.data.json_rows import read_json_rows
from lib.data.shapes import OTHER_TEXTS, TEXTS, flat, found, paths
from lib.data.signs import status_id
from lib.data.sources import BOM, RawFile, collected_at

_ADDRESSES = paths("url", "twitterUrl", "permanentUrl", "permalink", "post link", "tweet permalink", "link")
_IDS = paths(*ID_FIELDS, "post id", "status_id")
_TEXTS = paths(*TEXTS, "post text", *OTHER_TEXTS)
_VIEWS = paths(
    *("viewCount", "views.count", "impressions", "impression_count", "public_metrics.impression_count"),
    *("organic_metrics.impression_count", "views"),
)


@dataclass(frozen=True)
class Counted:
    """A post's counts at a moment. views: None where nobody says. text: as it stands on X, where told."""

    id: str
    likes: int
    views: int | None
    text: str | None
    at: datetime


def read_counts(path: Path) -> tuple[list[Counted], list[str]]:
    """The counts in a file, and a sentence for each row that has none. The file's time is that of the counts.

    Raises UserError where there is no file, or a table without a column of likes.
    """
    refuse_no_file(path, "Name the file that holds the likes.")
    file = RawFile(path, collected_at(path))
    rows = _table(path) if path.suffix.lower() in (".csv", ".tsv") else _items(file)
    counts, rejected = [], []
    for where, item in rows:
        try:
            if isinstance(item, BadItem):
                raise item
            counts.append(counted(item, file.collected_at))
        except BadItem as bad:
            rejected.append(f"{where}: {bad.detail}")
    return counts, rejected


def counted(item: Any, at: datetime) -> Counted:
    """The counts in one item. Raises BadItem for one without an id or likes."""
    if not isinstance(item, dict) or is_filler(item):
        raise BadItem("not_an_item", "no post, or filler of a provider")
    item = flat(item)
    # The address first: a spreadsheet rounds the digits of an id, and leaves those in a link alone.
    own_id = status_id(found(item, _ADDRESSES)) or to_id(found(item, _IDS), "id")
    views, text = found(item, _VIEWS), found(item, _TEXTS)
    return Counted(
        id=own_id,
        likes=to_count(found(item, LIKES), "likes"),
        views=None if views is None else to_count(views, "views"),
        text=storable(text) if isinstance(text, str) else None,
        at=at,
    )


def _items(file: RawFile) -> Iterator[tuple[str, Any]]:
    with file.path.open("rb") as handle:
        head = handle.read(4096).removeprefix(BOM)
    for row in read_json_rows(file, head):
        yield row.where, row.problem or row.value


def _table(path: Path) -> Iterator[tuple[str, Any]]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as handle:
        header = handle.readline()
        handle.seek(0)
        reader = csv.DictReader(handle, delimiter=max(",;\t", key=header.count), strict=True)
        names = [name for name in reader.fieldnames or [] if name]
        if found(flat(dict.fromkeys(names, "1")), LIKES) is None:
            raise UserError(
                f"{path}:1: no column of likes among {', '.join(names)[:200] or 'none'}. Export it again "
                "from X's analytics (Content), or name the columns: id,likes,views."
            )
        try:
            for row in reader:
                kept = {name: cell for name, cell in row.items() if name and not is_absent(cell)}
                yield f"{path.name}:{reader.line_num}", kept
        except csv.Error as error:
            raise UserError(f"{path}:{reader.line_num}: not CSV ({error}). Save it as CSV again.") from error
