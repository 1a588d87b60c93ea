"""metrics.jsonl: every number of a run while it trains, the same fields under both backends."""

import math
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import append_line
from lib.model.chat import IGNORED
from lib.train.curves import LEARNED, perplexity, train_eval_gap
from lib.train.distributed import of_all

# dpo, kto
REWARD_FIELDS = ("rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies", "kl")
KEPT_FIELDS = ("loss", "learning_rate", "grad_norm", "entropy", "mean_token_accuracy", *REWARD_FIELDS)
OF_EVALUATION = ("eval_entropy", "eval_mean_token_accuracy", "eval_distinct_2", "eval_alike")


class MetricsLog:
    """One JSON line per log in metrics.jsonl.

    before: the lines of this run before it was interrupted; time and tokens go on from them.
    memory_gb: the peak so far, where torch does not know it.
    """

    def __init__(
        self,
        path: Path,
        before: Sequence[Mapping[str, Any]] = (),
        also: Callable[[dict[str, Any]], None] = lambda line: None,
        memory_gb: Callable[[], float] | None = None,
    ) -> None:
        self.path, self.also, self.memory_gb = path, also, memory_gb or peak_gb
        self.start = time.monotonic() - (before[-1]["seconds"] if before else 0.0)
        self.n_before = max((line.get("num_tokens", 0) for line in before), default=0)
        self.step_start = self.step_seconds = 0.0
        self.counts: list[Any] = []  # of the micro-batches since the last line
        self.n_tokens = 0

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.step_start = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.step_seconds = time.monotonic() - self.step_start

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        logs = logs or {}
        if not ("loss" in logs or "eval_loss" in logs):
            return
        loss = logs.get("loss", logs.get("eval_loss"))
        if not math.isfinite(loss):
            raise diverged(state.global_step)
        counted, n_learned = self._counted() if "loss" in logs else (0, 0)
        if n_learned:  # the gap weighs a step's loss by it; the Trainer's state keeps it for a resumed run
            state.log_history[-1][LEARNED] = n_learned
        if not state.is_world_process_zero:
            return
        line = {
            "step": state.global_step,
            "epoch": round(state.epoch or 0, 4),
            "seconds": round(time.monotonic() - self.start, 3),
        }
        if "eval_loss" in logs:
            line |= self._eval_fields(logs, state)
        else:
            line |= {**self._train_fields(logs, counted), LEARNED: n_learned}
        append_line(self.path, line)
        self.also(line)

    def _counted(self) -> tuple[int, int]:
        """(tokens, learned ones) of the micro-batches since the last line, of all processes."""
        own = [sum(int(part) for part in parts) for parts in zip(*self.counts, strict=True)] or [0, 0]
        self.counts.clear()
        n_tokens, n_learned = (sum(parts) for parts in zip(*of_all(own), strict=True))
        return n_tokens, n_learned

    def _train_fields(self, logs: Mapping[str, Any], counted: int) -> dict[str, Any]:
        fields = {name: _finite(logs[name]) for name in KEPT_FIELDS if name in logs}
        # TRL counts by itself, its trainer under Unsloth does not.
        total = int(logs.get("num_tokens", self.n_tokens + counted))
        n_new, self.n_tokens = total - self.n_tokens, total
        fields["num_tokens"] = self.n_before + total
        if n_new > 0 and self.step_seconds > 0:
            fields["tokens_per_second"] = round(n_new / self.step_seconds, 1)
        return {**fields, "memory_gb": self.memory_gb()}

    def _eval_fields(self, logs: Mapping[str, Any], state: Any) -> dict[str, Any]:
        names = ("eval_loss", *OF_EVALUATION, *(f"eval_{name}" for name in REWARD_FIELDS))
        fields = {name: _finite(logs[name]) for name in names if name in logs}
        if "eval_rewards/chosen" not in logs:  # the loss of preferences is no likelihood
            fields["perplexity"] = perplexity(logs["eval_loss"])
        return {**fields, "train_eval_gap": train_eval_gap(state.log_history, state.global_step)}


def diverged(step: int) -> UserError:
    """The end of a run whose loss, or its gradient, is not a number any more."""
    return UserError(
        f"The loss is not a number at step {step}: the training has diverged. Copy the config to a new name "
        "and lower learning_rate there: in 4 bits on a Mac 5e-5 has held where 2e-4 had not; warmup: 0.1 "
        "helps too."
    )


def evaluation_share(lines: Sequence[Mapping[str, Any]]) -> float | None:
    """Share of a run's time that its evaluations took, from metrics.jsonl."""
    begun = [0.0, *(line["seconds"] for line in lines)]
    spent = sum(
        line["seconds"] - start for line, start in zip(lines, begun, strict=False) if "eval_loss" in line
    )
    return round(spent / lines[-1]["seconds"], 4) if lines and lines[-1]["seconds"] else None


def counting(step: Callable[..., Any], counts: list[Any]) -> Callable[..., Any]:
    """A trainer's training_step that also appends (tokens, learned ones) of its micro-batch to counts."""

    def counted(model: Any, inputs: dict[str, Any], *rest: Any, **more: Any) -> Any:
        counts.append((tokens_of(inputs), learned_of(inputs)))
        return step(model, inputs, *rest, **more)

    return counted


def tokens_of(inputs: Mapping[str, Any]) -> Any:
    """Tokens of one micro-batch without padding: a number, or a tensor, so that nobody waits for the GPU."""
    ids, mask = inputs.get("input_ids"), inputs.get("attention_mask")
    if mask is not None:
        return mask.sum()
    return 0 if ids is None else ids.numel()  # no mask: no padding


def learned_of(inputs: Mapping[str, Any]) -> Any:
    """Tokens of one micro-batch that the loss is a mean of; for preferences, which have no labels: rows."""
    labels, ids = inputs.get("labels"), inputs.get("input_ids")
    if labels is not None:
        return (labels != IGNORED).sum()
    return 0 if ids is None else len(ids)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def peak_gb() -> float:
    """Peak memory so far, GB (1e9 bytes): of the GPU where there is one, else of this process."""
    import torch

    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 1e9, 3)
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes on macOS, KiB on Linux
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9, 3)
