"""The secrets of here: what of a data set, of a run and of this machine must be in no published file."""

import json
from pathlib import Path

import pytest

from lib.base.errors import UserError
from lib.publish.known import known_of, word_runs

WORDS = [f"word{letter}" for letter in "abcdefghij"]


def rows(folder, name, *lines):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))


def text_of(word):
    """Eight words of its own."""
    return " ".join(f"{word}{number}" for number in range(8))


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows(
        Path("data/main"), "processed/train.jsonl", {"id": "1", "tweet": text_of("t"), "reply": text_of("r")}
    )
    return Path("data/main")


def known(data, repo="ann/reply"):
    return known_of(data, Path("adapters/none"), repo)


@pytest.mark.parametrize("n_words, n_runs", [(7, 0), (8, 1), (9, 2), (10, 3)])
def test_a_run_is_eight_words_in_a_row(n_words, n_runs):
    runs = word_runs([" ".join(WORDS[:n_words])])
    assert len(runs) == n_runs and all(len(run.split()) == 8 for run in runs)
    assert word_runs(["One, TWO; three-four\nfive! six_seven (eight)"]) == {
        "one two three four five six seven eight"
    }


@pytest.mark.parametrize(
    "name, row",
    [
        ("processed/test.jsonl", {"human_reply": text_of("x")}),
        ("processed/preferences.jsonl", {"chosen": text_of("x")}),
        ("processed/preferences.jsonl", {"rejected": text_of("x")}),
        ("interim/clean.jsonl", {"reply": text_of("x")}),
        ("interim/filtered.rejects.jsonl", {"id": "9", "pair": {"tweet": text_of("x")}}),
        ("review/decisions.jsonl", {"id": "9", "original": text_of("x")}),
        ("review/decisions.jsonl", {"id": "9", "reply": text_of("x")}),
    ],
)
def test_a_text_counts_wherever_it_stands_in_the_set(data, name, row):
    rows(data, name, row)
    assert {text_of("t"), text_of("r"), text_of("x")} == known(data).runs


def test_authors_and_ids_count_and_everyday_words_do_not(data):
    rows(
        data,
        "interim/clean.jsonl",
        {"tweet_id": "111", "reply_id": "222", "tweet_author": "@Zorblax_", "reply_author": "qwx"},
        {"id": "333", "reply_author": "wqxz", "pair": {"tweet_author": "gribbet77"}, "likes": 444},
        {"tweet_author": "import", "reply_author": "1234567", "other_author": None},
        {"tweet_author": "12345678", "reply_author": "Reply_Bot_X"},
    )
    found = known(data, "Reply_Bot_X/mine")
    assert found.handles == {"zorblax", "wqxz", "gribbet77", "12345678"}
    assert found.ids == {"1", "111", "222", "333"}


def test_keys_and_folders_of_this_machine_count(data, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_this_machine")
    assert {"hf_of_this_machine", str(Path.cwd()), str(Path.home())} - {"/"} <= known(data).secrets


@pytest.mark.parametrize("row", [{"id": "1"}, {"tweet": ""}, {"likes": 3}])
def test_a_set_without_texts_cannot_be_checked(data, row):
    rows(data, "processed/train.jsonl", row)
    rows(data, "interim/clean.jsonl", {"reply": text_of("x")})
    with pytest.raises(UserError, match=r"holds no texts.*make data DATA=main"):
        known(data)


def test_a_run_without_its_spaces_is_found_by_its_first_letters(data):
    by_start = known(data).runs_by_start
    assert by_start["t0t1t2t3"] == {"t0t1t2t3t4t5t6t7"} and len(by_start) == 2
