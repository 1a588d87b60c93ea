"""A run's adapter on disk: is it whole, is it the one that was trained, does it fit the base model?"""

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import read_json
from lib.base.seals import checked
from lib.base.settings import TrainConfig

ADAPTER_FILE = "adapter_model.safetensors"
ADAPTER = "default"  # PEFT's name of the adapter that is trained
REFERENCE = "ref"  # TRL's name of the frozen copy that preference tuning compares with
MAX_HEADER = 100_000_000  # bytes; safetensors' own limit


def sha256_of(path: Path) -> str:
    """sha256 of a file's bytes, read in pieces."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def tensor_shapes(path: Path) -> dict[str, list[int]]:
    """Name -> shape of the tensors in a safetensors file, from its header alone.

    Raises UserError if the file is missing, cut short or not a safetensors file.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist. Train the run first: `make train`.")
    try:
        text = safetensors_header(path)
        header = json.loads(text)
        header.pop("__metadata__", None)
        ends = [tensor["data_offsets"][1] for tensor in header.values()]
        if 8 + len(text) + max(ends, default=0) != path.stat().st_size:
            raise ValueError("cut short")
        return {name: tensor["shape"] for name, tensor in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path} is damaged ({error}). Train the run again, or copy the file again from where it was "
            "trained."
        ) from error


def safetensors_header(path: Path) -> bytes:
    """The JSON header of a safetensors file: 8 bytes say its length, behind it lie the numbers.

    Raises ValueError.
    """
    size = path.stat().st_size
    with path.open("rb") as handle:
        n_header = int.from_bytes(handle.read(8), "little")
        if not 2 <= n_header <= min(MAX_HEADER, size - 8):
            raise ValueError("no header")
        return handle.read(n_header)


def check_adapter(folder: Path, config: TrainConfig, shape: Any) -> None:
    """Raise UserError unless the folder holds a finished run whose adapter fits the base model.

    shape: the base model's config (hidden_size, num_hidden_layers).
    """
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        raise UserError(f"{folder} holds no finished run. Run `make train RUN={folder.name}` first.")
    weights = folder / ADAPTER_FILE
    shapes = tensor_shapes(weights)
    whole_adapter(manifest)
    base = _field(folder / "adapter_config.json", "base_model_name_or_path")
    if base != config.model:
        raise UserError(
            f"{folder} was trained on {base}, and the config says model: {config.model}. Use the config it "
            "was trained with."
        )
    inputs = {
        dims[-1] for name, dims in shapes.items() if ".q_proj.lora_A." in name or ".gate_proj.lora_A." in name
    }
    layers = {name.split(".layers.")[1].split(".")[0] for name in shapes if ".layers." in name}
    if (inputs and inputs != {shape.hidden_size}) or len(layers) != shape.num_hidden_layers:
        raise UserError(
            f"{weights} does not fit {config.model}: it was trained on a model of width {sorted(inputs)} "
            f"with {len(layers)} layers, "
            f"this one has {shape.hidden_size} and {shape.num_hidden_layers}. Use the model it was trained "
            "on."
        )


def whole_adapter(manifest: Path) -> str:
    """sha256 of the weights beside a run's manifest.

    Raises UserError unless they, and the adapter's other files, are the ones that it was written for.
    """
    run, weights = manifest.parent, manifest.parent / ADAPTER_FILE
    sha256 = sha256_of(weights) if weights.is_file() else None
    if sha256 is None or _field(manifest, "adapter_sha256") != sha256:
        wrong = (
            f"is not the file that {manifest} was written for (another sha256)" if sha256 else "is missing"
        )
        raise UserError(
            f"{weights} {wrong}. Copy it again from where it was trained, for free. Without a copy, delete "
            f"{run} "
            f"and train again: `make plan RUN={run.name}` says what that costs."
        )
    for name in read_json(manifest).get("files") or {}:
        if not name.endswith(".jsonl"):  # logs: no answer depends on them
            checked(run / name)
    return sha256


def _field(path: Path, name: str) -> Any:
    value = read_json(path)
    if not isinstance(value, dict) or name not in value:
        raise UserError(f"{path}: {name} is missing. Train the run again.")
    return value[name]


def lora_settings(config: TrainConfig) -> dict[str, Any]:
    """A run's LoRA in PEFT's words, which Unsloth has too."""
    return {
        "r": config.lora.rank,
        "lora_alpha": config.lora.alpha,
        "lora_dropout": config.lora.dropout,
        "target_modules": list(config.lora.target_modules),
        "bias": "none",
        "use_rslora": False,
    }


def lora_config(config: TrainConfig) -> Any:
    """PEFT's LoraConfig of a run."""
    from peft import LoraConfig

    return LoraConfig(**lora_settings(config), use_dora=False, task_type="CAUSAL_LM")


def write_adapter_config(config: TrainConfig, folder: Path) -> None:
    """adapter_config.json, as PEFT itself writes it beside a trained adapter."""
    adapter = lora_config(config)
    _name_in(adapter, config)
    adapter.inference_mode = True
    adapter.save_pretrained(folder)


def _name_in(adapter: Any, config: TrainConfig) -> None:
    adapter.base_model_name_or_path = config.model
    adapter.revision = config.revision
    if not isinstance(adapter.target_modules, str):
        # PEFT's set is written in another order by every process
        adapter.target_modules = sorted(adapter.target_modules)


def name_base(model: Any, config: TrainConfig) -> None:
    """Write the base model's public name and revision into the adapter's config, never the path it was loaded
    from.

    Two runs of one config write the same adapter_config.json.
    """
    for adapter in model.peft_config.values():
        _name_in(adapter, config)
    # The embeddings are not trained. "auto" would ask the Hub at every save whether they were resized.
    # One adapter: preference tuning holds a frozen copy as well, and the Trainer resumes from a checkpoint of
    # two with only the copy.
    model.save_pretrained = functools.partial(
        model.save_pretrained, save_embedding_layers=False, selected_adapters=[ADAPTER]
    )


def adapter_to_fp32(model: Any) -> None:
    """Hold the trained weights in fp32, as Unsloth and PEFT do; TRL makes them bf16, where the last small
    updates round away.
    """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def fill_adapter(model: Any, weights: Path) -> None:
    """Give the model's adapter the weights of a file.

    Raises RuntimeError unless the two hold exactly the same tensors.
    """
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    missed = set_peft_model_state_dict(model, load_file(weights), adapter_name=ADAPTER)
    missing = [name for name in missed.missing_keys if f".{ADAPTER}." in name]
    if missing or missed.unexpected_keys:
        raise RuntimeError(
            f"{weights} does not fit the adapter: {missing[:3]} missing, {missed.unexpected_keys[:3]} too "
            "many"
        )


def assert_only_adapter_trains(model: Any, config: TrainConfig) -> None:
    """Raise RuntimeError unless exactly the LoRA tensors of all targets are trainable (a patched trainer has
    trained everything).
    """
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    lora = {name for name, _ in model.named_parameters() if ".lora_A." in name or ".lora_B." in name}
    adapter = {name for name in lora if f".{REFERENCE}." not in name}
    n_expected = 2 * len(config.lora.target_modules) * model.config.num_hidden_layers
    if trainable != adapter or len(adapter) != n_expected:
        raise RuntimeError(
            f"{len(trainable)} tensors are trainable, {len(adapter)} belong to the adapter, {n_expected} "
            "were expected: "
            "the backend did not attach the adapter as configured."
        )
