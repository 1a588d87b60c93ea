"""The habits that a judge may follow instead of quality, in words; which reply it reads first."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from lib.base.errors import UserError
from lib.evidence.intervals import Interval, wilson


@dataclass(frozen=True)
class Positions:
    """The judge's treatment of the reply shown first, counted in judged comparisons.

    decisive: comparisons that were not ties; first_wins: those that the reply shown first won. both_orders:
    pairs judged in both orders; order_flips: those whose two verdicts contradict each other. one_order:
    comparisons whose swapped twin is missing.
    """

    first_wins: int
    decisive: int
    order_flips: int
    both_orders: int
    one_order: int = 0


def position_bias(positions: Positions | None) -> dict[str, Any] | None:
    """P(first chosen) among decisive comparisons and the share of order flips, each with a Wilson interval.
    Shares are 0..1.

    harmless: every pair was judged in both orders (a flip is then a tie), or the interval of P(first chosen)
    includes 0.5.
    """
    if positions is None:
        return None
    first, decisive, flips, both = (
        positions.first_wins,
        positions.decisive,
        positions.order_flips,
        positions.both_orders,
    )
    if not (0 <= first <= decisive and 0 <= flips <= both and positions.one_order >= 0):
        raise UserError(
            f"Position counts contradict each other: {positions}. Count wins of the first reply among "
            "decisive comparisons."
        )
    ci95 = wilson(first, decisive)
    one_order = max(positions.one_order, decisive if both == 0 else 0)
    return asdict(positions) | {
        "one_order": one_order,
        "first_chosen": first / decisive if decisive else None,
        "ci95": ci95,
        "flip_share": flips / both if both else None,
        "flip_ci95": wilson(flips, both),
        "harmless": one_order == 0 or ci95[0] <= 0.5 <= ci95[1],
    }


def named_biases(
    net_win_ci95: Interval, length: dict[str, Any], position: dict[str, Any] | None
) -> list[str]:
    """The habits that the judge follows besides the replies' quality, in words."""
    named = []
    if position and not position["ci95"][0] <= 0.5 <= position["ci95"][1]:
        low, high = position["ci95"]
        named.append(
            f"position: the reply shown first won {position['first_chosen']:.0%} of {position['decisive']} "
            f"decisive comparisons (95% CI {low:.0%} to {high:.0%}); {position['order_flips']} of "
            f"{position['both_orders']} pairs changed with the order"
        )
    if position and position["both_orders"] >= 30 and position["flip_ci95"][1] >= 0.5:
        named.append(
            f"consistency: {position['flip_share']:.0%} of the verdicts changed with the order; a coin "
            "changes 50%"
        )
    if length["follows_length"]:
        named.append(
            f"length: the longer reply won {length['longer_wins']:.0%} of decisive tweets (Spearman "
            f"{length['correlation']:+.2f})"
        )
    elif net_win_ci95[0] > 0 and length["explained"]:
        named.append(
            f"length: the candidate is longer on {length['a_longer']:.0%} of the tweets; its win cannot be "
            "told from length"
        )
    return named
