"""The training loop of `backend: mlx`: steps, evaluations, checkpoints in the order of transformers' Trainer,
with the same callbacks.

Rows come in the Trainer's order, and the random numbers of dropout from seed and step: a resumed run needs no
more than the adapter, the optimizer and the number of its step.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib.base.files import write_json
from lib.model.adapters import ADAPTER_FILE
from lib.model.losses import Row, batches, with_given
from lib.train.checkpoints import MLX_FILE, STATE_FILE, state_of
from lib.train.job import Job
from lib.train.metrics_log import diverged
from lib.train.mlx_model import MlxModel
from lib.train.schedule import learning_rate
from lib.train.sft import ADAM_BETAS, ADAM_EPSILON, MAX_GRAD_NORM
from lib.train.validation_loss import answered, metrics_of, spread


@dataclass
class State:
    """What callbacks read of a run, under the Trainer's names; trainer_state.json keeps the first three."""

    global_step: int = 0
    epoch: float = 0.0
    log_history: list[dict[str, Any]] = field(default_factory=list)
    is_world_process_zero: bool = True


@dataclass
class Control:
    """What callbacks ask for, under the Trainer's names."""

    should_save: bool = False
    should_training_stop: bool = False


class MlxTrainer:
    """One run. counts: a list that gets (tokens, learned ones) of every micro-batch."""

    def __init__(self, job: Job, model: MlxModel, handlers: Sequence[Any], counts: list[Any]) -> None:
        import mlx.optimizers as optim
        from mlx import nn

        self.job, self.model, self.handlers, self.counts = job, model, handlers, counts
        self.state, self.control = State(), Control()
        checked = spread(job.rows["val"], job.n_evaluated)
        self.rows = {"train": with_given(job.rows["train"]), "val": with_given(checked)}
        self.optimizer = optim.AdamW(
            job.config.learning_rate,
            betas=list(ADAM_BETAS),
            eps=ADAM_EPSILON,
            weight_decay=job.config.weight_decay,
            bias_correction=True,
        )
        self.optimizer.init(model.model.trainable_parameters())
        self.gradient = nn.value_and_grad(model.model, self._loss)

    def train(self, resume_from_checkpoint: str | None) -> None:
        """Train to the end, to the early stop or to a signal, from the start or from a checkpoint."""
        from mlx_lm.utils import maybe_set_recommended_wired_limit

        maybe_set_recommended_wired_limit()  # on a Mac: the weights stay where the GPU reaches them
        if resume_from_checkpoint:
            self._go_on_from(Path(resume_from_checkpoint))
        self._tell("on_train_begin")
        if not resume_from_checkpoint:
            self._evaluate()
        for step, rows in self._steps():
            self._step(step, rows)
            if self.control.should_training_stop:
                break
        self._tell("on_train_end")

    def _steps(self) -> Iterator[tuple[int, list[Row]]]:
        """(number, rows) of every step that is still to be done."""
        import torch

        plan, size = self.job.plan, self.job.config.effective_batch
        for step in range(self.state.global_step + 1, plan.steps + 1):
            epoch, place = divmod(step - 1, plan.steps_per_epoch)
            draw = torch.Generator().manual_seed(self.job.config.seed + epoch)
            order = torch.randperm(len(self.rows["train"]), generator=draw).tolist()
            yield step, [self.rows["train"][n] for n in order[place * size : (place + 1) * size]]

    def _step(self, step: int, rows: list[Row]) -> None:
        plan, save = self.job.plan, step % self.job.plan.eval_every == 0 or step == self.job.plan.steps
        self._tell("on_step_begin")
        found = self._learn(step, rows)
        self.state.global_step, self.state.epoch = step, step / plan.steps_per_epoch
        self._tell("on_step_end")
        self._log(found)
        if step in plan.eval_steps:
            self._evaluate()
        if save or self.control.should_save:
            self._save()
        self.control.should_save = False

    def _learn(self, step: int, rows: list[Row]) -> dict[str, float]:
        """One update from rows, a micro-batch at a time; every learned token weighs alike."""
        import mlx.core as mx
        import mlx.optimizers as optim
        from mlx.utils import tree_map

        n_learned = sum(len(ids) - given for ids, given in rows)
        mx.random.seed((self.job.config.seed << 32) + step)
        total, sums = None, [0.0, 0.0, 0.0]
        for start in range(0, len(rows), self.job.batch.size):
            part = rows[start : start + self.job.batch.size]
            (loss, entropy, right), gradient = self.gradient(part, n_learned)
            total = gradient if total is None else tree_map(mx.add, total, gradient)
            mx.eval(loss, entropy, right, total)
            sums = [one + other.item() for one, other in zip(sums, (loss, entropy, right), strict=True)]
            self.counts.append((sum(len(ids) for ids, _ in part), sum(len(ids) - n for ids, n in part)))
        gradient, norm = optim.clip_grad_norm(total, MAX_GRAD_NORM)
        if not (math.isfinite(sums[0]) and math.isfinite(norm.item())):
            raise diverged(step)
        rate = learning_rate(self.job.config, self.job.plan, step)
        self.optimizer.learning_rate = rate
        self.optimizer.update(self.model.model, gradient)
        mx.eval(self.model.model.trainable_parameters(), self.optimizer.state)
        mx.clear_cache()  # rows of every length leave buffers of every size
        found = {"loss": sums[0], "grad_norm": norm.item(), "learning_rate": rate}
        return {**found, "entropy": sums[1], "mean_token_accuracy": sums[2]}

    def _loss(self, rows: list[Row], n_learned: int) -> tuple[Any, Any, Any]:
        """These rows' part of the step's loss, entropy and share of likeliest tokens."""
        nats, entropy, right = self.model.learned(rows)
        return nats.sum() / n_learned, entropy.sum() / n_learned, right.sum() / n_learned

    def _evaluate(self) -> None:
        import mlx.core as mx

        rows = self.rows["val"]
        losses = self.model.row_losses(rows, batches(rows))
        found = metrics_of([losses[place] for place in range(len(rows))])
        found |= answered(self.model, self.job, self.state.global_step)
        mx.clear_cache()
        self._log({f"eval_{name}": value for name, value in found.items()})
        self._tell("on_evaluate")

    def _log(self, found: dict[str, float]) -> None:
        logs = {**found, "epoch": self.state.epoch}
        self.state.log_history.append({**logs, "step": self.state.global_step})
        self._tell("on_log", logs=logs)

    def _tell(self, what: str, **more: Any) -> None:
        for handler in self.handlers:
            getattr(handler, what, _nothing)(None, self.state, self.control, **more)

    def _save(self) -> None:
        """A checkpoint; its state file, which makes it whole, comes last."""
        import mlx.core as mx
        from mlx.utils import tree_flatten

        folder = self.job.checkpoints / f"checkpoint-{self.state.global_step}"
        folder.mkdir(parents=True, exist_ok=True)
        self.model.save(folder)
        mx.savez(str(folder / MLX_FILE), **dict(tree_flatten(self.optimizer.state)))
        kept = {name: getattr(self.state, name) for name in ("global_step", "epoch", "log_history")}
        write_json(folder / STATE_FILE, kept)
        self._tell("on_save")

    def _go_on_from(self, checkpoint: Path) -> None:
        import mlx.core as mx
        from mlx.utils import tree_unflatten

        kept = state_of(checkpoint) or {}
        self.state = State(kept["global_step"], kept["epoch"], kept["log_history"])
        self.model.fill(checkpoint / ADAPTER_FILE)
        self.optimizer.state = tree_unflatten(list(mx.load(str(checkpoint / MLX_FILE)).items()))


def _nothing(*_: Any, **__: Any) -> None:
    pass


def peak_gb() -> float:
    """Peak memory of MLX so far, GB (1e9 bytes)."""
    import mlx.core as mx

    return round(mx.get_peak_memory() / 1e9, 3)
