"""Speed and memory of training, one arm after another.

Each arm wants a process, and so a peak memory, of its own.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.base.benchmarks import peak_memory_mb
from lib.base.settings import ALL_LINEAR, TrainConfig
from lib.model.adapters import adapter_to_fp32
from lib.model.base_model import load_tokenizer
from lib.model.loading import load_model_for_training, prepare_libraries, resolve_backend
from lib.train.callbacks import as_callback
from lib.train.job import Batch, Job
from lib.train.metrics_log import counting
from lib.train.random_model import device, random_model, random_rows
from lib.train.schedule import schedule
from lib.train.sft import sft_trainer
from lib.train.validation_loss import by_token

EFFECTIVE_BATCH = 16
WARM_UP = 3  # steps: compiled kernels, memory pools


@dataclass(frozen=True)
class Arm:
    """One way to train. ours: every setting as lib.train.sft has it; otherwise the backend's own, if any.

    loss_type: another than that.
    """

    letter: str
    name: str
    backend: str
    nf4: bool
    batch: Batch
    ours: bool = True
    loss_type: str | None = None


USUAL, OURS = Batch(4, 4, checkpointing=True), Batch(16, 1, checkpointing=False)
ARMS = (
    Arm("a", "plain TRL + PEFT, 4 x 4, padded, checkpointing", "peft", True, USUAL, ours=False),
    Arm("b", "plain TRL + PEFT, our settings (16 x 1, no checkpointing)", "peft", True, OURS),
    Arm("c", "Unsloth at its defaults, 4 x 4", "unsloth", True, USUAL, ours=False),
    Arm("d", "Unsloth, our settings (16 x 1, no checkpointing)", "unsloth", True, OURS),
    Arm("e", "bf16 base, plain TRL + PEFT, our settings", "peft", False, OURS),
)
MEMORY_ARMS = (  # the same 16 rows a step in four parts, for small cards; other losses
    Arm("d4", "Unsloth, our settings, 4 x 4", "unsloth", True, Batch(4, 4, checkpointing=False)),
    Arm("b4", "plain TRL + PEFT, our settings, 4 x 4", "peft", True, Batch(4, 4, checkpointing=False)),
    Arm("dc", "Unsloth, our settings, TRL's chunked loss", "unsloth", True, OURS, loss_type="chunked_nll"),
    Arm("bn", "plain TRL + PEFT, our settings, loss over all logits", "peft", True, OURS, loss_type="nll"),
)


def matmul_rate() -> dict[str, Any]:
    """{gpu: its name or None, tflops: of a large bf16 product there, float32 on a CPU}, the best of ten."""
    import torch

    where = device()
    gpu = torch.cuda.get_device_name() if where != "cpu" else None
    size, dtype = (8192, torch.bfloat16) if gpu else (1024, torch.float32)
    left, right = (torch.randn(size, size, device=where, dtype=dtype) for _ in range(2))
    times = []
    for _ in range(10):
        _wait_for_gpu()
        start = time.perf_counter()
        left @ right
        _wait_for_gpu()
        times.append(time.perf_counter() - start)
    return {"gpu": gpu, "tflops": 2 * size**3 / min(times) / 1e12}


def _wait_for_gpu() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


class Meter:
    """Time of the first step, and time and tokens of those after the warm-up."""

    def __init__(self) -> None:
        self.start = self.warm = self.end = self.first = 0.0
        self.counts: list[
            Any
        ] = []  # tokens of every micro-batch; tensors, so that counting waits for nothing
        self.n_warm = 0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        _wait_for_gpu()
        self.end = time.perf_counter()
        if state.global_step == 1:
            self.first = self.end - self.start
        if state.global_step == WARM_UP:
            self.warm, self.n_warm = self.end, len(self.counts)

    def tokens_per_second(self) -> float:
        return sum(int(tokens) for tokens, _ in self.counts[self.n_warm :]) / (self.end - self.warm)


def measure(
    arm: Arm, shape: dict[str, Any], lengths: Sequence[tuple[int, int]], n_steps: int | None, folder: Path
) -> dict[str, float]:
    """{tokens_per_second, peak_gb, first_step_s, seconds} of n_steps of training.

    n_steps: None for two epochs with evaluations and checkpoints.
    folder: what write_weights wrote, for Unsloth; the trainer writes there too. Raises UserError where the
    arm cannot run.
    """
    if arm.backend == "unsloth":
        resolve_backend(TrainConfig(data="bench", backend="unsloth"))
    prepare_libraries(arm.backend)
    import torch

    trainer, meter = _trainer(arm, shape, random_rows(lengths, shape["vocab_size"]), n_steps, folder), Meter()
    trainer.add_callback(as_callback(meter))
    trainer.training_step = counting(trainer.training_step, meter.counts)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    meter.start = time.perf_counter()
    trainer.train()
    _wait_for_gpu()
    seconds = time.perf_counter() - meter.start
    peak_gb = torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else peak_memory_mb() / 1e3
    return {
        "tokens_per_second": meter.tokens_per_second(),
        "peak_gb": peak_gb,
        "first_step_s": meter.first,
        "seconds": seconds,
    }


def _trainer(
    arm: Arm, shape: dict[str, Any], rows: list[dict[str, list[int]]], n_steps: int | None, folder: Path
) -> Any:
    from datasets import Dataset
    from transformers import PrinterCallback

    config = TrainConfig(
        data="bench",
        model=str(folder),
        backend=arm.backend,
        quantization="nf4" if arm.nf4 else "none",
        lora={"dropout": 0.1 if arm.ours or arm.backend == "peft" else 0.0},
        effective_batch=EFFECTIVE_BATCH,
    )
    model, tokenizer = _model(arm, shape, config)
    n_val = len(rows) // 10
    parts = {"train": rows[n_val:], "val": rows[:n_val]}
    job = Job(
        run="bench",
        config=config,
        base=config,
        folder=folder / arm.letter,
        backend=arm.backend,
        backend_reason=arm.name,
        quantization_reason=arm.name,
        device=device(),
        tokenizer=tokenizer,
        splits={"val": []},  # random rows: nothing to answer
        rows=parts,
        plan=schedule(config, len(parts["train"])),
        batch=arm.batch,
    )
    kind, arguments = sft_trainer(job, eval_on_start=False)
    if not arm.ours and arm.backend == "unsloth":
        arguments = _defaults(arm, folder)
    elif not arm.ours:
        arguments.padding_free = False
    if arm.loss_type:
        arguments.loss_type = arm.loss_type
    if n_steps:
        arguments.max_steps, arguments.eval_strategy, arguments.save_strategy = n_steps, "no", "no"
    data = {name: Dataset.from_list(part) for name, part in job.rows.items()}
    trainer = kind(
        model=model,
        args=arguments,
        processing_class=tokenizer,
        train_dataset=data["train"],
        eval_dataset=data["val"],
    )
    if arm.ours:
        trainer.evaluation_loop = by_token(trainer, job)
    trainer.create_model_card = lambda **_: None
    trainer.remove_callback(PrinterCallback)
    if arm.backend == "peft":
        adapter_to_fp32(model)
    return trainer


def _model(arm: Arm, shape: dict[str, Any], config: TrainConfig) -> tuple[Any, Any]:
    if arm.backend == "unsloth":
        return load_model_for_training(config, arm.batch.checkpointing)
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(
        r=16, lora_alpha=16, lora_dropout=0.1, target_modules=list(ALL_LINEAR), task_type="CAUSAL_LM"
    )
    return get_peft_model(random_model(shape, arm.nf4, device()), lora), load_tokenizer(config)


def _defaults(arm: Arm, folder: Path) -> Any:
    """SFTConfig as its backend leaves it, but for the batch and what would write or send something."""
    from trl import SFTConfig

    batch = {
        "per_device_train_batch_size": arm.batch.size,
        "gradient_accumulation_steps": arm.batch.accumulation,
    }
    return SFTConfig(output_dir=str(folder / arm.letter), report_to="none", disable_tqdm=True, **batch)
