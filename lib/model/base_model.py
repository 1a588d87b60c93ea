"""The base model: which commit of it, on which device, how precisely held; its tokenizer and its sizes,
without its weights.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import read_json
from lib.base.settings import TrainConfig
from lib.model.chat import with_padding
from lib.model.tiny import ensure_tiny, tiny_folder

TINY = "tiny"


def device_of(config: TrainConfig) -> str:
    """cuda:<n>, mps or cpu. The tiny model stays on the CPU of a Mac, where it is faster."""
    import torch

    if torch.cuda.is_available():
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return "mps" if torch.backends.mps.is_available() and config.model != TINY else "cpu"


def precision_of(config: TrainConfig, device: str) -> str:
    """nf4 | bf16 | fp32: how the base model's weights are held. Raises ValueError where that is open yet."""
    if config.quantization == "auto":
        raise ValueError("quantization: auto is not settled: see lib.model.memory.quantization_on")
    if config.quantization == "nf4":
        return "nf4"
    return "fp32" if config.model == TINY and not device.startswith("cuda") else "bf16"


def load_tokenizer(config: TrainConfig) -> Any:
    """The base model's own tokenizer. Raises UserError if the model cannot be had."""
    from transformers import AutoTokenizer

    with missing_model(config):
        return with_padding(AutoTokenizer.from_pretrained(source_of(config), revision=config.revision))


def local_tokenizer(config: TrainConfig) -> Any | None:
    """The same tokenizer if it is on this machine, else None. `tiny` is not built for it."""
    folder = local_folder(config, "tokenizer.json", "tokenizer_config.json")
    if folder is None:
        return None
    from transformers import AutoTokenizer

    with missing_model(config):
        return with_padding(AutoTokenizer.from_pretrained(folder))


def local_folder(config: TrainConfig, *names: str) -> Path | None:
    """The folder on this machine in which the model's files of these names lie; None unless all are there."""
    if config.model == TINY or Path(config.model).is_dir():
        folder = tiny_folder() if config.model == TINY else Path(config.model)
        return folder if all((folder / name).is_file() for name in names) else None
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(config.model, name, revision=config.revision) for name in names]
    return Path(found[0]).parent if all(isinstance(path, str) for path in found) else None


def load_shape(config: TrainConfig) -> Any:
    """The base model's config (layers, sizes), without its weights."""
    from transformers import AutoConfig

    with missing_model(config):
        return AutoConfig.from_pretrained(source_of(config), revision=config.revision)


def commit_of(config: TrainConfig) -> str | None:
    """The commit of the base model that is loaded for config, also where it names none; None for a folder on
    this machine.
    """
    return config.revision or getattr(load_shape(config), "_commit_hash", None)


def pinned(config: TrainConfig, *records: Path) -> TrainConfig:
    """config with what it leaves open, the base model's commit and `quantization: auto`, as the first of the
    records (a run's manifest.json or started.json) names it.
    """
    known = [one for one in map(read_json, filter(Path.is_file, records)) if isinstance(one, dict)]
    for one in known:
        config = settled(config, one.get("config"))
    named = [one["revision"] for one in known if one.get("revision")]
    return config.model_copy(update={"revision": named[0]}) if named and config.revision is None else config


def settled(config: TrainConfig, recorded: Any) -> TrainConfig:
    """config with `quantization: auto` as a run has settled it. recorded: the config in that run's record."""
    found = recorded.get("quantization") if isinstance(recorded, dict) else None
    if config.quantization != "auto" or found not in ("nf4", "none"):
        return config
    return config.model_copy(update={"quantization": found})


def source_of(config: TrainConfig) -> str:
    """The name or folder that the base model is loaded from; for `tiny` the folder in which it was built."""
    return str(ensure_tiny()) if config.model == TINY else config.model


@contextlib.contextmanager
def missing_model(config: TrainConfig) -> Iterator[None]:
    """A sentence instead of transformers' errors for a model that cannot be had."""
    try:
        yield
    except (
        OSError,
        ValueError,
    ) as error:  # how transformers says: unknown name, no network, no such revision, not a model's folder
        at = f" at revision {config.revision}" if config.revision else ""
        why = str(error).strip().split("\n")[0][:200]
        raise UserError(
            f"model: {config.model}{at} could not be loaded ({why}). Check the name and the network; "
            "for a private or gated model set HF_TOKEN in .env."
        ) from error
