"""Compare two systems on the same tweets. The unit is the tweet; every statistic is a call to scipy or
statsmodels.

Pre-registered primary outcome: the net win rate, (wins - losses) / tweets in points of -100..100; ties and
order disagreements count 0. Everything else is a check on it. Sources: Miller 2024, arXiv:2411.00640 (paired,
clustered); Dubois et al. 2024, arXiv:2404.04475 (length control).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from lib.base.errors import UserError
from lib.evidence.bias import Positions, named_biases, position_bias
from lib.evidence.effects import effect_sizes, permutation_test, score_tests, verdict_tests, wilcoxon
from lib.evidence.equal_style import doublings, length_control, named_habits, style_control
from lib.evidence.intervals import (
    N_RESAMPLES,
    Interval,
    design_effect,
    mean_interval,
    net_win_interval,
)
from lib.evidence.power import MIN_TWEETS, TARGET_D, smallest_effects
from lib.evidence.style import Amounts

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Outcomes:
    """One row per tweet: system a (the candidate) against system b.

    step: mean verdict in [-1, 1] over both orders and repeats (+1 a much better, +0.5 a better, 0 tie or the
    orders disagree).
    score_*: mean criterion score of the tweet's replies (1-10, or the offline judge's scale). chars_*: reply
    length, characters.
    cluster: author of the tweet; an empty string is an unknown author and stands alone.
    positions: None only for a judge that scores each reply alone and so has no position to prefer.
    habits: of style, besides the length (lib.evidence.style.amounts).
    """

    step: Sequence[float]
    score_a: Sequence[float]
    score_b: Sequence[float]
    chars_a: Sequence[float]
    chars_b: Sequence[float]
    cluster: Sequence[str]
    positions: Positions | None
    a: str = "tuned"
    b: str = "base"
    habits: Mapping[str, Amounts] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """All that is known of a against b. None means that the number does not exist for these outcomes; `notes`
    says why.

    win_rate counts a tie as half (0..1). net_win, ci95: points, -100..100. relative_mean: % of mean_b,
    changes with the scale's origin. mannwhitney_p, wilcoxon_p, permutation_p, cohens_d (pooled SD), hedges_g,
    d_z, cliffs_delta, r: scores.
    step_wilcoxon_p: verdict steps. sign_test_p, cluster_p: net win.
    length, style, position, mde: see length_control, style_control, position_bias, smallest_effects.
    underpowered: fewer than 100 tweets, or the smallest Cohen's d that they show with power 0.8 is above 0.3
    (at the observed correlation, tweets of one author counted for what they are worth).
    """

    a: str
    b: str
    n: int
    n_authors: int
    wins: int
    ties: int
    losses: int
    win_rate: float
    net_win: float
    ci95: Interval
    ci_method: str
    mean_a: float
    mean_b: float
    mean_diff: float
    mean_diff_ci95: Interval | None
    relative_mean: float | None
    mannwhitney_p: float
    wilcoxon_p: float
    step_wilcoxon_p: float
    permutation_p: float
    sign_test_p: float
    cluster_p: float | None
    cohens_d: float | None
    hedges_g: float | None
    d_z: float | None
    cliffs_delta: float
    r: float | None
    decisive_win_rate: float | None
    decisive_ci95: Interval
    length: dict[str, Any]
    style: dict[str, Any]
    position: dict[str, Any] | None
    biases: list[str]
    mde: dict[str, float | None]
    underpowered: bool
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: plain numbers, strings, lists and None, no NaN."""
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }


def compare(outcomes: Outcomes, seed: int = 17, n_resamples: int = N_RESAMPLES) -> Comparison:
    """Test a against b, tweet by tweet. The same outcomes and seed give the same answer.

    n_resamples: of the bootstrap and the permutation test. Raises UserError on no tweets, unequal lengths or
    values that are not numbers.
    """
    import numpy as np

    step, score_a, score_b, author = _checked(outcomes)
    sign, difference, n = np.sign(step), score_a - score_b, len(step)
    wins, losses = int((sign > 0).sum()), int((sign < 0).sum())
    ci95, ci_method = net_win_interval(sign, author, seed, n_resamples)
    effects = effect_sizes(score_a, score_b)
    mean_diff_ci95 = mean_interval(difference, author, seed, n_resamples)
    mean_a, mean_b = float(score_a.mean()), float(score_b.mean())
    n_effective = n / max(design_effect(sign, author), design_effect(difference, author))
    sd = float(difference.std(ddof=1)) if n > 1 else None
    mde = smallest_effects(n_effective, effects["r"] or 0.0, 1 - (wins + losses) / n, sd) | {
        "n_effective": n_effective
    }
    chars_a, chars_b = outcomes.chars_a, outcomes.chars_b
    length = length_control(sign, chars_a, chars_b, author)
    style = style_control(sign, {"length": doublings(chars_a, chars_b), **outcomes.habits}, author)
    position = position_bias(outcomes.positions)
    return Comparison(
        a=outcomes.a,
        b=outcomes.b,
        n=n,
        n_authors=int(author.max()) + 1,
        wins=wins,
        ties=n - wins - losses,
        losses=losses,
        win_rate=(wins - losses + n) / (2 * n),
        net_win=100 * (wins - losses) / n,
        ci95=ci95,
        ci_method=ci_method,
        mean_a=mean_a,
        mean_b=mean_b,
        mean_diff=float(difference.mean()),
        mean_diff_ci95=mean_diff_ci95,
        relative_mean=100 * (mean_a - mean_b) / mean_b if mean_b > 0 else None,
        **score_tests(score_a, score_b),
        step_wilcoxon_p=wilcoxon(step, np.zeros(n)),
        permutation_p=permutation_test(difference, author, seed, n_resamples),
        **verdict_tests(sign, author),
        **effects,
        length=length,
        style=style,
        position=position,
        biases=named_biases(ci95, length, position)
        + named_habits(100 * (wins - losses) / n, style, outcomes.a, outcomes.b),
        mde=mde,
        underpowered=n < MIN_TWEETS or mde["d"] is None or mde["d"] > TARGET_D,
        notes=_missing(effects, mean_diff_ci95, mean_b) + length["notes"],
    )


def _missing(effects: dict[str, float | None], mean_diff_ci95: Interval | None, mean_b: float) -> list[str]:
    """Reasons for the numbers that do not exist."""
    notes = [
        f"{name} does not exist: the scores do not vary"
        for name in ("cohens_d", "d_z", "r")
        if effects[name] is None
    ]
    if mean_diff_ci95 is None:
        notes.append(
            "the mean difference has no interval: fewer than two authors, or all differences are the same"
        )
    if mean_b <= 0:
        notes.append("the relative mean does not exist: the mean score of the baseline is not above 0")
    return notes


def _checked(outcomes: Outcomes) -> tuple[np.ndarray, ...]:
    """step, score_a, score_b and author number, (n,) each; UserError if they cannot be compared."""
    import numpy as np

    columns = ("step", "score_a", "score_b", "chars_a", "chars_b")
    values = {name: np.asarray(getattr(outcomes, name), dtype=float) for name in columns}
    sizes = {name: len(column) for name, column in values.items()} | {"cluster": len(outcomes.cluster)}
    if sizes["step"] == 0:
        raise UserError(
            f"No tweet has a verdict for {outcomes.a} against {outcomes.b}. Run the judge first, or look at "
            "its failures."
        )
    if len(set(sizes.values())) > 1:
        raise UserError(
            f"The columns of {outcomes.a} against {outcomes.b} differ in length ({sizes}). Give one row per "
            "tweet."
        )
    for name, column in values.items():
        if not np.isfinite(column).all():
            row = int(np.flatnonzero(~np.isfinite(column))[0])
            raise UserError(
                f"{name} of tweet {row} is {column[row]}. Leave out tweets that the judge could not answer."
            )
    if np.abs(values["step"]).max() > 1:
        raise UserError("A verdict step lies outside -1..1. Use +1, +0.5, 0, -0.5, -1 or their mean.")
    names = [name or f"\0{row}" for row, name in enumerate(outcomes.cluster)]
    author = np.unique(names, return_inverse=True)[1]
    return values["step"], values["score_a"], values["score_b"], author
