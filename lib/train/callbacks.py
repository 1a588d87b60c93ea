"""Callbacks of a run that trains: progress shown, checkpoints kept, an end in good order.

The numbers are lib.train.metrics_log's.

Plain classes; `as_callback` hands one to the Trainer, so that importing this module imports no transformers.
"""

import signal
import sys
import time
from pathlib import Path
from typing import Any

from lib.base.settings import EarlyStoppingConfig
from lib.train.checkpoints import keep_best, stopped_early, watched
from lib.train.curves import alerts_of
from lib.train.distributed import anywhere


def as_callback(handler: Any) -> Any:
    """A TrainerCallback that calls handler's on_... methods."""
    from transformers import TrainerCallback

    callback = TrainerCallback()
    for name in dir(handler):
        if name.startswith("on_"):
            setattr(callback, name, getattr(handler, name))
    return callback


class Progress:
    """One line on stderr with the time left: redrawn in a terminal, new at each evaluation in a log file."""

    def __init__(self, n_steps: int) -> None:
        self.n_steps, self.first, self.start = n_steps, 0, time.monotonic()
        self.losses: dict[str, float] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.first, self.start = state.global_step, time.monotonic()

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if not state.is_world_process_zero:
            return
        self.losses |= {name: logs[name] for name in ("loss", "eval_loss") if name in (logs or {})}
        if sys.stderr.isatty():
            print(
                f"\r\x1b[K{bar(state.global_step / self.n_steps)}  {self.line(state.global_step)}",
                end="",
                file=sys.stderr,
                flush=True,
            )
        elif "eval_loss" in (logs or {}):
            print(self.line(state.global_step), file=sys.stderr, flush=True)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if sys.stderr.isatty() and state.is_world_process_zero:
            print(file=sys.stderr)

    def line(self, step: int) -> str:
        """step 12/66  loss 3.210  eval loss 3.402  1:05 left"""
        done = step - self.first
        left = (time.monotonic() - self.start) / done * (self.n_steps - step) if done else None
        shown = [f"{name.replace('_', ' ')} {value:.3f}" for name, value in self.losses.items()]
        if left is not None:
            shown.append(f"{int(left) // 60}:{int(left) % 60:02d} left")
        return "  ".join([f"step {step}/{self.n_steps}", *shown])


def bar(share: float, width: int = 20) -> str:
    """██████▌░░░: share of width cells, to an eighth."""
    eighths = round(min(share, 1.0) * width * 8)
    part = " ▏▎▍▌▋▊▉"[eighths % 8].strip()
    return ("█" * (eighths // 8) + part).ljust(width, "░")


class Alerts:
    """Says at once what the manifest will repeat."""

    def __init__(self, max_gap: float) -> None:
        self.max_gap = max_gap

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        for alert in alerts_of(state.log_history, self.max_gap):
            if alert["step"] == state.global_step and state.is_world_process_zero:
                print(
                    f"{chr(10) if sys.stderr.isatty() else ''}alert: {alert['alert']}",
                    file=sys.stderr,
                    flush=True,
                )


class EarlyStop:
    """The end of a run that has not improved in what it watches, `patience` times in a row."""

    def __init__(self, config: EarlyStoppingConfig) -> None:
        self.config = config

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        watched_losses = watched(state.log_history, self.config.watch)
        if stopped_early(watched_losses, self.config.patience, self.config.threshold):
            control.should_training_stop = True


class KeepBest:
    """Keeps the best k checkpoints by validation loss, and the newest.

    `save_total_limit` would keep the best and the latest.
    """

    def __init__(self, folder: Path, k: int, watch: str) -> None:
        self.folder, self.k, self.watch = folder, k, watch

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            keep_best(self.folder, watched(state.log_history, self.watch), self.k, also=state.global_step)


class StopOnSignal:
    """SIGTERM, which a rented machine sends before it goes: finish the step, save, stop."""

    def __init__(self) -> None:
        self.stopped = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        signal.signal(signal.SIGTERM, self._note)

    def _note(self, number: int, frame: Any) -> None:
        self.stopped = True

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if anywhere(self.stopped):
            control.should_save = control.should_training_stop = True

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
