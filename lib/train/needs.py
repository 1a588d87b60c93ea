"""Memory, minutes and dollars of a run, as the plan prints them: the arithmetic of lib.train.gpus on its
rows.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean

from lib.base.hardware import Card
from lib.base.settings import TrainConfig
from lib.model.activations import Path
from lib.model.losses import BATCH_TOKENS
from lib.model.memory import FILLED, WHOLE_GB, full_batch, quantization_on, vram_gb
from lib.model.shapes import Shape
from lib.train.gpus import OFFERS, PRICES_DATE, SETUP_MINUTES, Gpu, minutes
from lib.train.schedule import N_REPLIES, REPLY_TOKENS, evaluated_rows, schedule

Tokens = Mapping[str, Sequence[tuple[int, int]]]  # train, val: (prompt, reply) tokens per row
HELD = {"nf4": "4-bit", "none": "bf16", "auto": "4-bit or bf16"}  # the base's weights
EVALUATION_GOAL = 0.1  # of the time: the rest is training


@dataclass(frozen=True)
class GpuNeeds:
    """memory_gb: of one GPU, in four bits where the config leaves that to it. minutes: GPU -> best and
    cautious, from boot to adapter; priced GPUs only.
    """

    memory_gb: float
    minutes: dict[str, tuple[float, float]]


def gpu_needs(config: TrainConfig, shape: Shape, tokens: Tokens) -> GpuNeeds:
    """The needs of a rented machine: its memory, and for how long."""
    at_once, row = full_batch(config), longest_mean(tokens)
    targets, nf4 = tuple(config.lora.target_modules), config.quantization != "none"
    checkpointing = config.gradient_checkpointing is True
    memory_gb = vram_gb(shape, at_once, row, config.lora.rank, targets, nf4, checkpointing)
    fitting = [run for run in rented(config, shape, tokens) if run.micro_batch]
    return GpuNeeds(memory_gb, {run.gpu.name: run.minutes for run in fitting})


def _micro_batches(config: TrainConfig) -> list[int]:
    return [n for n in (1, 2, 4, 8, 16, 32) if config.effective_batch % n == 0]


def memory(config: TrainConfig, shape: Shape, tokens: Tokens) -> str:
    """Peak GB per micro-batch x accumulation, with and without four bits and checkpointing, on each path that
    may train.
    """
    row, targets = longest_mean(tokens), tuple(config.lora.target_modules)
    sizes = _micro_batches(config)
    lines = [
        "  " + " " * 33 + "".join(f"{f'{size} x {config.effective_batch // size}':>9}" for size in sizes)
    ]
    paths: list[Path] = ["peft"] if config.backend == "peft" else ["peft", "unsloth"]
    for path, nf4, checkpointing in product(paths, (True, False), (False, True)):
        label = f"{'nf4' if nf4 else 'bf16'}, {'checkpointing' if checkpointing else 'no checkpointing'}"
        label += "" if path == "peft" else ", Unsloth"
        values = [
            vram_gb(shape, size, row, config.lora.rank, targets, nf4, checkpointing, path) for size in sizes
        ]
        lines.append(f"  {label:<33}" + "".join(f"{value:>9.1f}" for value in values))
    return "\n".join(lines)


def longest_mean(tokens: Tokens) -> float:
    """Tokens per padded row: a batch is as long as its longest row, about the 95th percentile."""
    whole = sorted(prompt + reply for prompt, reply in tokens["train"])
    return whole[min(len(whole) - 1, int(0.95 * len(whole)))] if whole else 1


def longest_row(tokens: Tokens) -> int:
    """Tokens of the longest row that is trained or validated on."""
    return max((prompt + reply for rows in tokens.values() for prompt, reply in rows), default=1)


def work(config: TrainConfig, tokens: Tokens, micro_batch: int) -> tuple[float, float]:
    """(tokens, micro-batches) of the whole run, evaluations included. On a GPU rows lie end to end."""
    plan = schedule(config, len(tokens["train"]))
    mean = fmean([prompt + reply for prompt, reply in tokens["train"]] or [1])
    n_trained = plan.steps * config.effective_batch
    n_tokens, n_batches = _evaluation_work(config, tokens)
    return n_trained * mean + n_tokens, n_trained / micro_batch + n_batches


def _evaluation_work(config: TrainConfig, tokens: Tokens) -> tuple[float, float]:
    """The evaluations' part of the work, the base model's too: rows read and replies written, without a
    backward pass and with hardly any padding.
    """
    plan, val = schedule(config, len(tokens["train"])), tokens["val"]
    n_read = evaluated_rows(config, plan, len(val)) / max(1, len(val)) * sum(map(sum, val))
    n_written = min(N_REPLIES, len(val)) * (fmean([prompt for prompt, _ in val] or [0]) + REPLY_TOKENS)
    # a forward pass launches a third of the kernels of a training step, a token that is written a quarter
    launches = math.ceil(n_read / BATCH_TOKENS) / 3 + REPLY_TOKENS / 4
    return (plan.n_evals + 1) * (n_read + n_written) / 2, (plan.n_evals + 1) * launches


def evaluation_share(config: TrainConfig, shape: Shape, tokens: Tokens) -> tuple[float, float]:
    """Share of the training time that goes to evaluations, least and most, on the first card to be rented."""
    gpu = next((gpu for _, gpu, _ in OFFERS if gpu.name in config.remote.gpus), OFFERS[0][1])
    whole = minutes(gpu, shape, *work(config, tokens, config.effective_batch), checkpointing=False)
    part = minutes(gpu, shape, *_evaluation_work(config, tokens), checkpointing=False)
    low, high = sorted(one / all_ for one, all_ in zip(part, whole, strict=True))
    return low, high


def evaluations(config: TrainConfig, shape: Shape, tokens: Tokens) -> str:
    """The share of the time that evaluations take, against the goal, and what would lower it."""
    low, high = evaluation_share(config, shape, tokens)
    plan, n_val = schedule(config, len(tokens["train"])), len(tokens["val"])
    said = (
        f"evaluations: {low:.0%} to {high:.0%} of the time (estimate; the goal is {EVALUATION_GOAL:.0%}): "
        f"{plan.n_evals + 1}, of {evaluated_rows(config, plan, n_val)} of {n_val} validation rows and "
        f"{N_REPLIES} replies each"
    )
    if low <= EVALUATION_GOAL:
        return said
    return f"{said}; less: a lower max_evaluation_share or evals_per_run, or a higher evals_after"


@dataclass(frozen=True)
class Rented:
    """A run on one rented GPU, (best, cautious) each; micro_batch 0: the model does not fit."""

    engine: str
    gpu: Gpu
    usd_per_hour: float
    quantization: str  # nf4 | none
    micro_batch: int
    training: tuple[float, float] = (0, 0)  # minutes

    @property
    def minutes(self) -> tuple[float, float]:
        """With set-up and download, which are paid for too."""
        return self.training[0] + SETUP_MINUTES[0], self.training[1] + SETUP_MINUTES[1]

    @property
    def usd(self) -> tuple[float, float]:
        return self.minutes[0] / 60 * self.usd_per_hour, self.minutes[1] / 60 * self.usd_per_hour


def rented(config: TrainConfig, shape: Shape, tokens: Tokens) -> list[Rented]:
    """The run on every offer of the price table, in its order."""
    row, longest, targets = longest_mean(tokens), longest_row(tokens), tuple(config.lora.target_modules)
    found = []
    for engine, gpu, usd_per_hour in OFFERS:
        held, _ = quantization_on(config, shape, longest, gpu.memory_gb)
        fitting = [
            size
            for size in _micro_batches(config)
            if vram_gb(shape, size, row, config.lora.rank, targets, held == "nf4", False)
            < FILLED * gpu.memory_gb
        ]
        if not fitting:
            found.append(Rented(engine, gpu, usd_per_hour, held, 0))
            continue
        load = work(config, tokens, max(fitting))
        training = minutes(gpu, shape, *load, checkpointing=False)
        found.append(Rented(engine, gpu, usd_per_hour, held, max(fitting), training))
    return found


def costs(config: TrainConfig, shape: Shape, tokens: Tokens) -> str:
    """Minutes and dollars on every GPU that RunPod and Hugging Face Jobs rent out, without asking them."""
    found = rented(config, shape, tokens)
    lines = [
        f"rented GPUs, minutes and dollars (estimate; prices of {PRICES_DATE}, nobody was asked; set-up and",
        "download are paid for too)",
        f"  {'ON=':<8}{'':<13}{'GB':>4}{'$/h':>6}{'fits':>9}{'training, min':>16}{'in all, min':>13}"
        f"{'in all, $':>13}{'base':>7}",
    ]
    for run in found:
        mark = "*" if run.gpu.name in config.remote.gpus else " "
        start = f"{mark} {run.engine:<8}{run.gpu.name:<13}{run.gpu.memory_gb:>4}{run.usd_per_hour:>6.2f}"
        if not run.micro_batch:
            lines.append(f"{start}{'no':>9}")
            continue
        fits = f"{run.micro_batch} x {config.effective_batch // run.micro_batch}"
        training, whole, usd = run.training, run.minutes, run.usd
        lines.append(
            f"{start}{fits:>9}{f'{training[0]:.1f}–{training[1]:.1f}':>16}"
            f"{f'{whole[0]:.0f}–{whole[1]:.0f}':>13}{f'{usd[0]:.2f}–{usd[1]:.2f}':>13}"
            f"{HELD[run.quantization]:>7}"
        )
    lines.append(
        "  * may be rented for this run (`remote: {gpus: ...}`); `make train ON=...` shows what is free"
    )
    return "\n".join(lines)


def base_weights(config: TrainConfig, shape: Shape, tokens: Tokens, cards: Sequence[Card]) -> str:
    """The base's weights under `quantization: auto`, and why: on every GPU that is rented out and on those of
    this machine. Empty for another setting.
    """
    if config.quantization != "auto":
        return ""
    offered = {gpu.name: gpu.memory_gb for _, gpu, _ in OFFERS}
    here = {f"here, {card.name}": card.memory_gb for card in cards} or {"here, no NVIDIA GPU": None}
    cases: dict[tuple[str, str], list[str]] = {}
    for name, memory_gb in (offered | here).items():
        cases.setdefault(quantization_on(config, shape, longest_row(tokens), memory_gb), []).append(name)
    lines = [f"  {HELD[held]:<6}{', '.join(names)}: {why}" for (held, why), names in cases.items()]
    return "\n".join(["base weights (quantization: auto; settled by the GPU that trains)", *lines])


def faster(config: TrainConfig, tokens: Tokens) -> str:
    """Settings that would save time at this length of rows; empty if there are none."""
    advice = []
    if isinstance(config.micro_batch, int) and config.micro_batch < config.effective_batch:
        rest = config.effective_batch // config.micro_batch
        advice.append(
            f"micro_batch: auto instead of {config.micro_batch}: the same mathematics in {rest} times fewer "
            "launches"
        )
    if config.gradient_checkpointing is True:
        advice.append(
            "gradient_checkpointing: auto: rows this short fit without it, and it costs about a fifth of the "
            "speed"
        )
    if config.quantization == "nf4":
        advice.append(
            f"quantization: auto: bf16 on a card of {WHOLE_GB} GB or more: no weights to unpack in every "
            "micro-batch; answering takes their memory then too"
        )
    if config.max_length > 4 * max([prompt + reply for prompt, reply in tokens["train"]], default=1):
        advice.append(
            "nothing to gain from a smaller max_length: batches are padded to their own longest row only"
        )
    return "faster for rows of this length\n" + "\n".join(f"  {line}" for line in advice) if advice else ""
