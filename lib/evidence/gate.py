"""Does the tuned model pass? Every criterion must hold; a run too small to know says "underpowered", and a
win before a judge that nothing supports says "unproven": never "pass".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lib.evidence import criteria
from lib.evidence.advice import NOT_ABOUT_TWEETS, Losses, decide
from lib.evidence.criteria import GateConfig, Row, Shares
from lib.evidence.stats import Comparison
from lib.evidence.trust import Trust

WHY_NET_WIN = (
    "The net win rate, (wins - losses) / tweets, means the same on every scale; a relative mean changes "
    "with the scale's origin (15% of a mean of 6 is 0.9 points, d = 0.6 at an SD of 1.5)."
)


@dataclass(frozen=True)
class Facts:
    """All that the gate is told besides the comparison of tuned against base.

    perplexity: of the real replies under the tuned model. train_eval_gap: eval loss minus train loss, nats
    per token. None is "not measured" and does not pass. shares: system -> looks of its replies, tuned at
    least. unjudged: share of the tweets that lack an answer of the judge; the comparison counts them against
    tuned, best_net_win (points) for it. base_absent: share of the tweets without a readable reply of base.
    classes: (kind of flaw, losses and ties that have it, wins that have it), for the advice, as are the
    validation losses and usd_per_tweet, the price of one more tweet.
    """

    perplexity: float | None
    train_eval_gap: float | None
    shares: Mapping[str, Shares]
    trust: Trust
    unjudged: float = 0.0
    best_net_win: float | None = None
    base_absent: float = 0.0
    fewshot: Comparison | None = None
    losses: Losses = ()
    classes: Sequence[tuple[str, int, int]] = ()
    usd_per_tweet: float | None = None


def evaluate_gate(comparison: Comparison, facts: Facts, config: GateConfig) -> dict[str, Any]:
    """Judge the comparison of tuned (a) against base (b), in which what is missing counts against tuned.

    Returns verdict (pass | fail | underpowered | unproven), sentence, decision {kind, sentence}, next (its
    sentence), criteria [{name, label, value, threshold, pass, reason}], improvement (both kinds, and why the
    chosen one), bounds (the net win with every missing answer against and for tuned), fewshot and biases. A
    pass needs 100 tweets and every criterion; beating few-shot is said, not required. "Underpowered": fewer
    than 100 tweets, or d = 0.3 would not have been seen, and nothing shows that more tweets cannot help (an
    interval below the improvement asked for, a criterion that is not about tweets). "Unproven": everything
    holds but the trust in the judge.
    """
    rows = [
        *criteria.of_comparison(comparison, config),
        *criteria.of_habits(comparison),
        *criteria.of_judge(facts.unjudged, facts.trust, config),
        *criteria.of_replies(facts.shares, config, facts.base_absent),
        *criteria.of_model(facts.perplexity, facts.train_eval_gap, config),
    ]
    failed = [row for row in rows if not row["pass"]]
    verdict = _verdict(comparison, failed, config)
    against_fewshot = _against_fewshot(facts.fewshot)
    decision = decide(
        verdict,
        comparison,
        failed,
        config.min_cohens_d,
        facts.trust,
        facts.losses,
        facts.classes,
        facts.usd_per_tweet,
    )
    best = comparison.net_win if facts.best_net_win is None else facts.best_net_win
    return {
        "verdict": verdict,
        "sentence": _sentence(verdict, comparison, failed, against_fewshot, decision.sentence),
        "decision": {"kind": decision.kind, "sentence": decision.sentence},
        "next": decision.sentence,
        "criteria": rows,
        "improvement": {
            "chosen": config.improvement,
            "net_win": comparison.net_win,
            "relative_mean": comparison.relative_mean,
            "why": WHY_NET_WIN,
        },
        "bounds": {"net_win": [comparison.net_win, best], "unjudged": facts.unjudged},
        "fewshot": against_fewshot,
        "biases": comparison.biases,
    }


def _verdict(c: Comparison, failed: Sequence[Row], config: GateConfig) -> str:
    if not failed:
        return "pass"
    if all(row["name"] == "judge_trust" for row in failed):
        return "unproven"
    return "underpowered" if _more_tweets_could_help(c, failed, config) else "fail"


def _more_tweets_could_help(c: Comparison, failed: Sequence[Row], config: GateConfig) -> bool:
    """Too few tweets to have seen the effect, and nothing that more of them would leave as it is."""
    others = (*NOT_ABOUT_TWEETS, "judge_trust", "length_controlled", "style")
    unseen = any(row["name"] not in others for row in failed)
    settled = any(row["name"] in NOT_ABOUT_TWEETS and row["value"] is not None for row in failed)
    least = config.min_improvement if config.improvement == "net_win" else 0.0
    return c.underpowered and unseen and not settled and not c.length["explained"] and c.ci95[1] >= least


def _named(row: Row) -> str:
    """The criterion in the sentence; of the replies with the share that was found."""
    if row["name"] not in criteria.OF_REPLIES or row["value"] is None:
        return row["label"]
    return f"{row['label']} ({row['value']:.0%} of the replies, at most {row['threshold']:.0%})"


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
    verdict: str, c: Comparison, failed: Sequence[Row], fewshot: dict[str, Any], advice: str
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
        parts.append("not met: " + ", ".join(map(_named, failed)))
    parts += [*c.biases, fewshot["sentence"], "next: " + advice]
    return "; ".join(parts) + "."
