"""JSON as exports come: a value a line, one value, an array over many lines, X's archive."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.strict_json import parse_line
from lib.data.fields import BadItem
from lib.data.shapes import items_in, with_author
from lib.data.sources import BOM, RawFile, Row

MAX_LINE_BYTES = 16 * 2**20  # a note tweet with all its metadata has some 50 kB, a page of 100 some 2 MB
# X's own archive: JSON behind an assignment.
ARCHIVED_TWEETS = re.compile(rb"\s*window\.YTD\.(?:community_)?tweets?\.part\d+\s*=\s*")
ARCHIVED = re.compile(rb"\s*window\.YTD\.\w+\.part\d+\s*=\s*")


def read_json_rows(file: RawFile, head: bytes) -> Iterator[Row]:
    """A row for every item of a file. head: its first bytes, without the byte order mark."""
    is_lines = _is_value(head.lstrip().split(b"\n", 1)[0])
    if ARCHIVED_TWEETS.match(head):
        yield from _read_archive(file)
    elif head.lstrip()[:1] == b"[" and (file.path.suffix.lower() == ".json" or not is_lines):
        yield from _read_array(file)
    elif b"\r" in head and b"\n" not in head:
        yield file.bad(1, "malformed_line", "its lines end in CR alone; save it with LF line ends")
    elif not is_lines and (whole := _whole(file)) is not None:
        for number, item in enumerate(items_in(whole), 1):
            yield file.row(number, item)
    else:
        yield from _read_lines(file)


def _whole(file: RawFile) -> Any:
    """The one value of a file that is no JSON Lines by its name, or that starts with a lone brace."""
    content = file.path.read_bytes() if file.path.suffix.lower() in (".json", ".txt") else b""
    if not content:
        with file.path.open("rb") as handle:
            if handle.readline(100).removeprefix(BOM).strip() != b"{":
                return None
        content = file.path.read_bytes()
    try:
        return parse_line(content.removeprefix(BOM), "")
    except UserError:
        return None


def _read_lines(file: RawFile) -> Iterator[Row]:
    """JSON Lines, read as bytes: one bad byte costs its own line, and U+2028 inside a tweet ends none."""
    for number, line in _byte_lines(file.path):
        if number == 1:
            line = line.removeprefix(BOM)
        if not line.strip(b" \t\r\n\0"):
            continue
        try:
            value = _value_of(line)
        except BadItem as bad:
            yield file.bad(number, bad.reason, bad.detail)
            continue
        for one in value if isinstance(value, list) else [value]:
            for item in items_in(one):
                yield file.row(number, item)


def _byte_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as handle:
        number = 0
        while line := handle.readline(MAX_LINE_BYTES):
            number += 1
            rest = line
            while len(rest) == MAX_LINE_BYTES and not rest.endswith(b"\n"):
                rest = handle.readline(MAX_LINE_BYTES)
            yield number, line


def _value_of(line: bytes) -> Any:
    if len(line) >= MAX_LINE_BYTES:
        raise BadItem("malformed_line", f"longer than {MAX_LINE_BYTES:,} bytes")
    try:
        return parse_line(line, "")
    except UserError as error:
        cause = error.__cause__ or error
        is_torn = not line.endswith(b"\n")  # the writer was killed in the middle of it
        reason = (
            "torn_line"
            if is_torn
            else "not_utf8"
            if isinstance(cause, UnicodeDecodeError)
            else "malformed_line"
        )
        raise BadItem(reason, str(cause)[:200]) from error


def _is_value(line: bytes) -> bool:
    try:
        _value_of(line)
    except BadItem:
        return False
    return True


def _read_array(file: RawFile) -> Iterator[Row]:
    """A JSON array over several lines. It is read to where it breaks; the numbers count its items."""
    try:
        text = file.path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        detail = (
            f"byte {error.object[error.start]:#04x} at position {error.start}; nothing of the array is used"
        )
        yield file.bad(1, "not_utf8", detail)
        return
    decoder, position, number = json.JSONDecoder(parse_constant=_refuse), text.index("[") + 1, 0
    while True:
        position = _past(text, position, " \t\r\n,;")
        if text[position : position + 1] == "]":
            position = _past(text, position + 1, " \t\r\n;")
            if position == len(text):
                return
            position += text[position] == "["  # an array a line
        number += 1
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            yield file.bad(number, "malformed_line", f"the array breaks here: {str(error)[:150]}")
            return
        for item in items_in(value):
            yield file.row(number, item)


def _past(text: str, position: int, characters: str) -> int:
    while position < len(text) and text[position] in characters:
        position += 1
    return position


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _read_archive(file: RawFile) -> Iterator[Row]:
    """tweets.js of X's archive. Whose tweets they are, stands beside it in account.js and follower.js."""
    accounts, followers = (_beside(file.path, name) for name in ("account.js", "follower.js"))
    if not accounts:
        detail = (
            "author is absent: X's archive says in account.js whose tweets these are, and in follower.js "
        )
        yield file.bad(1, "missing_field", f"{detail}how many followers: put both beside {file.path.name}")
        return
    account = accounts[0].get("account") if isinstance(accounts[0], dict) else None
    account = account if isinstance(account, dict) else {}
    for row in _read_array(file):
        entry = with_author(row.value, account, None if followers is None else len(followers))
        yield row if row.problem else Row(row.where, row.collected_at, entry)


def _beside(path: Path, name: str) -> list[Any] | None:
    """The list in another file of an archive, None where it is missing or no such file."""
    other = path.with_name(name)
    if not other.is_file():
        return None
    try:
        value = parse_line(
            ARCHIVED.sub(b"", other.read_bytes().removeprefix(BOM), count=1).rstrip(b" ;\r\n"), ""
        )
    except UserError:
        return None
    return value if isinstance(value, list) else None
