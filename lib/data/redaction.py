"""The target of forgetting, and how it leaves the bytes of one file: lines, rows, fields and names."""

import csv
import html
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.data.json_rows import ARCHIVED
from lib.data.raw import LINES, TABLES
from lib.data.shapes import is_post, items_in
from lib.data.sources import BOM
from lib.data.tables import delimiter

OWN_TEXT = {
    "id": ("text", "fullText", "full_text"),
    "tweet_id": ("tweet",),
    "reply_id": ("reply", "human_reply"),
    "chosen_id": ("chosen",),
    "rejected_id": ("rejected",),
}
AUTHORS = {
    "tweet_author": ("tweet",),
    "reply_author": ("reply",),
    "author": ("text", "fullText", "full_text"),
}
MIN_TEXT_CHARS = 20  # shorter texts may be somebody else's too


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
        """True if the target, or a text of its, is in this text (plain or escaped for HTML)."""
        plain = html.unescape(text)
        return bool(self.pattern().search(text)) or any(
            known in text or known in plain for known in self.texts
        )

    def in_value(self, value: Any, key: str = "") -> bool:
        """True if the target is anywhere in a parsed JSON value."""
        if isinstance(value, dict):
            return any(self.in_value(inner, name) for name, inner in value.items())
        if isinstance(value, list):
            return any(self.in_value(inner, key) for inner in value)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value) == self.id
        if not isinstance(value, str):
            return False
        return value in self.texts or self.is_name(value, key) or bool(self.pattern().search(value))

    def is_name(self, value: str, key: str) -> bool:
        """True of the handle in a field that names a person."""
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
            if isinstance(value, str | int) and (str(value) == self.id or self.is_name(str(value), "author")):
                yield from (
                    record[text]
                    for text in texts
                    if isinstance(record.get(text), str) and len(record[text]) >= MIN_TEXT_CHARS
                )
        for inner in record.values():
            yield from self.own_texts(inner)


def parsed(line: bytes) -> Any:
    """A line of JSON; None for a quarantined one, which is searched as text."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _without_lines(content: bytes, target: Target) -> tuple[bytes, int]:
    lines = content.split(b"\n")
    kept = [line for line in lines if not _in_line(line, target)]
    return b"\n".join(kept), len(lines) - len(kept)


def _without_posts(content: bytes, target: Target) -> tuple[bytes, int]:
    """Like _without_lines, but of a line that is a page of posts only those go that hold the target."""
    kept, n_removed = [], 0
    for line in content.split(b"\n"):
        if not _in_line(line, target):
            kept.append(line)
        elif _is_page(value := parsed(line)):
            left, n = _pruned(value, target)
            kept.append(left)
            n_removed += n
        else:
            n_removed += 1
    return b"\n".join(kept), n_removed


def _is_page(value: Any) -> bool:
    is_list = isinstance(value, list)
    return is_list or (isinstance(value, dict) and not is_post(value) and len(list(items_in(value))) > 1)


def _in_line(line: bytes, target: Target) -> bool:
    value = parsed(line)
    return target.in_text(line.decode("utf-8", "replace")) if value is None else target.in_value(value)


def redacted(content: bytes, target: Target) -> tuple[bytes, int]:
    """A ledger keeps its lines, or paid work would be bought again; only the name goes."""
    text, n_redacted = target.pattern().subn("forgotten", content.decode("utf-8", "replace"))
    return text.encode("utf-8"), n_redacted


def _without_rows(content: bytes, target: Target) -> tuple[bytes, int]:
    text = io.StringIO(content.removeprefix(BOM).decode("utf-8", "surrogateescape"), newline="")
    separator = delimiter(text)
    before = text.getvalue()[: text.tell()]  # Excel's own first line (sep=;)
    try:
        rows = list(csv.reader(text, delimiter=separator, strict=True))
    except csv.Error:  # a quote that nobody closed: it is searched as text
        return _without_lines(content, target)
    header = rows[0] if rows else []
    kept = [
        row
        for index, row in enumerate(rows)
        if index == 0 or not target.in_value(dict(zip(header, row, strict=False)))
    ]
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=separator, lineterminator="\n").writerows(kept)
    left = (before + buffer.getvalue()).encode("utf-8", "surrogateescape")
    return (BOM if content.startswith(BOM) else b"") + left, len(rows) - len(kept)


def _without_fields(content: bytes, target: Target) -> tuple[bytes, int]:
    """A JSON file loses the list entries that hold the target, and the name in what is left."""
    value = parsed(content)
    if value is None:
        return (b"", 1) if target.in_text(content.decode("utf-8", "replace")) else (content, 0)
    if isinstance(value, dict) and "tweets" in value and target.in_value(value.get("account")):
        return b"[]\n", 1  # a Community Archive: all of it is by one author, whom no post names
    left, n_removed = _pruned(value, target, indent=2)
    return left + b"\n", n_removed


def _without_entries(content: bytes, target: Target) -> tuple[bytes, int]:
    """A file of X's archive: JSON behind an assignment, which stays."""
    start = ARCHIVED.match(content.removeprefix(BOM))
    before = start.group() if start else b""
    left, n_removed = _without_fields(content.removeprefix(BOM)[len(before) :].rstrip(b" ;\r\n"), target)
    return before + left, n_removed


def _pruned(value: Any, target: Target, indent: int | None = None) -> tuple[bytes, int]:
    pruned, n_removed = _prune(value, target)
    text, n_redacted = target.pattern().subn(
        "forgotten", json.dumps(pruned, ensure_ascii=False, indent=indent)
    )
    try:
        return text.encode("utf-8"), n_removed + n_redacted
    except UnicodeEncodeError:  # half an emoji stays the escape that it was
        return json.dumps(json.loads(text), indent=indent).encode("ascii"), n_removed + n_redacted


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
    if isinstance(value, str) and (value in target.texts or target.is_name(value, key)):
        return "forgotten", 1
    return value, 0


Editor = Callable[[bytes, Target], tuple[bytes, int]]  # content -> what is left of it, and how much went


def editor_of(path: Path, content: bytes) -> Editor | None:
    """How the target leaves a file of this name and content; None where it can only go as a whole."""
    suffix, head = path.suffix.lower(), content.removeprefix(BOM).lstrip()
    if path.name == "ledger.jsonl":
        return redacted
    if suffix in TABLES:
        return _without_rows
    if ARCHIVED.match(head):
        return _without_entries
    if suffix not in (*LINES, ".json") and not (suffix in (".txt", "") and head[:1] in (b"{", b"[")):
        return None
    is_lines = suffix != ".json" and parsed(head.split(b"\n", 1)[0]) is not None
    if not is_lines and parsed(content) is not None:
        return _without_fields
    return _without_posts if path.parent.name == "raw" else _without_lines
