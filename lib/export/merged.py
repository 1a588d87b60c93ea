"""The base model with the adapter added into its weights, in 16 bit: for engines that take no adapters.

One file of the base model after the other: 8 billion parameters merge on a machine with 16 GB.
"""

import shutil
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import read_json, write_json, write_text
from lib.base.settings import SamplingConfig
from lib.base.text_files import read_text
from lib.export.base_weights import INDEX, n_bytes, weight_files
from lib.export.lora import Lora
from lib.model.shapes import with_rope_theta

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
MAX_TEMPLATE_BYTES = 1_000_000
# Qwen3 thinks unless it is told not to, and who serves the merged model does not know that it has to be told.
NO_THINKING = "{%- set enable_thinking = false %}"


def write_merged(lora: Lora, base: Path, folder: Path, dtype: str, sampling: SamplingConfig) -> None:
    """A model folder: weights as bf16 or f16, config, tokenizer, chat template without thinking, sampling."""
    config = read_json(base / "config.json")
    if config.get("quantization_config"):
        raise UserError(
            f"{base} holds quantized weights. Merging needs the base model in 16 bit: set `model:` to "
            "that one."
        )
    _refuse_full_disk(folder, n_bytes(base))
    _write_weights(lora, base, folder, dtype)
    kind = {"bf16": "bfloat16", "f16": "float16"}[dtype]
    config.pop("torch_dtype", None)
    write_json(folder / "config.json", {**with_rope_theta(config), "dtype": kind})
    _write_generation_config(base, folder, sampling)
    write_tokenizer(lora.run, folder)


def write_tokenizer(run: Path, folder: Path) -> None:
    """The run's tokenizer; a chat template that can think is told not to, whatever it is asked for."""
    for name in TOKENIZER:
        if not (run / name).is_file():
            raise UserError(f"{run / name} does not exist. Copy it back from where the training ran.")
    for name in TOKENIZER[:2]:
        shutil.copyfile(run / name, folder / name)
    template = read_text(run / TOKENIZER[2], MAX_TEMPLATE_BYTES)
    write_text(folder / TOKENIZER[2], (NO_THINKING if "enable_thinking" in template else "") + template)
    settings = read_json(folder / TOKENIZER[1])
    settings.pop("chat_template", None)  # an older place for it, with thinking on
    write_json(folder / TOKENIZER[1], settings)


def _refuse_full_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + 1e9:
        raise UserError(
            f"{folder.parent}: the merged model takes {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB "
            "are free. Free disk space."
        )


def _write_weights(lora: Lora, base: Path, folder: Path, dtype: str) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    kind = {"bf16": torch.bfloat16, "f16": torch.float16}[dtype]
    matrices, total = lora.matrices(), 0
    for path in weight_files(base):
        tensors = load_file(path)
        for name, weights in tensors.items():
            if not weights.is_floating_point():
                continue
            a, b = matrices.pop(name.removesuffix(".weight"), (None, None))
            merged = weights.float()
            if a is not None:
                merged = merged + lora.scale * (torch.from_numpy(b) @ torch.from_numpy(a))
            tensors[name] = merged.to(kind)
            if not tensors[name].isfinite().all():
                raise UserError(f"{path}: {name} does not fit into {dtype}. Export with DTYPE=bf16.")
        save_file(tensors, folder / path.name, metadata={"format": "pt"})
        total += sum(tensor.nbytes for tensor in tensors.values())
    if matrices:
        raise UserError(
            f"{base} lacks {next(iter(matrices))}, which the adapter changes. Is it another model?"
        )
    if (base / INDEX).is_file():
        index = read_json(base / INDEX)
        write_json(folder / INDEX, {**index, "metadata": {"total_size": total}})


def _write_generation_config(base: Path, folder: Path, sampling: SamplingConfig) -> None:
    path = base / "generation_config.json"
    values: dict[str, Any] = read_json(path) if path.is_file() else {}
    if sampling.temperature == 0:
        chosen: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    else:
        names = ("temperature", "top_p", "top_k")
        chosen = {"do_sample": True, **{name: getattr(sampling, name) for name in names}}
    chosen["max_new_tokens"] = sampling.max_new_tokens
    write_json(folder / path.name, {k: v for k, v in {**values, **chosen}.items() if v is not None})
