"""One run's job: everything that it is made of, settled before weights are loaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.base.schema import Pair
from lib.base.settings import TrainConfig
from lib.train.schedule import Schedule, evaluated_rows


@dataclass(frozen=True)
class Batch:
    """size: rows a forward pass. accumulation: passes an optimiser step. checkpointing: activations twice."""

    size: int
    accumulation: int
    checkpointing: bool


@dataclass(frozen=True)
class Job:
    """The parts of one run.

    config: with `quantization: auto` settled. base: config with the commit of the base model, which every
    load of this run takes, resumed or not.
    rows: train and val as the trainer reads them (token ids; for sft also labels).
    """

    run: str
    config: TrainConfig
    base: TrainConfig
    folder: Path
    backend: str  # unsloth | peft
    backend_reason: str
    quantization_reason: str
    device: str  # cuda:<n> | mps | cpu
    tokenizer: Any
    splits: dict[str, list[Pair]]
    rows: dict[str, list[dict[str, Any]]]
    plan: Schedule
    batch: Batch

    @property
    def watch(self) -> str:
        """The measure that chooses the best checkpoint: loss, or loss_and_diversity."""
        return self.config.early_stopping.watch if self.config.early_stopping else "loss"

    @property
    def n_evaluated(self) -> int:
        """Validation rows that each evaluation reads."""
        return evaluated_rows(self.config, self.plan, len(self.rows["val"]))

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"
