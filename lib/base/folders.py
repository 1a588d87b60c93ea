"""Folders that a command makes only to refuse: gone again when it ends."""

import contextlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def no_empty_folders(path: Path) -> Iterator[None]:
    """Afterwards the folders above path that were not there before are gone, if they hold path alone.

    path: a file without content of its own, such as a lock.
    """
    made = []
    with contextlib.suppress(OSError):  # where nobody may look, nothing can be made either
        made = [folder for folder in path.parents if not folder.exists()]
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # another process has put something there, or has taken it away
            if made and list(path.parent.iterdir()) == [path]:
                path.unlink()
                for folder in made:
                    folder.rmdir()
