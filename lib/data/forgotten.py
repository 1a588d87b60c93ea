"""Who and what must never come back: salted hashes of forgotten ids and handles, so that the list itself tells nothing."""

import hashlib
import secrets
from collections.abc import Iterable
from pathlib import Path

from lib.base.errors import UserError
from lib.base.files import read_json, write_json

PATH = Path("data/forgotten.json")


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
                f"{path}: not a list of forgotten hashes. Restore it from a backup: without it, forgotten posts can come back."
            )
        return cls(stored["salt"], stored["hashes"])

    def save(self, path: Path = PATH) -> None:
        write_json(path, {"salt": self.salt, "hashes": sorted(self.hashes)})

    def add(self, name: str) -> None:
        """name: an id or a handle."""
        self.hashes.add(self._hash(name))

    def holds(self, *names: str | None) -> bool:
        """Is one of these ids or handles forgotten?"""
        return bool(self.hashes) and any(self._hash(name) in self.hashes for name in names if name)

    def _hash(self, name: str) -> str:
        return hashlib.sha256(
            f"{self.salt}:{name.strip().lstrip('@').casefold()}".encode("utf-8", "replace")
        ).hexdigest()
