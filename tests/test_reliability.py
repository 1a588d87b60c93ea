"""docs/reliability.md names tests that exist, and has rows for every promise."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/reliability.md").read_text()
PROMISES = ["Nothing paid twice", "Nothing lost", "Nothing spent unseen", "Nothing leaked"]
PROMISES += ["Nothing claimed without evidence", "Text is data", "Bad input gets a sentence"]
OTHERS = ["Mutations", "Supply chain"]


def rows(section):
    return [line for line in section.splitlines() if line.startswith("|") and "::test_" in line]


def test_every_promise_has_its_rows():
    sections = dict(re.findall(r"^## (.+)\n((?:(?!^## ).*\n)+)", PAGE, re.M))
    assert list(sections) == [*(f"{n}. {name}" for n, name in enumerate(PROMISES, 1)), *OTHERS]
    assert {title for title in sections if not rows(sections[title])} == {"Mutations"}


def test_every_row_names_tests_that_exist_and_says_where_they_are_slow():
    for row in rows(PAGE):
        for path, name, slow in re.findall(r"`([\w/.]+\.py)::(test_\w+)`( \(slow\))?", row):
            text = (ROOT / path).read_text()
            found = re.search(rf"((?:^@.*\n)*)^(?:async )?def {name}\(", text, re.M)
            assert found, f"{path}::{name} does not exist"
            is_slow = "mark.slow" in found[1] or "\npytestmark = pytest.mark.slow" in text
            assert is_slow == bool(slow), f"{path}::{name}: slow or not?"
