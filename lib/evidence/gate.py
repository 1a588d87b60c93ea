"""Does the tuned model pass? Every criterion must hold; a run too small to know says "underpowered", never
"pass".

Mann-Whitney U, d > 0.3 and 15 points are the seed's gate; a Wilcoxon test joins because the tweets are pairs,
and length and position because a judge can be wrong in ways that no p value sees. All criteria must hold
together, so none needs a correction.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

from lib.evidence.advice import NOT_ABOUT_TWEETS, Losses, next_step
from lib.evidence.power import MIN_TWEETS
from lib.evidence.stats import Comparison

# A judge that flips a coin and never ties passes the other criteria in about 2% of runs with 200 tweets. The
# paired permutation test, by author, holds at any correlation, share of ties and tweets per author: at this
# level at most 0.25% of such runs pass. With 200 uncorrelated tweets it asks for d = 0.28, less than
# min_cohens_d does.
MAX_FALSE_PASS_P = 0.005

WHY_NET_WIN = (
    "The net win rate, (wins - losses) / tweets, means the same on every scale; a relative mean changes "
    "with the scale's origin (15% of a mean of 6 is 0.9 points, d = 0.6 at an SD of 1.5)."
)
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
    "perplexity": "Fit to real replies",
    "train_eval_gap": "Learning by heart",
}
BOUND = {"<": "below", ">": "above", ">=": "at least"}


class GateConfig(Protocol):
    """The `gate:` keys of an eval config."""

    max_p_value: float
    min_cohens_d: float
    improvement: str  # net_win (points) | relative_mean (percent)
    min_improvement: float
    max_perplexity: float
    max_train_eval_gap: float


def evaluate_gate(
    comparison: Comparison,
    perplexity: float | None,
    train_eval_gap: float | None,
    config: GateConfig,
    fewshot: Comparison | None = None,
    losses: Losses = (),
) -> dict[str, Any]:
    """Judge the comparison of tuned (a) against base (b); fewshot is the same against the few-shot baseline.

    perplexity: of the real replies under the tuned model. train_eval_gap: eval loss minus train loss, nats
    per token. None is "not measured" and does not pass. losses: the validation losses of the run, for the
    advice. Returns verdict (pass | fail | underpowered), sentence, next, criteria [{name, label, value,
    threshold, pass, reason}], improvement (both kinds, and why the chosen one), fewshot and biases. A pass
    needs 100 tweets and every criterion; beating few-shot is said, not required. "Underpowered": fewer
    than 100 tweets, or d = 0.3 would not have been seen, and nothing shows that more tweets cannot help (an
    interval below the improvement asked for, a criterion that is not about tweets).
    """
    criteria = _evidence(comparison, config) + _trust(comparison) + _model(perplexity, train_eval_gap, config)
    failed = [criterion for criterion in criteria if not criterion["pass"]]
    verdict = "fail" if failed else "pass"
    if failed and _more_tweets_could_help(comparison, failed, config):
        verdict = "underpowered"
    against_fewshot = _against_fewshot(fewshot)
    advice = next_step(verdict, comparison, failed, config.min_cohens_d, losses)
    return {
        "verdict": verdict,
        "sentence": _sentence(verdict, comparison, failed, against_fewshot, advice),
        "next": advice,
        "criteria": criteria,
        "improvement": {
            "chosen": config.improvement,
            "net_win": comparison.net_win,
            "relative_mean": comparison.relative_mean,
            "why": WHY_NET_WIN,
        },
        "fewshot": against_fewshot,
        "biases": comparison.biases,
    }


def _criterion(
    name: str, value: float | None, sign: str, threshold: float, reason: str, missing: str = "not measured"
) -> dict[str, Any]:
    """One row. A value that is None or not finite does not pass, and is null in the row."""
    known = value if value is not None and math.isfinite(value) else None
    holds = (
        known is not None
        and {
            "<": known < threshold,
            ">": known > threshold,
            ">=": known >= threshold,
        }[sign]
    )
    said = missing if known is None else f"{reason}: must be {BOUND[sign]} {threshold:g}"
    return _row(name, known, threshold, holds, said)


def _row(name: str, value: float | None, threshold: float, holds: bool, reason: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": LABELS[name],
        "value": value,
        "threshold": threshold,
        "pass": holds,
        "reason": reason,
    }


def _evidence(c: Comparison, config: GateConfig) -> list[dict[str, Any]]:
    """Is there a difference, is it large enough, and does it favour the candidate?"""
    p, no_spread = config.max_p_value, "undefined: the scores do not vary"
    return [
        _criterion("tweets", c.n, ">=", MIN_TWEETS, "tweets judged"),
        _criterion("mannwhitney_p", c.mannwhitney_p, "<", p, "Mann-Whitney U on the scores"),
        _criterion(
            "wilcoxon_p", c.wilcoxon_p, "<", p, "Wilcoxon signed-rank on the same scores, paired by tweet"
        ),
        _criterion(
            "permutation_p",
            c.permutation_p,
            "<",
            min(p, MAX_FALSE_PASS_P),
            "paired permutation of the scores, by author",
        ),
        _criterion(
            "cohens_d", c.cohens_d, ">", config.min_cohens_d, "Cohen's d of the scores, pooled SD", no_spread
        ),
        _improvement(c, config),
        _criterion("ci95", c.ci95[0], ">", 0, "lower end of the 95% interval of the net win, points"),
    ]


def _improvement(c: Comparison, config: GateConfig) -> dict[str, Any]:
    if config.improvement == "relative_mean":
        missing = "undefined: the mean score of the baseline is not above 0"
        return _criterion(
            "improvement",
            c.relative_mean,
            ">=",
            config.min_improvement,
            "relative mean score, %, scale-dependent",
            missing,
        )
    return _criterion("improvement", c.net_win, ">=", config.min_improvement, "net win, points")


def _trust(c: Comparison) -> list[dict[str, Any]]:
    """Could the judge's habits alone have made these verdicts?"""
    length = _criterion(
        "length_controlled", c.length["low"], ">", 0.5, "lower end of the win rate's interval at equal length"
    )
    style = _criterion(
        "style", c.style["low"], ">", 0, "lower end of the net win's interval at equal style, points"
    )
    if c.position is None:
        reason = "the judge scores each reply alone: there is no position to prefer"
        return [length, style, _row("position", None, 0.5, True, reason)]
    reason = "share of the reply shown first: must be near 0.5, unless every pair was judged in both orders"
    return [
        length,
        style,
        _row("position", c.position["first_chosen"], 0.5, c.position["harmless"], reason),
    ]


def _model(perplexity: float | None, gap: float | None, config: GateConfig) -> list[dict[str, Any]]:
    """Is the model itself sound, whatever the judge says?"""
    return [
        _criterion("perplexity", perplexity, "<", config.max_perplexity, "perplexity of the real replies"),
        _criterion("train_eval_gap", gap, "<", config.max_train_eval_gap, "eval loss minus train loss"),
    ]


def _more_tweets_could_help(c: Comparison, failed: list[dict[str, Any]], config: GateConfig) -> bool:
    """Too few tweets to have seen the effect, and nothing that more of them would leave as it is."""
    unseen = any(
        criterion["name"] not in (*NOT_ABOUT_TWEETS, "length_controlled", "style") for criterion in failed
    )
    settled = any(
        criterion["name"] in NOT_ABOUT_TWEETS and criterion["value"] is not None for criterion in failed
    )
    least = config.min_improvement if config.improvement == "net_win" else 0.0
    return c.underpowered and unseen and not settled and not c.length["explained"] and c.ci95[1] >= least


def _against_fewshot(fewshot: Comparison | None) -> dict[str, Any]:
    """Does tuning beat showing examples in the prompt? beats is None when that was not compared."""
    if fewshot is None:
        return {
            "beats": None,
            "net_win": None,
            "ci95": None,
            "sentence": "the few-shot baseline was not compared",
        }
    beats = fewshot.ci95[0] > 0
    verb = "it beats" if beats else "it does not beat"
    low, high = fewshot.ci95
    sentence = (
        f"{verb} the few-shot baseline ({fewshot.net_win:+.1f} points, 95% CI {low:+.1f} to {high:+.1f}, n "
        f"= {fewshot.n})"
    )
    return {"beats": beats, "net_win": fewshot.net_win, "ci95": list(fewshot.ci95), "sentence": sentence}


def _sentence(
    verdict: str, c: Comparison, failed: list[dict[str, Any]], fewshot: dict[str, Any], advice: str
) -> str:
    """The verdict with its evidence and the next step, as one sentence."""
    d, seen = (f"{x:.2f}" if x is not None else "undefined" for x in (c.cohens_d, c.mde["d"]))
    evidence = (
        f"on {c.n} tweets {c.a} against {c.b} has {c.net_win:+.1f} net win points (95% CI {c.ci95[0]:+.1f} "
        f"to {c.ci95[1]:+.1f}; Wilcoxon p = {c.wilcoxon_p:.2g}, d = {d}; smallest d that could have been "
        f"seen {seen})"
    )
    parts = [f"{verdict.capitalize()}: {evidence}"]
    if verdict == "fail" and c.underpowered:
        parts.append("underpowered as well: so few tweets could not have shown a small effect")
    if failed:
        parts.append("not met: " + ", ".join(criterion["label"] for criterion in failed))
    parts += [*c.biases, fewshot["sentence"], "next: " + advice]
    return "; ".join(parts) + "."
