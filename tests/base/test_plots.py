import re
import xml.etree.ElementTree as ElementTree

import pytest
from markupsafe import Markup

from lib.base.html import render
from lib.base.plots import WIDTH, bars, document, histogram, intervals, label, lines, number, ticks

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


@pytest.mark.parametrize(
    "rows", [[("a", 5, 1, 40)], [("a", -5, -40, -1), ("b", 0.1, 0, 0.2)], [("a", 9, 9, 9)]]
)
def test_every_interval_lies_whole_on_the_axis_with_its_dot_between_its_ends(rows):
    svg = str(intervals(rows, "t", 0))
    ends = re.findall(
        r'<line x1="([\d.-]+)" .* x2="([\d.-]+)" \S+ class="interval"', svg.replace("><", ">\n<")
    )
    dots = re.findall(r'cx="([\d.-]+)"', svg)
    assert len(ends) == len(dots) == len(rows)
    for (left, right), dot in zip(ends, dots, strict=True):
        assert 0 <= float(left) <= float(dot) <= float(right) <= WIDTH


@pytest.mark.parametrize(
    ("values", "log", "counts"),
    [
        ([0, 1, 10], True, [2, 0, 0, 1]),  # zeros count in the first bin
        ([0, 10, 100, 1000, 10_000], True, [1, 1, 1, 2]),
        ([1, 2, 3, 4, 4], False, [1, 1, 1, 2]),  # the largest is in the last
        ([7, 7], False, [2, 0, 0, 0]),
    ],
)
def test_every_value_is_in_one_bin_of_a_histogram(values, log, counts):
    heights = re.findall(r'height="([\d.]+)" rx', histogram(values, "t", "likes", n_bins=4, log=log))
    assert [round(float(height) * max(counts) / 170) for height in heights] == counts


def test_a_value_that_is_none_leaves_a_gap_in_its_curve_and_in_its_words():
    svg = lines(
        [("loss", [(0, 2.0), (1, float("nan")), (2, 1.0)]), ("none", [(0, float("inf"))])], "t", "step"
    )
    assert "nan" not in svg and "inf" not in svg
    assert len(re.findall(r"[\d.]+,[\d.]+", re.search('points="([^"]*)"', svg)[1])) == 2
    assert "loss: 2 at step 0, 1 at 2, lowest 1 at 2; none: no values" in svg


@pytest.mark.parametrize(("text", "shown"), [("a" * 32, "a" * 32), ("a" * 33, "a" * 31 + "…"), ("", "")])
def test_a_label_is_no_longer_than_its_place(text, shown):
    assert label(text) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1234.5, "1,234"), (0.25, "0.25"), (3.0, "3"), (99.96, "100"), (-1234, "-1,234"), (0.12345, "0.123")],
)
def test_a_number_has_no_needless_digits(value, shown):
    assert number(value) == shown


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
