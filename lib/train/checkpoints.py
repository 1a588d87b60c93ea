"""Checkpoints of an unfinished run: which are whole, which are kept, where a killed run goes on."""

import json
import math
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import read_dicts, write_jsonl
from lib.model.adapters import ADAPTER_FILE, tensor_shapes
from lib.model.overlap import Diversity

STATE_FILE = "trainer_state.json"  # the Trainer writes it last
SENTINEL = "checkpoint-is-incomplete.txt"
# Zip files: one cut short has no directory at its end. MLX's run needs no more than its optimizer.
PICKLES, MLX_FILE = ("optimizer.pt", "scheduler.pt"), "optimizer.npz"


def step_of(checkpoint: Path) -> int:
    """checkpoints/checkpoint-42 -> 42; -1 for a folder of another name."""
    number = checkpoint.name.removeprefix("checkpoint-")
    return int(number) if number.isdecimal() and number.isascii() else -1


def state_of(checkpoint: Path) -> dict[str, Any] | None:
    """The Trainer's state; None if the checkpoint is not whole (a kill or a full disk in between)."""
    try:
        state = json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8"))
        whole = (
            not (checkpoint / SENTINEL).exists()
            and isinstance(state, dict)
            and state.get("global_step") == step_of(checkpoint)
            and all(zipfile.is_zipfile(path) for path in _zips(checkpoint))
            and bool(tensor_shapes(checkpoint / ADAPTER_FILE))
        )
    except (OSError, ValueError, RecursionError, UserError):
        return None
    return state if whole else None


def _zips(checkpoint: Path) -> list[Path]:
    """The zip files of a whole checkpoint, there or not."""
    if of_mlx(checkpoint):
        return [checkpoint / MLX_FILE]
    random_states = list(checkpoint.glob("rng_state*.pth"))  # one for each process of the run
    return [*(checkpoint / name for name in PICKLES), *(random_states or [checkpoint / "rng_state.pth"])]


def of_mlx(checkpoint: Path) -> bool:
    """True for a checkpoint that `backend: mlx` wrote: no other backend can go on from it."""
    return (checkpoint / MLX_FILE).exists()


def whole_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints one can go on from, oldest first."""
    found = [path for path in folder.glob("checkpoint-*") if step_of(path) > 0 and state_of(path) is not None]
    return sorted(found, key=step_of)


def newest(folder: Path) -> Path | None:
    """The newest whole checkpoint. What is broken, or newer than it, is deleted: the run writes it again."""
    whole = whole_checkpoints(folder)
    for path in folder.glob("checkpoint-*"):
        if path not in whole:
            delete(path)
    return whole[-1] if whole else None


def delete(checkpoint: Path) -> None:
    """Remove a checkpoint. The state file goes first: half a deletion must not look whole."""
    (checkpoint / STATE_FILE).unlink(missing_ok=True)
    shutil.rmtree(checkpoint)


def eval_losses(history: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """Step -> validation loss, without step 0, the base model's. history: the Trainer's log_history."""
    return {
        entry["step"]: entry["eval_loss"] for entry in history if "eval_loss" in entry and entry["step"] > 0
    }


def watched(history: Sequence[Mapping[str, Any]], watch: str) -> dict[int, float]:
    """Step -> what decides about it: the validation loss; infinite where the replies have collapsed, which
    early_stopping.watch may ask to look at too.
    """
    losses = eval_losses(history)
    if watch == "loss":
        return losses
    seen = {entry["step"]: of_entry(entry) for entry in history if "eval_loss" in entry}
    base = seen.get(0, Diversity(None, None))
    return {step: math.inf if seen[step].collapsed(base) else loss for step, loss in losses.items()}


def of_entry(entry: Mapping[str, Any]) -> Diversity:
    """The diversity that an evaluation's entry names."""
    return Diversity(entry.get("eval_distinct_2"), entry.get("eval_alike"))


def best_steps(losses: dict[int, float], k: int) -> list[int]:
    """The k steps with the lowest loss (watched), best first; the earlier of two equal ones."""
    return sorted(losses, key=lambda step: (losses[step], step))[:k]


def keep_best(folder: Path, losses: dict[int, float], k: int, also: int | None = None) -> None:
    """Delete all checkpoints but the best k and that of step `also` (the newest, to go on from)."""
    kept = {*best_steps(losses, k), also}
    for path in folder.glob("checkpoint-*"):
        if step_of(path) not in kept:
            delete(path)


def stopped_early(losses: dict[int, float], patience: int, threshold: float) -> bool:
    """True if the last `patience` evaluations all failed to beat the best one before by more than threshold.

    Worked out from the history, so that a resumed run knows what an uninterrupted one would.
    """
    best, failures = float("inf"), 0
    for _, loss in sorted(losses.items()):
        failures = 0 if best - loss > threshold else failures + 1
        best = min(best, loss)
        if failures >= patience:
            return True
    return False


def cut_lines(path: Path, step: int) -> None:
    """Drop the lines after step: a resumed run writes them again."""
    if path.exists():
        write_jsonl(path, [line for line in read_dicts(path, torn_tail=True) if line["step"] <= step])
