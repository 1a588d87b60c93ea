"""metrics.jsonl has the same fields whichever backend trains."""

from types import SimpleNamespace

import pytest

from lib.base.files import read_dicts
from lib.train.metrics_log import MetricsLog, counting, tokens_of


def log_one_step_and_an_evaluation(path, step_logs, eval_logs, **options):
    import torch

    log = MetricsLog(path, **options)
    state = SimpleNamespace(global_step=1, epoch=0.5, is_world_process_zero=True, log_history=[])
    step = counting(lambda model, inputs, *_: "stepped", log.counts)
    log.on_step_begin(None, state, None)
    for mask in ([[1, 1, 0], [1, 1, 1]], [[1, 0, 0], [1, 1, 0]]):
        assert step(None, {"input_ids": torch.zeros(2, 3), "attention_mask": torch.tensor(mask)}) == "stepped"
    log.on_step_end(None, state, None)
    log.on_log(None, state, None, {"loss": 2.0, "learning_rate": 1e-4, "grad_norm": 1.0, **step_logs})
    log.on_log(None, state, None, {"eval_loss": 2.5, **eval_logs})
    return read_dicts(path)


def test_what_a_trainer_does_not_count_is_counted_here(tmp_path):
    certain = {"eval_entropy": 1.5, "eval_mean_token_accuracy": 0.25}
    step, evaluation = log_one_step_and_an_evaluation(tmp_path / "m.jsonl", {}, {}, certainty=lambda: certain)
    assert step["num_tokens"] == 8
    assert step["tokens_per_second"] > 0
    assert {name: evaluation[name] for name in certain} == certain


def test_what_a_trainer_says_is_taken(tmp_path):
    said = {"eval_entropy": 1.5, "eval_mean_token_accuracy": 0.25}
    step, evaluation = log_one_step_and_an_evaluation(
        tmp_path / "m.jsonl", {"num_tokens": 9.0, "entropy": 3.0}, said, certainty=None
    )
    assert (step["num_tokens"], step["entropy"]) == (9, 3.0)
    assert evaluation["eval_entropy"] == 1.5


def test_rows_end_to_end_have_no_padding_to_leave_out():
    import torch

    assert tokens_of({"input_ids": torch.zeros(1, 7), "position_ids": torch.zeros(1, 7)}) == 7
    assert (
        tokens_of({"completion_input_ids": torch.zeros(1, 7)}) == 0
    )  # KTO's batches: its trainer counts by itself


def test_entropy_and_accuracy_are_those_of_the_learned_tokens():
    import torch

    from lib.model.losses import certainty

    vocabulary = 5

    def model(input_ids, attention_mask):
        """Sure of the token that is one higher, whatever came before."""
        logits = torch.zeros(*input_ids.shape, vocabulary)
        return SimpleNamespace(logits=logits.scatter(-1, ((input_ids + 1) % vocabulary).unsqueeze(-1), 2.0))

    model.device = "cpu"
    found = certainty(model, [([0, 1, 2, 3], 2), ([4, 4, 0], 1)])  # learned: 2, 3 right, 4 wrong, 0 right
    assert found["eval_mean_token_accuracy"] == pytest.approx(3 / 4)
    shares = torch.softmax(torch.tensor([2.0, 0, 0, 0, 0]), 0)
    assert found["eval_entropy"] == pytest.approx(-(shares * shares.log()).sum().item(), rel=1e-5)
