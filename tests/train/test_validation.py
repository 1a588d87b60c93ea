"""A run's answers to validation tweets, by a model that says which weights answer."""

import contextlib
from types import SimpleNamespace as Of

import pytest

from lib.base.files import read_dicts, read_json, write_json
from lib.base.settings import TrainConfig
from lib.model.losses import RowLoss
from lib.train import validation
from lib.train.validation import (
    LastAnswers,
    answer_validation,
    answered_validation,
    memorisation_line,
    validation_tweets,
    write_samples,
)
from lib.train.validation_loss import answered, spread
from tests.small_model import small_tokenizer
from tests.training_data import job_of, pairs

CONFIG = TrainConfig(data="sample", epochs=3, effective_batch=8, early_stopping=None)


class Model:
    """A model of `backend: mlx`, whose answer says which weights gave it, and to which tweet."""

    generation_config = None

    def __init__(self, tokenizer):
        self.tokenizer, self.weights, self.is_base, self.asked = tokenizer, "none", False, []

    def fill(self, path):
        self.weights = path.parent.name

    @contextlib.contextmanager
    def disable_adapter(self):
        self.is_base = True
        yield
        self.is_base = False

    def greedy(self, prompts, ends, n_tokens):
        self.asked.append((len(prompts), n_tokens))
        said = "base" if self.is_base else self.weights
        days = [self.tokenizer.decode(prompt).partition("day ")[2].partition(" ")[0] for prompt in prompts]
        return [self.tokenizer(f"{said} on day {day}")["input_ids"] for day in days]

    def row_losses(self, rows, places):
        return {place: RowLoss(2.0, 2, 1.0, 1) for batch in places for place in batch}


@pytest.fixture(scope="module")
def tokenizer():
    return small_tokenizer()


@pytest.fixture
def job(tmp_path, tokenizer):
    backwards = pairs(60, 2)[::-1]  # two replies to each tweet, by falling id
    splits = {"train": pairs(2, 1), "val": backwards, "test": []}
    rows = {"train": [], "val": [{"input_ids": [1, 2], "labels": [-100, 2]}] * len(backwards)}
    return job_of(tmp_path, CONFIG, backend="mlx", tokenizer=tokenizer, splits=splits, rows=rows)


def test_fifty_tweets_are_answered_once_by_id_as_base_and_by_the_best_checkpoint(job):
    model = Model(job.tokenizer)
    found = answer_validation(job, 6, model)
    assert found == read_json(job.folder / "validation.json")
    assert (found["step"], found["perplexity"], len(found["replies"])) == (6, None, 50)
    for day, reply in enumerate(found["replies"]):
        assert reply == {
            "tweet_id": f"10{day:03}",
            "base": f"base on day {day}",
            "tuned": f"checkpoint-6 on day {day}",
        }
    assert model.asked == [(25, 60)] * 4


def test_no_batch_is_begun_after_the_time_is_up_and_the_one_under_way_is_kept(job, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(validation, "time", Of(monotonic=lambda: now[0]))
    model = Model(job.tokenizer)
    greedy = model.greedy

    def slow(*asked):
        now[0] += 100
        return greedy(*asked)

    model.greedy = slow
    assert len(answer_validation(job, 6, model)["replies"]) == 25


def test_the_perplexity_is_measured_at_the_end_where_the_evaluations_read_a_part(job):
    part = job_of(job.folder, CONFIG.model_copy(update={"max_evaluation_share": 0.01}), backend="mlx",
                  tokenizer=job.tokenizer, splits=job.splits, rows=job.rows)  # fmt: skip
    assert part.n_evaluated < 120
    assert answer_validation(part, 6, Model(job.tokenizer))["perplexity"] == pytest.approx(2.718, abs=1e-3)


@pytest.mark.parametrize("kept, made", [({"step": 6}, False), ({"step": 3}, True), ({}, True)])
def test_answers_of_another_checkpoint_than_the_best_are_made_again(job, monkeypatch, kept, made):
    if kept:
        write_json(job.folder / "validation.json", {**kept, "replies": []})
    monkeypatch.setattr(validation, "MlxModel", lambda config, checkpointing: Model(job.tokenizer))
    assert bool(answered_validation(job, 6)["replies"]) is made


@pytest.mark.parametrize(
    "first, over, answers", [(True, True, True), (True, False, False), (False, True, False)]
)
def test_the_first_process_answers_when_the_run_is_over_from_the_best_checkpoint(job, first, over, answers):
    history = [{"step": step, "eval_loss": loss} for step, loss in ((0, 1.0), (6, 2.0), (12, 3.0))]
    state = Of(is_world_process_zero=first, log_history=history, global_step=12)
    LastAnswers(job, Model(job.tokenizer), lambda *_: over).on_train_end(None, state, None)
    path = job.folder / "validation.json"
    assert path.is_file() is answers
    assert not answers or read_json(path)["step"] == 6


def test_samples_are_five_tweets_before_training_and_at_the_first_evaluation_of_each_epoch(job, monkeypatch):
    assert job.plan.steps_per_epoch == 6
    replies = {tweet_id: f"to {tweet_id}" for tweet_id in list(validation_tweets(job))[:10]}
    for step in (0, 5, 6, 9, 14, 18):
        write_samples(job, step, replies)
        monkeypatch.setenv("RANK", "1")
        write_samples(job, step + 100, replies)
        monkeypatch.delenv("RANK")
    lines = read_dicts(job.folder / "samples.jsonl")
    assert [line["step"] for line in lines] == [step for step in (0, 6, 14, 18) for _ in range(5)]
    assert [line["epoch"] for line in lines[::5]] == [0, 1, 2, 3]
    assert [line["tweet_id"] for line in lines[:5]] == [f"10{day:03}" for day in range(5)]
    assert all(line["reply"] == f"to {line['tweet_id']}" for line in lines)


def test_an_evaluation_writes_openings_to_ten_tweets_and_says_how_alike_they_are(job):
    model = Model(job.tokenizer)
    found = answered(model, job, 0)
    assert model.asked == [(10, 16)]
    assert set(found) == {"distinct_2", "alike"} and found["alike"] > 0.5
    assert len(read_dicts(job.folder / "samples.jsonl")) == 5


@pytest.mark.parametrize("n, lengths", [(1, [1]), (2, [1, 6]), (5, [1, 3, 5, 7, 9]), (10, [*range(1, 11)])])
def test_a_part_of_the_rows_goes_from_the_shortest_to_the_longest_in_their_own_order(n, lengths):
    rows = [{"input_ids": [0] * size} for size in (7, 2, 9, 1, 10, 4, 3, 8, 6, 5)]
    part = [len(row["input_ids"]) for row in spread(rows, n)]
    assert sorted(part) == lengths
    assert part == [len(row["input_ids"]) for row in rows if len(row["input_ids"]) in lengths]


def test_the_line_says_whose_share_is_whose_and_what_was_not_written():
    found = Of(words=8, n=50, base=0.0, tuned=0.02)
    assert memorisation_line(found) == (
        "copies 8+ words of a training reply: tuned 2%, base 0% (50 validation tweets)"
    )
    found.base = None
    assert "tuned 2%, base nothing written (" in memorisation_line(found)
