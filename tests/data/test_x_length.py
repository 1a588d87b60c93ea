import pytest

from lib.data.x_length import x_length


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("hello", 5),
        ("caf\u00e9", 4),
        ("cafe\u0301", 4),
        ("https://example.com/a/very/long/path?with=a&query=too", 23),
        ("I said (https://a.co/x).", 33),
        ("see example.com.", 28),
        ("etc.So it goes", 14),
        ("\u4f60\u597d", 4),
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467", 2),
        ("\u2764\ufe0f \U0001f1e9\U0001f1ea 1\ufe0f\u20e3", 8),
        ("\u00a9 2026", 6),
        ("\u201cso\u201d\u2026", 6),
        ("", 0),
    ],
)
def test_x_counts_a_link_as_23_and_most_scripts_twice(text, n):
    assert x_length(text) == n
