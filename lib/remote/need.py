"""A run's need of a rented machine, from the plan's numbers: GPU memory, disk, minutes per GPU.

Estimates, all of them.
"""

from dataclasses import replace

from lib.base.errors import UserError
from lib.base.settings import TrainConfig
from lib.remote.seam import Candidate, Need
from lib.train.needs import SETUP_MINUTES, GpuNeeds

IMAGE = "runpod/pytorch:2.8.0-py3.11-cuda12.8.1-cudnn-devel-ubuntu22.04"
REPLIES_MINUTES = (3.0, 15.0)  # base, few-shot and tuned replies to the held-out tweets
DISK_GB = 60  # 16 of weights, 15 of packages, checkpoints, and room
TINY_MINUTES = (2.0, 15.0)


def need_of(config: TrainConfig, plan: GpuNeeds | None) -> Need:
    """plan: what the plan computed; None for the model `tiny`, which needs next to nothing.

    Raises UserError for a backend that no rented machine has.
    """
    if config.backend == "mlx":
        raise UserError(
            "backend: mlx trains on a Mac alone, and rented machines have NVIDIA GPUs. Set backend: auto in "
            "the train config: it takes MLX on a Mac and Unsloth there."
        )
    return _machine(config, plan)


def _machine(config: TrainConfig, plan: GpuNeeds | None) -> Need:
    if plan is None:
        return Need(0, 20, tuple(Candidate(name, TINY_MINUTES) for name in config.remote.gpus), IMAGE)
    slowest = max(plan.minutes.values(), key=lambda both: both[1])
    candidates = [
        Candidate(name, (low + REPLIES_MINUTES[0], high + REPLIES_MINUTES[1]))
        for name in config.remote.gpus
        for low, high in [plan.minutes.get(name, slowest)]
    ]
    return Need(round(plan.memory_gb / 0.9, 1), DISK_GB, tuple(candidates), IMAGE)


def need_of_replies(config: TrainConfig, plan: GpuNeeds | None) -> Need:
    """The same machine for the replies alone, of a run that is trained."""
    low, high = (setup + reply for setup, reply in zip(SETUP_MINUTES, REPLIES_MINUTES, strict=True))
    lasting = TINY_MINUTES if plan is None else (low, high)
    need = _machine(config, plan)
    return replace(need, gpus=tuple(Candidate(gpu.name, lasting) for gpu in need.gpus))
