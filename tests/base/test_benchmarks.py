import pytest

from lib.base.benchmarks import write_table
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
