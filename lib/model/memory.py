"""Memory that a model takes to train or to answer: arithmetic from its shape.

Estimates, all of them.
"""

from typing import Literal

from lib.base.settings import TrainConfig
from lib.model.activations import Path, layer_bytes
from lib.model.shapes import Shape

FILLED = 0.9  # of a card's nominal memory: the rest is the driver's
# 4 bits, and 0.127 bits of doubly quantised constants (Dettmers et al. 2023, arXiv:2305.14314)
NF4_BYTES = 0.5159
MLX_BYTES = 0.5625  # 4 bits, and 16-bit scale and bias for every 64 weights; embeddings too
CONTEXT_GB = 1.0  # CUDA context, workspace, fragmentation
ANSWERING_GB = 2.0  # context, adapter and the answers under way
FULL_BATCH = 4  # rows at once that a card should hold to be worth its price; micro_batch: auto takes more
WHOLE_GB = 48  # of a card: from here on `quantization: auto` leaves the base in bf16
REPORTED = 0.95  # of its nominal memory a card owns up to at least: an A40 of 48 GB says 47.6


def least_gb(config: TrainConfig, shape: Shape, to_train: bool, path: Path = "peft") -> float:
    """Memory without which the model can neither be trained (its longest rows, one at a time, checkpointed)
    nor answer. What is left to the GPU is taken in four bits.
    """
    nf4, targets = config.quantization != "none", tuple(config.lora.target_modules)
    if to_train:
        return vram_gb(shape, 1, config.max_length, config.lora.rank, targets, nf4, True, path)
    return weights_gb(shape, nf4, path) + ANSWERING_GB


def full_batch(config: TrainConfig) -> int:
    """Rows at once that a card should hold: the config's micro-batch, or FULL_BATCH."""
    wanted = config.micro_batch if isinstance(config.micro_batch, int) else FULL_BATCH
    return min(wanted, config.effective_batch)


def quantization_on(
    config: TrainConfig, shape: Shape, longest: float, memory_gb: float | None
) -> tuple[Literal["nf4", "none"], str]:
    """(how the base is held on a GPU of memory_gb, why). Bf16 has no weights to unpack in every micro-batch.

    longest: tokens of the longest row. memory_gb: None without an NVIDIA GPU.
    """
    if config.quantization != "auto":
        return config.quantization, "the config says so"
    if memory_gb is None:
        return "none", "four bits would save the memory of an NVIDIA GPU and nothing else"
    if memory_gb < REPORTED * WHOLE_GB:
        return "nf4", f"bf16 is for a GPU of {WHOLE_GB} GB or more"
    rows, targets = full_batch(config), tuple(config.lora.target_modules)
    checkpointing = config.gradient_checkpointing is True
    need = vram_gb(shape, rows, longest, config.lora.rank, targets, False, checkpointing)
    at_once = f"{need:.0f} GB with {rows} of the longest rows at once (estimate)"
    if need < FILLED * memory_gb:
        return "none", f"bf16 fits: {at_once}"
    return "nf4", f"bf16 would take {at_once}"


def weights_gb(shape: Shape, nf4: bool, path: Path = "peft") -> float:
    """The base model's weights; embeddings are quantised by MLX alone."""
    if nf4 and path == "mlx":
        return (shape.linear_params + shape.embedding_params) * MLX_BYTES / 1e9
    return (shape.linear_params * (NF4_BYTES if nf4 else 2) + shape.embedding_params * 2) / 1e9


def lora_parameters(shape: Shape, rank: int, targets: tuple[str, ...]) -> int:
    """Trainable parameters: rank x (inputs + outputs) of every target, in every layer."""
    return shape.layers * rank * sum(sum(shape.projections[target]) for target in targets)


def vram_gb(
    shape: Shape,
    micro_batch: int,
    tokens_per_row: float,
    rank: int,
    targets: tuple[str, ...],
    nf4: bool,
    checkpointing: bool,
    path: Path = "peft",
) -> float:
    """Peak memory of one training step, GB (1e9 bytes), padded rows of tokens_per_row.

    path: peft fits wherever Unsloth does, which keeps less.
    """
    adapter = lora_parameters(shape, rank, targets) * 16  # fp32 weight, gradient and two Adam moments
    tokens = micro_batch * tokens_per_row
    one_layer = layer_bytes(shape, path)
    layer_inputs = shape.layers * shape.hidden * 2
    activations = tokens * (layer_inputs + one_layer if checkpointing else shape.layers * one_layer)
    logits = tokens * shape.vocab * 4 * 2  # fp32, and their gradient
    largest = max(inputs * outputs for inputs, outputs in shape.projections.values())
    unpacked = largest * 2 * 2 if nf4 and path != "mlx" else 0
    return weights_gb(shape, nf4, path) + (adapter + activations + logits + unpacked) / 1e9 + CONTEXT_GB
