"""Lines of the files that people send back, with their places: CSV with a header, a JSON list, JSON Lines."""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.strict_json import parse_line

Row = dict[str, Any]


def answer_rows(path: Path) -> Iterator[tuple[str, Row | UserError]]:
    """(file:line, the object or why it is none). Raises UserError where there is no text file."""
    if not path.is_file():
        raise UserError(f"{path} does not exist. Name the file that a rater sent back.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not UTF-8 (byte {error.start}). Save it as CSV UTF-8, then import it again."
        ) from error
    start = text.lstrip()[:1]
    if path.suffix.lower() == ".csv" or start not in ("[", "{"):
        yield from _csv_rows(path, text)
    elif start == "[":
        yield from _list_rows(path, text)
    else:
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                yield _parsed(line, f"{path}:{number}")


def _csv_rows(path: Path, text: str) -> Iterator[tuple[str, Row | UserError]]:
    header = text.partition("\n")[0].lower()
    if "item" not in header and "participant" in header:
        raise UserError(f"{path}:1: this is Prolific's export of submissions: import it with CROWD=1.")
    if "item" not in header:
        raise UserError(f"{path}:1: no column `item`. The first line names the columns: rater,item,choice.")
    reader = csv.DictReader(
        io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count), strict=True
    )
    try:
        for row in reader:
            where = f"{path}:{reader.line_num}"
            if None in row or None in row.values():
                n = sum(name is not None and value is not None for name, value in row.items()) + len(
                    row.get(None) or []
                )
                error = UserError(
                    f"{where}: {n} cells where the header has {len(reader.fieldnames or [])}. Mend the line."
                )
                yield where, error
            else:
                yield where, row
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: not CSV ({error}). Save it as CSV again.") from error


def _list_rows(path: Path, text: str) -> Iterator[tuple[str, Row | UserError]]:
    """The elements of a JSON list, each with the line it begins on."""
    parse_line(text.encode(), str(path))  # as a whole, strictly
    decoder, at = json.JSONDecoder(), text.index("[") + 1
    while (gap := re.compile(r"[\s,]*").match(text, at)) and text[gap.end()] != "]":
        value, at = decoder.raw_decode(text, gap.end())
        where = f"{path}:{text.count(chr(10), 0, gap.end()) + 1}"
        yield (
            where,
            value
            if isinstance(value, dict)
            else UserError(f"{where}: expected an object with rater, item and choice."),
        )


def _parsed(line: str, where: str) -> tuple[str, Row | UserError]:
    try:
        value = parse_line(line.encode(), where)
    except UserError as error:
        return where, error
    return where, value if isinstance(value, dict) else UserError(
        f"{where}: expected an object with rater, item and choice."
    )
