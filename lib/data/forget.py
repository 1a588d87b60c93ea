"""Removes a tweet, a reply or an author from every file of every set and run."""

import csv
import html
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import read_dicts, read_json, write_bytes, write_json
from lib.base.seals import reseal
from lib.data.forgotten import Forgotten

PENDING = "data/forgetting.json"
OWN_TEXT = {
    "id": ("text", "fullText"),
    "tweet_id": ("tweet",),
    "reply_id": ("reply", "human_reply"),
    "chosen_id": ("chosen",),
    "rejected_id": ("rejected",),
}
AUTHORS = {"tweet_author": ("tweet",), "reply_author": ("reply",), "author": ("text", "fullText")}
Editor = Callable[[bytes, "Target"], tuple[bytes, int]]
MIN_TEXT_CHARS = 20  # shorter texts may be somebody else's too


@dataclass
class Outcome:
    """What was removed, per file, and which adapters have seen it."""

    removed: dict[str, int] = field(default_factory=dict)  # file -> lines, rows or fields
    deleted: list[str] = field(default_factory=list)  # derived pages, built again by the next make
    trained_on_it: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Target:
    """An id or a handle, and the texts that belong to it."""

    id: str | None
    handle: str | None
    texts: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        return self.id or f"@{self.handle}"

    def pattern(self) -> re.Pattern[str]:
        """Finds the id as a whole number, the handle as a mention or in a link to X."""
        if self.id:
            return re.compile(rf"(?<![0-9A-Za-z]){re.escape(self.id)}(?![0-9A-Za-z])")
        handle = re.escape(self.handle or "")
        return re.compile(rf"(?:@|(?:x|twitter)\.com/){handle}(?![0-9A-Za-z_])", re.IGNORECASE)

    def in_text(self, text: str) -> bool:
        """Is the target, or a text of its, in this text (plain or escaped for HTML)?"""
        plain = html.unescape(text)
        return bool(self.pattern().search(text)) or any(
            known in text or known in plain for known in self.texts
        )

    def in_value(self, value: Any, key: str = "") -> bool:
        """Is the target anywhere in a parsed JSON value?"""
        if isinstance(value, dict):
            return any(self.in_value(inner, name) for name, inner in value.items())
        if isinstance(value, list):
            return any(self.in_value(inner, key) for inner in value)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value) == self.id
        if not isinstance(value, str):
            return False
        return value in self.texts or self._is_name(value, key) or bool(self.pattern().search(value))

    def _is_name(self, value: str, key: str) -> bool:
        named = re.search(r"author|user|screen_name|handle", key, re.IGNORECASE)
        return bool(self.handle and named and value.lstrip("@").casefold() == self.handle.casefold())

    def own_texts(self, record: Any) -> Iterator[str]:
        """The texts in a record that the target wrote."""
        if not isinstance(record, dict):
            return
        fields = OWN_TEXT if self.id else AUTHORS
        for key, texts in fields.items():
            value = record.get(key)
            if isinstance(value, dict):
                value = value.get("userName") or value.get("screen_name")
            if isinstance(value, str | int) and (
                str(value) == self.id or self._is_name(str(value), "author")
            ):
                yield from (
                    record[text]
                    for text in texts
                    if isinstance(record.get(text), str) and len(record[text]) >= MIN_TEXT_CHARS
                )
        for inner in record.values():
            yield from self.own_texts(inner)


def target_of(id: str | None, handle: str | None) -> Target:
    """Check what the user asked to forget. Raises UserError unless it is one id or one handle."""
    handle = handle.lstrip("@") if handle else None
    if (id is None) == (handle is None):
        raise UserError("Name one thing to forget: ID=<tweet or reply id> or HANDLE=<author>.")
    if id is not None and not re.fullmatch(r"[0-9A-Za-z_-]{1,64}", id):
        raise UserError(f"ID={id}: not a post id. It is the number at the end of the post's address.")
    if handle is not None and not re.fullmatch(r"[0-9A-Za-z_]{1,30}", handle):
        raise UserError(f"HANDLE={handle}: not a handle. Letters, digits and _ only.")
    return Target(id, handle)


def forget(root: Path, target: Target) -> Outcome:
    """Remove target from all files below root/data and root/adapters. Killed in the middle, the same call finishes the work."""
    forgotten = Forgotten.load(root / "data/forgotten.json")
    forgotten.add(target.name)
    forgotten.save(root / "data/forgotten.json")  # first: from now on it cannot come back
    files = [path for path in _files(root) if path not in (root / "data/forgotten.json", root / PENDING)]
    target = Target(target.id, target.handle, frozenset(_known_texts(root, files, target)))
    write_json(
        root / PENDING, {"name": target.name, "texts": sorted(target.texts)}
    )  # the sources go before what was derived from them
    outcome = Outcome(trained_on_it=_adapters_that_saw(root, target))
    for path in files:
        _forget_in(path, path.relative_to(root).as_posix(), target, outcome)
    (root / PENDING).unlink()
    return outcome


def _files(root: Path) -> list[Path]:
    """Every file below data and adapters, behind links too: a set may lie on another disk."""
    found, seen = [], set()
    for folder, folders, names in chain.from_iterable(
        os.walk(root / top, followlinks=True) for top in ("data", "adapters")
    ):
        if (real := os.path.realpath(folder)) in seen:
            folders.clear()  # a link to a folder above it
            continue
        seen.add(real)
        paths = [Path(folder, name) for name in sorted([*folders, *names])]
        if gone := [path for path in paths if not path.exists()]:
            raise UserError(
                f"{gone[0]} is a link to nothing, so nobody can look there. Mount it, or delete the link; then run it again."
            )
        found += [path for path in paths if path.is_file()]
    return sorted(found)


def _known_texts(root: Path, files: list[Path], target: Target) -> set[str]:
    texts: set[str] = set()
    if (root / PENDING).exists():
        pending = read_json(root / PENDING)
        texts |= set(pending["texts"]) if pending["name"] == target.name else set()
    for path in files:
        if path.suffix == ".jsonl":
            for line in path.read_bytes().split(b"\n"):
                if (value := _parsed(line)) is not None:
                    texts.update(target.own_texts(value))
    return texts


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None  # a quarantined line: it is searched as text


def _forget_in(path: Path, name: str, target: Target, outcome: Outcome) -> None:
    editors: dict[str, Callable[[bytes, Target], tuple[bytes, int]]] = {
        ".jsonl": _without_lines,
        ".json": _without_fields,
        ".csv": _without_rows,
    }
    if path.suffix == ".safetensors" or path.suffix in (".pt", ".bin", ".pth"):
        return  # weights: they cannot be edited; the adapters concerned are listed
    content = path.read_bytes()
    edit = _redacted if path.name == "ledger.jsonl" else editors.get(path.suffix)
    if edit is None:
        if target.in_text(content.decode("utf-8", "replace")):
            path.resolve().unlink()
            outcome.deleted.append(name)
        return
    changed, n_removed = edit(content, target)
    if n_removed:
        reseal(
            path, changed
        )  # first: killed between the two, the next call removes the same lines and finds the seal of what is left
        write_bytes(path.resolve(), changed)
        outcome.removed[name] = n_removed


def _without_lines(content: bytes, target: Target) -> tuple[bytes, int]:
    lines = content.split(b"\n")
    kept = [line for line in lines if not _in_line(line, target)]
    return b"\n".join(kept), len(lines) - len(kept)


def _in_line(line: bytes, target: Target) -> bool:
    value = _parsed(line)
    return target.in_text(line.decode("utf-8", "replace")) if value is None else target.in_value(value)


def _redacted(content: bytes, target: Target) -> tuple[bytes, int]:
    """A ledger keeps its lines, or paid work would be bought again; only the name goes."""
    text, n_redacted = target.pattern().subn("forgotten", content.decode("utf-8", "replace"))
    return text.encode("utf-8"), n_redacted


def _without_rows(content: bytes, target: Target) -> tuple[bytes, int]:
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig", "replace"), newline=""), strict=True))
    except csv.Error:  # a quote that nobody closed: it is searched as text
        return _without_lines(content, target)
    header = rows[0] if rows else []
    kept = [
        row
        for index, row in enumerate(rows)
        if index == 0 or not target.in_value(dict(zip(header, row, strict=False)))
    ]
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows(kept)
    return buffer.getvalue().encode("utf-8"), len(rows) - len(kept)


def _without_fields(content: bytes, target: Target) -> tuple[bytes, int]:
    """A JSON file loses the list entries that hold the target, and the name in what is left."""
    value = _parsed(content)
    if value is None:
        return (b"", 1) if target.in_text(content.decode("utf-8", "replace")) else (content, 0)
    pruned, n_removed = _prune(value, target)
    text, n_redacted = target.pattern().subn("forgotten", json.dumps(pruned, ensure_ascii=False, indent=2))
    return text.encode("utf-8") + b"\n", n_removed + n_redacted


def _prune(value: Any, target: Target, key: str = "") -> tuple[Any, int]:
    if isinstance(value, list):
        kept = [inner for inner in value if isinstance(inner, list) or not target.in_value(inner, key)]
        pruned = [_prune(inner, target, key) for inner in kept]
        return [inner for inner, _ in pruned], len(value) - len(kept) + sum(n for _, n in pruned)
    if isinstance(value, dict):
        pruned_fields = {name: _prune(inner, target, name) for name, inner in value.items()}
        return {name: inner for name, (inner, _) in pruned_fields.items()}, sum(
            n for _, n in pruned_fields.values()
        )
    if isinstance(value, str) and (value in target.texts or target._is_name(value, key)):
        return "forgotten", 1
    return value, 0


def _adapters_that_saw(root: Path, target: Target) -> list[str]:
    """Runs whose data set holds the target in what it trains or validates on, or whose own record does."""
    sets = {
        path.parent.parent.name
        for path in sorted((root / "data").glob("*/processed/*.jsonl"))
        if path.stem in ("train", "val", "preferences")
        and any(target.in_value(row) for row in read_dicts(path))
    }
    runs = []
    for path in sorted((root / "adapters").glob("*/manifest.json")):
        manifest = read_json(path)
        data = manifest.get("config", {}).get("data")
        if data in sets or target.in_value(manifest):
            runs.append(path.parent.name)
    return runs
