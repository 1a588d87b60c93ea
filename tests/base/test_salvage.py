"""Damaged books: what can be read is kept, the rest is put aside, nothing is lost."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.base.salvage import salvage

ROWS = [{"key": "a", "n": 1}, {"key": "b", "n": 2}, {"key": "c", "n": 3}]
LINES = [json.dumps(row).encode() for row in ROWS]


def key(row):
    return row.get("key")


@pytest.fixture
def book(tmp_path):
    """book(content) writes one and salvages it."""

    def written(content):
        (tmp_path / "book.jsonl").write_bytes(content)
        return salvage(tmp_path / "book.jsonl", key)

    return written


def test_a_whole_book_is_clean_and_left_alone(book):
    found = book(b"\n".join(LINES) + b"\n")
    assert (found.rows, found.damaged, found.lost, found.is_clean) == (ROWS, [], [], True)
    assert found.write(found.rows) is False


@pytest.mark.parametrize(
    "content, rows, n_lost",
    [
        (LINES[0] + LINES[1] + b"\n" + LINES[2] + b"\n", ROWS, 0),  # glued together
        (LINES[0] + b"\n" + LINES[0] + LINES[1] + b"\n", ROWS[:2], 0),  # one of them is there already
        (b"x\0\0" + LINES[0] + b"\n" + LINES[1] + b"\n", ROWS[:2], 0),  # behind a little garbage
        (b"\xef\xbb\xbf" + LINES[0] + b"\r\n" + LINES[1] + b"\r\n", ROWS[:2], 0),
        ("\n".join(line.decode() for line in LINES).encode("utf-16"), ROWS, 0),
        (
            LINES[0] + b"\n" + LINES[1][:-5] + b"\n" + LINES[2] + b"\n",
            [ROWS[0], ROWS[2]],
            1,
        ),  # cut in between
        (LINES[0] + b"\n" + LINES[1][:-5], ROWS[:1], 0),  # never ended: nobody has acted on it
        (LINES[0] + b"\n" + b"nothing of a record, for a whole line\n", ROWS[:1], 1),
        (b'{"key": "a", "n": NaN, "more": "text of a record"}\n' + LINES[1] + b"\n", [ROWS[1]], 1),
    ],
)
def test_what_can_be_read_is_kept_and_what_is_lost_is_counted(book, content, rows, n_lost):
    found = book(content)
    assert (found.rows, len(found.lost), found.is_clean) == (rows, n_lost, False)


def test_a_line_in_the_encoding_of_an_older_editor_keeps_its_letters(book):
    found = book(b'{"key": "a", "n": "caf\xe9 \x93so\x94"}\n' + LINES[1] + b"\n")
    assert found.rows == [{"key": "a", "n": "café “so”"}, ROWS[1]]
    assert len(found.damaged) == 1 and found.lost == []


def test_of_a_record_that_is_there_twice_the_first_counts_and_the_other_is_put_aside(book, tmp_path):
    again = b'{"key": "a", "n": 9}'
    found = book(b"\n".join([LINES[0], again, LINES[1]]) + b"\n")
    assert (found.rows, found.damaged) == (ROWS[:2], [again])
    assert found.write(found.rows) is True
    assert (tmp_path / "book.jsonl.damaged").read_bytes() == again + b"\n"
    assert (tmp_path / "book.jsonl").read_bytes() == LINES[0] + b"\n" + LINES[1] + b"\n"


def test_damaged_lines_are_put_aside_once_and_never_thrown_away(book, tmp_path):
    for _ in range(2):
        found = book(LINES[0] + b"\ngarbage of a line that was one\n")
        found.write(found.rows)
    (tmp_path / "book.jsonl").write_bytes(b"other garbage of a line\n" + LINES[0] + b"\n")
    salvage(tmp_path / "book.jsonl", key).write(ROWS[:1])
    aside = (tmp_path / "book.jsonl.damaged").read_bytes()
    assert aside == b"garbage of a line that was one\nother garbage of a line\n"


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 60), st.binary(min_size=1, max_size=12))
def test_no_damage_in_one_place_loses_a_record_of_another_line(tmp_path_factory, at, garbage):
    content = b"\n".join(LINES) + b"\n"
    path = tmp_path_factory.mktemp("book") / "book.jsonl"
    path.write_bytes(content[:at] + garbage + content[at + len(garbage) :])
    hit = {content[:at].count(b"\n"), content[: at + len(garbage)].count(b"\n")}
    spared = [row for number, row in enumerate(ROWS) if not min(hit) <= number <= max(hit)]
    found = salvage(path, key)
    assert [row for row in spared if row not in found.rows] == []
    found.write(found.rows)
    assert salvage(path, key).rows == found.rows and salvage(path, key).is_clean
