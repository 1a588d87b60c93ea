"""Apify's price lists: what a run costs at most, and how many items one was billed for."""

import math
from datetime import UTC, datetime
from typing import Any

from lib.base.errors import UserError
from lib.collect.provider import Price

ASSUMED_USD_PER_ITEM = 0.0005  # for actors that list no price; above what comparable ones ask
ROW_EVENT = "apify-default-dataset-item"  # charged by Apify itself, once per row
PER_RESULT = ("pricePerUnitUsd", "tieredPricing", "tieredPricePerUnitUsd")


def price_of(actor: dict[str, Any], floor: int) -> Price:
    """The price in force, at its dearest tier. actor: as GET /v2/actors/{id} answers.

    Raises UserError where a price is no amount.
    """
    info = _in_force(actor)
    model = str(info.get("pricingModel", ""))
    if model == "PRICE_PER_DATASET_ITEM":
        return Price("pay per result", _dearest(info, *PER_RESULT), floor=floor)
    if model == "PAY_PER_EVENT":
        minimum_cap_usd = _amount(info.get("minimalMaxTotalChargeUsd") or 0, "minimalMaxTotalChargeUsd")
        return _price_per_event(_events(info), floor, minimum_cap_usd)
    return Price("no price listed, this one is assumed", ASSUMED_USD_PER_ITEM, floor=floor)


def n_billed(actor: dict[str, Any], run: Any) -> int | None:
    """Items that the run was charged for, as its events or its cost tell; None where neither does.

    run: apify_client's Run. A cost tells where everybody pays the same price per item and it is a whole
    multiple of that: else it holds other things too, such as the use of the platform.
    """
    charged, info = run.charged_event_counts or {}, _in_force(actor)
    events = _events(info) if info.get("pricingModel") == "PAY_PER_EVENT" else {}
    for event in (ROW_EVENT, _item_event(events)):
        if event in charged and _is_item(event, events.get(event, {})):
            return charged[event]
    if named := [n for event, n in charged.items() if _is_item(event, {})]:
        return max(named)
    if info.get("pricingModel") != "PRICE_PER_DATASET_ITEM" or info.get("tieredPricing") or run.usage_usd:
        return None
    n = (run.usage_total_usd or 0.0) / (_dearest(info, *PER_RESULT) or math.inf)
    return round(n) if math.isfinite(n) and n > 0.5 and abs(n - round(n)) < 0.001 else None


def _in_force(actor: dict[str, Any]) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    listed = actor.get("pricingInfos") or []
    if not isinstance(listed, list):
        raise _no_amount("pricingInfos", listed)
    infos = [info for info in listed if isinstance(info, dict)]
    infos.sort(key=lambda info: str(info.get("startedAt")))
    newest = infos[-1] if infos else {}
    return next((info for info in reversed(infos) if str(info.get("startedAt", "")) <= now), newest)


def _price_per_event(events: dict[str, dict[str, Any]], floor: int, minimum_cap_usd: float) -> Price:
    usd = {name: _event_usd(event) for name, event in events.items()}
    per_item = _item_event(events)
    usd_per_run = sum(price for name, price in usd.items() if name != per_item)
    return Price("pay per event", usd.get(per_item or "", 0.0), usd_per_run, floor, minimum_cap_usd, usd)


def _events(info: dict[str, Any]) -> dict[str, dict[str, Any]]:
    listed = info.get("pricingPerEvent")
    events = listed.get("actorChargeEvents") if isinstance(listed, dict) else None
    if isinstance(events, dict) and events and all(isinstance(event, dict) for event in events.values()):
        return events
    raise _no_amount("actorChargeEvents", events)


def _event_usd(event: dict[str, Any]) -> float:
    return _dearest(event, "eventPriceUsd", "eventTieredPricingUsd", "tieredEventPriceUsd")


def _item_event(events: dict[str, dict[str, Any]]) -> str | None:
    """The event that is charged per item: the one that is sold or named so, the dearest of several."""
    rank = {
        name: (_is_item(name, event), _event_usd(event))
        for name, event in events.items()
        if not event.get("isOneTimeEvent") and not name.endswith("actor-start")
    }
    return max(rank, key=lambda name: rank[name], default=None)


def _is_item(name: str, event: dict[str, Any]) -> int:
    """2: the actor says that this event is what it sells; 1: its name says so."""
    named = any(word in name.lower() for word in ("item", "result", "tweet", "post", "row"))
    return 2 if event.get("isPrimaryEvent") else int(named)


def _dearest(info: dict[str, Any], flat: str, tiers: str, tier: str) -> float:
    """The flat price, or the highest tier's: which tier the account is on cannot be read reliably."""
    listed = info.get(tiers) or {}
    if not isinstance(listed, dict) or not all(isinstance(entry, dict) for entry in listed.values()):
        raise _no_amount(tiers, listed)
    prices = [_amount(entry.get(tier), tier) for entry in listed.values()]
    if not prices or info.get(flat) is not None:
        prices.append(_amount(info.get(flat), flat))
    return max(prices)


def _amount(value: Any, name: str) -> float:
    """Dollars, zero included. A price that is none could pass every cap: NaN is not above anything."""
    try:
        usd = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        usd = math.nan
    if not 0 <= usd < math.inf:
        raise _no_amount(name, value)
    return usd


def _no_amount(name: str, value: Any) -> UserError:
    return UserError(
        f"Apify lists a price of the actor that is no amount in dollars ({name}: {str(value)[:60]}). "
        "Nothing was started. See the actor's page at apify.com, try again later, or set another "
        "collect.actor."
    )
