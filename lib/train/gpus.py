"""Memory, time and price of training on rented GPUs: arithmetic from the model's shape and a dated price
table.

Estimates, all of them.
"""

from dataclasses import dataclass

from lib.model.shapes import Shape
from lib.train.activations import Path, layer_bytes

PRICES_DATE = "November 2026"


@dataclass(frozen=True)
class Gpu:
    """memory_gb: nominal. tflops: dense bf16, from the maker's data sheet. usd_per_hour: on-demand, RunPod
    secure cloud.
    """

    name: str
    memory_gb: int
    tflops: float
    usd_per_hour: float


GPUS = (
    Gpu("A40", 48, 150, 0.44),
    Gpu("RTX A6000", 48, 155, 0.53),
    Gpu("RTX 4090", 24, 165, 0.74),
    Gpu("L40S", 48, 362, 0.99),
    Gpu("A100 80GB", 80, 312, 1.39),
    Gpu("H100 SXM", 80, 989, 3.49),
)


# 4 bits, and 0.127 bits of doubly quantised constants (Dettmers et al. 2023, arXiv:2305.14314)
NF4_BYTES = 0.5159
CONTEXT_GB = 1.0  # CUDA context, workspace, fragmentation
SECONDS_PER_MICRO_BATCH = (0.12, 0.4)  # launching the kernels: what dominates on short rows, whatever the GPU
MFU = (0.4, 0.2)  # share of the peak that the matrix products reach: best, cautious
SETUP_MINUTES = (4.0, 12.0)  # pod boot, packages, 6-16 GB of weights: paid for too


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
    weights = shape.linear_params * (NF4_BYTES if nf4 else 2) + shape.embedding_params * 2
    adapter = lora_parameters(shape, rank, targets) * 16  # fp32 weight, gradient and two Adam moments
    tokens = micro_batch * tokens_per_row
    one_layer = layer_bytes(shape, path)
    layer_inputs = shape.layers * shape.hidden * 2
    activations = tokens * (layer_inputs + one_layer if checkpointing else shape.layers * one_layer)
    logits = tokens * shape.vocab * 4 * 2  # fp32, and their gradient
    largest = max(inputs * outputs for inputs, outputs in shape.projections.values())
    unpacked = largest * 2 * 2 if nf4 else 0
    return (weights + adapter + activations + logits + unpacked) / 1e9 + CONTEXT_GB


def minutes(
    gpu: Gpu, shape: Shape, n_tokens: float, n_micro_batches: float, checkpointing: bool
) -> tuple[float, float]:
    """(best, cautious) time after loading. n_tokens: all epochs and evaluations, padding included."""
    params = shape.linear_params + shape.head_params
    flops = n_tokens * params * (6 if checkpointing else 4)  # frozen weights have no gradient of their own
    low, high = (
        flops / (gpu.tflops * 1e12 * mfu) + n_micro_batches * host
        for mfu, host in zip(MFU, SECONDS_PER_MICRO_BATCH, strict=True)
    )
    return low / 60, high / 60
