"""Time and price of training on rented GPUs: arithmetic from the model's shape and a dated price table.

Estimates, all of them.
"""

from dataclasses import dataclass

from lib.model.shapes import Shape

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


SECONDS_PER_MICRO_BATCH = (0.12, 0.4)  # launching the kernels: what dominates on short rows, whatever the GPU
MFU = (0.4, 0.2)  # share of the peak that the matrix products reach: best, cautious
SETUP_MINUTES = (4.0, 12.0)  # pod boot, packages, 6-16 GB of weights: paid for too


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
