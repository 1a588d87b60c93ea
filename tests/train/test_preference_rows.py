"""Rows of preferences: who is in which part, which reply is the better one, what is too few."""

from datetime import UTC, datetime

import pytest

from lib.base.schema import Preference
from lib.base.settings import TrainConfig
from lib.train import preference_rows
from lib.train.preference_rows import (
    answers,
    dpo_row,
    kto_rows,
    n_tokens,
    parts_of,
    too_few,
    unpaired,
    with_mismatched,
)

WHEN = datetime(2026, 3, 1, tzinfo=UTC)
GIVEN = -100


def preference(number, author, chosen=None, rejected=None):
    return Preference(
        tweet_id=f"t{number}",
        tweet=f"tweet {number}",
        tweet_author=author,
        chosen=f"good {number}",
        rejected=f"bad {number}",
        chosen_id=chosen or f"c{number}",
        rejected_id=rejected or f"r{number}",
        **{f"{side}_{name}": 5 for side in ("chosen", "rejected") for name in ("likes", "followers")},
        **{f"{side}_created_at": WHEN for side in ("chosen", "rejected")},
        chosen_first=True,
    )


@pytest.mark.parametrize("n_authors, n_held_out", [(1, 1), (5, 1), (14, 1), (16, 2), (40, 4)])
def test_a_tenth_of_the_authors_validates_and_one_at_least(n_authors, n_held_out):
    some = [preference(n, f"author{n % n_authors}") for n in range(3 * n_authors)]
    parts = parts_of(some)
    assert len({one.tweet_author for one in parts["val"]}) == n_held_out
    assert sorted(one.tweet_id for part in parts.values() for one in part) == sorted(
        one.tweet_id for one in some
    )


def test_an_author_is_in_one_part_however_the_handle_is_spelled():
    some = [
        preference(10 * n + k, spelled)
        for n in range(20)
        for k, spelled in enumerate((f"Author{n}", f"author{n}", f"AUTHOR{n}"))
    ]
    parts = parts_of(some)
    sides = [{one.tweet_author.casefold() for one in parts[name]} for name in ("train", "val")]
    assert sides[0].isdisjoint(sides[1]) and len(sides[1]) == 2
    assert len(parts["val"]) == 6


def test_the_parts_do_not_depend_on_the_order():
    some = [preference(n, f"author{n}") for n in range(30)]
    assert {one.tweet_id for one in parts_of(some)["val"]} == {
        one.tweet_id for one in parts_of(some[::-1])["val"]
    }


def test_a_reply_that_won_and_lost_is_neither_good_nor_bad():
    some = [
        preference(1, "a", "top", "middle"),
        preference(2, "a", "middle", "low"),
        preference(3, "a", "top", "low"),
    ]
    good, bad = unpaired(some)
    assert ([one.id for one in good], [one.id for one in bad]) == (["top"], ["low"])
    assert [one.reply for one in answers(some[:1])] == ["good 1", "bad 1"]


def row(prompt, answer):
    return {"input_ids": prompt + answer, "labels": [GIVEN] * len(prompt) + answer}


def test_the_chosen_reply_is_the_one_to_learn():
    made = dpo_row(row([1, 2], [3, 4]), row([1, 2], [5]))
    assert made == {"prompt_ids": [1, 2], "chosen_ids": [3, 4], "rejected_ids": [5]}
    assert n_tokens(made) == 2 * 2 + 2 + 1


def test_good_replies_are_labelled_as_good(monkeypatch):
    monkeypatch.setattr(preference_rows, "chat_of", lambda tokenizer: None)
    monkeypatch.setattr(preference_rows, "token_row", lambda prompt, one, chat: row([1], [hash(one.reply)]))
    rows = kto_rows([preference(n, "a") for n in range(9)], "{tweet}", None)
    labels = {made["completion_ids"][0]: made["label"] for made in rows}
    assert labels == {hash(f"{word} {n}"): word == "good" for n in range(9) for word in ("good", "bad")}
    assert len({made["label"] for made in rows[:6]}) == 2  # in one hashed order, not first all the good ones


def test_the_drift_is_measured_on_the_reply_of_a_neighbour_in_the_batch():
    rows = [{"prompt_ids": [n], "completion_ids": [10 + n], "label": True} for n in range(5)]
    made = [one["KL_completion_ids"][0] - 10 for one in with_mismatched(rows, 3)]
    assert made == [2, 0, 1, 4, 3]


@pytest.mark.parametrize("n, is_refused", [(299, True), (300, False), (301, False)])
def test_min_preferences_itself_is_enough(n, is_refused):
    config = TrainConfig(data="main", method="dpo", init_adapter="x", min_preferences=300)
    assert bool(too_few(config, n)) == is_refused
