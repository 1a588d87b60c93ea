"""CSV files: tables of pairs, and exports of items whose nested fields became columns (author/userName)."""

import ast
import csv
import json
from collections.abc import Iterator
from typing import Any, TextIO

from lib.base.errors import UserError
from lib.data.fields import is_absent
from lib.data.own_pairs import REQUIRED, missing_columns
from lib.data.shapes import MAX_DEPTH, is_post, is_text, unknown_shape
from lib.data.sources import RawFile, Row

_OF_REPLIES = {name for name in REQUIRED if name.startswith("reply")}


def read_table(file: RawFile) -> Iterator[Row]:
    """A row for every line of a table; comma, semicolon or tab between the columns, or what `sep=` says.

    Bytes that are no UTF-8 cost their own row. Raises UserError where the columns are those of nothing known.
    """
    with file.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as handle:
        reader = csv.reader(handle, delimiter=delimiter(handle), strict=True)
        header = _header(reader, file)
        if not any(header):
            return
        is_items = _is_items(header, file)
        while (row := _next_row(reader, file)) is not None:
            if isinstance(row, Row):
                yield row
            elif any(row):
                yield _row(file, reader.line_num, header, row, is_items)


def delimiter(handle: TextIO) -> str:
    """Excel's own first line (sep=;) says it, else the header; the handle is left at the header."""
    first = handle.readline()
    if first.lower().startswith("sep=") and len(first.strip("\r\n")) <= 5:
        return first[4:5].strip("\r\n") or "\t"
    handle.seek(0)
    return max(",;\t", key=first.count)


def _header(reader: Any, file: RawFile) -> list[str]:
    try:
        return [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise UserError(
            f"{file.path}:1: not a table of pairs ({error}). Save it as CSV again, or move the file away."
        ) from error


def _is_items(header: list[str], file: RawFile) -> bool:
    """True of a table of items, False of one of pairs. Raises UserError for a table of neither."""
    lacking = missing_columns(header)
    if not lacking:
        return False
    means_pairs = "tweet" in header and not _OF_REPLIES.isdisjoint(header)
    if not means_pairs and is_post(_nested(dict.fromkeys(header, "x"))):
        return True
    if means_pairs or len(lacking) < len(REQUIRED) / 2:
        raise UserError(
            f"{file.path}: not a table of pairs: it lacks the columns {', '.join(lacking)}. Rename or "
            "add them, or move the file away."
        )
    raise UserError(f"{file.path}: {unknown_shape([name for name in header if name])}.")


def _next_row(reader: Any, file: RawFile) -> list[str] | Row | None:
    first = reader.line_num + 1
    try:
        return next(reader, None)
    except csv.Error as error:
        lines = (
            f"lines {first} to {reader.line_num}: " if reader.line_num > first else ""
        )  # a quote that nobody closed
        return file.bad(first, "malformed_line", f"{lines}{error}")


def _row(file: RawFile, number: int, header: list[str], cells: list[str], is_items: bool) -> Row:
    if len(cells) < len(header) or any(cells[len(header) :]):
        return file.bad(number, "malformed_line", f"{len(cells)} cells under {len(header)} columns")
    if any("\udc80" <= character <= "\udcff" for cell in cells for character in cell):
        return file.bad(number, "not_utf8", "a byte that is no UTF-8")
    named = {name: cell for name, cell in zip(header, cells, strict=False) if name and not is_absent(cell)}
    return file.row(
        number, _nested({name: _held(name, cell) for name, cell in named.items()}) if is_items else named
    )


def _held(name: str, cell: str) -> Any:
    """A list or an object that was written into a cell, as JSON or as Python prints it; else the cell."""
    if cell[:1] not in ("[", "{") or is_text(name):
        return cell
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(cell)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return cell


def _nested(columns: dict[str, Any]) -> dict[str, Any]:
    """author/userName and author.userName go into one object `author`; media/0 and media/1 into a list."""
    root: dict[str, Any] = {}
    for name, value in columns.items():
        *parents, last = name.replace("/", ".").split(".", MAX_DEPTH)
        inside = root
        for parent in parents:
            held = inside.setdefault(parent, {})
            inside = held if isinstance(held, dict) else inside.setdefault(f"{parent}.", {})
        inside[last] = value
    return {name: _listed(value) for name, value in root.items()}


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {name: _listed(one) for name, one in value.items()}
    return list(inner.values()) if inner and all(name.isdigit() for name in inner) else inner
