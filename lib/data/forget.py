"""Forgetting a tweet, a reply or an author: out of every file, and never collected again."""

import hashlib
import os
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from lib.base.errors import UserError
from lib.base.files import read_dicts, read_json, write_bytes, write_json
from lib.base.seals import reseal
from lib.data.json_rows import ARCHIVED
from lib.data.raw import LINES
from lib.data.redaction import Target, editor_of, parsed

PATH = Path("data/forgotten.json")
PENDING = "data/forgetting.json"


class Forgotten:
    """The list in data/forgotten.json. Handles are compared without @ and case."""

    def __init__(self, salt: str, hashes: Iterable[str] = ()) -> None:
        self.salt = salt
        self.hashes = set(hashes)

    @classmethod
    def load(cls, path: Path = PATH) -> "Forgotten":
        """Read the list; an empty one where none was written yet."""
        if not path.exists():
            return cls(secrets.token_hex(16))
        stored = read_json(path)
        if not isinstance(stored, dict) or set(stored) != {"salt", "hashes"}:
            raise UserError(
                f"{path}: not a list of forgotten hashes. Restore it from a backup: without it, forgotten "
                "posts can come back."
            )
        return cls(stored["salt"], stored["hashes"])

    def save(self, path: Path = PATH) -> None:
        write_json(path, {"salt": self.salt, "hashes": sorted(self.hashes)})

    def add(self, name: str) -> None:
        """name: an id or a handle."""
        self.hashes.add(self._hash(name))

    def holds(self, *names: str | None) -> bool:
        """True if one of these ids or handles is forgotten."""
        return bool(self.hashes) and any(self._hash(name) in self.hashes for name in names if name)

    def _hash(self, name: str) -> str:
        return hashlib.sha256(
            f"{self.salt}:{name.strip().lstrip('@').casefold()}".encode("utf-8", "replace")
        ).hexdigest()


@dataclass
class Outcome:
    """All that was removed, per file, and the adapters that have seen it."""

    removed: dict[str, int] = field(default_factory=dict)  # file -> lines, rows or fields
    deleted: list[str] = field(default_factory=list)  # derived pages, built again by the next make
    trained_on_it: list[str] = field(default_factory=list)


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


def preview(root: Path, target: Target) -> Outcome:
    """Preview of forget. Changes nothing."""
    files = _candidates(root)
    target = Target(target.id, target.handle, frozenset(_known_texts(root, files, target)))
    outcome = Outcome(trained_on_it=_adapters_that_saw(root, target))
    for path in files:
        _forget_in(path, path.relative_to(root).as_posix(), target, outcome, is_preview=True)
    return outcome


def forget(root: Path, target: Target) -> Outcome:
    """Remove target from all files below root/data and root/adapters.

    Killed in the middle, the same call finishes the work.
    """
    forgotten = Forgotten.load(root / "data/forgotten.json")
    forgotten.add(target.name)
    forgotten.save(root / "data/forgotten.json")  # first: from now on it cannot come back
    files = _candidates(root)
    target = Target(target.id, target.handle, frozenset(_known_texts(root, files, target)))
    write_json(
        root / PENDING, {"name": target.name, "texts": sorted(target.texts)}
    )  # the sources go before what was derived from them
    outcome = Outcome(trained_on_it=_adapters_that_saw(root, target))
    for path in files:
        _forget_in(path, path.relative_to(root).as_posix(), target, outcome)
    (root / PENDING).unlink()
    return outcome


def _candidates(root: Path) -> list[Path]:
    files = [path for path in _files(root) if path not in (root / "data/forgotten.json", root / PENDING)]
    return sorted(
        files, key=lambda path: (path.name == "account.js", path)
    )  # last: it says whose the rest is


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
                f"{gone[0]} is a link to nothing, so nobody can look there. Mount it, or delete the link; "
                "then run it again."
            )
        found += [path for path in paths if path.is_file()]
    return sorted(found)


def _known_texts(root: Path, files: list[Path], target: Target) -> set[str]:
    texts: set[str] = set()
    if (root / PENDING).exists():
        pending = read_json(root / PENDING)
        texts |= set(pending["texts"]) if pending["name"] == target.name else set()
    for path in files:
        if path.suffix.lower() in LINES:
            for line in path.read_bytes().split(b"\n"):
                if (value := parsed(line)) is not None:
                    texts.update(target.own_texts(value))
    return texts


def _forget_in(path: Path, name: str, target: Target, outcome: Outcome, is_preview: bool = False) -> None:
    if path.suffix == ".safetensors" or path.suffix in (".pt", ".bin", ".pth"):
        return  # weights: they cannot be edited; the adapters concerned are listed
    if not path.exists():
        return  # left by a kill as <file>.partial, and gone when the file itself was written
    content = path.read_bytes()
    edit, is_own = editor_of(path, content), _is_archive_of(path, target)
    if edit is None or is_own:
        if is_own or target.in_text(content.decode("utf-8", "replace")):
            if not is_preview:
                path.resolve().unlink()
            outcome.deleted.append(name)
        return
    changed, n_removed = edit(content, target)
    if n_removed:
        if not is_preview:
            # First: killed between the two, the next call removes the same lines and finds their seal.
            reseal(path, changed)
            write_bytes(path.resolve(), changed)
        outcome.removed[name] = n_removed


def _is_archive_of(path: Path, target: Target) -> bool:
    """True of a file of X's archive that is all the target's: it names its author only in account.js."""
    account = path.with_name("account.js")
    if path.suffix != ".js" or path == account or not target.handle or not account.is_file():
        return False
    return target.in_value(parsed(ARCHIVED.sub(b"", account.read_bytes(), count=1).rstrip(b" ;\r\n")))


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
        texts = path.with_name("trained_texts.jsonl")  # also what a review has taken out of the set since
        seen = read_dicts(texts) if texts.is_file() else []
        if data in sets or any(target.in_value(value) for value in (manifest, *seen)):
            runs.append(path.parent.name)
    return runs
