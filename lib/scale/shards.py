"""Files of shards: records that belong together lie in one, whichever task wrote them.

<kind>/<task>/<shard>.jsonl: a task writes below its own number; who reads a shard, reads all tasks.
<kind>/<task>.jsonl: what a task keeps together.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from lib.base.files import record_of, to_json, write_json, write_jsonl
from lib.base.schema import Rejection
from lib.base.settings import DataConfig
from lib.data.interim import stage_counts
from lib.data.sources import RawFile

R = TypeVar("R", bound=BaseModel)

SHARD_BYTES = 32 * 2**20  # of raw items: as objects some 400 MB
BUFFER_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Work:
    """All that a task knows. root: the project's folder, absolute: tasks may run on other machines."""

    root: Path
    name: str  # of the data set
    config: DataConfig
    files: tuple[RawFile, ...]
    n_shards: int

    @property
    def data(self) -> Path:
        return self.root / "data" / self.name

    @property
    def folder(self) -> Path:
        return self.data / "interim" / "scale"

    def shard_of(self, key: str) -> int:
        """The shard of everything that has this key, on every machine and in every run."""
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") % self.n_shards

    def parts(self, kind: str, shard: int) -> list[Path]:
        """The files of one shard, of all the tasks that wrote to it."""
        return sorted((self.folder / kind).glob(f"*/{shard:05d}.jsonl"))

    def records(self, kind: str, shard: int, record: type[R]) -> list[R]:
        return [
            record_of(line, record, where)
            for path in self.parts(kind, shard)
            for where, line in lines_of(path)
        ]

    def rows(self, kind: str, shard: int) -> Iterator[dict[str, Any]]:
        for path in self.parts(kind, shard):
            for _, line in lines_of(path):
                yield json.loads(line)

    def own(self, kind: str, task: int) -> Iterator[dict[str, Any]]:
        """Rows of the one file of a task."""
        for _, line in lines_of(self.folder / kind / f"{task:05d}.jsonl"):
            yield json.loads(line)

    def write(self, kind: str, task: int, records: Iterable[BaseModel | dict[str, Any]]) -> None:
        """The one file of a task."""
        write_jsonl(self.folder / kind / f"{task:05d}.jsonl", records)

    def count(self, stage: str, task: int, n_kept: int, rejected: list[Rejection]) -> None:
        """A task's share of a stage's counts."""
        counts = stage_counts(n_kept, (rejection.reason for rejection in rejected))
        write_json(self.folder / "counts" / stage / f"{task:05d}.json", counts)


def line_of(record: BaseModel | dict[str, Any]) -> bytes:
    """One line of JSON, its newline included."""
    if isinstance(record, BaseModel):
        return (to_json(record) + "\n").encode("utf-8")
    # ASCII: an item may hold half of a surrogate pair, which UTF-8 cannot.
    return (json.dumps(record) + "\n").encode("ascii")


def lines_of(path: Path) -> Iterator[tuple[str, bytes]]:
    """(file:line, line) of a file, one line in memory at a time."""
    with path.open("rb") as handle:
        for number, line in enumerate(handle, 1):
            yield f"{path}:{number}", line


def records_in(path: Path, record: type[R]) -> Iterator[R]:
    """Records of a file, one at a time. Raises UserError naming file:line."""
    return (record_of(line, record, where) for where, line in lines_of(path))


class Router:
    """Lines on their way to shards. What an earlier, killed attempt of the same task left is removed first.

    No file stays open: there may be more shards than a process may open files.
    """

    def __init__(self, work: Work, kind: str, task: int) -> None:
        self._work, self._folder = work, work.folder / kind / f"{task:05d}"
        self._lines: dict[int, list[bytes]] = {}
        self._size = 0
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> "Router":
        self._folder.mkdir(parents=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()

    def add(self, key: str, record: BaseModel | dict[str, Any]) -> None:
        line = line_of(record)
        self._lines.setdefault(self._work.shard_of(key), []).append(line)
        self._size += len(line)
        if self._size > BUFFER_BYTES:
            self._flush()

    def _flush(self) -> None:
        for shard, lines in self._lines.items():
            with (self._folder / f"{shard:05d}.jsonl").open("ab") as handle:
                handle.writelines(lines)
        self._lines, self._size = {}, 0
