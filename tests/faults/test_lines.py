"""Every file of JSON Lines that a command leaves, cut anywhere in its last record or without any one line."""

import pytest

from lib.base.files import append_line, read_dicts
from lib.base.seals import damage

# Appended to while they are made, so nobody knows beforehand how long they are: what a kill leaves of the
# last line is dropped. Whole lines that go missing: tests/test_repair.py, tests/test_damaged_files.py.
BOOKS = ("ledger.jsonl", "decisions.jsonl", "work/replies.jsonl", "work/judgments.jsonl", "raw/more.jsonl")
BOOKS += ("raw/items.jsonl",)  # the user's own: read as they are, a line that is none is named


def books_and_sealed(folder):
    files = [path for path in sorted(folder.rglob("*.jsonl")) if path.stat().st_size]
    small = [path for path in files if "small" not in path.parts]  # of the test's own making
    return [[path for path in small if str(path).endswith(BOOKS) is kind] for kind in (True, False)]


def cuts(content):
    """The content cut at every byte of its last record, and without each of its lines."""
    lines = content.splitlines(keepends=True)
    yield from (content[:end] for end in range(len(content) - len(lines[-1]), len(content)))
    yield from (b"".join(lines[:n] + lines[n + 1 :]) for n in range(len(lines) - 1))


@pytest.mark.parametrize("name", ["data-report", "collect", "human-import"])
def test_a_file_that_its_step_has_finished_is_never_read_as_fewer(name, worlds):
    _, sealed = books_and_sealed(worlds.whole(name)[0])
    assert sealed
    for path in sealed:
        whole = path.read_bytes()
        assert damage(path) == "", path
        for content in cuts(whole):
            path.write_bytes(content)
            assert damage(path), f"{path} cut to {len(content)} of {len(whole)} bytes"
        path.write_bytes(whole)


@pytest.mark.parametrize("name", ["review", "collect", "judge"])
def test_of_a_book_only_the_line_goes_that_was_being_written(name, worlds, tmp_path):
    books, _ = books_and_sealed(worlds.whole(name)[0])
    for book in books:
        whole = read_dicts(book, torn_tail=True)
        content, path = book.read_bytes(), tmp_path / "book.jsonl"
        last = content.rindex(b"\n", 0, -1) + 1 if content.count(b"\n") > 1 else 0
        for end in range(last, len(content)):
            path.write_bytes(content[:end])
            assert read_dicts(path, torn_tail=True) == whole[:-1], book
        append_line(path, {"n": 1})
        assert read_dicts(path) == [*whole[:-1], {"n": 1}], book
