"""JSON without the holes of json.loads, and the advice that a damaged line gets."""

from pathlib import Path

import pytest

from lib.base.errors import UserError
from lib.base.strict_json import advice_at, parse_line, parse_own


@pytest.mark.parametrize(
    ("text", "is_read"),
    [
        ("1886675324152567949", True),
        ("9" * 40, True),
        ("9" * 41, False),
        ("1e308", True),
        ("1e309", False),
        ("NaN", False),
        ("-Infinity", False),
        ("[" * 100_000, False),
    ],
)
def test_a_number_is_read_whole_or_not_at_all(text, is_read):
    try:
        assert str(parse_line(text.encode(), "x:1")).replace("+", "") == text
    except UserError as error:
        assert not is_read and str(error).startswith("x:1: not valid JSON")
    else:
        assert is_read


@pytest.mark.parametrize("line", [b'{"a": 1, "a": 2}', b'{"a": "\\ud83d"}', b'{"a": "\\uD83D"}'])
def test_what_the_pipeline_cannot_have_written_is_refused_of_its_own_files_alone(line):
    assert parse_line(line, "x:1")
    with pytest.raises(UserError, match="x:1: not valid JSON"):
        parse_own(line, "x:1")


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("data/main/ledger.jsonl", "make repair DATA=main"),
        ("adapters/r/ledger.jsonl", "make repair RUN=r"),
        ("adapters/r/eval/e/ledger.jsonl", "make repair RUN=r EVAL=e"),
        ("adapters/r/eval/e/work/answers.jsonl", "make repair RUN=r EVAL=e"),
        ("elsewhere/ledger.jsonl", "make repair"),
    ],
)
def test_a_damaged_book_is_mended_by_a_command_and_another_file_by_hand(path, command):
    for where in (path, f"{path}:7"):
        assert advice_at(where).startswith(f"Run `{command}`: ")
    assert advice_at(str(Path(path).with_name("pairs.jsonl")) + ":7").startswith("Delete the line") == (
        "work" not in path
    )
