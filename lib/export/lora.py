"""The adapter of a finished run as plain numbers, refused where another engine would apply it differently."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.base.errors import UserError
from lib.base.files import read_json
from lib.base.settings import ALL_LINEAR, TrainConfig
from lib.model.adapters import ADAPTER_FILE, tensor_shapes, whole_adapter
from lib.model.base_model import load_shape
from lib.train.manifest import read_manifest

if TYPE_CHECKING:
    import numpy as np

# model_type of a base model's config.json -> its name in GGUF files. Others arrange weights differently.
ARCHITECTURES = {"qwen3": "qwen3", "llama": "llama"}
NAME = re.compile(r"base_model\.model\.(model\.layers\.(\d+)\.(?:self_attn|mlp)\.(\w+))\.lora_([AB])\.weight")
# Settings of PEFT under which W + alpha / r * B A is not what the adapter means, or not all of it.
OTHER_SETTINGS = (
    "use_dora", "use_rslora", "use_qalora", "use_bdlora", "lora_bias", "modules_to_save", "rank_pattern",
    "alpha_pattern", "layers_to_transform", "layer_replication", "target_parameters",
    "trainable_token_indices", "alora_invocation_tokens", "arrow_config", "kasa_config", "velora_config",
    "monteclora_config", "megatron_config", "fan_in_fan_out",
)  # fmt: skip
# PiSSA, OLoRA, LoftQ and CorDA begin with another base model than the one that is published.
PLAIN_BEGINNINGS = (None, True, False, "gaussian", "eva", "orthogonal")


@dataclass(frozen=True)
class Lora:
    """W + alpha / rank * b @ a for every module, named as in the base: model.layers.0.mlp.up_proj."""

    run: Path
    config: TrainConfig  # model and revision are those that the run was trained on
    sha256: str
    rank: int
    alpha: float
    shape: Any  # the base model's transformers config
    modules: tuple[str, ...]

    @property
    def architecture(self) -> str:
        return ARCHITECTURES[self.shape.model_type]

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    def matrices(self, dtype: str = "f32") -> "dict[str, tuple[np.ndarray, np.ndarray]]":
        """module -> (a, b), (rank, in) and (out, rank), f32 or f16. Raises UserError for NaN and infinity."""
        import numpy as np
        from safetensors.torch import load_file

        path = self.run / ADAPTER_FILE
        numbers = {name: tensor.float().numpy() for name, tensor in load_file(path).items()}
        for name, values in numbers.items():
            if not np.isfinite(values).all():
                raise UserError(
                    f"{path}: {name} holds NaN or infinity: the training diverged. "
                    "Lower the learning rate and train again."
                )
        found = {name: as_dtype(values, dtype, name) for name, values in numbers.items()}
        prefix, suffixes = "base_model.model.", ("lora_A.weight", "lora_B.weight")
        pairs = {
            module: [found[f"{prefix}{module}.{suffix}"] for suffix in suffixes] for module in self.modules
        }
        return {module: (a, b) for module, (a, b) in pairs.items()}


def as_dtype(values: "np.ndarray", dtype: str, name: str) -> "np.ndarray":
    """values as f16 or f32. Raises UserError where 16 bit cannot hold them."""
    import numpy as np

    if dtype == "f16" and np.abs(values).max(initial=0) > np.finfo(np.float16).max:
        raise UserError(f"{name}: a weight is too large for 16 bit. Export with DTYPE=f32.")
    return np.ascontiguousarray(values, dtype=np.float16 if dtype == "f16" else np.float32)


def read_lora(run: Path, config: TrainConfig) -> Lora:
    """The run's adapter, its numbers unread. Raises UserError for what cannot be converted or was changed."""
    manifest_path, weights = run / "manifest.json", run / ADAPTER_FILE
    if not manifest_path.is_file():
        raise UserError(f"{run} holds no finished run. Run `make train RUN={run.name}` first.")
    manifest = read_manifest(manifest_path)
    sha256 = whole_adapter(manifest_path)
    trained = config.model_copy(
        update={"model": manifest.model or config.model, "revision": manifest.revision or config.revision}
    )
    settings = _settings(run / "adapter_config.json", trained.model)
    shape = load_shape(trained)
    if shape.model_type not in ARCHITECTURES:
        raise UserError(
            f"{trained.model} is a {shape.model_type}, and only {', '.join(ARCHITECTURES)} can be exported: "
            "other architectures arrange their weights differently. Use `make demo`, or vLLM with "
            "the adapter as it is."
        )
    modules = _modules(weights, tensor_shapes(weights), settings["r"], shape)
    return Lora(run, trained, sha256, settings["r"], float(settings["lora_alpha"]), shape, modules)


def _settings(path: Path, model: str) -> dict[str, Any]:
    values = read_json(path)
    if not isinstance(values, dict) or values.get("peft_type") != "LORA":
        raise UserError(f"{path}: not the config of a LoRA adapter (peft_type: LORA). Copy it again.")
    odd = [name for name in OTHER_SETTINGS if values.get(name)]
    odd += ["bias"] if values.get("bias", "none") != "none" else []
    beginning = values.get("init_lora_weights")
    odd += ["init_lora_weights"] if beginning not in PLAIN_BEGINNINGS else []
    if odd:
        said = ", ".join(f"{name}: {values[name]}" for name in odd)[:200]
        raise UserError(
            f"{path}: {said}: other engines read this differently or not at all, so nothing was exported. "
            "Train without it, or use the adapter with PEFT (`make demo`)."
        )
    numbers = (values.get("r"), values.get("lora_alpha"))
    if (
        not all(type(number) in (int, float) and number > 0 for number in numbers)
        or type(numbers[0]) is not int
    ):
        raise UserError(f"{path}: r and lora_alpha are not numbers above 0. Copy it again from the training.")
    if values.get("base_model_name_or_path") != model:
        raise UserError(
            f"{path} names the base model {values.get('base_model_name_or_path')}, and the run's "
            "manifest.json "
            f"{model}. They are of different runs; copy both again."
        )
    return values


def _modules(path: Path, shapes: dict[str, list[int]], rank: int, shape: Any) -> tuple[str, ...]:
    """The modules in the file, layer by layer: the same ones in every layer, sizes as the base model's."""
    found: dict[str, set[str]] = {}
    sizes = projection_sizes(shape)
    for name, dims in shapes.items():
        match = NAME.fullmatch(name)
        if not match or match[3] not in sizes:
            raise UserError(
                f"{path} holds {name[:100]}, and only adapters of {', '.join(ALL_LINEAR)} can be exported. "
                "Train with these `target_modules`, or use the adapter with PEFT (`make demo`)."
            )
        module, _, target, side = match.groups()
        n_in, n_out = sizes[target]
        if dims != ([rank, n_in] if side == "A" else [n_out, rank]):
            raise UserError(
                f"{path}: {name} has the shape {dims}, which does not fit rank {rank} and the base model "
                f"({n_in} -> {n_out}). Copy adapter and adapter_config.json again from one run."
            )
        found.setdefault(module, set()).add(side)
    targets = {module.partition(".layers.")[2].partition(".")[2] for module in found}
    whole = {f"model.layers.{n}.{target}" for n in range(shape.num_hidden_layers) for target in targets}
    if not found or whole != set(found) or any(sides != {"A", "B"} for sides in found.values()):
        raise UserError(f"{path} does not hold A and B of every layer of the base model. Copy it again.")
    return tuple(sorted(found, key=lambda module: (int(module.split(".")[2]), module)))


def projection_sizes(shape: Any) -> dict[str, tuple[int, int]]:
    """Projection -> (in, out) of its weights in the base model."""
    hidden, mlp = shape.hidden_size, shape.intermediate_size
    head = getattr(shape, "head_dim", None) or hidden // shape.num_attention_heads
    heads, kv = head * shape.num_attention_heads, head * shape.num_key_value_heads
    return {
        "q_proj": (hidden, heads),
        "k_proj": (hidden, kv),
        "v_proj": (hidden, kv),
        "o_proj": (heads, hidden),
        "gate_proj": (hidden, mlp),
        "up_proj": (hidden, mlp),
        "down_proj": (mlp, hidden),
    }
