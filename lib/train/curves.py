"""Readings of the loss curves: the gap between training and validation, perplexity, and when to worry."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lib.base.course import training_advice
from lib.base.plots import document, lines
from lib.train.checkpoints import eval_losses

LEARNED = "learned_tokens"  # of a step, in its entry
History = Sequence[Mapping[str, Any]]  # the Trainer's log_history, or the lines of metrics.jsonl


def train_eval_gap(history: History, step: int) -> float | None:
    """Validation loss at step minus training loss there. None without both."""
    at = [entry["eval_loss"] for entry in history if "eval_loss" in entry and entry["step"] == step]
    loss = train_loss(history, step)
    return at[-1] - loss if at and loss is not None else None


def train_loss(history: History, step: int) -> float | None:
    """Training loss per learned token from the evaluation before up to step: one batch alone says little.

    Steps whose tokens an older run did not count weigh alike.
    """
    evals = [entry["step"] for entry in history if "eval_loss" in entry and entry["step"] < step]
    steps = [entry for entry in history if "loss" in entry and max(evals, default=0) < entry["step"] <= step]
    weights = [entry.get(LEARNED) or 1 for entry in steps]
    total = sum(weight * entry["loss"] for weight, entry in zip(weights, steps, strict=True))
    return total / sum(weights) if steps else None


def base_loss(history: History) -> list[tuple[int, float]]:
    """[(0, validation loss of the base model)]; empty where it was not measured."""
    return [(0, entry["eval_loss"]) for entry in history if "eval_loss" in entry and entry["step"] == 0]


def perplexity(loss: float) -> float:
    """exp(loss), capped where a float would overflow."""
    return math.exp(min(loss, 700.0))


def curves(history: History, run: str) -> str:
    """The training and validation loss of a run over its steps, as an SVG file."""
    training = [(entry["step"], entry["loss"]) for entry in history if "loss" in entry]
    validation = [(entry["step"], entry["eval_loss"]) for entry in history if "eval_loss" in entry]
    return (
        document(
            lines([("training loss", training), ("validation loss", validation)], f"{run}: loss", "step")
        )
        + "\n"
    )


def alerts_of(history: History, max_gap: float) -> list[dict[str, Any]]:
    """{step, alert} of the first gap that is too large, and of the first three rises of validation loss.

    Each with the advice that the losses up to there give.
    """
    losses = sorted(eval_losses(history).items())

    def advice(failed: str, step: int) -> str:
        until = [(at, loss) for at, loss in losses if at <= step]
        return training_advice({failed}, [*base_loss(history), *until])

    gaps = [(step, train_eval_gap(history, step)) for step, _ in losses]
    wide = [(step, gap) for step, gap in gaps if gap is not None and gap > max_gap]
    rising = [
        losses[i][0]
        for i in range(3, len(losses))
        if all(losses[j][1] > losses[j - 1][1] for j in (i - 2, i - 1, i))
    ]
    found = []
    if wide:
        step, gap = wide[0]
        said = (
            f"validation loss is {gap:.2f} above training loss (max_train_eval_gap {max_gap}): "
            f"{advice('train_eval_gap', step)}"
        )
        found.append({"step": step, "alert": f"step {step}: {said}"})
    if rising:
        found.append(
            {
                "step": rising[0],
                "alert": f"step {rising[0]}: validation loss has risen three times in a row: "
                f"{advice('perplexity', rising[0])}",
            }
        )
    return sorted(found, key=lambda alert: alert["step"])
