"""Files that are whole or absent, lines that are whole or dropped, locks that die with their process."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pydantic import BaseModel, ValidationError

from lib.base.characters import whole
from lib.base.errors import UserError
from lib.base.folders import no_empty_folders
from lib.base.strict_json import advice, advice_at, parse_own
from lib.base.text_files import refuse_no_file, unwritable

R = TypeVar("R", bound=BaseModel)


def to_json(record: BaseModel | dict[str, Any]) -> str:
    """One line of JSON, without the fields that are None."""
    if isinstance(record, BaseModel):
        record = record.model_dump(mode="json", exclude_none=True)
    return whole(json.dumps(record, ensure_ascii=False, allow_nan=False))


def write_bytes(path: Path, content: bytes) -> None:
    """Replace path as a whole: a crash leaves the old file or the new one, never half of it.

    Two processes that write it at once write one after the other.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(partial) as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
            partial.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise unwritable(path, error) from error


def _alone(partial: Path) -> BinaryIO:
    """A handle of an empty file at partial that no other process writes to, where files can be locked."""
    while True:
        handle = partial.open("ab")
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):  # whoever held it has put it in its place meanwhile
            if os.path.samestat(os.fstat(handle.fileno()), partial.stat()):
                handle.truncate(0)
                return handle
        handle.close()


def write_text(path: Path, text: str) -> None:
    """Replace path as a whole by a text in UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def json_bytes(value: Any) -> bytes:
    """A JSON file's content, indented."""
    return (whole(json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2)) + "\n").encode("utf-8")


def jsonl_bytes(records: Iterable[BaseModel | dict[str, Any]]) -> bytes:
    """A JSON Lines file's content: one record a line."""
    return "".join(to_json(record) + "\n" for record in records).encode("utf-8")


def write_json(path: Path, value: Any) -> None:
    """Replace path as a whole by a JSON file."""
    write_bytes(path, json_bytes(value))


def write_jsonl(path: Path, records: Iterable[BaseModel | dict[str, Any]]) -> None:
    """Replace path as a whole by a JSON Lines file."""
    write_bytes(path, jsonl_bytes(records))


def sync_folder(folder: Path) -> None:
    """Make a rename in folder durable: without this a power cut may undo it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def append_line(path: Path, record: BaseModel | dict[str, Any]) -> None:
    """Append one JSON line durably: one write under a lock, after a torn last line has been cut off."""
    append_bytes(path, (to_json(record) + "\n").encode("utf-8"))


def append_bytes(path: Path, line: bytes) -> None:
    """Append whole lines durably, like append_line."""
    handle = _opened(path)
    try:
        _flock(handle, path, fcntl.LOCK_EX)
        _cut_torn_line(handle)
        size = os.fstat(handle).st_size
        try:
            if os.write(handle, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(handle)
        except OSError:
            os.ftruncate(handle, size)
            raise
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        os.close(handle)


def _opened(path: Path) -> int:
    """A handle to append with."""
    if os.path.lexists(path):
        refuse_no_file(path, "Move it away, then run it again.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError as error:
        raise unwritable(path, error) from error


def _flock(handle: int, path: Path, operation: int) -> None:
    """Raises BlockingIOError where another process holds it, UserError where nothing can be locked."""
    try:
        fcntl.flock(handle, operation)
    except BlockingIOError:
        raise
    except OSError as error:  # ENOLCK, EOPNOTSUPP, ENOSYS, ... by the kind of file system
        raise UserError(
            f"{path}: this file system cannot lock files ({error.strerror}), so two runs could overwrite "
            "each other. "
            "Move the project to a local disk, then run it again."
        ) from error


def _cut_torn_line(handle: int) -> None:
    """Drop what follows the last newline: the writer died in the middle of it, so nobody has acted on it."""
    size = os.fstat(handle).st_size
    end = size
    while end > 0:
        start = max(0, end - 65536)
        newline = os.pread(handle, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end != size:
        os.ftruncate(handle, end)


def read_jsonl(path: Path, record: type[R], torn_tail: bool = False) -> list[R]:
    """Read one of the pipeline's own files.

    torn_tail: the file is appended to, so a last line without its newline is dropped (its writer was killed).
    Raises UserError naming file:line for anything that is not a valid record.
    """
    return [record_of(line, record, f"{path}:{number}") for number, line in _lines(path, torn_tail)]


def read_dicts(path: Path, torn_tail: bool = False) -> list[dict[str, Any]]:
    """Like read_jsonl, for lines whose fields are free."""
    rows = []
    for number, line in _lines(path, torn_tail):
        row = parse_own(line, f"{path}:{number}")
        if not isinstance(row, dict):
            raise UserError(
                f"{path}:{number}: expected a JSON object, found {type(row).__name__}. {advice(path)}"
            )
        rows.append(row)
    return rows


def _lines(path: Path, torn_tail: bool) -> Iterator[tuple[int, bytes]]:
    refuse_no_file(path, "Run the step that writes it first (`make help` lists them).")
    with path.open("rb") as handle:  # bytes: str.splitlines() also breaks at U+2028, which tweets contain
        for number, line in enumerate(handle, 1):
            if torn_tail and not line.endswith(b"\n"):
                return
            if line.strip():
                yield number, line


def record_of(line: bytes, record: type[R], where: str) -> R:
    """Parse one line as a record. Raises UserError naming the field."""
    parse_own(line, where)  # pydantic's parser takes NaN; ours does not
    try:
        return record.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or record.__name__
        raise UserError(f"{where}: {field}: {first['msg']}. {advice_at(where)}") from error


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises UserError if it is missing or malformed."""
    refuse_no_file(path, "Run the step that writes it first (`make help` lists them).")
    return parse_own(path.read_bytes(), str(path))


def content_hash(*parts: Any) -> str:
    """sha256 over files (their bytes), bytes and JSON-able values: equal content, equal hash."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            _add_file(digest, part)
            continue
        if isinstance(part, BaseModel):
            part = part.model_dump_json().encode()
        elif not isinstance(part, bytes):
            part = json.dumps(part, sort_keys=True, ensure_ascii=True, default=str).encode()
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _add_file(digest: Any, path: Path) -> None:
    """Length and bytes of a file, in pieces: a data set may be larger than the memory."""
    with path.open("rb") as handle:
        digest.update(os.fstat(handle.fileno()).st_size.to_bytes(8, "big"))
        while piece := handle.read(2**20):
            digest.update(piece)


def rejects_path(path: Path) -> Path:
    """interim/clean.jsonl -> interim/clean.rejected.jsonl"""
    return path.with_name(path.stem + ".rejected.jsonl")


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold path for this process; the kernel lets go when the process dies.

    Folders that it had to make are gone again afterwards if nothing else was put there: a command that
    refuses leaves nothing. Raises UserError if another process holds it.
    """
    with no_empty_folders(path), os.fdopen(_opened(path), "a+") as handle:
        try:
            _flock(handle.fileno(), path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.seek(0)
            holder = handle.read().strip() or "unknown"
            raise UserError(
                f"{path.parent} is in use by another run (process {holder}). Wait for it to end, then run "
                "this again."
            ) from error
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield
