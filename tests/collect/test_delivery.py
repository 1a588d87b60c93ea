"""A delivery: read until it is whole, stored as it came, with what was paid for all of it."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lib.base.seals import damage
from lib.collect.apify_prices import n_billed, price_of
from lib.collect.delivery import WAITS_S, read_whole, store
from lib.collect.provider import Delivery, Price, Provider, Request, Run

ROWS = [{"id": str(n)} for n in range(10)]
REQUEST = Request("search", "cats", "a/b", {"query": "cats"}, 50)


def read(deliveries, run):
    """(delivery, what is missing, lines, pauses) of a provider that answers so, the last answer for ever."""
    answers, lines, slept = list(deliveries), [], []

    def items(request, run):
        return answers.pop(0) if len(answers) > 1 else answers[0]

    provider = Provider("x", Price("x"), *[lambda *_: None] * 4, items)
    return *read_whole(provider, REQUEST, run, lines.append, slept.append), lines, slept


def test_a_count_that_shrinks_is_not_believed():
    deliveries = [Delivery(ROWS[:8], n_total=10), Delivery(ROWS[:8], n_total=8)]
    delivery, missing, _, slept = read(deliveries, Run("R"))
    assert "gave 8 rows where 10 are counted" in missing
    assert delivery.n_total == 10 and slept == list(WAITS_S)


def test_rows_that_were_billed_and_will_not_come_are_a_warning_and_a_whole_delivery_is_none():
    long_ago = datetime.now(UTC) - timedelta(hours=2)
    run = Run("R", n_billed=12, ended_at=long_ago)
    _, missing, lines, slept = read([Delivery(ROWS, n_total=10, n_empty=0)], run)
    assert missing == "" and slept == []
    assert (
        len(lines) == 1 and "warning: run R (cats) gave 10 rows where 10 are counted and 12 were" in lines[0]
    )
    assert read([Delivery(ROWS, n_total=10)], replace(run, n_billed=10))[1:] == ("", [], [])


def test_what_is_not_kept_was_paid_for_and_is_counted(tmp_path):
    rows = [*ROWS, {"noResults": True}]
    path, price = tmp_path / "raw" / "search.jsonl", Price("per item", 0.001)
    usd, note = store(path, REQUEST, Run("R"), Delivery(rows), price, lambda item: item.get("id") != "3")
    meta = json.loads(path.with_suffix(".meta.json").read_text())
    assert usd == meta["usd"] == pytest.approx(0.011)
    assert (meta["n_read"], meta["n_items"], meta["n_filler"], meta["n_forgotten"]) == (11, 10, 1, 1)
    assert (note["n_items"], note["n_filler"], note["file"]) == (10, 1, "search.jsonl")
    assert damage(path) == ""


def test_items_are_stored_as_they_came_half_an_emoji_too(tmp_path):
    odd = [{"text": "half \ud83d emoji"}, {"text": "ünïcode \u2028 ✓"}, "text", None, 7]
    path = tmp_path / "raw" / "search.jsonl"
    store(path, REQUEST, Run("R"), Delivery(odd), Price("x"), lambda item: True)
    lines = path.read_bytes().split(b"\n")
    assert [json.loads(line) for line in lines if line] == odd
    assert "ünïcode" in lines[1].decode()


# --- prices ----------------------------------------------------------------------------------------------


def actor(**events):
    named = {name.replace("_", "-"): event for name, event in events.items()}
    info = {"pricingModel": "PAY_PER_EVENT", "pricingPerEvent": {"actorChargeEvents": named}}
    return {"pricingInfos": [info]}


@pytest.mark.parametrize(
    ("events", "usd_per_item", "usd_per_run"),
    [
        ({"tweet": {"eventPriceUsd": 0.1}, "result": {"eventPriceUsd": 9, "isOneTimeEvent": True}}, 0.1, 9),
        ({"tweet": {"eventPriceUsd": 0.5}, "page": {"eventPriceUsd": 0.1, "isPrimaryEvent": True}}, 0.1, 0.5),
        ({"tweet": {"eventPriceUsd": 0.1}, "page": {"eventPriceUsd": 0.5}}, 0.1, 0.5),
        ({"tweet": {"eventPriceUsd": 0.1}, "post": {"eventPriceUsd": 0.5}}, 0.5, 0.1),
        ({"actor_start": {"eventPriceUsd": 0.5}, "page": {"eventPriceUsd": 0.1}}, 0.1, 0.5),
        ({"actor_start": {"eventPriceUsd": 0.5}}, 0.0, 0.5),
    ],
)
def test_the_item_is_what_the_actor_sells_or_names_so_never_what_is_charged_once(
    events, usd_per_item, usd_per_run
):
    price = price_of(actor(**events), 0)
    assert (price.usd_per_item, price.usd_per_run) == (usd_per_item, usd_per_run)


@pytest.mark.parametrize(
    ("total_usd", "n"), [(0.4, 1000), (0.4001, None), (0.40022, None), (0.0004, 1), (0.0, None)]
)
def test_a_cost_tells_how_many_items_were_billed_where_it_is_a_whole_multiple_of_the_price(total_usd, n):
    class Billed:
        charged_event_counts, usage_usd, usage_total_usd = None, None, total_usd

    info = {"pricingModel": "PRICE_PER_DATASET_ITEM", "pricePerUnitUsd": 0.0004}
    assert n_billed({"pricingInfos": [info]}, Billed) == n
