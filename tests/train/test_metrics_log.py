"""metrics.jsonl has the same fields whichever backend trains."""

from types import SimpleNamespace

import pytest

from lib.base.errors import UserError
from lib.base.files import read_dicts
from lib.train.curves import train_eval_gap, train_loss
from lib.train.metrics_log import MetricsLog, counting, evaluation_share, peak_gb, tokens_of


def log_one_step_and_an_evaluation(path, step_logs, eval_logs):
    import torch

    log = MetricsLog(path)
    state = SimpleNamespace(global_step=1, epoch=0.5, is_world_process_zero=True, log_history=[{}])
    step = counting(lambda model, inputs, *_: "stepped", log.counts)
    log.on_step_begin(None, state, None)
    for mask in ([[1, 1, 0], [1, 1, 1]], [[1, 0, 0], [1, 1, 0]]):
        labels = torch.tensor([[-100, -100, -100], [-100, 5, 6]])
        inputs = {"input_ids": torch.zeros(2, 3), "attention_mask": torch.tensor(mask), "labels": labels}
        assert step(None, inputs) == "stepped"
    log.on_step_end(None, state, None)
    log.on_log(None, state, None, {"loss": 2.0, "learning_rate": 1e-4, "grad_norm": 1.0, **step_logs})
    log.on_log(None, state, None, {"eval_loss": 2.5, **eval_logs})
    assert state.log_history == [{"learned_tokens": 4}]
    return read_dicts(path)


def test_what_a_trainer_does_not_count_is_counted_here(tmp_path):
    step, _ = log_one_step_and_an_evaluation(tmp_path / "m.jsonl", {}, {})
    assert (step["num_tokens"], step["learned_tokens"]) == (8, 4)
    assert step["tokens_per_second"] > 0


def test_what_a_trainer_says_is_taken(tmp_path):
    said = {"eval_entropy": 1.5, "eval_mean_token_accuracy": 0.25}
    step, evaluation = log_one_step_and_an_evaluation(
        tmp_path / "m.jsonl", {"num_tokens": 9.0, "entropy": 3.0}, said
    )
    assert (step["num_tokens"], step["entropy"]) == (9, 3.0)
    assert evaluation["eval_entropy"] == 1.5


def test_rows_end_to_end_have_no_padding_to_leave_out():
    import torch

    assert tokens_of({"input_ids": torch.zeros(1, 7), "position_ids": torch.zeros(1, 7)}) == 7
    assert (
        tokens_of({"completion_input_ids": torch.zeros(1, 7)}) == 0
    )  # KTO's batches: its trainer counts by itself


def test_the_training_loss_weighs_a_step_by_its_learned_tokens():
    history = [
        {"step": 0, "eval_loss": 9.0},
        {"step": 1, "loss": 2.0, "learned_tokens": 300},
        {"step": 2, "loss": 4.0, "learned_tokens": 100},
        {"step": 2, "eval_loss": 3.0},
    ]
    assert train_loss(history, 2) == 2.5
    assert train_eval_gap(history, 2) == 0.5
    older = [{name: value for name, value in entry.items() if name != "learned_tokens"} for entry in history]
    assert train_loss(older, 2) == 3.0
    later = [*history, {"step": 3, "loss": 1.0, "learned_tokens": 50}, {"step": 3, "eval_loss": 2.75}]
    assert (train_loss(later, 3), train_eval_gap(later, 3)) == (1.0, 1.75)  # since the evaluation before


def test_the_share_of_evaluations_is_the_time_up_to_their_lines():
    lines = [
        {"seconds": 4.0, "eval_loss": 3.0},
        {"seconds": 30.0, "loss": 2.0},
        {"seconds": 34.0, "eval_loss": 2.5},
        {"seconds": 40.0, "loss": 2.0},
    ]
    assert evaluation_share(lines) == 0.2
    assert evaluation_share([]) is None


def logged(path, step, logs, before=(), first=True, history=None):
    """The lines of metrics.jsonl after one log of a trainer, on a clock that is 5 s on."""
    state = SimpleNamespace(
        global_step=step, epoch=0.51237, is_world_process_zero=first, log_history=history or [{}]
    )
    log = MetricsLog(path, before, memory_gb=lambda: 1.5)
    log.start -= 5
    log.step_seconds = 2.0
    log.on_log(None, state, None, logs)
    return read_dicts(path) if path.exists() else []


def test_time_and_tokens_of_a_resumed_run_go_on_from_where_it_was_interrupted(tmp_path):
    before = [{"step": 1, "seconds": 40.0, "num_tokens": 900}, {"step": 1, "seconds": 45.0, "eval_loss": 3.0}]
    (line,) = logged(tmp_path / "m.jsonl", 2, {"loss": 2.0, "num_tokens": 100}, before)
    assert (line["num_tokens"], line["tokens_per_second"]) == (1000, 50.0)  # speed is of the new ones
    assert 50 <= line["seconds"] < 60
    assert (line["step"], line["epoch"], line["memory_gb"]) == (2, 0.5124, 1.5)
    (fresh,) = logged(tmp_path / "fresh.jsonl", 2, {"loss": 2.0, "num_tokens": 100})
    assert fresh["num_tokens"] == 100 and 5 <= fresh["seconds"] < 15


def test_speed_is_of_the_tokens_since_the_line_before(tmp_path):
    log = MetricsLog(tmp_path / "m.jsonl", memory_gb=lambda: 1.5)
    for step, total in enumerate((100, 150, 150), 1):
        log.step_seconds = 2.0
        state = SimpleNamespace(global_step=step, epoch=0.5, is_world_process_zero=True, log_history=[{}])
        log.on_log(None, state, None, {"loss": 2.0, "num_tokens": total})
    assert [line.get("tokens_per_second") for line in read_dicts(log.path)] == [50.0, 25.0, None]


@pytest.mark.parametrize("name", ["loss", "eval_loss"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_run_with_its_step_and_advice(tmp_path, name, value):
    for first in (True, False):  # every process ends, or the others would wait
        with pytest.raises(UserError, match=r"not a number at step 7.*lower learning_rate"):
            logged(tmp_path / "m.jsonl", 7, {name: value}, first=first)
    assert not (tmp_path / "m.jsonl").exists()


def test_one_process_writes_and_what_is_neither_loss_is_no_line(tmp_path):
    assert logged(tmp_path / "m.jsonl", 1, {"loss": 2.0}, first=False) == []
    assert logged(tmp_path / "m.jsonl", 1, {"train_runtime": 2.0}) == []
    assert len(logged(tmp_path / "m.jsonl", 1, {"loss": 2.0})) == 1


def test_an_evaluation_has_a_perplexity_where_its_loss_is_a_likelihood_and_a_gap(tmp_path):
    history = [{"step": 1, "loss": 2.0}, {"step": 1, "eval_loss": 2.5}]
    (line,) = logged(tmp_path / "sft.jsonl", 1, {"eval_loss": 2.5}, history=history)
    assert (line["perplexity"], line["train_eval_gap"]) == (pytest.approx(12.182, abs=1e-3), 0.5)
    rewards = {"eval_rewards/chosen": 0.2, "eval_rewards/margins": float("nan")}
    (line,) = logged(tmp_path / "dpo.jsonl", 1, {"eval_loss": 0.6, **rewards}, history=history)
    assert "perplexity" not in line
    assert (line["eval_rewards/chosen"], line["eval_rewards/margins"]) == (0.2, None)


def test_the_peak_of_a_process_is_in_gigabytes_on_linux_and_on_a_mac(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for platform, peak in (("linux", 2_000_000), ("darwin", 2_048_000_000)):
        monkeypatch.setattr("lib.train.metrics_log.sys", SimpleNamespace(platform=platform))
        used = SimpleNamespace(ru_maxrss=peak)
        monkeypatch.setattr("lib.train.metrics_log.resource.getrusage", lambda _, used=used: used)
        assert peak_gb() == 2.048
