"""The step after a verdict: one sentence, from the criteria that failed and the course of the losses."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lib.base.course import Losses, training_advice
from lib.evidence.power import MIN_TWEETS, required_tweets
from lib.evidence.stats import Comparison

# More tweets do not mend these.
NOT_ABOUT_TWEETS = ("perplexity", "train_eval_gap", "position")
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
    if "position" in measured or measured == ["length_controlled"]:
        return ADVICE["position" if "position" in measured else "length_controlled"]
    if missing and not measured:
        return " and ".join(MEASURE[name] for name in missing)
    return "read the losses in the report, then change the data or the training, not the judge"
