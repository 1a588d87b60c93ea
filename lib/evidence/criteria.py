"""The criteria of the gate, one row each: of the comparison, the judge, the replies, the model.

Mann-Whitney U, d > 0.3 and 15 points are the seed's gate; a Wilcoxon test joins because the tweets are pairs,
and length and position because a judge can be wrong in ways that no p value sees. The replies are looked at
themselves, because a judge can like what no reader would. All criteria must hold together, so none needs a
correction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from lib.evidence.power import MIN_TWEETS
from lib.evidence.stats import Comparison
from lib.evidence.trust import Trust

# A judge that flips a coin and never ties passes the other criteria in about 2% of runs with 200 tweets. The
# paired permutation test, by author, holds at any correlation, share of ties and tweets per author: at this
# level at most 0.25% of such runs pass. With 200 uncorrelated tweets it asks for d = 0.28, less than
# min_cohens_d does.
MAX_FALSE_PASS_P = 0.005

Row = dict[str, Any]
LABELS = {
    "tweets": "Enough tweets",
    "mannwhitney_p": "Chance",
    "wilcoxon_p": "Chance, tweet by tweet",
    "permutation_p": "Chance, author by author",
    "cohens_d": "Size of the effect",
    "improvement": "Improvement",
    "ci95": "Smallest plausible improvement",
    "length_controlled": "Length",
    "style": "Style",
    "position": "Order of the replies",
    "unjudged": "Answers of the judge",
    "judge_trust": "Trust in the judge",
    "baseline": "Replies of the base",
    "failed": "Empty, missing or cut off",
    "copied": "Copies of the tweet",
    "recited": "Recited from training",
    "alike": "Alike among themselves",
    "refusals": "Refusals",
    "toxic": "Toxic or hostile",
    "other_language": "Another language",
    "perplexity": "Fit to real replies",
    "train_eval_gap": "Learning by heart",
}
OF_REPLIES = ("failed", "copied", "recited", "alike", "refusals", "toxic", "other_language")
SIGNS = {"<": "below", ">": "above", ">=": "at least", "<=": "at most"}


class GateConfig(Protocol):
    """The `gate:` keys of an eval config."""

    max_p_value: float
    min_cohens_d: float
    improvement: str  # net_win (points) | relative_mean (percent)
    min_improvement: float
    max_perplexity: float
    max_train_eval_gap: float
    max_failed: float
    max_copied: float
    max_recited: float
    max_alike: float
    max_refusals: float
    max_toxic: float
    max_other_language: float
    judge_trust: str  # required | reported


@dataclass(frozen=True)
class Shares:
    """Looks of one system's replies: n of them, and the share (0..1) with each flaw; None: not measured."""

    n: int
    failed: float | None = None
    copied: float | None = None
    recited: float | None = None
    alike: float | None = None
    refusals: float | None = None
    toxic: float | None = None
    other_language: float | None = None


def criterion(
    name: str, value: float | None, sign: str, threshold: float, reason: str, missing: str = "not measured"
) -> Row:
    """One row. A value that is None or not finite does not pass, and is null in the row."""
    known = value if value is not None and math.isfinite(value) else None
    holds = (
        known is not None
        and {
            "<": known < threshold,
            ">": known > threshold,
            ">=": known >= threshold,
            "<=": known <= threshold,
        }[sign]
    )
    said = missing if known is None else f"{reason}: must be {SIGNS[sign]} {threshold:.3g}"
    return row(name, known, threshold, holds, said)


def row(name: str, value: float | None, threshold: float, holds: bool, reason: str) -> Row:
    """One row whose truth was found elsewhere."""
    return {
        "name": name,
        "label": LABELS[name],
        "value": value,
        "threshold": threshold,
        "pass": holds,
        "reason": reason,
    }


def of_comparison(c: Comparison, config: GateConfig) -> list[Row]:
    """Is there a difference, is it large enough, and does it favour the candidate?"""
    p, no_spread = config.max_p_value, "undefined: the scores do not vary"
    return [
        criterion("tweets", c.n, ">=", MIN_TWEETS, "tweets judged"),
        criterion("mannwhitney_p", c.mannwhitney_p, "<", p, "Mann-Whitney U on the scores"),
        criterion(
            "wilcoxon_p", c.wilcoxon_p, "<", p, "Wilcoxon signed-rank on the same scores, paired by tweet"
        ),
        criterion(
            "permutation_p",
            c.permutation_p,
            "<",
            min(p, MAX_FALSE_PASS_P),
            "paired permutation of the scores, by author",
        ),
        criterion(
            "cohens_d", c.cohens_d, ">", config.min_cohens_d, "Cohen's d of the scores, pooled SD", no_spread
        ),
        _improvement(c, config),
        criterion("ci95", c.ci95[0], ">", 0, "lower end of the 95% interval of the net win, points"),
    ]


def _improvement(c: Comparison, config: GateConfig) -> Row:
    if config.improvement == "relative_mean":
        missing = "undefined: the mean score of the baseline is not above 0"
        return criterion(
            "improvement",
            c.relative_mean,
            ">=",
            config.min_improvement,
            "relative mean score, %, scale-dependent",
            missing,
        )
    return criterion("improvement", c.net_win, ">=", config.min_improvement, "net win, points")


def of_habits(c: Comparison) -> list[Row]:
    """Could the judge's habits alone have made these verdicts?"""
    length = criterion(
        "length_controlled", c.length["low"], ">", 0.5, "lower end of the win rate's interval at equal length"
    )
    style = criterion(
        "style", c.style["low"], ">", 0, "lower end of the net win's interval at equal style, points"
    )
    if c.position is None:
        reason = "the judge scores each reply alone: there is no position to prefer"
        return [length, style, row("position", None, 0.5, True, reason)]
    reason = "share of the reply shown first: must be near 0.5, unless every pair was judged in both orders"
    return [
        length,
        style,
        row("position", c.position["first_chosen"], 0.5, c.position["harmless"], reason),
    ]


def of_judge(unjudged: float, trust: Trust, config: GateConfig) -> list[Row]:
    """Did the judge answer, and may it be believed? unjudged: share of the tweets that lack an answer."""
    reason = "share of the tweets that lack an answer, counted against the candidate"
    rows = [criterion("unjudged", unjudged, "<=", config.max_failed, reason)]
    if config.judge_trust == "required" or trust.stand_in:
        rows.append(row("judge_trust", float(trust.is_earned), 1, trust.is_earned, trust.sentence))
    return rows


def of_replies(shares: Mapping[str, Shares], config: GateConfig, base_absent: float = 0.0) -> list[Row]:
    """Are the replies themselves sound, whatever the judge says? shares: tuned, and base and human if known.

    The bound is the config's or, where it is higher, the most that chance would give people's own share: a
    detector errs on some subjects, and nobody has to write better than those who were learned from.
    base_absent: share of the tweets that base left without a readable reply; to win those is no win.
    """
    reason = "share of the tweets that base left without a readable reply"
    found = [criterion("baseline", base_absent, "<=", config.max_failed, reason)]
    for name in OF_REPLIES:
        # One reply alone is no share: on few tweets it would be more than any bound.
        bound, beside = max(getattr(config, f"max_{name}"), 1 / max(shares["tuned"].n, 1)), []
        for system, said in (("base", "base"), ("human", "people")):
            share = getattr(shares[system], name) if system in shares else None
            if share is not None:
                beside.append(f"{said} {share:.1%}")
            if share and system == "human":
                bound = max(bound, _chance_above(share, shares[system].n))
        reason = "share of the tuned replies" + (f" ({', '.join(beside)})" if beside else "")
        found.append(criterion(name, getattr(shares["tuned"], name), "<=", bound, reason))
    return found


def _chance_above(share: float, n: int) -> float:
    """A share that another n replies of the same writers hardly ever exceed: 3 standard errors of the
    difference above theirs (one time in a thousand).
    """
    return share + 3 * math.sqrt(2 * share * (1 - share) / n)


def of_model(perplexity: float | None, gap: float | None, config: GateConfig) -> list[Row]:
    """Is the model itself sound, whatever the judge says?"""
    return [
        criterion("perplexity", perplexity, "<", config.max_perplexity, "perplexity of the real replies"),
        criterion("train_eval_gap", gap, "<", config.max_train_eval_gap, "eval loss minus train loss"),
    ]
