"""lib/train/sft.py: how the effective batch is cut into micro-batches, for one GPU and for several."""

import pytest

from lib.base.errors import UserError
from lib.base.settings import TrainConfig
from lib.model.shapes import KNOWN
from lib.train.schedule import learning_rate, schedule, warmup_steps
from lib.train.sft import Batch, batch_of, fitting

AUTO = TrainConfig(data="x")


@pytest.mark.parametrize(
    "memory_gb, size, checkpointing",
    [
        (None, 16, False),
        (48, 16, False),
        (22, 8, False),  # an RTX 4090
        (14, 4, False),
        (12, 16, True),
        (9, 4, True),  # below four rows a pass, recomputing costs less
        (5, 1, True),  # nothing fits: the least that can be tried
    ],
)
def test_sixteen_rows_at_once_before_four_times_four(memory_gb, size, checkpointing):
    assert fitting(AUTO, 16, 128, memory_gb, KNOWN[AUTO.model]) == (size, checkpointing)


def test_what_the_config_says_is_not_changed_by_what_fits():
    config = AUTO.model_copy(update={"micro_batch": 8, "gradient_checkpointing": True})
    assert fitting(config, 16, 128, 80, KNOWN[AUTO.model]) == (8, True)


@pytest.mark.parametrize("micro_batch, size", [(16, 8), (8, 8), (4, 4), ("auto", 8)])
def test_a_micro_batch_larger_than_a_processes_share_gives_way(monkeypatch, micro_batch, size):
    monkeypatch.setenv("WORLD_SIZE", "2")
    config = AUTO.model_copy(update={"micro_batch": micro_batch, "gradient_checkpointing": False})
    assert batch_of(config, 128, "cpu") == Batch(size, 8 // size, checkpointing=False)


def test_rows_that_cannot_be_shared_evenly_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UserError, match="effective_batch 16 is no multiple of 3 processes"):
        batch_of(AUTO, 128, "cpu")


@pytest.mark.parametrize("scheduler", ["cosine", "linear", "constant", "constant_with_warmup"])
@pytest.mark.parametrize("warmup", [0.0, 0.3])
def test_our_own_schedule_is_that_of_transformers(scheduler, warmup):
    import torch
    from transformers import get_scheduler

    config = AUTO.model_copy(update={"scheduler": scheduler, "warmup": warmup, "effective_batch": 8})
    plan = schedule(config, 37)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], config.learning_rate)
    theirs = get_scheduler(scheduler, optimizer, warmup_steps(config, plan), plan.steps)
    for step in range(1, plan.steps + 1):
        assert learning_rate(config, plan, step) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()
