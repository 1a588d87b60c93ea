"""The judge's part in the plan of an evaluation: what passes the gate at its accuracy, the pairs of real
replies that its trust needs, and the cheapest way to more of both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.base.files import read_json
from lib.base.settings import EvalConfig
from lib.evaluate.report import Report
from lib.evidence.gate_power import gate_power, required_gate_tweets, required_pairs, smallest_gate_effect

ACCURACIES = (0.6, 0.65, 0.7, 0.8, 1.0)
EFFECTS = (0.5, 0.8)
ASSUMED_ACCURACY = 0.65  # of a good judge on pairs of real replies, where nothing is known of this one
PEOPLE = "ask people, of whom 50 blind votes are enough where they agree (`make human-eval`)"
USD_PER_ITEM = 0.0004  # a tweet or a reply; the upper end of what Apify's actors ask
# The bounds under which real likes give the most pairs that chance did not make (configs/data-main.yaml).
MANY_PAIRS = {"min_likes": 0, "min_chosen_likes": 5, "max_per_tweet": 10}


@dataclass(frozen=True)
class AtAccuracy:
    """What a judge of this accuracy lets pass with the tweets at hand. By true effect d: passes, 0..1, and
    tweets, the number for a power of 0.8. smallest: the d that passes with the tweets at hand. pairs: of real
    replies, for its trust. None: no number does.
    """

    accuracy: float
    passes: dict[float, float]
    tweets: dict[float, int | None]
    smallest: float | None
    pairs: int | None

    @classmethod
    def of(cls, accuracy: float, n: int, config: EvalConfig) -> "AtAccuracy":
        gate = config.gate
        points = max(gate.min_improvement, 0) if gate.improvement == "net_win" else 0
        bounds = (accuracy, gate.min_cohens_d, points)
        able = accuracy > 0.5
        return cls(
            accuracy=accuracy,
            passes={d: gate_power(d, n, *bounds) if able and n > 1 else 0.0 for d in EFFECTS},
            tweets={d: required_gate_tweets(d, *bounds) for d in EFFECTS},
            smallest=smallest_gate_effect(n, *bounds),
            pairs=required_pairs(accuracy),
        )


@dataclass(frozen=True)
class Known:
    """The accuracy that an earlier report found for this very judge on this data set."""

    accuracy: float
    n: int
    trusted: bool | None
    source: str


@dataclass(frozen=True)
class Supply:
    """Where more tweets and pairs come from. test_share: of the authors who are held out. preferences: the
    set's bounds. None, empty: the set's manifest does not say.
    """

    test_share: float | None
    replies_per_tweet: int | None
    preferences: Mapping[str, Any]

    @classmethod
    def of(cls, processed: Path) -> "Supply":
        path = processed / "manifest.json"
        config = (read_json(path).get("config") if path.is_file() else None) or {}
        return cls(
            test_share=config.get("split", {}).get("test"),
            replies_per_tweet=config.get("collect", {}).get("replies_per_tweet"),
            preferences=config.get("preferences", {}),
        )

    def usd_of_tweets(self, n: int) -> float | None:
        """Dollars for n more test tweets: they need no replies, and of all that are found a share is held
        out.
        """
        return n / self.test_share * USD_PER_ITEM if self.test_share else None

    def usd_of_pairs(self, n: int, per_tweet: float) -> float | None:
        """Dollars for n more calibration pairs: the replies to as many tweets as make them."""
        if not self.test_share or not self.replies_per_tweet or not per_tweet:
            return None
        return n / per_tweet / self.test_share * (1 + self.replies_per_tweet) * USD_PER_ITEM

    @property
    def gives_few_pairs(self) -> bool:
        """True if the set's bounds leave out pairs that the replies at hand could make."""
        own = self.preferences
        return bool(own) and (
            own.get("min_likes", 2) > MANY_PAIRS["min_likes"]
            or own.get("max_per_tweet", 5) < MANY_PAIRS["max_per_tweet"]
        )


def known_accuracy(reports: list[tuple[str, Report]], config: EvalConfig) -> Known | None:
    """The first report's that judged with this model and had pairs enough. reports: (source, report)."""
    for source, report in reports:
        found, judge = report.judge.calibration, report.judge
        if judge.kind != config.judge.kind or found is None or found.accuracy is None or not found.n:
            continue
        if found.status in (None, "not calibrated") or config.judge.model not in (None, judge.model):
            continue
        return Known(found.accuracy, found.n, found.trusted, source)
    return None


def advice_for_trust(plan: Mapping[str, Any], data: str) -> str | None:
    """One sentence where this judge could not show a good model on these tweets, or not earn trust.

    plan: of lib.evaluate.eval_plan.
    """
    known, at, n_tweets = plan["known"], plan["this_judge"], plan["n_prompts"]
    large, n_pairs = max(EFFECTS), plan["calibration"]["n_used"]
    needed = at.tweets[large]
    if known and needed is None:
        return (
            f"use another judge (EVAL=...) or {PEOPLE}: this one is right on {at.accuracy:.0%} of real pairs "
            f"({known.source}), and before it even d = {large} passes the gate {at.passes[large]:.0%} of the "
            f"time on {n_tweets:,} tweets, and hardly more often on more."
        )
    if known and n_tweets < needed:
        return (
            f"hold out {needed - n_tweets:,} more test prompts: this judge is right on {at.accuracy:.0%} of "
            f"real pairs ({known.source}), and before it d = {large} needs {needed:,} tweets to pass."
        )
    if at.pairs and n_pairs < at.pairs and not (known and known.trusted):
        return (
            f"make more pairs of real replies ({more_pairs(plan['supply'], data)}), or {PEOPLE}: with "
            f"{n_pairs:,} a win is likely to stay unproven; a judge that is right on {at.accuracy:.0%} needs "
            f"about {at.pairs:,} of them to be trusted."
        )
    return None


def more_pairs(supply: Supply, data: str) -> str:
    """The cheapest way to more calibration pairs."""
    if supply.gives_few_pairs:
        bounds = ", ".join(f"{key}: {value}" for key, value in MANY_PAIRS.items())
        return f"free, of the replies at hand: preferences: {{{bounds}}} in configs/data-{data}.yaml"
    return "collect replies to more tweets, or raise split.test"
