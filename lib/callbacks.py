"""What happens while a run trains: numbers written, progress shown, replies sampled, checkpoints kept, an end in good order.

Plain classes; `as_callback` hands one to the Trainer, so that importing this module imports no transformers.
"""

import math
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lib.checkpoints import eval_losses, keep_best, stopped_early
from lib.curves import alerts_of, perplexity, train_eval_gap
from lib.distributed import anywhere
from lib.errors import UserError
from lib.files import append_line
from lib.settings import EarlyStoppingConfig

REWARD_FIELDS = ("rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies", "kl")  # dpo, kto
KEPT_FIELDS = ("loss", "learning_rate", "grad_norm", "entropy", "mean_token_accuracy", "num_tokens", *REWARD_FIELDS)


def as_callback(handler: Any) -> Any:
    """A TrainerCallback that calls handler's on_... methods."""
    from transformers import TrainerCallback

    callback = TrainerCallback()
    for name in dir(handler):
        if name.startswith("on_"):
            setattr(callback, name, getattr(handler, name))
    return callback


class MetricsLog:
    """One JSON line per log in metrics.jsonl. seconds: training time, that of earlier, interrupted sessions included."""

    def __init__(self, path: Path, seconds_before: float = 0.0, also: Callable[[dict[str, Any]], None] = lambda line: None) -> None:
        self.path, self.also = path, also
        self.start = time.monotonic() - seconds_before
        self.step_start = self.step_seconds = 0.0
        self.n_tokens = 0

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.step_start = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.step_seconds = time.monotonic() - self.step_start

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        logs = logs or {}
        if not ("loss" in logs or "eval_loss" in logs):
            return
        loss = logs.get("loss", logs.get("eval_loss"))
        if not math.isfinite(loss):
            raise UserError(
                f"The loss is not a number at step {state.global_step}. Lower learning_rate, give the run a new name, try again."
            )
        if not state.is_world_process_zero:
            return
        line = {"step": state.global_step, "epoch": round(state.epoch or 0, 4), "seconds": round(time.monotonic() - self.start, 3)}
        line |= self._eval_fields(logs, state) if "eval_loss" in logs else self._train_fields(logs)
        append_line(self.path, line)
        self.also(line)

    def _train_fields(self, logs: Mapping[str, Any]) -> dict[str, Any]:
        fields = {name: _finite(logs[name]) for name in KEPT_FIELDS if name in logs}
        n_new = int(logs.get("num_tokens", 0)) - self.n_tokens
        self.n_tokens += n_new
        if n_new > 0 and self.step_seconds > 0:
            fields["tokens_per_second"] = round(n_new / self.step_seconds, 1)
        return {**fields, "memory_gb": memory_gb()}

    def _eval_fields(self, logs: Mapping[str, Any], state: Any) -> dict[str, Any]:
        names = ("eval_loss", "eval_entropy", "eval_mean_token_accuracy", *(f"eval_{name}" for name in REWARD_FIELDS))
        fields = {name: _finite(logs[name]) for name in names if name in logs}
        if "eval_rewards/chosen" not in logs:  # the loss of preferences is no likelihood
            fields["perplexity"] = perplexity(logs["eval_loss"])
        return {**fields, "train_eval_gap": train_eval_gap(state.log_history, state.global_step)}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def memory_gb() -> float:
    """Peak memory so far, GB (1e9 bytes): of the GPU where there is one, else of this process."""
    import torch

    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 1e9, 3)
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes on macOS, KiB on Linux
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9, 3)


class Progress:
    """One line on stderr with the time left: redrawn in a terminal, written at each evaluation into a log file."""

    def __init__(self, n_steps: int) -> None:
        self.n_steps, self.first, self.start = n_steps, 0, time.monotonic()
        self.losses: dict[str, float] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.first, self.start = state.global_step, time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if not state.is_world_process_zero:
            return
        self.losses |= {name: logs[name] for name in ("loss", "eval_loss") if name in (logs or {})}
        if sys.stderr.isatty():
            print(f"\r\x1b[K{self.line(state.global_step)}", end="", file=sys.stderr, flush=True)
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


class Alerts:
    """Says at once what the manifest will repeat."""

    def __init__(self, max_gap: float) -> None:
        self.max_gap = max_gap

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        for alert in alerts_of(state.log_history, self.max_gap):
            if alert["step"] == state.global_step and state.is_world_process_zero:
                print(f"{chr(10) if sys.stderr.isatty() else ''}alert: {alert['alert']}", file=sys.stderr, flush=True)


class Samples:
    """Replies to a few fixed validation tweets, before training and after every epoch: samples.jsonl."""

    def __init__(self, path: Path, steps_per_epoch: int, tweet_ids: Sequence[str], answer: Callable[[], list[str]]) -> None:
        self.path, self.steps_per_epoch, self.tweet_ids, self.answer = path, steps_per_epoch, tweet_ids, answer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 0:
            self._write(0, state)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # At the step and not at the epoch's end, which comes after the checkpoint: a run killed between the two would lack them.
        if state.global_step % self.steps_per_epoch == 0:
            self._write(state.global_step // self.steps_per_epoch, state)

    def _write(self, epoch: int, state: Any) -> None:
        if state.is_world_process_zero:
            for tweet_id, reply in zip(self.tweet_ids, self.answer(), strict=True):
                append_line(self.path, {"step": state.global_step, "epoch": epoch, "tweet_id": tweet_id, "reply": reply})


class EarlyStop:
    """Ends the run when the validation loss has not improved `patience` times in a row, also across an interruption."""

    def __init__(self, config: EarlyStoppingConfig) -> None:
        self.config = config

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if stopped_early(eval_losses(state.log_history), self.config.patience, self.config.threshold):
            control.should_training_stop = True


class KeepBest:
    """Keeps the best k checkpoints by validation loss, and the newest. `save_total_limit` would keep the best and the latest."""

    def __init__(self, folder: Path, k: int) -> None:
        self.folder, self.k = folder, k

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            keep_best(self.folder, eval_losses(state.log_history), self.k, also=state.global_step)


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
