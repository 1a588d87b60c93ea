"""The ways in which a file of JSON Lines gets damaged."""


def _lines(change):
    """A damage of the lines of a file."""
    return lambda content: b"".join(change(content.splitlines(keepends=True)))


def _digit_changed(content):
    """One digit in the middle is another one: still valid JSON, as many lines."""
    middle = next(
        n
        for n in range(len(content) // 2, len(content))
        if content[n : n + 1].isdigit() and content[n - 1 : n] not in b" :"
    )
    return content[:middle] + (b"1" if content[middle : middle + 1] != b"1" else b"2") + content[middle + 1 :]


DAMAGES = {
    "cut at a line": _lines(lambda lines: lines[: len(lines) // 2]),
    "cut in a line": lambda content: content[: len(content) // 2 + 3],
    "a line removed": _lines(lambda lines: lines[: len(lines) // 2] + lines[len(lines) // 2 + 1 :]),
    "a digit changed": _digit_changed,
    "a line doubled": _lines(lambda lines: lines + lines[:1]),
    "lines in another order": _lines(lambda lines: lines[::-1]),
    "empty": lambda content: b"",
    "gone": None,
}

MENDED = (
    "a digit changed",
    "gone",
)  # what is done about a damage does not depend on its kind: two are enough


def harm(path, damage):
    """Damage a file.

    False: it came out as it was, so there is nothing to see (one line, in another order).
    """
    if DAMAGES[damage] is None:
        path.unlink()
        return True
    content = path.read_bytes()
    changed = DAMAGES[damage](content)
    path.write_bytes(changed)
    return changed != content
