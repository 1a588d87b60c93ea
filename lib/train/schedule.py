"""Steps and evaluations of a run. Training and planning read the same numbers from here."""

import math
from dataclasses import dataclass

from lib.base.settings import TrainConfig

# What an evaluation writes, in one batch: openings of replies, enough to see whether they are all the same.
N_REPLIES, REPLY_TOKENS = 10, 16
# They take as long as reading this many rows: 16 passes one after the other, on a 48 GB card (estimate).
REPLIES_AS_ROWS = 35
LEAST_ROWS = 32  # that an evaluation reads, or all


@dataclass(frozen=True)
class Schedule:
    """steps: optimiser steps of the whole run. eval_every: steps between evaluations, from eval_delay on; the
    last step is evaluated too.
    """

    n_rows: int
    steps_per_epoch: int
    steps: int
    eval_every: int
    eval_delay: int = 0

    @property
    def eval_steps(self) -> list[int]:
        """The steps after which the validation loss is measured."""
        regular = range(self.eval_every, self.steps + 1, self.eval_every)
        return sorted({*(step for step in regular if step >= self.eval_delay), self.steps})

    @property
    def n_evals(self) -> int:
        return len(self.eval_steps)


def schedule(config: TrainConfig, n_rows: int) -> Schedule:
    """The schedule of n_rows training rows, as transformers' Trainer counts it (the last batch of an epoch
    may be short).
    """
    per_epoch = max(1, math.ceil(n_rows / config.effective_batch))
    steps = max(1, math.ceil(config.epochs * per_epoch))
    every = max(1, math.ceil(steps / config.evals_per_run))
    return Schedule(n_rows, per_epoch, steps, every, math.floor(config.evals_after * steps))


def evaluated_rows(config: TrainConfig, plan: Schedule, n_val: int) -> int:
    """Validation rows that each evaluation reads: all, or as many as max_evaluation_share has time for.

    A row that is read takes half as long as one that is trained on (no backward pass).
    """
    share, n_trained = config.max_evaluation_share, plan.steps * config.effective_batch
    if share == 1:
        return n_val
    time_for = 2 * n_trained * share / (1 - share) / (plan.n_evals + 1) - REPLIES_AS_ROWS
    return min(n_val, max(LEAST_ROWS, int(time_for)))


def cannot_fire(config: TrainConfig, plan: Schedule) -> str | None:
    """The reason why early stopping can never stop this run, or None.

    The callback needs one evaluation to have a best value and then `patience` evaluations that do not improve
    on it.
    """
    if config.early_stopping is None:
        return None
    needed = config.early_stopping.patience + 1
    if plan.n_evals >= needed:
        return None
    earlier = ", lower evals_after" if plan.eval_delay > plan.eval_every else ""
    return (
        f"early stopping can never fire: patience {config.early_stopping.patience} needs {needed} "
        "evaluations, "
        f"and {plan.steps} steps leave {plan.n_evals}. Raise evals_per_run (to {max(needed, 10)}), lower the "
        f"patience{earlier}, or train longer."
    )


def warmup_steps(config: TrainConfig, plan: Schedule) -> int:
    """The steps in which the learning rate rises to its full height."""
    return round(config.warmup * plan.steps)


def learning_rate(config: TrainConfig, plan: Schedule, step: int) -> float:
    """The learning rate of a step, from 1, as transformers' schedulers have it."""
    warmup, done = warmup_steps(config, plan), step - 1
    if config.scheduler != "constant" and done < warmup:
        return config.learning_rate * done / warmup
    share = (done - warmup) / max(1, plan.steps - warmup)
    left = {"linear": 1 - share, "cosine": (1 + math.cos(math.pi * share)) / 2}.get(config.scheduler, 1.0)
    return config.learning_rate * max(0.0, left)
