"""What training will need and cost on rented GPUs: arithmetic from the model's shape and a dated price table. Estimates, all of them."""

from dataclasses import dataclass

PRICES_DATE = "November 2026"


@dataclass(frozen=True)
class Gpu:
    """memory_gb: nominal. tflops: dense bf16, from the maker's data sheet. usd_per_hour: on-demand, RunPod secure cloud."""

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


@dataclass(frozen=True)
class Shape:
    """The sizes of a Qwen3 that memory and time depend on. params: of the linear layers, and of embedding and head together."""

    layers: int
    hidden: int
    linear_params: float
    embedding_params: float
    vocab: int
    module_sides: tuple[
        tuple[str, int], ...
    ]  # per target module: input + output width, LoRA's size per unit of rank


QWEN3_8B = Shape(
    layers=36,
    hidden=4096,
    linear_params=6.946e9,
    embedding_params=1.244e9,
    vocab=151_936,
    module_sides=(
        ("q_proj", 4096 + 4096),
        ("k_proj", 4096 + 1024),
        ("v_proj", 4096 + 1024),
        ("o_proj", 4096 + 4096),
        ("gate_proj", 4096 + 12_288),
        ("up_proj", 4096 + 12_288),
        ("down_proj", 12_288 + 4096),
    ),
)
NF4_BYTES = (
    0.5159  # 4 bits, and 0.127 bits of doubly quantised constants (Dettmers et al. 2023, arXiv:2305.14314)
)
ACTIVATION_MB_PER_TOKEN = 6.3  # of the 8B shape, kept for the backward pass without checkpointing
CONTEXT_GB = 1.0  # CUDA context, workspace, fragmentation
SECONDS_PER_MICRO_BATCH = (0.12, 0.4)  # launching the kernels: what dominates on short rows, whatever the GPU
MFU = (0.4, 0.2)  # share of the peak that the matrix products reach: best, cautious
SETUP_MINUTES = (4.0, 12.0)  # pod boot, packages, 6-16 GB of weights: paid for too


def lora_parameters(rank: int, target_modules: tuple[str, ...], shape: Shape = QWEN3_8B) -> int:
    """Trainable parameters: rank x (inputs + outputs) of every target, in every layer."""
    return shape.layers * rank * sum(side for name, side in shape.module_sides if name in target_modules)


def vram_gb(
    micro_batch: int,
    tokens_per_row: float,
    rank: int,
    targets: tuple[str, ...],
    nf4: bool,
    checkpointing: bool,
) -> float:
    """Peak memory of one training step of Qwen3-8B, GB (1e9 bytes), padded rows of tokens_per_row."""
    shape = QWEN3_8B
    weights = shape.linear_params * (NF4_BYTES if nf4 else 2) + shape.embedding_params * 2
    adapter = lora_parameters(rank, targets) * 16  # fp32 weight, gradient and two Adam moments
    tokens = micro_batch * tokens_per_row
    layer_inputs = shape.layers * shape.hidden * 2
    one_layer = ACTIVATION_MB_PER_TOKEN * 1e6 / shape.layers
    activations = tokens * (layer_inputs + one_layer if checkpointing else ACTIVATION_MB_PER_TOKEN * 1e6)
    logits = tokens * shape.vocab * 4 * 2  # fp32, and their gradient
    dequantised = 12_288 * 4096 * 2 * 2 if nf4 else 0
    return (weights + adapter + activations + logits + dequantised) / 1e9 + CONTEXT_GB


def minutes(gpu: Gpu, n_tokens: float, n_micro_batches: float, checkpointing: bool) -> tuple[float, float]:
    """Training time after loading, best and cautious. n_tokens: all epochs and evaluations, padding included."""
    params = QWEN3_8B.linear_params + QWEN3_8B.embedding_params / 2
    flops = n_tokens * params * (6 if checkpointing else 4)  # frozen weights have no gradient of their own
    low, high = (
        flops / (gpu.tflops * 1e12 * mfu) + n_micro_batches * host
        for mfu, host in zip(MFU, SECONDS_PER_MICRO_BATCH, strict=True)
    )
    return low / 60, high / 60
