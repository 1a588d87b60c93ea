"""Raw files that were damaged or lost after they were paid for, read again for free from their runs."""

from pathlib import Path

from lib.base.errors import UserError
from lib.base.ledger import COLLECT, Entry, Ledger
from lib.base.seals import damage
from lib.collect.purchase import Purchases


def damaged(folder: Path) -> list[tuple[Path, str, Entry]]:
    """(file, what is wrong with it, what the ledger says) of everything that was bought for data/<set>."""
    found = []
    for entry in Ledger(folder / "ledger.jsonl").latest().values():
        if entry.kind != COLLECT or entry.state != "done" or not entry.note.get("file"):
            continue
        path = folder / "raw" / str(entry.note["file"])
        problem = damage(path) or ("" if path.is_file() else "does not exist, and the ledger knows it")
        if problem:
            found.append((path, problem, entry))
    return found


def read_again(folder: Path, purchases: Purchases) -> None:
    """Put every damaged raw file back. Raises UserError where the provider no longer has the run."""
    for path, problem, entry in damaged(folder):
        try:
            purchases.read_again(entry)
        except UserError as error:
            raise UserError(
                f"{path} {problem}. Run {entry.id}, which delivered it, cannot be read again: {error} If the "
                "run is gone, copy the file "
                f"back from a backup; or go on, for free, with what is left of it: "
                f"`touch {path} && rm -f {path.with_suffix('.meta.json')}`."
            ) from error
