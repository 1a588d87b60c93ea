"""Text files that people write: what they say, or what they are instead."""

import os

import pytest

from lib.base.errors import UserError
from lib.base.text_files import read_text


def test_a_text_is_read_without_its_byte_order_mark(tmp_path):
    (tmp_path / "a").write_bytes("\ufeffÜber\nuns".encode())
    assert read_text(tmp_path / "a", 12) == "Über\nuns"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a\nü".encode("latin-1"), r"a:2: the file is not UTF-8\. Save it as UTF-8"),
        ("a\nb".encode("utf-16"), r"a:1: the file is UTF-16, or no text at all\."),
        (b"a\nb\0", r"a:2: the file is UTF-16, or no text at all\."),
        (b"a" * 13, r"a: longer than 12 bytes, so this is another kind of file\."),
    ],
)
def test_what_is_no_such_text_is_named_with_its_line(tmp_path, content, says):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(UserError, match=says):
        read_text(tmp_path / "a", 12)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "a does not exist. Create it"),
        (lambda path: path.mkdir(), "a is not a file. Create it"),
        (os.mkfifo, "a is not a file. Create it"),
        (lambda path: path.symlink_to("nowhere"), "a is a link to nothing. Create it"),
    ],
)
def test_what_is_no_file_is_a_sentence_and_a_pipe_is_not_waited_for(tmp_path, make, says):
    make(tmp_path / "a")
    with pytest.raises(UserError, match=says):
        read_text(tmp_path / "a", 12)
