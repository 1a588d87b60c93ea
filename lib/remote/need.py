"""What a run needs of a rented machine, from the plan's numbers: GPU memory, disk, minutes per GPU.

Estimates, all of them.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean

from lib.gpus import GPUS, SETUP_MINUTES, minutes, vram_gb
from lib.remote.seam import Candidate, Need
from lib.schedule import schedule
from lib.settings import TrainConfig

IMAGE = "runpod/pytorch:2.8.0-py3.11-cuda12.8.1-cudnn-devel-ubuntu22.04"
REPLIES_MINUTES = (3.0, 15.0)  # base, few-shot and tuned replies to the held-out tweets
FULL_BATCH = 4  # rows at once that a card should hold to be worth renting; auto takes more where they fit
DISK_GB = 60  # 16 of weights, 15 of packages, checkpoints, and room
TINY_MINUTES = (2.0, 15.0)


def need_of(config: TrainConfig, tokens: Mapping[str, Sequence[tuple[int, int]]]) -> Need:
    """tokens: (prompt, reply) lengths of the rows of train and val, as plan.row_tokens counts them."""
    if config.model == "tiny":
        return Need(0, 20, tuple(Candidate(name, TINY_MINUTES) for name in config.remote.gpus), IMAGE)
    rows = [prompt + reply for prompt, reply in tokens["train"]] or [1]
    longest = sorted(rows)[min(len(rows) - 1, int(0.95 * len(rows)))]  # a batch is as long as its longest row
    at_once = (
        config.micro_batch if isinstance(config.micro_batch, int) else min(FULL_BATCH, config.effective_batch)
    )
    modules = tuple(config.lora.target_modules)
    memory = vram_gb(
        at_once,
        longest,
        config.lora.rank,
        modules,
        config.quantization == "nf4",
        config.gradient_checkpointing is True,
    )
    plan = schedule(config, len(rows))
    n_rows = (
        plan.steps * config.effective_batch + plan.n_evals * len(tokens["val"]) / 3
    )  # an evaluation has no backward pass
    n_tokens, n_batches = n_rows * (fmean(rows) + longest) / 2, n_rows / at_once
    known = {
        gpu.name: minutes(gpu, n_tokens, n_batches, config.gradient_checkpointing is True) for gpu in GPUS
    }
    slowest = max(known.values(), key=lambda both: both[1])
    candidates = [
        Candidate(
            name, (low + SETUP_MINUTES[0] + REPLIES_MINUTES[0], high + SETUP_MINUTES[1] + REPLIES_MINUTES[1])
        )
        for name in config.remote.gpus
        for low, high in [known.get(name, slowest)]
    ]
    return Need(round(memory / 0.9, 1), DISK_GB, tuple(candidates), IMAGE)
