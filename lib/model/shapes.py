"""A model's sizes, from its own config: what memory, time and the places of the adapter follow from."""

from dataclasses import dataclass
from typing import Any

from lib.base.errors import UserError
from lib.base.settings import TrainConfig
from lib.model.base_model import local_folder, missing_model


@dataclass(frozen=True)
class Shape:
    """The sizes of a decoder whose layers hold the seven projections.

    intermediate: width of the MLP. tied: one matrix is both embedding and head.
    """

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied: bool

    @property
    def projections(self) -> dict[str, tuple[int, int]]:
        """(inputs, outputs) of every projection of a layer."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return {
            "q_proj": (self.hidden, queries),
            "k_proj": (self.hidden, keys),
            "v_proj": (self.hidden, keys),
            "o_proj": (queries, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    @property
    def linear_params(self) -> int:
        return self.layers * sum(inputs * outputs for inputs, outputs in self.projections.values())

    @property
    def head_params(self) -> int:
        return self.vocab * self.hidden

    @property
    def embedding_params(self) -> int:
        """Of embedding and head together."""
        return self.head_params * (1 if self.tied else 2)


# For a plan on a machine that has never seen the model: its config.json on the Hub, read in November 2026.
KNOWN = {
    "Qwen/Qwen3-0.6B": Shape(28, 1024, 3072, 16, 8, 128, 151_936, True),
    "Qwen/Qwen3-1.7B": Shape(28, 2048, 6144, 16, 8, 128, 151_936, True),
    "Qwen/Qwen3-4B": Shape(36, 2560, 9728, 32, 8, 128, 151_936, True),
    "Qwen/Qwen3-4B-Instruct-2507": Shape(36, 2560, 9728, 32, 8, 128, 151_936, True),
    "Qwen/Qwen3-8B": Shape(36, 4096, 12_288, 32, 8, 128, 151_936, False),
    "Qwen/Qwen3-14B": Shape(40, 5120, 17_408, 40, 8, 128, 151_936, False),
    "Qwen/Qwen3-32B": Shape(64, 5120, 25_600, 64, 8, 128, 151_936, False),
}
SIZES = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "vocab_size")
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_intermediate_size")


def shape_of(config: TrainConfig) -> Shape | None:
    """The sizes of the config's model, from this machine alone; None where neither its files nor KNOWN have
    them.

    Raises UserError for a model that this project cannot train.
    """
    found = local_config(config)
    return KNOWN.get(config.model) if found is None else shape_from(found, config.model)


def local_config(config: TrainConfig) -> Any | None:
    """The model's config as transformers reads it, with its defaults; None if it is not on this machine."""
    folder = local_folder(config, "config.json")
    if folder is None:
        return None
    from transformers import AutoConfig

    with missing_model(config):
        return AutoConfig.from_pretrained(folder)


def shape_from(found: Any, model: str) -> Shape:
    """found: a config of transformers.

    Raises UserError for a mixture of experts and for a model of another build.
    """
    if any(getattr(found, name, None) for name in EXPERTS):
        raise UserError(
            f"model: {model} is a mixture of experts, which this project does not train. Choose a dense "
            "model."
        )
    missing = [name for name in SIZES if not isinstance(getattr(found, name, None), int)]
    if missing:
        raise UserError(
            f"model: the config of {model} has no {', '.join(missing)}. Choose a text-only chat model "
            "that is built like Qwen3 or Llama."
        )
    layers, hidden, intermediate, heads, vocab = (getattr(found, name) for name in SIZES)
    return Shape(
        layers,
        hidden,
        intermediate,
        heads,
        getattr(found, "num_key_value_heads", None) or heads,
        getattr(found, "head_dim", None) or hidden // heads,
        vocab,
        bool(found.tie_word_embeddings),
    )


def refuse_missing_targets(found: Any, config: TrainConfig) -> None:
    """Raise UserError unless every layer of the model has every target of the adapter.

    Builds it without weights.
    """
    import torch
    from transformers import AutoModelForCausalLM

    with missing_model(config), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(found)
    linear = [
        name.rpartition(".")[2] for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)
    ]
    missing = [name for name in config.lora.target_modules if linear.count(name) != found.num_hidden_layers]
    if missing:
        raise UserError(
            f"model: the layers of {config.model} have no {', '.join(missing)} (lora.target_modules). "
            "Choose a model that is built like Qwen3 or Llama."
        )


def with_rope_theta(config: dict[str, Any]) -> dict[str, Any]:
    """A model's config.json with the rotary base at its old place too, where other engines look for it.

    transformers 5 writes it into rope_parameters alone. mlx-lm's Llama then takes 10,000 without a word: in
    SmolLM2, which has 100,000, log-probabilities were off by 2.1 instead of 0.0003.
    """
    rope = config.get("rope_parameters")
    if not isinstance(rope, dict) or "rope_theta" not in rope:
        return config
    scaling = {name: value for name, value in rope.items() if name != "rope_theta"}
    scaled = scaling.get("rope_type", "default") != "default"
    old = {"rope_theta": rope["rope_theta"], **({"rope_scaling": scaling} if scaled else {})}
    return {**config, **old}
