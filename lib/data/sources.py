"""A file of raw/ and a row of it, as the readers of the formats give it."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lib.data.fields import BadItem

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
