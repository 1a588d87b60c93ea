"""The style section of the page, and the habits that the three sentences name."""

import pytest

from lib.evaluate.measures import Compared, Habit, Style
from lib.evaluate.style_page import explained_by, style_section


def habit(name, a, b, points=0.0, label=None, apart=False, named=False):
    return Habit(
        habit=name,
        label=label or name,
        a=a,
        b=b,
        points=points,
        ci95=(points - 5, points + 5),
        overlap=0.01 if apart else 0.6,
        apart=apart,
        named=named,
    )


STYLE = Style(
    net_win=22.0,
    ci95=(10.0, 34.0),
    low=6.5,
    coding="more",
    habits=[
        habit("emoji", 0.8, 0.1, 9.0, named=True),
        habit("#", 0.99, 0.0, 3.0, label="“#”", apart=True, named=True),
        habit("length", 6.0, 7.0),
        habit("overlap", 0.25, 0.1, label="words of the tweet"),
        habit("<b>", 0.6, 0.0, label="“<b>”"),
    ],
)


def test_the_page_shows_what_is_left_and_each_habit_in_words_that_can_be_read():
    page = str(style_section(Compared(net_win=31.0, style=STYLE)))
    assert "Of 31.0 points of net win 22.0 are left at equal style" in page
    for said in ("80%", "10%", "63 characters", "127 characters", "25% of the words", "9.0", "meet on 1"):
        assert said in page, said
    assert "<b>" not in page


@pytest.mark.parametrize("headline", [None, Compared(net_win=31.0)])
def test_a_report_from_before_has_no_section_and_no_habits(headline):
    assert style_section(headline) == ""
    assert explained_by(headline) == ""


def test_the_named_habits_stand_in_brackets():
    assert explained_by(Compared(style=STYLE)) == " (emoji: +9 points, “#”: any part of it)"
