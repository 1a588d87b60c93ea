"""A machine against a model: refused in one sentence, before gigabytes are downloaded for nothing."""

import importlib.util
import os
import platform
import re
from pathlib import Path

from lib.base.errors import UserError
from lib.base.hardware import this_machine
from lib.base.settings import TrainConfig
from lib.model.base_model import TINY, device_of
from lib.model.memory import FILLED, least_gb
from lib.model.shapes import Shape, shape_of

SMALL = 1e9  # parameters that a CPU can still work with
SHARED = 0.67  # of a Mac's memory, which its GPU may use
MAC_SIZES = (16, 24, 32, 48, 64, 96, 128)  # GB


def shortfall(
    config: TrainConfig, shape: Shape | None, to_train: bool, card_gb: float | None, mac_gb: float | None
) -> str | None:
    """The shortfall of a machine for a model, as the end of a sentence; None where the model fits.

    card_gb: memory of its NVIDIA GPU; mac_gb: of a Mac with Apple silicon; None where it is not that.
    A model whose size is not known counts as large, unless its name says otherwise (135M); a GPU may try it.
    """
    need = least_gb(config, shape, to_train) if shape else 0.0
    if card_gb is not None:
        if need <= FILLED * card_gb:
            return None
        return f"its GPU has {card_gb:.0f} GB, {need / FILLED:.0f} GB are needed at least"
    size = _named_size(config.model) if shape is None else shape.linear_params + shape.embedding_params
    if size is not None and size <= SMALL:
        return None
    if mac_gb is not None and shape and uses_mlx(config):
        need = least_gb(config, shape, to_train, "mlx")
        if need <= SHARED * mac_gb:
            return None
        return f"this Mac has {mac_gb:.0f} GB, {need / SHARED:.0f} GB are needed at least"
    return "it has no NVIDIA GPU"


def uses_mlx(config: TrainConfig) -> bool:
    """True if the run may be trained by a Mac's own backend, which knows supervised training alone."""
    return config.backend in ("auto", "mlx") and config.method == "sft"


def mlx_backend(config: TrainConfig) -> tuple[str, str] | None:
    """("mlx", why), or None where it is another backend's turn.

    `auto` takes it on Apple silicon for every model but the tiny one, which trains in seconds anywhere, and
    for supervised training, which is all that this backend knows.
    """
    has_mlx = importlib.util.find_spec("mlx_lm") is not None
    if config.backend == "mlx":
        if has_mlx:
            return "mlx", "the config says so"
        raise UserError(
            "backend: mlx cannot run here: no package mlx-lm. On a Mac with Apple silicon `make setup` "
            "installs it; elsewhere set backend: auto."
        )
    on_mac = (platform.system(), platform.machine()) == ("Darwin", "arm64")
    if on_mac and has_mlx and config.model != TINY and uses_mlx(config):
        return "mlx", "Apple silicon and the package mlx-lm are here"
    return None


def refuse_small_machine(run: str, config: TrainConfig, to_train: bool) -> None:
    """Raise UserError where the model is too large for what is here; FORCE=1 tries it all the same."""
    if config.model == TINY or os.environ.get("FORCE") == "1":
        return
    shape, card_gb, mac_gb = shape_of(config), *_memory_here(device_of(config))
    problem = shortfall(config, shape, to_train, card_gb, mac_gb)
    if problem is None:
        return
    if to_train:
        what = "train"
        where = (
            f"Rent a machine: `make train RUN={run} ON=runpod` or ON=hf (`make plan RUN={run}` shows the "
            f"price){_or_a_mac(config, shape)}."
        )
    else:
        what = "answer"
        where = (
            f"`make replies RUN={run} ON=runpod` or ON=hf writes them on a rented GPU; this works on a GPU "
            "machine, or with a server that answers (`engine: {openai: ...}` in the eval config)."
        )
    raise UserError(
        f"{config.model} cannot {what} on this machine: {problem}. Nothing was downloaded. {where} FORCE=1 "
        "tries it here."
    )


def _memory_here(device: str) -> tuple[float | None, float | None]:
    """(of the NVIDIA GPU that would be used, of the Mac) in GB; None where this machine is not that."""
    if device.startswith("cuda"):
        import torch

        index = int(device.partition(":")[2] or 0)
        return torch.cuda.get_device_properties(index).total_memory / 1e9, None
    machine = this_machine(Path())
    return None, machine.memory_gb if machine.is_apple else None


def _or_a_mac(config: TrainConfig, shape: Shape | None) -> str:
    """The smallest Mac that trains it, where this version can train on one."""
    if not shape or not uses_mlx(config):
        return ""
    need = least_gb(config, shape, to_train=True, path="mlx")
    sizes = [size for size in MAC_SIZES if need <= SHARED * size]
    return f", or use a Mac with Apple silicon and {sizes[0]} GB or more" if sizes else ""


def _named_size(model: str) -> float | None:
    """Parameters as the model's name gives them (Qwen3-8B, SmolLM2-135M); None where it does not."""
    found = re.findall(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)([BbMm])(?![A-Za-z0-9])", model)
    return max((float(number) * (1e9 if unit in "Bb" else 1e6) for number, unit in found), default=None)
