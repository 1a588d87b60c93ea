"""A file of raw/ and a row of it, as the readers of the formats give it, and where both come from."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.strict_json import parse_line
from lib.data.fields import BadItem, to_moment

BOM = b"\xef\xbb\xbf"


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

    def row(self, number: int, value: Any) -> Row:
        """A row that could be read. number: of its line, or of its place in an array."""
        return Row(f"{self.path.name}:{number}", self.collected_at, value)

    def bad(self, number: int, reason: str, detail: str) -> Row:
        """A row that could not be read, with the reason why not."""
        return Row(f"{self.path.name}:{number}", self.collected_at, problem=BadItem(reason, detail))


def collected_at(path: Path) -> datetime:
    """The time when a file was collected: as <name>.meta.json beside it says, else the file's own."""
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


def place_of(source: str) -> tuple[str, int]:
    """items.jsonl:12 -> ("items.jsonl", 12): line 9 comes before line 10."""
    name, _, number = source.rpartition(":")
    return name, int(number) if number.isdigit() else 0
