"""Supervised training as TRL takes it, with no hyper-parameter left to the defaults of TRL or Unsloth."""

import os
from typing import Any

from lib.base.errors import UserError
from lib.base.settings import TrainConfig
from lib.model.activations import Path
from lib.model.base_model import load_shape
from lib.model.memory import quantization_on, vram_gb
from lib.model.shapes import Shape, shape_from
from lib.train.job import Batch, Job
from lib.train.schedule import warmup_steps

ADAM_BETAS, ADAM_EPSILON, MAX_GRAD_NORM = (0.9, 0.999), 1e-8, 1.0
MIN_MICRO_BATCH = 4  # below it, recomputing activations costs less than more and smaller batches


def batch_of(config: TrainConfig, longest: int, device: str, backend: str = "peft") -> Batch:
    """The effective batch as it is cut on this machine. longest: tokens of the longest row.

    Raises UserError if it cannot be shared among the processes of a distributed run.
    """
    n_processes = int(os.environ.get("WORLD_SIZE", "1"))
    share, rest = divmod(config.effective_batch, n_processes)
    if rest or not share:
        raise UserError(
            f"effective_batch {config.effective_batch} is no multiple of {n_processes} processes. Change one "
            "of them."
        )
    memory_gb = free_gb(device)
    shape = None if memory_gb is None else shape_from(load_shape(config), config.model)
    path: Path = "mlx" if backend == "mlx" else "peft"
    size, checkpointing = fitting(config, share, longest, memory_gb, shape, path)
    return Batch(size, share // size, checkpointing)


def quantization_of(config: TrainConfig, backend: str, longest: int, device: str) -> tuple[str, str]:
    """(how the base is held on this machine, why). longest: tokens of the longest row."""
    if backend == "mlx" and config.quantization == "auto":
        return "nf4", "a Mac shares its memory with everything that runs on it"
    shape = shape_from(load_shape(config), config.model)
    return quantization_on(config, shape, longest, card_gb(device))


def card_gb(device: str) -> float | None:
    """Memory of an NVIDIA GPU, GB (1e9 bytes), whoever uses it; None for another device."""
    import torch

    return torch.cuda.mem_get_info(device)[1] / 1e9 if device.startswith("cuda") else None


def fitting(
    config: TrainConfig,
    share: int,
    longest: int,
    memory_gb: float | None,
    shape: Shape | None,
    path: Path = "peft",
) -> tuple[int, bool]:
    """(micro-batch, checkpointing): the largest micro-batch that fits without checkpointing, else with it.

    share: rows of a step on this GPU; a micro_batch from the config that does not divide it gives way to the
    next smaller that does.
    memory_gb: free memory of the GPU; None: it is not known, or plenty. shape: the model's
    sizes, known where memory_gb is.
    """
    divisors = [n for n in range(share, 0, -1) if share % n == 0]
    sizes = divisors if config.micro_batch == "auto" else [n for n in divisors if n <= config.micro_batch][:1]
    modes = [False, True] if config.gradient_checkpointing == "auto" else [config.gradient_checkpointing]
    targets = tuple(config.lora.target_modules)
    for mode in modes:
        for size in sizes:
            if mode is False and len(modes) == 2 and size < min(MIN_MICRO_BATCH, sizes[0]):
                continue
            if shape is None or memory_gb is None:
                return size, mode
            nf4 = config.quantization == "nf4"
            if vram_gb(shape, size, longest, config.lora.rank, targets, nf4, mode, path) <= memory_gb:
                return size, mode
    return sizes[-1], modes[-1]


def free_gb(device: str) -> float | None:
    """Free memory of the GPU, GB (1e9 bytes); None for a CPU."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0] / 1e9
    return torch.mps.recommended_max_memory() / 1e9 if device == "mps" else None


def sft_trainer(job: Job, eval_on_start: bool) -> tuple[type, Any]:
    """(SFTTrainer, its arguments). eval_on_start: measure the base model first."""
    from trl import SFTConfig, SFTTrainer

    return (
        SFTTrainer,
        SFTConfig(
            **shared_arguments(job, eval_on_start),
            packing=False,
            # the rows are tokenised: a pool of processes would take longer to start than to look through them
            dataset_num_proc=1,
            train_sampling_strategy="random",
            **({} if job.backend == "unsloth" else plain_arguments(job.device)),
        ),
    )


def plain_arguments(device: str) -> dict[str, Any]:
    """Settings that Unsloth chooses by itself, and better: its own fused loss peaks 2 to 4 GB lower."""
    return {
        "loss_type": "chunked_nll",  # no logits of the prompt's tokens, which are not learned
        # rows end to end instead of padded; on a CPU padding costs little
        "padding_free": device.startswith("cuda"),
    }


def shared_arguments(job: Job, eval_on_start: bool) -> dict[str, Any]:
    """Arguments that supervised training and preference tuning have in common."""
    config, batch = job.config, job.batch
    return {
        "output_dir": str(job.checkpoints),
        "run_name": job.run,
        "num_train_epochs": config.epochs,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.scheduler,
        "warmup_steps": warmup_steps(config, job.plan),
        "weight_decay": config.weight_decay,
        "optim": "adamw_torch",
        "adam_beta1": ADAM_BETAS[0],
        "adam_beta2": ADAM_BETAS[1],
        "adam_epsilon": ADAM_EPSILON,
        "max_grad_norm": MAX_GRAD_NORM,
        "label_smoothing_factor": 0.0,
        "per_device_train_batch_size": batch.size,
        "per_device_eval_batch_size": batch.size,
        "gradient_accumulation_steps": batch.accumulation,
        "gradient_checkpointing": batch.checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "bf16": job.device.startswith("cuda"),
        "fp16": False,
        "use_cpu": job.device == "cpu",
        "seed": config.seed,
        "data_seed": config.seed,
        # The rows are tokenised and fit: a max_length here would cut them without a word.
        "max_length": None,
        "remove_unused_columns": True,
        "dataloader_num_workers": 0,
        "dataloader_drop_last": False,
        "eval_strategy": "steps",
        "eval_steps": job.plan.eval_every,
        "eval_delay": job.plan.eval_delay,
        "eval_on_start": eval_on_start,
        "prediction_loss_only": True,
        "save_strategy": "steps",
        "save_steps": job.plan.eval_every,
        "save_total_limit": None,  # lib.train.callbacks.KeepBest
        "load_best_model_at_end": False,  # the best checkpoint's file is copied out instead
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "report_to": "none",  # lib.train.tracking
        # by default the second process says what the first was told to keep to itself
        "log_level_replica": "error",
        # Several processes: each counts its loss against the reply tokens of all, so that the mean is that of
        # one process.
        "average_tokens_across_devices": True,
        "ddp_find_unused_parameters": False,
    }
