"""Activations: the bytes that a layer keeps of each token for the backward pass, without checkpointing.

The plan's table (KEPT) and the measurement that it comes from: saved-tensor hooks, on layers of a model's
real widths.
"""

from dataclasses import dataclass
from typing import Any, Literal

from lib.base.settings import ALL_LINEAR
from lib.model.shapes import Shape

Path = Literal["peft", "unsloth", "mlx"]


@dataclass(frozen=True)
class Kept:
    """Bytes a token and layer keeps, for each unit of the model's widths; adapters on all linear layers,
    dropout on.
    """

    hidden: int
    intermediate: int
    queries: int  # heads x their width
    keys: int  # key-value heads x their width


# peft: measured (tests/model/test_activations.py holds it to 10%). Norms keep float32; each of the seven
# adapters keeps a copy of its input and, a byte each, its dropout mask; keys and values are repeated for
# every head. unsloth: what its kernels save, counted in their source (2026.10.9): an estimate. mlx: one and a
# half times peft, from how its peak grows with layers and tokens at an eighth of Qwen3-8B's widths, on a CPU.
KEPT: dict[Path, Kept] = {
    "peft": Kept(23, 9, 15, 4),
    "unsloth": Kept(13, 5, 7, 6),
    "mlx": Kept(34, 14, 22, 6),
}


def layer_bytes(shape: Shape, path: Path) -> float:
    """Bytes that one layer keeps of a token."""
    kept = KEPT[path]
    return (
        kept.hidden * shape.hidden
        + kept.intermediate * shape.intermediate
        + kept.queries * shape.heads * shape.head_dim
        + kept.keys * shape.kv_heads * shape.head_dim
    )


def measured_layer_bytes(shape: Shape, n_tokens: int = 16) -> float:
    """The same on the plain path, measured: an inner layer's share of what a forward pass keeps.

    From one and two layers and n_tokens and twice as many, so that weights, embeddings and masks cancel out.
    """
    kept = [[_kept(_model(shape, layers), n) for n in (n_tokens, 2 * n_tokens)] for layers in (1, 2)]
    return ((kept[1][1] - kept[1][0]) - (kept[0][1] - kept[0][0])) / (2 * n_tokens)


def _model(shape: Shape, layers: int) -> Any:
    """A Qwen3 with bf16 weights that say nothing, and fp32 adapters, as on a GPU."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=256,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
    )
    with torch.device("meta"):
        model = Qwen3ForCausalLM(config)
    model = model.to(torch.bfloat16).to_empty(device="cpu")
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data.fill_(0.01)
    lora = LoraConfig(lora_dropout=0.1, r=16, target_modules=list(ALL_LINEAR), task_type="CAUSAL_LM")
    model = get_peft_model(model, lora, autocast_adapter_dtype=True).train()
    for module in list(model.modules()):
        if isinstance(getattr(module, "lora_dropout", None), torch.nn.ModuleDict):
            module.lora_dropout = torch.nn.ModuleDict({"default": _gpu_dropout()})
    return model


def _gpu_dropout() -> Any:
    """Dropout with a mask of one byte an element, as CUDA's; a CPU's is as wide as its input."""
    import torch

    class Dropout(torch.nn.Module):
        def forward(self, values: Any) -> Any:
            return torch.native_dropout(values, 0.1, True)[0]

    return Dropout()


def _kept(model: Any, n_tokens: int) -> int:
    """Bytes of all tensors kept of two rows of n_tokens, one padded. Weights do not count, none twice."""
    import torch

    ids, mask = (torch.ones(2, n_tokens, dtype=torch.long) for _ in range(2))
    mask[1, -1] = 0
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    sizes, held = {}, []

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and tensor.numel():
            sizes[storage.data_ptr()] = storage.nbytes()
            held.append(tensor)  # or its address would be used again
        return tensor

    backbone = model.get_base_model().model
    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", dtype=torch.bfloat16):
        backbone(input_ids=ids, attention_mask=mask, use_cache=False)
    return sum(sizes.values())
