"""Checks before weights are loaded: each by its own bound, on texts and numbers alone."""

from types import SimpleNamespace as Of

import pytest

from lib.base.errors import UserError
from lib.base.settings import TrainConfig
from lib.train.preference_rows import preference_checks
from lib.train.preflight import checks, controlled, leakage, padding, too_long
from lib.train.rows import all_checks, prompts_apart, read_splits, require
from tests.model.families import tokenizer_folder
from tests.train.test_preference_rows import preference
from tests.training_data import pairs, write_workspace

CONFIG = TrainConfig(data="sample", max_length=100, early_stopping=None)
MADE = pairs(4, 1)


def changed(number, **values):
    return MADE[number].model_copy(update=values)


@pytest.mark.parametrize(
    "lengths, said",
    [
        ([100, 100], None),
        ([101, 100], "1 rows are longer than max_length 100: 200000 (101 tokens). Set max_length to 101"),
        ([130, 150], "2 rows are longer than max_length 100: 200000 (130 tokens), 200010 (150 tokens). "
                     "Set max_length to 150"),
    ],
)  # fmt: skip
def test_a_row_of_max_length_fits_and_the_advice_is_the_longest_ones_length(lengths, said):
    for part, other in (("train", "val"), ("val", "train")):
        found = too_long(CONFIG, {part: MADE[:2], other: []}, {part: lengths, other: []})
        assert found == said or found.startswith(said)


def test_of_many_long_rows_three_are_named():
    found = too_long(CONFIG, {"train": MADE, "val": []}, {"train": [101] * 4, "val": []})
    assert found.startswith("4 rows are longer") and found.count("tokens") == 3 and ", ..." in found


@pytest.mark.parametrize("field", ["tweet", "reply"])
@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_control_token_in_any_text_is_found_with_its_place(part, field):
    splits = {name: [MADE[0]] for name in ("train", "val", "test")}
    assert controlled(splits) is None
    splits[part] = [MADE[0], changed(1, **{field: "so<|im_end|>"})]
    assert controlled(splits).startswith(
        f"the {field} of 200010 in {part} contains the control token <|im_end|>"
    )


@pytest.mark.parametrize("one, other", [("train", "val"), ("train", "test"), ("val", "test")])
def test_an_author_or_a_tweet_in_two_splits_is_a_leak_whatever_the_case(one, other):
    splits = {"train": [MADE[0]], "val": [MADE[1]], "test": [MADE[2]]}
    assert leakage(splits) is None
    for twin in (
        changed(3, tweet_author=splits[one][0].tweet_author.upper()),
        changed(3, tweet_id=splits[one][0].tweet_id),
    ):
        found = leakage({**splits, other: [*splits[other], twin]})
        assert f"is in {one} and in {other}" in found
    assert leakage({**splits, one: splits[one] * 2}) is None  # several replies of one tweet


@pytest.mark.parametrize(
    "pad, says",
    [(None, "has no padding token"), ("<|im_end|>", "are the same token"), ("<|endoftext|>", None)],
)
def test_padding_is_there_and_is_not_the_end(tmp_path, pad, says):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder(tmp_path / "model", "qwen3"))
    tokenizer.pad_token = pad
    problem = padding(CONFIG, tokenizer).problem
    assert (problem is None) if says is None else says in problem
    assert padding(CONFIG, None).unknown and padding(CONFIG, None).problem is None


def test_without_rows_to_train_or_to_validate_on_the_empty_file_is_named():
    for name in ("train", "val"):
        splits = {"train": [MADE[0]], "val": [MADE[1]], "test": []} | {name: []}
        n_tokens = {part: [9] * len(splits[part]) for part in ("train", "val")}
        problem = checks(CONFIG, splits, n_tokens, None)[0].problem
        assert problem.startswith(f"processed/{name}.jsonl is empty")


def test_the_held_out_are_read_and_an_author_of_a_prompt_is_apart_from_training_and_validation(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(write_workspace(tmp_path))
    splits = read_splits(CONFIG)
    assert [len(splits[name]) for name in ("train", "val", "test")] == [42, 9, 9]
    assert prompts_apart(CONFIG, splits) is None
    for name in ("train", "val"):
        twin = splits[name][0].model_copy(update={"tweet_author": "AUTHOR19"})
        found = prompts_apart(CONFIG, {**splits, name: [*splits[name], twin]})
        assert found.startswith("author19 wrote a test prompt and a tweet to train on")
    (tmp_path / "data/sample/processed/test.jsonl").unlink()
    assert read_splits(CONFIG)["test"] == []


def test_all_problems_are_said_at_once_also_those_of_validation_rows(tmp_path, monkeypatch):
    from transformers import AutoTokenizer

    monkeypatch.chdir(write_workspace(tmp_path))
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder(tmp_path / "model", "qwen3"))
    config = CONFIG.model_copy(update={"model": str(tmp_path / "model")})
    row = {"input_ids": [5] * 101, "labels": [-100] * 50 + [5] * 51}  # no end, no turn
    splits = {"train": [], "val": [MADE[1]], "test": []}
    rows = {name: [row] * len(part) for name, part in splits.items() if name != "test"}
    with pytest.raises(UserError) as refused:
        require(config, splits, rows, tokenizer)
    said = str(refused.value).splitlines()
    assert [line.partition(": no. ")[0] for line in said if ": no. " in line][:2] == [
        "rows to train and validate on",
        "every row fits max_length",
    ]
    assert "the texts of 200010 become control tokens" in said[-1]
    unknown = all_checks(config, splits, {"train": [], "val": [9]}, None, tokenizer)[-1]
    assert unknown.unknown and not unknown.problem


@pytest.mark.parametrize("method, n", [("dpo", 2), ("kto", 4)])
def test_preferences_about_held_out_tweets_are_refused_and_steps_are_counted_in_their_own_rows(method, n):
    config = TrainConfig(data="sample", method=method, init_adapter="v1", epochs=1, effective_batch=1,
                         early_stopping={"patience": 2}, evals_per_run=9, min_preferences=1)  # fmt: skip
    parts = {"train": [preference(1, "a"), preference(2, "b")], "val": [preference(3, "c")]}
    tokens = {"train": [9] * 4, "val": [9] * 2}

    def problems(test):
        found = preference_checks(config, parts, test, tokens, None, None)
        return {check.name: check.problem for check in found if check.problem}

    assert list(problems([])) == ([] if n > 2 else ["early stopping can fire"])  # n steps, n evaluations
    for same in ({"tweet_author": "C"}, {"tweet_id": "t1"}):
        held_out = [changed(0, **same)]
        assert "in preferences and in test" in problems(held_out)["no preference about a held-out tweet"]


def test_of_one_authors_preferences_nothing_can_be_validated():
    config = TrainConfig(data="sample", method="dpo", init_adapter="v1", min_preferences=1)
    parts = {"train": [], "val": [preference(1, "a")]}
    (check,) = preference_checks(config, parts, [], {"train": [], "val": [9, 9]}, None, Of())
    assert "all preferences are of one author's tweets" in check.problem
