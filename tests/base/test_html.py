"""Values on a page: numbers, shares, what is unknown, what no reader sees."""

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from lib.base import html

CASES = [
    ("number", 1234.567, "1,234.57"),
    ("number", None, "–"),
    ("number(0)", 1234.567, "1,235"),
    ("percent", 0.256, "26 %"),
    ("percent(1)", 0.2564, "25.6 %"),
    ("percent", 0.0, "0 %"),
    ("percent", None, "–"),
    ("tidy", 0.123456, "0.123"),
    ("tidy", 3.0, "3"),
    ("tidy", 1234.6, "1,235"),
    ("tidy", 0.00001, "&lt; 0.0001"),
    ("tidy", -0.00001, "&gt; −0.0001"),
    ("tidy", 0.0, "0"),
    ("tidy", None, "–"),
]


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """shown(template, value): a page of one value."""
    monkeypatch.setattr(html, "__file__", str(tmp_path / "html.py"))
    (tmp_path / "templates").mkdir()

    def render(template, **values):
        (tmp_path / "templates" / "x.html").write_text(template)
        return html.render("x.html", **values)

    return render


@pytest.mark.parametrize(("how", "value", "text"), CASES)
def test_a_value_is_shown_as_its_filter_says(shown, how, value, text):
    assert shown(f"{{{{ value | {how} }}}}", value=value) == text


def test_a_name_that_nobody_gave_is_an_error_and_no_empty_place(shown):
    with pytest.raises(UndefinedError):
        shown("{{ nobody }}")


def test_texts_are_escaped_and_lose_what_acts_unseen_and_plots_stay(shown):
    assert shown("{{ a }}{{ b }}", a="<b>\u202e\x1b[31m\0", b=Markup("<svg/>")) == "&lt;b&gt;<svg/>"
