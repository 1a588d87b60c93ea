"""The course of a run's losses, and what it says about the training: more, less, more dropout, more data.

One function for the alert while a run trains, its manifest, the gate and the report.
"""

import math
from collections.abc import Collection, Sequence
from typing import Literal

Losses = Sequence[tuple[int, float]]  # (step, validation loss), from the untrained model on
Trend = Literal["falls", "rises", "level", "unknown"]

SMALLEST_CHANGE = 0.001  # of the loss, between two evaluations: less is no movement


def trend(losses: Losses) -> Trend:
    """The course of the validation loss when training ended."""
    values = [loss for _, loss in sorted(losses) if math.isfinite(loss)]
    if len(values) < 2:
        return "unknown"
    before, last, lowest = values[-2], values[-1], min(values)
    if last - lowest > SMALLEST_CHANGE * abs(lowest):
        return "rises"
    return "falls" if before - last > SMALLEST_CHANGE * abs(before) else "level"


def training_advice(failed: Collection[str], losses: Losses) -> str:
    """The change that the training needs.

    failed: of perplexity and train_eval_gap, those above their bound; none, where the curve alone is asked.
    """
    course = trend(losses)
    if "train_eval_gap" in failed:
        if course == "falls":  # it learns by heart and still gains: less training would lose the gain
            return "collect more pairs or raise lora.dropout: it learns the training pairs by heart"
        return "stop training earlier or collect more pairs: it learns the training pairs by heart"
    if course == "falls":
        return "train longer (raise epochs): the validation loss was still falling when training ended"
    if course == "rises":
        return "train for fewer epochs or at a lower learning rate: the validation loss rose again"
    if course == "level" and not failed:
        return "leave the training as it is: the validation loss has levelled off"
    if course == "level":
        return (
            "train on more pairs, with a higher lora.rank or from a larger base model: the validation loss "
            "has levelled off above the bound"
        )
    return "look at the validation loss: train longer where it still falls, less where it rises"
