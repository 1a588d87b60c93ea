"""From a run to what serves it: the export, the base model, and how eval then uses it."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from lib.base.errors import UserError
from lib.base.files import write_text
from lib.base.settings import ArmConfig, SamplingConfig
from lib.base.text_files import read_text
from lib.export.base_weights import n_bytes, weights_here
from lib.export.engines import PORTS, EngineName, Plan, gguf_quantization, llamacpp, mlx, ollama, vllm
from lib.export.exporting import export, export_folder
from lib.export.lora import Lora

HEAD = "# Written by `make serve`, again and again: change a copy of it. Served is the"
MAX_CONFIG_BYTES = 100_000
MAX_OWN_GGUF = 1e9  # bytes of a base model that is converted here; larger ones are published as GGUF


def plan(
    lora: Lora,
    engine: EngineName,
    base: str | None,
    port: int | None,
    sampling: SamplingConfig,
    confirm: Callable[[str], None],
) -> Plan:
    """The servers to start for this run. base: named by the person. Raises UserError if there is none."""
    chosen = port or PORTS[engine]
    if engine == "vllm":
        return vllm(lora, Path(base) if base else weights_here(lora.config), chosen)
    if engine == "mlx":
        export(lora, "mlx", None, sampling, confirm)
        return mlx(lora, export_folder(lora.run, "mlx"), base or _folder_here(lora), chosen)
    exported, _ = export(lora, "gguf", None, sampling, confirm)
    folder = export_folder(lora.run, "gguf")
    weights = _gguf(lora, base, sampling, confirm)
    kind = gguf_quantization(weights) if weights else ""
    if engine == "ollama":
        return ollama(lora, folder, weights, kind, chosen)
    return llamacpp(lora, folder / f"adapter-{exported.dtype}.gguf", weights, kind, chosen)


def _gguf(
    lora: Lora, base: str | None, sampling: SamplingConfig, confirm: Callable[[str], None]
) -> Path | None:
    """The base model's GGUF: the one that was named, or a small model's own; None: a published one."""
    if base is not None:
        path = Path(base)
        if not path.is_file():
            raise UserError(f"MODEL={base} does not exist. Name the GGUF file of {lora.config.model}.")
        return path
    here = weights_here(lora.config)
    if here is None or n_bytes(here) > MAX_OWN_GGUF:
        return None
    exported, _ = export(lora, "base", None, sampling, confirm)
    return export_folder(lora.run, "base") / next(iter(exported.files))


def _folder_here(lora: Lora) -> str | None:
    """The folder of a small base model: MLX reads the same files. A large one is served in 4 bit."""
    here = weights_here(lora.config)
    return str(here) if here is not None and n_bytes(here) <= MAX_OWN_GGUF else None


def eval_config(lora: Lora, arms: Mapping[str, ArmConfig], extends: str) -> str:
    """The whole of a config under which eval, replies and demo use the served run."""
    lines = [
        f"{HEAD} run {lora.run.name}.",
        f"extends: {extends}",
        "engine:",
        f"  adapter_sha256: {json.dumps(lora.sha256)}",
        "  openai:",
    ]
    for name, arm in arms.items():
        lines.append(f"    {name}:")
        for key, value in arm.model_dump(exclude_none=True).items():
            if value not in ({}, []):
                lines.append(f"      {key}: {json.dumps(value)}")
    return "\n".join(lines) + "\n"


def write_eval_config(path: Path, text: str) -> None:
    """Write it, unless it says the same. Raises UserError before a file of somebody's own is lost."""
    there = read_text(path, MAX_CONFIG_BYTES) if path.is_file() else text
    if not there.startswith(HEAD):
        raise UserError(f"{path} is not of `make serve`, which would write it. Rename it, then serve again.")
    if there != text or not path.is_file():
        write_text(path, text)
