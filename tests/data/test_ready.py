"""What a data set lacks before it can be trained on, and the command that mends it."""

import json
from pathlib import Path

import pytest

from lib.base.errors import UserError
from lib.base.files import write_jsonl
from lib.data.ready import command_in, lacking, refuse_unready, waiting_pairs
from tests.eval_data import pair

COLLECT = "collect: {source: files}\n"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("configs", "data/main/interim", "data/main/review", "data/main/processed"):
        Path(folder).mkdir(parents=True)
    Path("configs/data-main.yaml").write_text(COLLECT + "review: required\n")
    write_jsonl(Path("data/main/interim/clean.jsonl"), [pair(number) for number in range(3)])
    Path("data/main/processed/train.jsonl").touch()
    return tmp_path


def decide(*decisions):
    """Of the first pairs, in their order; the last line may be torn."""
    lines = [json.dumps({"id": pair(number).id, "decision": one}) for number, one in enumerate(decisions)]
    Path("data/main/review/decisions.jsonl").write_text("".join(f"{line}\n" for line in lines) + '{"id": "x')


@pytest.mark.parametrize(
    "decisions, waiting",
    [((), "3 of 3"), (("keep",), "2 of 3"), (("keep", "drop"), "1 of 3"), (("keep", "drop", "keep"), None)],
)
def test_pairs_that_nobody_has_decided_on_wait(home, decisions, waiting):
    decide(*decisions)
    assert waiting_pairs("main") == waiting
    sentence = lacking("main")
    if waiting is None:
        assert sentence is None and refuse_unready("main") is None
    else:
        assert sentence == f"{waiting} pairs of data/main are unreviewed: run `make review DATA=main` first."
        assert command_in(sentence) == "make review DATA=main"
        with pytest.raises(UserError, match="unreviewed"):
            refuse_unready("main")


def test_where_no_review_is_required_nothing_waits(home):
    Path("configs/data-main.yaml").write_text(COLLECT + "review: optional\n")
    assert waiting_pairs("main") is None


@pytest.mark.parametrize("missing", ["configs/data-main.yaml", "data/main/interim/clean.jsonl"])
def test_a_machine_that_holds_only_processed_knows_of_none(home, missing):
    Path(missing).unlink()
    assert lacking("main") is None


def test_a_set_without_training_rows_is_told_with_its_command(home):
    decide("keep", "keep", "keep")
    Path("data/main/processed/train.jsonl").unlink()
    assert lacking("main") == "data/main holds nothing to train on yet: run `make data DATA=main` first."
