"""The habits of style as a reader counts them, and the marks that tell two systems apart."""

import pytest

from lib.evidence.equal_style import doublings
from lib.evidence.style import MAX_MARKS, amounts, label, marks


def counted(text, habit, tweet="nothing of it"):
    return amounts([text], ["base"], [tweet])[habit][0][0]


@pytest.mark.parametrize(
    ("text", "habit", "n"),
    [
        ("so good 👩‍👩‍👧‍👦👍🏽", "emoji", 2),
        ("flags 🇩🇪🇫🇷 and 1️⃣", "emoji", 3),
        ("no emoji here: :) ->", "emoji", 0),
        ("really??? are you sure?", "questions", 2),
        ("本当？", "questions", 1),
        ("stop!!! now!", "exclamations", 2),
        ("Great point, love this", "flattery", 2),
        ("I can’t love this weather report any less", "flattery", 1),
        ("You know your stuff, u do", "second_person", 3),
        ("youth and thousands", "second_person", 0),
    ],
)
def test_a_habit_is_counted_as_a_reader_counts_it(text, habit, n):
    assert counted(text, habit) == n


def test_overlap_is_the_share_of_a_replys_words_that_stand_in_the_tweet():
    assert counted("The RATES will rise", "overlap", "rates rise, says the bank") == 0.75
    assert "overlap" not in amounts(["a"], ["b"])


def test_stock_phrases_have_no_wording_of_their_own():
    novelty = amounts(["so true", "So true!", "a thought of my own"], ["x", "y", "z"])["novelty"][0]
    assert novelty == [0, 0, 1]


def test_an_empty_reply_has_nothing_of_anything():
    found = amounts(["", "well said"], ["fine", ""], ["tweet", "tweet"])
    assert [found[habit][0][0] for habit in ("emoji", "questions", "overlap")] == [0, 0, 0]


@pytest.mark.parametrize(
    ("made", "mark"),
    [
        (lambda text: f"{text} #facts", "#"),
        (lambda text: f"haha {text}", "haha"),
        (lambda text: f"{text}…", "…"),
        (lambda text: f"one\n{text}", "line breaks"),
        (lambda text: f"{text} {text[-8:-5].upper()}", "words in capitals"),
        (lambda text: f"{text} {ord(text[-6])}", "a number"),
        (lambda text: text.capitalize(), "a capital at the start"),
        (lambda text: f"@ann {text}", "@"),
        (lambda text: f"{text}.", "."),
        (lambda text: f"{text} {[':)', ';-)', 'xD', '<3', '^_^'][ord(text[8]) % 5]}", "a smiley"),
        (lambda text: f"{text} so{text[8] * 3}", "a drawn-out word"),
        (
            lambda text: f"{['why', 'how', 'does', 'who'][ord(text[8]) % 4]} {text}",
            "a question word at the start",
        ),
    ],
)
def test_whatever_most_replies_of_one_system_have_and_few_of_the_others_is_a_mark(made, mark):
    plain = [f"thought {letter}z{letter} here" for letter in "abcdefghij"]
    found = marks([made(text) for text in plain], plain)
    assert found[mark] == ([1.0] * 10, [0.0] * 10)
    assert label(mark) == f"“{mark}”"


def test_a_sign_is_a_mark_in_15_percent_more_of_the_replies_and_a_word_in_40():
    plain = [f"subject{i} of day{i}" for i in range(40)]

    def found(n, made):
        return set(marks([made(text) if i < n else text for i, text in enumerate(plain)], plain))

    assert [found(n, lambda text: f"{text} #") for n in (5, 6)] == [set(), {"#"}]
    assert [found(n, lambda text: f"haha {text}") for n in (15, 16)] == [set(), {"haha"}]


def test_what_both_systems_have_is_no_mark_and_marks_are_few():
    same = [f"a thought #{n}" for n in range(10)]
    assert marks(same, same[::-1]) == {}
    assert len(marks(["#a @b $c %d ^e (f", "# @ $ % ^ ("] * 5, ["plain words"] * 10)) <= MAX_MARKS


def test_a_mark_that_comes_and_goes_with_a_habit_is_left_to_the_habit():
    flattering = amounts(["love this dog"] * 10, ["that dog"] * 10)
    assert "love" not in flattering and "this" not in flattering


LAUGHS = ("haha", "lol", "lmao", "rofl", "hehe", "lmfao")


def test_rare_words_that_are_all_one_systems_make_one_mark():
    own = [f"{LAUGHS[i % 6]} subject{i} of day{i}" for i in range(120)]
    found = marks(own, [f"subject{i} of day{i} thing{i}" for i in range(120)])
    (mark, (in_a, in_b)), *others = [(name, have) for name, have in found.items() if ", " in name]
    assert mark == "haha, hehe, lmao …" and not others
    assert (sum(in_a), sum(in_b)) == (120, 0)


def test_a_longer_reply_has_no_words_of_its_own_for_being_longer():
    words = ["the", "a", "of", "to", "in", "is", "it", "and", "for", "on"]
    long, short = ([" ".join(words[(i * 7 + j) % 10] for j in range(n)) for i in range(200)] for n in (12, 4))
    assert not [mark for mark in marks(long, short) if ", " in mark]


@pytest.mark.parametrize("link", ["https://t.co/{}", "www.shop{}.example/x?a=b", "shop{}.com", "bit.ly/{}"])
def test_a_link_is_one_mark_and_its_letters_are_no_words(link):
    plain = [f"subject{i} of day{i} thing{i}" for i in range(40)]
    found = marks([f"{text} {link.format('ab' * (i % 3))}" for i, text in enumerate(plain)], plain)
    assert list(found) == ["a link"]
    assert (
        marks(["it ended.So did he, e.g. at home"] * 5, ["it ended. So did he"] * 5)
        .keys()
        .isdisjoint({"a link"})
    )


def test_length_is_counted_in_doublings():
    assert doublings([0, 1, 3], [7]) == ([0.0, 1.0, 2.0], [3.0])
