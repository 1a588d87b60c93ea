"""Reads raw/ as it came: every line is a row or a reason why not, and no line stops the others."""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.seals import checked, missing_raw
from lib.base.strict_json import parse_line
from lib.base.text_files import refuse_no_file
from lib.data.fields import BadItem, to_moment
from lib.data.own_pairs import missing_columns

MAX_LINE_BYTES = 16 * 2**20  # a note tweet with all its metadata has some 50 kB
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Row:
    """One row of a raw file. where: file:line. problem: why value is not there."""

    where: str
    collected_at: datetime
    value: Any = None
    problem: BadItem | None = None


@dataclass(frozen=True)
class RawFile:
    """A file of items, and when they were collected."""

    path: Path
    collected_at: datetime


def raw_files(folder: Path, others: Iterable[str] = ()) -> list[RawFile]:
    """The item files of raw/ in the order of their names, then `collect.files`.

    Raises UserError if one of those is missing, or if a file that was collected is not the one that its
    .meta.json knows.
    """
    for path in missing_raw(folder):
        checked(path)
    inside = [
        path
        for path in sorted(folder.glob("*"))
        if path.suffix in (".jsonl", ".json", ".csv") and _holds_items(path)
    ]
    outside = [Path(name) for name in others]
    for path in outside:
        if not path.is_file():
            raise UserError(f"{path} does not exist. Correct collect.files in the data config.")
    return [RawFile(checked(path), _collected_at(path)) for path in (*inside, *outside)]


def _holds_items(path: Path) -> bool:
    if path.is_dir() or path.name.endswith(".meta.json") or path.name == "manifest.json":
        return False
    refuse_no_file(path, "Mend it, or move it away, then run this again.")
    return True


def _collected_at(path: Path) -> datetime:
    """From the file beside it (<name>.meta.json), else the file's own time."""
    for meta in (path.with_suffix(".meta.json"), path.with_name(path.name + ".meta.json")):
        if meta.is_file():
            values = parse_line(meta.read_bytes(), str(meta))
            try:
                return to_moment(
                    values.get("collected_at") if isinstance(values, dict) else None, "collected_at"
                )
            except BadItem as bad:
                raise UserError(
                    f"{meta}: {bad.detail}. Write it as 2025-01-31T12:00:00Z, or move the file away."
                ) from bad
    return datetime.fromtimestamp(int(path.stat().st_mtime), UTC)


def read_raw(files: Iterable[RawFile]) -> Iterator[Row]:
    """Every row of every file, one at a time. Raises UserError for a CSV without the columns of a pair."""
    for file in files:
        with file.path.open("rb") as handle:
            head = handle.read(4096).removeprefix(_BOM)
        if head.startswith(_UTF16):
            yield _bad(file, 1, "not_utf8", "the file is UTF-16; save it as UTF-8")
        elif file.path.suffix == ".csv":
            yield from _read_csv(file)
        elif file.path.suffix == ".json" and _is_value(file.path.read_bytes()):
            yield from _whole_file(file)
        elif head.lstrip()[:1] == b"[" and not _is_value(head.lstrip().split(b"\n", 1)[0]):
            yield from _read_array(file)
        elif b"\r" in head and b"\n" not in head:
            yield _bad(file, 1, "malformed_line", "its lines end in CR alone; save it with LF line ends")
        else:
            yield from _read_lines(file)


def _whole_file(file: RawFile) -> Iterator[Row]:
    value = _value_of(file.path.read_bytes().removeprefix(_BOM))
    for number, item in enumerate(value if isinstance(value, list) else [value], 1):
        yield Row(f"{file.path.name}:{number}", file.collected_at, item)


def _read_lines(file: RawFile) -> Iterator[Row]:
    """JSON Lines, read as bytes: one bad byte costs its own line, and U+2028 inside a tweet ends none."""
    for number, line in _byte_lines(file.path):
        if number == 1:
            line = line.removeprefix(_BOM)
        if not line.strip(b" \t\r\n\0"):
            continue
        try:
            value = _value_of(line)
        except BadItem as bad:
            yield Row(f"{file.path.name}:{number}", file.collected_at, problem=bad)
            continue
        for item in value if isinstance(value, list) else [value]:
            yield Row(f"{file.path.name}:{number}", file.collected_at, item)


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
        _value_of(line.removeprefix(_BOM))
    except BadItem:
        return False
    return True


def _read_array(file: RawFile) -> Iterator[Row]:
    """A JSON array over several lines. It is read to where it breaks; the numbers count its items."""
    try:
        text = file.path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        yield _bad(
            file,
            1,
            "not_utf8",
            f"byte {error.object[error.start]:#04x} at position {error.start}; nothing of the array is used",
        )
        return
    decoder, position, number = json.JSONDecoder(parse_constant=_refuse), text.index("[") + 1, 0
    while True:
        position = _past(text, position, " \t\r\n,")
        if text[position : position + 1] == "]":
            position = _past(text, position + 1, " \t\r\n")
            if position == len(text):
                return
            position += text[position] == "["  # an array a line
        number += 1
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            yield _bad(file, number, "malformed_line", f"the array breaks here: {str(error)[:150]}")
            return
        yield Row(f"{file.path.name}:{number}", file.collected_at, value)


def _past(text: str, position: int, characters: str) -> int:
    while position < len(text) and text[position] in characters:
        position += 1
    return position


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _read_csv(file: RawFile) -> Iterator[Row]:
    """A CSV of pairs, comma, semicolon or tab between the columns.

    Bytes that are no UTF-8 cost their own row.
    """
    with file.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as handle:
        first = handle.readline()
        handle.seek(0)
        reader = csv.reader(handle, delimiter=max(",;\t", key=first.count), strict=True)
        header = _header(reader, file)
        if not header:
            return
        if lacking := missing_columns(header):
            raise UserError(
                f"{file.path}: not a table of pairs: it lacks the columns {', '.join(lacking)}. Rename or "
                "add them, or move the file away."
            )
        while (row := _next_row(reader, file)) is not None:
            if isinstance(row, Row):
                yield row
            elif row:
                yield _csv_row(file, reader.line_num, header, row)


def _header(reader: Any, file: RawFile) -> list[str]:
    try:
        return [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise UserError(
            f"{file.path}:1: not a table of pairs ({error}). Save it as CSV again, or move the file away."
        ) from error


def _next_row(reader: Any, file: RawFile) -> list[str] | Row | None:
    first = reader.line_num + 1
    try:
        return next(reader, None)
    except csv.Error as error:
        lines = (
            f"lines {first} to {reader.line_num}: " if reader.line_num > first else ""
        )  # a quote that nobody closed
        return _bad(file, first, "malformed_line", f"{lines}{error}")


def _csv_row(file: RawFile, number: int, header: list[str], cells: list[str]) -> Row:
    if len(cells) != len(header):
        return _bad(file, number, "malformed_line", f"{len(cells)} cells under {len(header)} columns")
    if any("\udc80" <= character <= "\udcff" for cell in cells for character in cell):
        return _bad(file, number, "not_utf8", "a byte that is no UTF-8")
    return Row(
        f"{file.path.name}:{number}",
        file.collected_at,
        {name: cell for name, cell in zip(header, cells, strict=True) if cell != ""},
    )


def _bad(file: RawFile, number: int, reason: str, detail: str) -> Row:
    return Row(f"{file.path.name}:{number}", file.collected_at, problem=BadItem(reason, detail))
