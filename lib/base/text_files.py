"""Text files that people write: UTF-8 of a sensible size, or a sentence that says what they are instead.

Also the sentence about a file that cannot be written.
"""

import os
from pathlib import Path

from lib.base.errors import ADVICE, RIGHTS, UserError


def read_text(path: Path, max_bytes: int) -> str:
    """A text that people write, as UTF-8, its byte order mark taken off.

    Raises UserError for what is no such file.
    """
    refuse_no_file(path, "Create it, or correct its name.")
    try:
        with path.open("rb") as handle:
            content = handle.read(max_bytes + 1)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}). Fix its permissions, then run it again."
        ) from error
    if len(content) > max_bytes:
        raise UserError(
            f"{path}: longer than {max_bytes:,} bytes, so this is another kind of file. Correct its name, or "
            "shorten it."
        )
    try:
        if b"\0" in content:  # every other byte of UTF-16, and of no text in UTF-8
            raise UnicodeDecodeError("utf-8", content, content.index(b"\0"), 1, "NUL")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        kind = "UTF-16, or no text at all" if b"\0" in content else "not UTF-8"
        raise UserError(
            f"{path}:{line}: the file is {kind}. Save it as UTF-8 in your editor, then run it again."
        ) from error


def refuse_no_file(path: Path, advice: str) -> None:
    """Before it is opened: reading a pipe would wait for ever."""
    if path.is_file():
        return
    if (blocked := obstacle(path)) is not None:
        raise UserError(
            f"{path} cannot be reached: {blocked} is no folder, or a link to nothing. Move it away, then run "
            "it again."
        )
    what = (
        "does not exist"
        if not os.path.lexists(path)
        else "is not a file"
        if path.exists()
        else "is a link to nothing"
    )
    raise UserError(f"{path} {what}. {advice}")


def obstacle(path: Path) -> Path | None:
    """The obstacle where one of path's folders should be: a file, or a link to nothing."""
    there = next((folder for folder in path.parents if os.path.lexists(folder)), None)
    return None if there is None or there.is_dir() else there


def unwritable(path: Path, error: OSError) -> UserError:
    """A refusal to write path as a sentence: what, where, what to do."""
    if (blocked := obstacle(path)) is not None:
        return UserError(
            f"{path}: cannot be written: {blocked} is no folder, or a link to nothing. Move it away, then "
            "run it again."
        )
    return UserError(f"{path}: cannot be written ({error.strerror}). {ADVICE.get(error.errno or 0, RIGHTS)}")
