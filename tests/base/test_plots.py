import xml.etree.ElementTree as ElementTree

import pytest
from markupsafe import Markup

from lib.base.html import render
from lib.base.plots import bars, document, histogram, intervals, lines, ticks

HOSTILE = '<script>alert("x")</script>'


@pytest.mark.parametrize(
    "svg",
    [
        intervals([(HOSTILE, 12.5, -3, 28)], HOSTILE, 0),
        bars([(HOSTILE, 3), ("zero", 0)], HOSTILE),
        histogram([1, 5, 5, 1000], HOSTILE, "likes", log=True),
        histogram([], "empty", "likes"),
        histogram([7, 7], "all the same", "likes"),
        lines([(HOSTILE, [(0, 2.5), (10, 1.5)]), ("eval", [(5, 2.0)])], HOSTILE, "step"),
        lines([("flat", [(1, 2.0)])], "one point", "step"),
    ],
)
def test_a_plot_is_well_formed_and_its_labels_are_inert(svg):
    assert isinstance(svg, Markup)
    assert "<script" not in svg
    ElementTree.fromstring(str(svg))
    ElementTree.fromstring(document(svg))


@pytest.mark.parametrize(
    ("svg", "said"),
    [
        (intervals([("a", 12.5, -3, 28)], "t", 0), "a: 12.5 (-3 to 28)"),
        (bars([("a", 3), ("b", 0)], "t", " %"), "a: 3 %; b: 0 %"),
        (
            histogram([1, 5, 5, 9], "t", "likes", n_bins=2),
            "4 values of likes; from 1 to 9, median 5; most often, 3 times, 5 to 9",
        ),
        (histogram([], "t", "likes"), "0 values of likes"),
        (
            lines([("loss", [(0, 2.5), (5, 1.5), (9, 2)])], "t", "step"),
            "loss: 2.5 at step 0, 2 at 9, lowest 1.5 at 5",
        ),
        (bars([], "t"), "no values"),
    ],
)
def test_a_plot_says_its_values_in_words(svg, said):
    root = ElementTree.fromstring(str(svg))
    assert (root.find("title").text, root.find("desc").text) == ("t", said)


def test_ticks_are_round_and_cover_the_range():
    assert ticks(0, 100) == [0, 20, 40, 60, 80, 100]
    marks = ticks(-3.2, 17.9)
    assert marks[0] <= -3.2
    assert marks[-1] >= 17.9
    assert ticks(2, 2)[0] < 2 < ticks(2, 2)[-1]


def test_nothing_to_draw_is_nothing():
    assert lines([], "none", "step") == ""


def test_a_page_escapes_every_text_and_may_load_nothing():
    page = render("page.html", title=HOSTILE)
    assert "<script" not in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
