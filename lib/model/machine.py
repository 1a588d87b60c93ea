"""This machine against a model: refused in one sentence, before gigabytes are downloaded for nothing."""

import os
import re

from lib.base.errors import UserError
from lib.base.settings import TrainConfig
from lib.model.base_model import TINY, device_of
from lib.model.shapes import Shape, shape_of

SMALL = 1e9  # parameters that a CPU or a Mac can still work with
NF4_BYTES = 0.5159  # of a parameter, as lib.train.gpus
ROOM_GB = 2.0  # activations, adapter, context


def refuse_small_machine(run: str, config: TrainConfig, to_train: bool) -> None:
    """Raise UserError where the model is too large for what is here; FORCE=1 tries it all the same.

    A model whose size is not known here counts as large, unless its name says otherwise (135M).
    """
    if config.model == TINY or os.environ.get("FORCE") == "1":
        return
    shape, device = shape_of(config), device_of(config)
    if device.startswith("cuda"):
        problem = _too_little(config, shape, int(device.partition(":")[2] or 0))
    else:
        size = _named_size(config.model) if shape is None else shape.linear_params + shape.embedding_params
        problem = None if size is not None and size <= SMALL else "it has no NVIDIA GPU"
    if problem is None:
        return
    what = "train" if to_train else "answer"
    where = (
        f"Rent one: `make train RUN={run} ON=runpod` or ON=hf (`make plan RUN={run}` shows the price)"
        if to_train
        else f"`make replies RUN={run} ON=runpod` or ON=hf writes them on a rented GPU; this works on a GPU "
        "machine, or with a server that answers (`engine: {openai: ...}` in the eval config)"
    )
    raise UserError(
        f"{config.model} cannot {what} on this machine: {problem}. Nothing was downloaded. {where}. FORCE=1 "
        "tries it here."
    )


def _too_little(config: TrainConfig, shape: Shape | None, index: int) -> str | None:
    import torch

    if shape is None:
        return None
    per_weight = NF4_BYTES if config.quantization == "nf4" else 2
    need = (shape.linear_params * per_weight + shape.embedding_params * 2) / 1e9 + ROOM_GB
    there = torch.cuda.get_device_properties(index).total_memory / 1e9
    return None if there >= need else f"its GPU has {there:.0f} GB, {need:.0f} GB are needed at least"


def _named_size(model: str) -> float | None:
    """Parameters as the model's name gives them (Qwen3-8B, SmolLM2-135M); None where it does not."""
    found = re.findall(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)([BbMm])(?![A-Za-z0-9])", model)
    return max((float(number) * (1e9 if unit in "Bb" else 1e6) for number, unit in found), default=None)
