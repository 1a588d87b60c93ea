"""metrics.jsonl has the same fields whichever backend trains."""

from types import SimpleNamespace

from lib.base.files import read_dicts
from lib.train.curves import train_eval_gap, train_loss
from lib.train.metrics_log import MetricsLog, counting, evaluation_share, tokens_of


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
