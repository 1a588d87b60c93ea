import math

import pytest

from lib.base.benchmarks import markdown_table, measured, write_table
from lib.base.errors import UserError


def test_a_table_replaces_what_stands_between_its_markers_only(tmp_path):
    page = tmp_path / "benchmarks.md"
    page.write_text("# Before\n<!-- bench:dedup -->\nold\n<!-- /bench:dedup -->\nafter\n")
    write_table(page, "dedup", "| new |")
    write_table(page, "dedup", "| newer |")
    assert page.read_text() == "# Before\n<!-- bench:dedup -->\n| newer |\n<!-- /bench:dedup -->\nafter\n"


@pytest.mark.parametrize("text", [None, "no markers", "<!-- /bench:dedup --> <!-- bench:dedup -->"])
def test_a_page_without_the_markers_is_refused(tmp_path, text):
    page = tmp_path / "benchmarks.md"
    if text is not None:
        page.write_text(text)
    with pytest.raises(UserError, match="the table has no place"):
        write_table(page, "dedup", "| new |")


def test_a_column_with_a_number_stands_to_the_right_and_one_of_words_to_the_left():
    table = markdown_table(["way", "seconds", "peak"], [["one", "-", "+1.5"], ["two", "3 of 4", "-2"]])
    assert table.splitlines() == [
        "| way | seconds | peak |",
        "| --- | ---: | ---: |",
        "| one | - | +1.5 |",
        "| two | 3 of 4 | -2 |",
    ]


def test_what_is_measured_runs_in_its_folder_with_the_modules_that_are_found_from_here(tmp_path, monkeypatch):
    (tmp_path / "parts").mkdir()
    (tmp_path / "work").mkdir()
    (tmp_path / "parts" / "step.py").write_text("import sys; open(sys.argv[1], 'x').close()")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "parts")
    seconds, peak_gb = measured([["step", "a"], ["step", "b"]], tmp_path / "work", 8)
    assert {path.name for path in (tmp_path / "work").iterdir()} == {"a", "b"}
    assert seconds > 0 and 0.001 < peak_gb < 0.5
    assert math.isnan(measured([["step", "c"]], tmp_path / "work", 0.0)[0])
    with pytest.raises(UserError, match="step a failed"):
        measured([["step", "a"]], tmp_path / "work", 8)
