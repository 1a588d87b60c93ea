"""Time and price of training on rented GPUs: arithmetic from the model's shape and a dated price table.

Estimates, all of them.
"""

from dataclasses import dataclass

from lib.model.shapes import Shape

PRICES_DATE = "2026-11-25"


@dataclass(frozen=True)
class Gpu:
    """memory_gb: nominal. tflops: dense bf16, from the maker's data sheet. usd_per_hour: on-demand, by who
    rents it out (`ON=`): RunPod's secure cloud, Hugging Face Jobs.
    """

    name: str
    memory_gb: int
    tflops: float
    usd_per_hour: dict[str, float]


GPUS = (
    Gpu("L4", 24, 121, {"hf": 0.80}),
    Gpu("A10G", 24, 70, {"hf": 1.50}),
    Gpu("RTX 4090", 24, 165, {"runpod": 0.74}),
    Gpu("A40", 48, 150, {"runpod": 0.44}),
    Gpu("RTX A6000", 48, 155, {"runpod": 0.53}),
    Gpu("L40", 48, 181, {"runpod": 0.82}),
    Gpu("L40S", 48, 362, {"runpod": 0.99, "hf": 1.80}),
    Gpu("A100 80GB", 80, 312, {"runpod": 1.39, "hf": 2.50}),
    Gpu("H100 PCIe", 80, 756, {"runpod": 2.89}),
    Gpu("H100 SXM", 80, 989, {"runpod": 3.49}),
    Gpu("RTX PRO 6000", 96, 503, {"hf": 2.75}),
    Gpu("H200", 141, 989, {"hf": 5.00}),
)
OFFERS = sorted(
    ((engine, gpu, usd) for gpu in GPUS for engine, usd in gpu.usd_per_hour.items()),
    key=lambda offer: (offer[0] != "runpod", offer[2]),
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
