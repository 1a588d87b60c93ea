"""Texts that are nearly others: what counts as taken over, recited or alike, at its bounds."""

import pytest

from lib.model.likeness import alike, folded, recited, respelled, takes_over

SOURCE = [f"s{n}" for n in range(10)]
LONG = [f"s{n}" for n in range(20)]
OTHER = [f"o{n}" for n in range(40)]


@pytest.mark.parametrize(
    ("source", "words", "taken"),
    [
        (SOURCE, [], False),
        ([], SOURCE, False),
        (SOURCE[:3], SOURCE[:3], True),  # short, and equal
        (SOURCE[:4], [*SOURCE[:3], "x"], False),
        (LONG, [*OTHER[:30], *LONG[:8]], True),  # eight in a row, however much stands around
        (LONG, [*OTHER[:30], *LONG[:7]], False),
        (SOURCE, [*OTHER[:5], *SOURCE[:5]], True),  # half of the words, in a run
        (SOURCE, [*OTHER[:6], *SOURCE[:5]], False),
        (SOURCE, [*SOURCE[:3], *OTHER[:2], *SOURCE[5:8]], True),  # or in runs of three
        (SOURCE, [*SOURCE[:2], *OTHER[:1], *SOURCE[4:6], *OTHER[1:2], *SOURCE[8:9]], False),
        (LONG, [*LONG[:2], *OTHER[:1], *LONG[4:6], *OTHER[1:2], *LONG[8:10], *OTHER[2:4]], False),
        (SOURCE, [*SOURCE[:4], *OTHER[:4]], False),  # fewer than five in runs
        (SOURCE, [*SOURCE[9:1:-1], *OTHER[:2]], True),  # eight of ten, in another order
        (SOURCE, [*SOURCE[9:2:-1], *OTHER[:3]], False),
        (SOURCE[:6], [*SOURCE[5::-1], *OTHER], True),  # all of a short source
        (SOURCE[:5], [*SOURCE[4::-1], *OTHER], False),
    ],
)
def test_words_are_taken_over_where_they_are_mostly_the_sources(source, words, taken):
    assert takes_over(source, words) == taken


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Grеаt", ["great"]),  # with a Cyrillic e and a
        ("sooo GOOD!!", ["so", "god"]),
        ("l33t c0de", ["iet", "code"]),
        ("in 2024", ["in", "2024"]),
        ("café 🙂 @ann https://t.co/x", ["cafe"]),
        ("🙂 ?!", []),
    ],
)
def test_words_are_folded_to_what_a_reader_takes_them_for(text, words):
    assert folded(text) == words


def test_a_slip_in_every_word_is_the_same_text():
    source = folded("the second attempt usually turns out better")
    assert respelled(source, folded("the secnod atempt usualy trns out beter"))
    assert not respelled(source, folded("nobody ever asked about the garden fence"))
    assert not respelled(["yes", "of", "it"], ["yes", "of", "it"])  # too short to tell


def test_which_replies_recite_a_training_reply():
    replies = [folded(text) for text in ("a b1x c d e f g h", "it is what we all think of it", "no")]
    sources = ["and so it is what we all think", "it is what nobody ever wanted to hear at home"]
    assert recited(replies, sources) == recited(replies, sources[::-1]) == [False, True, False]
    assert recited(replies, []) == [False] * 3


def phrases(n, shared, own):
    return [[f"t{k}" for k in range(shared)] + [f"w{reply}x{k}" for k in range(own)] for reply in range(n)]


@pytest.mark.parametrize(
    ("replies", "found"),
    [
        ([["a", "b"], ["b", "a"], ["c"]], [True, True, False]),  # the same words in another order
        ([[], ["c"]], [True, False]),  # a reply without words is like every other one
        ([OTHER[:6], [*OTHER[:5], "x"], SOURCE[:6]], [True, True, False]),  # nearly the same
        (phrases(4, 4, 2), [True] * 4),  # a template: more than half of the words, in four replies
        (phrases(3, 4, 2), [False] * 3),
        (phrases(4, 4, 4), [False] * 4),
    ],
)
def test_replies_are_alike_where_they_repeat_others_or_a_template(replies, found):
    assert alike(replies) == found
