"""The checkup of a machine before a run: disk and GPU against what it takes, or where else it can train."""

from dataclasses import dataclass
from typing import Any, Literal

from lib.base.errors import UserError
from lib.base.findings import Finding
from lib.base.hardware import Machine
from lib.base.installed import version_of
from lib.base.settings import TrainConfig
from lib.model.base_model import TINY
from lib.model.machine import shortfall, uses_mlx
from lib.model.memory import least_gb
from lib.model.shapes import KNOWN, Shape
from lib.train.assumed import assumed_tokens
from lib.train.needs import Tokens, rented
from lib.train.plan import processed_splits, row_tokens

HERE = ("data", "review", "judging", "demo")  # work without a GPU
DISK_GB = 3  # data, their small models, a run of the tiny model
CHECKPOINTS_GB = 5


@dataclass(frozen=True)
class Training:
    """Where a run can be trained. here: on this machine; said: why, or where else and for how much."""

    here: bool
    said: str
    needs: str = ""  # "9.8 GB of GPU memory at least"


def training(
    run: str,
    config: TrainConfig,
    machine: Machine,
    tokens: Tokens,
    torch: str | None,
    replies_minutes: float = 0,
) -> Training:
    """tokens: of the rows, or assumed ones. torch: its version, None if it is not installed.

    replies_minutes: what a rented machine is paid for after the training.
    """
    if config.model == TINY:
        return Training(True, "yes, on the CPU: a minute or two")
    shape = KNOWN.get(config.model)
    needs = f"{least_gb(config, shape, to_train=True):.0f} GB of GPU memory at least" if shape else ""
    best = max(machine.cards, key=lambda card: card.memory_gb, default=None)
    if best and "+cpu" in (torch or ""):
        return Training(False, f"torch {torch} cannot use the {best.name}: `make setup-runpod`", needs)
    mac_gb = machine.memory_gb if machine.is_apple else None
    problem = shortfall(config, shape, True, best and best.memory_gb, mac_gb)
    if problem is None and best:
        return Training(True, f"yes, on the {best.name} ({best.memory_gb:.0f} GB)", needs)
    if problem is None and machine.is_apple and uses_mlx(config):
        return Training(True, f"yes, with MLX ({machine.memory_gb:.0f} GB shared)", needs)
    if problem is None:
        return Training(True, "yes, without a GPU, but slowly")
    why = f"the {best.name} has only {best.memory_gb:.0f} GB" if best else problem.removeprefix("it has ")
    name = "" if run == "qwen3-8b" else f"RUN={run} "
    return Training(
        False, f"{why}; `make train {name}ON=runpod`{_price(config, shape, tokens, replies_minutes)}", needs
    )


def _price(config: TrainConfig, shape: Shape | None, tokens: Tokens, replies_minutes: float) -> str:
    """The cautious price on the cheapest card that the config would rent; empty if sizes are not known."""
    cards = rented(config, shape, tokens) if shape else []
    cards = [run for run in cards if run.micro_batch and run.engine == "runpod"]
    wanted = [run for run in cards if run.gpu.name in config.remote.gpus] or cards
    prices = [(run.minutes[1] + replies_minutes) / 60 * run.usd_per_hour for run in wanted]
    return f", about ${min(prices):.2f}" if prices else ""


def disk_finding(machine: Machine, config: TrainConfig, trained: Training) -> Finding:
    """Free space against what is downloaded and written: weights only where they would be trained."""
    shape = KNOWN.get(config.model)
    weights = (shape.linear_params + shape.embedding_params) * 2 / 1e9 + CHECKPOINTS_GB if shape else 0
    needed = DISK_GB + (weights if trained.here else 0)
    said = f"{machine.disk_gb:.0f} GB free; {needed:.0f} GB needed"
    if machine.disk_gb >= needed:
        return Finding("disk", "ok", said)
    return Finding("disk", "no", said, f"Free {needed - machine.disk_gb:.0f} GB where the project lies")


def gpu_finding(machine: Machine, trained: Training) -> Finding:
    """The GPU that is here against the memory that the run needs."""
    needs = f"; the run needs {trained.needs}" if trained.needs else ""
    state: Literal["ok", "no"] = "ok" if trained.here else "no"
    if machine.cards_problem:
        said = f"nvidia-smi lists none{needs}"
        return Finding("GPU", "-" if trained.here else "no", said, machine.cards_problem)
    if machine.cards:
        cards = ", ".join(f"{card.name}, {card.memory_gb:.0f} GB" for card in machine.cards)
        return Finding("GPU", state, cards + needs)
    if machine.is_apple:
        return Finding("GPU", state, f"Apple, MPS, {machine.memory_gb:.0f} GB shared{needs}")
    return Finding("GPU", "-" if trained.here else "no", f"none{needs or '; not needed'}")


def of_run(
    run: str, config: TrainConfig, machine: Machine, replies_minutes: float
) -> tuple[list[Finding], dict[str, Any]]:
    """(disk and GPU against the run; what works here, and where training does)."""
    trained = training(run, config, machine, tokens_of(config), version_of("torch"), replies_minutes)
    here = HERE if trained.here else (*HERE[:-1], f"{HERE[-1]} (RUN=tiny)")
    said = {"here": here, "model": config.model.rpartition("/")[2], "training": trained.said}
    return [disk_finding(machine, config, trained), gpu_finding(machine, trained)], said


def tokens_of(config: TrainConfig) -> Tokens:
    """(prompt, reply) tokens of the rows that are here; assumed ones where there are none yet."""
    try:
        splits = processed_splits(config.data)
    except UserError:
        return assumed_tokens(config)
    return {name: row_tokens(config, splits[name], None) for name in ("train", "val")}
