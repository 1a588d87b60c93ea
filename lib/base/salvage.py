"""Damaged JSON Lines: what can be read is kept, the rest moves to <name>.damaged, nothing is lost."""

import codecs
import json
import re
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import append_bytes, to_json, write_bytes
from lib.base.strict_json import parse_line

Row = dict[str, Any]
Identity = Callable[
    [Row], Hashable | None
]  # of a record: the first of each counts; None for what is no record
OBJECT = re.compile(r'\{"\w+": ')
MAX_SCRAP = 8  # characters beside the records of a line, in which none can be
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass
class Salvaged:
    """rows: the records, in order. damaged: lines that are not one each, as they were."""

    path: Path
    rows: list[Row]
    damaged: list[bytes]
    lost: list[bytes]  # those of them from which a record is missing
    is_clean: bool  # the file is as this project writes it

    def write(self, rows: list[Row]) -> bool:
        """Put the damaged lines aside, then rows in place of the file; nothing where nothing changes.

        True: something changed.
        """
        content = "".join(to_json(row) + "\n" for row in rows).encode("utf-8")
        if rows == self.rows and self.is_clean:
            return False
        aside = self.path.with_name(self.path.name + ".damaged")
        known = set(aside.read_bytes().split(b"\n")) if aside.is_file() else set()
        if lines := [line for line in self.damaged if line not in known]:
            append_bytes(aside, b"".join(line + b"\n" for line in lines))
        write_bytes(self.path, content)
        return True


def salvage(path: Path, identity: Identity) -> Salvaged:
    """Read what can be read: lines in another encoding, records glued together or behind garbage.

    An absent file has no lines.
    """
    before = path.read_bytes() if path.is_file() else b""
    content = before
    if before.startswith(UTF_16):
        content = before.decode("utf-16", errors="replace").encode("utf-8", errors="replace")
    rows, damaged, lost, seen = [], [], [], set()
    content = content.removeprefix(codecs.BOM_UTF8)
    for line in content.split(b"\n"):
        if not line.strip():
            continue
        found, is_whole = _records(line, identity)
        if not is_whole:
            damaged.append(line)
            if len(line) - sum(len(to_json(row)) for row in found) > MAX_SCRAP:
                lost.append(line)
        for row in found:
            name = identity(row)
            if name in seen and is_whole:
                damaged.append(line)
            elif name not in seen:
                rows.append(row)
            seen.add(name)
    if lost and not content.endswith(b"\n") and content.endswith(lost[-1]):
        lost.pop()  # never ended, so nobody has acted on it
    is_clean = not damaged and before == b"".join(line + b"\n" for line in content.split(b"\n") if line)
    return Salvaged(path, rows, damaged, lost, is_clean)


def _records(line: bytes, identity: Identity) -> tuple[list[Row], bool]:
    """The records in a line, and whether it is one as it should be."""
    for encoding in ("utf-8", "cp1252"):
        try:
            row = parse_line(line.decode(encoding).encode("utf-8"), "")
        except (UserError, ValueError):
            continue
        if isinstance(row, dict) and identity(row) is not None:
            return [row], encoding == "utf-8"
    return list(_inside(line.decode("utf-8", errors="replace"), identity)), False


def _inside(text: str, identity: Identity) -> Iterator[Row]:
    """Whole records somewhere in a text."""
    position, decoder = 0, json.JSONDecoder(parse_constant=_refuse)
    while found := OBJECT.search(text, position):
        try:
            row, position = decoder.raw_decode(text, found.start())
        except (ValueError, RecursionError):
            row, position = None, found.start() + 1
        if isinstance(row, dict):
            if identity(row) is not None:
                yield row
            else:
                position = found.start() + 1


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a number")
