"""The cost of a collecting job: what it may be, what it will be, and what came of it, in words."""

import math
from dataclasses import dataclass

from lib.base.errors import UserError
from lib.base.settings import DataConfig
from lib.collect.provider import Price

PAIRS_PER_TWEET = (
    4  # (estimate) of 50 replies to a tweet with 200-2,000 likes; only the forecast of the cost depends on it
)


@dataclass(frozen=True)
class Outcome:
    """The content of raw/manifest.json.

    stopped: target | exhausted | budget. pairs: replies that pass the cheap bounds.
    """

    stopped: str
    pairs: int
    target_pairs: int
    searches: int
    tweets: int
    reply_runs: int
    items: int
    filler: int
    usd: float
    max_usd: float


def budget(config: DataConfig, max_usd: str | None) -> float:
    """Dollars that the set may cost: collect.max_usd, lowered (never raised) by MAX_USD."""
    if not max_usd:
        return config.collect.max_usd
    try:
        lowered = float(max_usd)
    except ValueError:
        lowered = math.nan
    if not lowered >= 0:
        raise UserError(f"MAX_USD={max_usd}: expected an amount in dollars, such as 5 or 0.50.")
    return min(config.collect.max_usd, lowered)


def summary(outcome: Outcome) -> str:
    """The counts, what stopped the job, and what it cost."""
    why = {
        "target": "the target is reached",
        "exhausted": (
            "every query and tweet has been asked: add queries, or raise collect.tweets_per_query, for more"
        ),
        "budget": "the budget is used up: raise collect.max_usd for more",
    }
    real = outcome.items - outcome.filler
    return "\n".join(
        [
            f"collect: about {outcome.pairs:,} of {outcome.target_pairs:,} pairs; {why[outcome.stopped]}",
            f"  searches  {outcome.searches:>7,}",
            f"  tweets    {outcome.tweets:>7,}   pass the filter; replies asked of {outcome.reply_runs:,}",
            f"  items     {real:>7,}   and {outcome.filler:,} rows of filler",
            f"  cost      ${outcome.usd:.4f} of ${outcome.max_usd:.2f}",
        ]
    )


def time_left(elapsed_s: float, n_gained: int, n_missing: int) -> str:
    """`, about 4 min left`, at the pace so far; nothing where there is none, or nothing is missing."""
    if n_gained <= 0 or n_missing <= 0:
        return ""
    minutes = elapsed_s / n_gained * n_missing / 60
    return f", about {minutes:.0f} min left" if minutes >= 1 else ", less than a minute left"


def estimate(
    config: DataConfig,
    price: Price,
    n_searches: int,
    n_tweets: int | None,
    n_pairs: int,
    spent_usd: float,
    max_usd: float,
    account: str,
) -> str:
    """The rest to pay for, as a question. n_tweets: those still without replies, None before the searches."""
    collect = config.collect
    most = (
        collect.tweets_per_query * len(set(collect.queries)) if n_tweets is None or n_searches else n_tweets
    )
    expected = min(most, max(0, math.ceil((collect.target_pairs - n_pairs) / PAIRS_PER_TWEET)))
    search_usd, replies_usd = (
        price.worst_usd(collect.tweets_per_query),
        price.worst_usd(collect.replies_per_tweet),
    )
    low_usd, high_usd = (
        n_searches * search_usd + expected * replies_usd,
        n_searches * search_usd + most * replies_usd,
    )
    left_usd = max(0.0, max_usd - spent_usd)
    floor = f", at least {price.floor} items billed per run" if price.floor else ""
    lines = [
        f"{collect.actor}: ${1000 * price.usd_per_item:.2f} per 1,000 items ({price.model}{floor})",
        f"  searches  {n_searches:>5,} x ${search_usd:.4f}",
        f"  replies   {expected:>5,} x ${replies_usd:.4f}   to as many tweets, {most:,} at most",
        f"  expected  ${min(low_usd, left_usd):.2f}, at most ${min(high_usd, left_usd):.2f}",
        f"  spent     ${spent_usd:.2f} of the ${max_usd:.2f} that this set may cost",
    ]
    return "\n".join([*lines, *([f"  account   {account}"] if account else []), "Start?"])
