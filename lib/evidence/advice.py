"""The decision after a verdict: publish, train again, collect more, or look for evidence first.

From the criteria that failed, the course of the losses, and the flaws of the replies that lost.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lib.base.course import Losses, training_advice
from lib.evidence.power import MIN_TWEETS, required_tweets
from lib.evidence.stats import Comparison
from lib.evidence.trust import Trust

ADVICE = {
    "unjudged": (
        "let the judge answer what is open (`make eval` again; AGAIN=1 also asks what it gave up), or use a "
        "judge that answers"
    ),
    "position": "judge every pair in both orders (judge.orders: both)",
    "baseline": "let base answer every tweet (look at its empty replies in replies.jsonl), and judge again",
    "length_controlled": (
        "make the systems write at similar length, or use a judge that does not follow length"
    ),
}
FIX = {
    "failed": "look at the empty and cut-off replies: raise sampling.max_new_tokens, or train on more pairs",
    "copied": "it copies the tweet: train on replies that say something of their own, with a higher rank",
    "recited": "it recites training replies: train for fewer epochs, or on more and more varied pairs",
    "alike": "its replies are too much alike: train on more varied pairs, and with filler: reject",
    "refusals": "it refuses: train for longer, and take refusals out of the pairs",
    "toxic": "it insults: lower max_toxicity, review the pairs again, and train on what is left",
    "other_language": (
        "it answers in another language: raise min_language_confidence, and train on what is left"
    ),
}
CURES = {
    "generic": "take filler out of the pairs (filler: reject) and review them again",
    "off topic": "train on pairs whose reply takes up the tweet, and for longer",
    "invented detail": "take replies out that claim facts which the tweet does not give",
    "hostile": "lower max_toxicity and review the pairs again",
    "copy": "take replies out that repeat the tweet",
    "truncated": "raise sampling.max_new_tokens",
}
# More tweets do not mend these.
NOT_ABOUT_TWEETS = ("perplexity", "train_eval_gap", "position", "unjudged", "baseline", *FIX)
MIN_AUTHORS = 9  # of fewer the test by author has too few ways to swap them (2 in 2^9 is 0.4%) ever to pass
MEASURE = {
    "perplexity": "measure perplexity",
    "train_eval_gap": "measure the gap between training and validation loss",
}


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


@dataclass(frozen=True)
class Decision:
    """The end of a report, one of four. sentence: what to do, without a full stop."""

    kind: Literal["publish", "train", "collect", "no_evidence"]
    sentence: str


def decide(
    verdict: str,
    comparison: Comparison,
    failed: Sequence[Mapping[str, Any]],
    min_cohens_d: float,
    trust: Trust,
    losses: Losses = (),
    classes: Sequence[tuple[str, int, int]] = (),
    usd_per_tweet: float | None = None,
) -> Decision:
    """Publish, train a second version, collect more, or look for evidence.

    failed: the criteria of the gate that do not hold. classes, usd_per_tweet: see lib.evidence.gate.Facts.
    """
    if verdict == "pass":
        return Decision("publish", "read the blind examples in the report, then `make publish`")
    if verdict == "unproven":
        return Decision("no_evidence", trust.needs or "use another judge")
    if verdict == "underpowered" and not trust.stand_in:
        return Decision("collect", _more_tweets(comparison, min_cohens_d, trust, usd_per_tweet))
    measured = [row["name"] for row in failed if row["value"] is not None]
    missing = [row["name"] for row in failed if row["name"] in MEASURE and row["value"] is None]
    of_replies = [FIX[name] for name in measured if name in FIX]
    if of_training := {"perplexity", "train_eval_gap"} & set(measured):
        return Decision("train", "; ".join([training_advice(of_training, losses), *of_replies]))
    if of_replies:
        return Decision("train", "; ".join(of_replies))
    evidence = [name for name in measured if name != "judge_trust"]
    for name in ("unjudged", "baseline", "position"):
        if name in evidence:
            return Decision("no_evidence", ADVICE[name])
    if evidence == ["permutation_p"] and comparison.n_authors < MIN_AUTHORS:
        return Decision("collect", _more_authors(comparison))
    if evidence and {*evidence} <= {"length_controlled", "style"}:
        return Decision("no_evidence", style_advice(comparison.style["habits"]))
    if missing and not evidence:
        return Decision("no_evidence", " and ".join(MEASURE[name] for name in missing))
    if not trust.is_earned:
        return Decision("no_evidence", trust.needs or "use another judge")
    return Decision("train", _change(classes))


def _more_tweets(c: Comparison, min_cohens_d: float, trust: Trust, usd_per_tweet: float | None) -> str:
    r = min(c.r or 0.0, 0.99)
    needed = math.ceil(required_tweets(min_cohens_d, r=r)["tweets"] * c.n / c.mde["n_effective"])
    more = max(needed - c.n, MIN_TWEETS - c.n, 1)
    price = f", about ${more * usd_per_tweet:,.2f} at the price of these" if usd_per_tweet else ""
    said = f"judge about {more:,} more tweets ({max(needed, MIN_TWEETS):,} show d = {min_cohens_d:g}{price})"
    if c.n_authors < MIN_AUTHORS:
        said += f"; {_more_authors(c)}"
    return (
        said if trust.is_earned or not trust.needs else f"{said}; the judge needs support too: {trust.needs}"
    )


def _more_authors(c: Comparison) -> str:
    return (
        f"collect tweets of more authors: {c.n_authors} are too few to tell the win from the luck of these, "
        f"however many tweets they wrote ({MIN_AUTHORS} are the least, 40 a fair number)"
    )


def _change(classes: Sequence[tuple[str, int, int]]) -> str:
    """The change of data or training that the lost and tied tweets suggest, the commonest flaw first."""
    worse = sorted(
        ((name, lost) for name, lost, won in classes if lost > won and name in CURES),
        key=lambda found: -found[1],
    )
    if not worse:
        return "read the losses in the report, then change the data or the training, not the judge"
    cures = [f"{CURES[name]} ({lost} of the lost or tied replies)" for name, lost in worse[:2]]
    return f"change the data or the training, not the judge: {'; '.join(cures)}"
