"""The step after a verdict: one sentence, from the criteria that failed and the course of the losses."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from lib.evidence.power import MIN_TWEETS, required_tweets
from lib.evidence.stats import Comparison

Losses = Sequence[tuple[int, float]]  # (step, validation loss), from the untrained model on
Trend = Literal["falls", "rises", "level", "unknown"]

# More tweets do not mend these.
NOT_ABOUT_TWEETS = ("perplexity", "train_eval_gap", "position")
SMALLEST_CHANGE = 0.001  # of the loss, between two evaluations: less is no movement
ADVICE = {
    "position": "judge every pair in both orders (judge.orders: both)",
    "length_controlled": (
        "make the systems write at similar length, or use a judge that does not follow length"
    ),
}
MEASURE = {
    "perplexity": "measure perplexity",
    "train_eval_gap": "measure the gap between training and validation loss",
}


def trend(losses: Losses) -> Trend:
    """The course of the validation loss when training ended."""
    values = [loss for _, loss in sorted(losses) if math.isfinite(loss)]
    if len(values) < 2:
        return "unknown"
    before, last, lowest = values[-2], values[-1], min(values)
    if last - lowest > SMALLEST_CHANGE * abs(lowest):
        return "rises"
    return "falls" if before - last > SMALLEST_CHANGE * abs(before) else "level"


def training_advice(failed: set[str], losses: Losses) -> str:
    """The change that the training needs. failed: perplexity, train_eval_gap or both, which were measured."""
    course = trend(losses)
    if "train_eval_gap" in failed:
        if course == "falls":  # it learns by heart and still gains: less training would lose the gain
            return "collect more pairs or raise lora.dropout: it learns the training pairs by heart"
        return "stop training earlier or collect more pairs: it learns the training pairs by heart"
    if course == "falls":
        return "train longer (raise epochs): the validation loss was still falling when training ended"
    if course == "rises":
        return "train for fewer epochs or at a lower learning rate: the validation loss rose again"
    if course == "level":
        return (
            "train on more pairs, with a higher lora.rank or from a larger base model: the validation loss "
            "has levelled off above the bound"
        )
    return "look at the validation loss: train longer where it still falls, less where it rises"


def style_advice(habits: Sequence[Mapping[str, Any]]) -> str:
    """The change that a win lost at equal style needs. habits: of lib.evidence.equal_style.style_control."""
    named = [row for row in habits if row["named"]]
    told = " and ".join(row["label"] for row in named)
    if {row["habit"] for row in named} <= {"length"}:
        return ADVICE["length_controlled"]
    if any(row["apart"] for row in named):
        return (
            f"make the systems meet in {told}: train on replies with and without it, or ask both for it in "
            "the prompt, and judge again"
        )
    return f"make the systems alike in {told}, or use a judge that does not follow it"


def next_step(
    verdict: str,
    comparison: Comparison,
    failed: Sequence[Mapping[str, Any]],
    min_cohens_d: float,
    losses: Losses,
) -> str:
    """The next step as a phrase without a full stop. failed: the criteria of the gate that do not hold."""
    c = comparison
    if verdict == "pass":
        return "read the blind examples in the report, then `make publish`"
    if verdict == "underpowered":
        r = min(c.r or 0.0, 0.99)
        needed = math.ceil(required_tweets(min_cohens_d, r=r)["tweets"] * c.n / c.mde["n_effective"])
        more = max(needed - c.n, MIN_TWEETS - c.n, 1)
        return f"judge about {more:,} more tweets ({max(needed, MIN_TWEETS):,} show d = {min_cohens_d:g})"
    measured = [row["name"] for row in failed if row["value"] is not None]
    missing = [row["name"] for row in failed if row["name"] in MEASURE and row["value"] is None]
    if of_training := {"perplexity", "train_eval_gap"} & set(measured):
        return training_advice(of_training, losses)
    if "position" in measured:
        return ADVICE["position"]
    if measured and {*measured} <= {"length_controlled", "style"}:
        return style_advice(c.style["habits"])
    if missing and not measured:
        return " and ".join(MEASURE[name] for name in missing)
    return "read the losses in the report, then change the data or the training, not the judge"
