"""lib/train/sft.py: how the effective batch is cut into micro-batches, for one GPU and for several."""

import pytest

from lib.base.errors import UserError
from lib.base.settings import TrainConfig
from lib.model.shapes import KNOWN
from lib.train.job import Batch
from lib.train.schedule import learning_rate, schedule, warmup_steps
from lib.train.sft import batch_of, fitting, plain_arguments, shared_arguments
from tests.training_data import job_of

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


OWN = {
    "epochs": 2.5,
    "learning_rate": 3e-4,
    "scheduler": "linear",
    "warmup": 0.25,
    "weight_decay": 0.07,
    "seed": 23,
    "effective_batch": 8,
    "evals_per_run": 5,
    "evals_after": 0.5,
}


def test_every_setting_of_the_config_reaches_the_trainer_and_none_is_left_to_its_defaults(tmp_path):
    config = TrainConfig(data="x", **OWN)
    plan = schedule(config, 64)  # 20 steps
    job = job_of(tmp_path, config, plan=plan, batch=Batch(2, 4, checkpointing=True), device="cuda:0")
    assert shared_arguments(job, eval_on_start=True) == {
        "output_dir": str(tmp_path / "checkpoints"),
        "run_name": job.run,
        "report_to": "none",
        "num_train_epochs": 2.5,
        "learning_rate": 3e-4,
        "lr_scheduler_type": "linear",
        "warmup_steps": 5,
        "weight_decay": 0.07,
        "label_smoothing_factor": 0.0,
        "max_grad_norm": 1.0,
        "optim": "adamw_torch",
        "adam_beta1": 0.9,
        "adam_beta2": 0.999,
        "adam_epsilon": 1e-8,
        "per_device_train_batch_size": 2,
        "per_device_eval_batch_size": 2,
        "gradient_accumulation_steps": 4,
        "gradient_checkpointing": True,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "bf16": True,
        "fp16": False,
        "use_cpu": False,
        "seed": 23,
        "data_seed": 23,
        "max_length": None,
        "remove_unused_columns": True,  # no row is cut
        "dataloader_num_workers": 0,
        "dataloader_drop_last": False,  # and none left out
        "eval_strategy": "steps",
        "eval_steps": 4,
        "eval_delay": 10,
        "eval_on_start": True,
        "save_strategy": "steps",
        "save_steps": 4,
        "save_total_limit": None,
        "load_best_model_at_end": False,
        "prediction_loss_only": True,
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "log_level_replica": "error",
        "average_tokens_across_devices": True,
        "ddp_find_unused_parameters": False,
    }


@pytest.mark.parametrize("device, on_gpu", [("cuda:1", True), ("cpu", False), ("mps", False)])
def test_rows_lie_end_to_end_in_16_bit_on_a_gpu_alone(tmp_path, device, on_gpu):
    job = job_of(tmp_path, AUTO, device=device)
    arguments = shared_arguments(job, eval_on_start=False)
    assert (arguments["bf16"], arguments["use_cpu"]) == (on_gpu, device == "cpu")
    assert plain_arguments(device) == {"loss_type": "chunked_nll", "padding_free": on_gpu}
