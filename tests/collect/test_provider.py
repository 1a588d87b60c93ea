"""Prices, deliveries and estimates by themselves: what a run can cost, and when all of it has come."""

from datetime import UTC, datetime, timedelta

import pytest

from lib.base.settings import DataConfig
from lib.collect.delivery import file_word
from lib.collect.forecast import PAIRS_PER_TWEET, Outcome, budget, estimate, summary
from lib.collect.posts import requests_of
from lib.collect.provider import Delivery, Price, Run

EVENTS = {"start": 0.01, "item": 0.001}
PRICE = Price("pay per event", 0.001, 0.01, floor=20, minimum_cap_usd=0.015, events=EVENTS)


@pytest.mark.parametrize(("max_items", "usd"), [(1, 0.03), (20, 0.03), (21, 0.031), (100, 0.11)])
def test_a_run_costs_at_most_its_start_and_its_items_or_its_floor(max_items, usd):
    assert PRICE.worst_usd(max_items) == pytest.approx(usd)
    assert Price("x", 0.001, minimum_cap_usd=0.5).worst_usd(max_items) == 0.5


@pytest.mark.parametrize(
    ("run", "n", "usd"),
    [
        (Run("R", usd=0.3), 5, 0.3),
        (Run("R", events={"start": 1, "item": 7, "odd": 9}), 5, 0.017),
        (Run("R"), 5, 0.015),
        (Run("R"), 0, 0.0),
    ],
)
def test_a_run_has_cost_what_was_reported_or_its_events_or_its_rows(run, n, usd):
    assert PRICE.actual_usd(run, n) == pytest.approx(usd)


def run(n_billed=None, hours=None):
    ended = None if hours is None else datetime.now(UTC) - timedelta(hours=hours)
    return Run("R", n_billed=n_billed, ended_at=ended)


ROWS = [{"id": str(n)} for n in range(10)]


@pytest.mark.parametrize(
    ("delivery", "of", "whole"),
    [
        (Delivery(ROWS, n_total=10), run(10), True),
        (Delivery(ROWS, n_total=11), run(10), False),
        (Delivery(ROWS, n_total=10), run(11), False),
        (Delivery(ROWS[:1], n_total=1), run(20), True),  # the floor is billed for fewer rows too
        (Delivery([], n_total=0), run(20), False),  # but not for none
        (Delivery(ROWS, n_total=12, n_empty=2), run(12), True),  # empty rows are counted and left out
        (Delivery(ROWS, n_total=12, n_empty=1), run(12), False),
        (Delivery([{"#debug": {}}, *ROWS[:9]], n_total=12, n_empty=3), run(12), True),  # hidden is empty, too
        (Delivery(ROWS, n_total=10, n_empty=0), run(12, hours=0.5), False),
        (Delivery(ROWS, n_total=10, n_empty=0), run(12, hours=1.1), True),  # billed without rows
        (Delivery(ROWS, n_total=12, n_empty=0), run(12, hours=1.1), False),
        (Delivery(ROWS, n_repeated=2, n_total=12, n_empty=0), run(12, hours=1.1), True),
        (Delivery(ROWS, n_total=10, n_empty=None), run(12, hours=1.1), False),
    ],
)
def test_a_delivery_is_whole_where_every_row_that_was_billed_or_is_held_has_come(delivery, of, whole):
    assert delivery.is_whole(of, floor=20) == whole


def test_a_run_without_an_end_has_no_counters_that_lag():
    assert run().has_ended_for(10**9)
    assert run(hours=1).has_ended_for(3500) and not run(hours=1).has_ended_for(3700)


@pytest.mark.parametrize(
    ("run_id", "is_word"), [("aB3", True), ("a" * 64, True), ("a" * 65, False), ("../x", False), ("é", False)]
)
def test_a_run_s_id_is_part_of_a_file_s_name_where_it_cannot_leave_the_folder(run_id, is_word):
    assert (file_word(run_id) == run_id) == is_word
    assert file_word(run_id).isalnum()


# --- the estimate ----------------------------------------------------------------------------------------


def config(**collect):
    values = {"queries": ["cats", "dogs", "cats"], "tweets_per_query": 30, "replies_per_tweet": 50}
    return DataConfig.model_validate({"collect": values | {"target_pairs": 100} | collect})


@pytest.mark.parametrize(
    ("n_tweets", "n_pairs", "max_usd", "lines"),
    [
        (None, 0, 9.0, ("searches      2 x $0.0400", "replies      25 x $0.0600", "tweets, 60 at most")),
        (None, 0, 9.0, ("expected  $1.58, at most $3.68",)),  # 2 x 0.04 and 25 or 60 x 0.06
        (None, 0, 1.0, ("expected  $0.50, at most $0.50", "spent     $0.50 of the $1.00")),
        (None, 60, 9.0, ("replies      10 x $0.0600",)),
        (None, 100, 9.0, ("replies       0 x $0.0600",)),
    ],
)
def test_the_estimate_counts_searches_and_replies_within_what_is_left(n_tweets, n_pairs, max_usd, lines):
    said = estimate(config(), PRICE, 2, n_tweets, n_pairs, 0.5, max_usd, "")
    assert all(line in said for line in lines)
    assert PAIRS_PER_TWEET == 4


def test_after_the_searches_the_tweets_that_are_there_are_the_most():
    said = estimate(config(), PRICE, 0, 7, 0, 0.0, 9.0, "a balance of $3")
    assert "replies       7 x $0.0600   to as many tweets, 7 at most" in said
    assert "searches      0" in said and "account   a balance of $3" in said
    assert "at least 20 items billed per run" in said


def test_the_summary_tells_items_from_filler_and_what_stopped_the_job():
    said = summary(Outcome("budget", 80, 100, 2, 30, 12, 500, 120, 1.25, 2.0))
    assert "about 80 of 100 pairs; the budget is used up" in said
    assert "items         380   and 120 rows of filler" in said
    assert "cost      $1.2500 of $2.00" in said and "replies asked of 12" in said


@pytest.mark.parametrize(("max_usd", "usd"), [(None, 50), ("", 50), ("0", 0), ("0.50", 0.5), ("99", 50)])
def test_max_usd_lowers_what_a_set_may_cost_and_an_empty_one_says_nothing(max_usd, usd):
    assert budget(config(), max_usd) == usd


def test_posts_are_asked_for_a_hundred_at_a_time_each_once():
    links = [f"https://x.com/ann/status/{10**17 + n}" for n in range(201)]
    found = requests_of(config(actor="apidojo/tweet-scraper"), links)
    assert [one.max_items for one in found] == [100, 100, 1]
    assert sorted(url for one in found for url in one.input["startUrls"]) == sorted(links)
    assert requests_of(config(actor="a/b"), links[::-1])[0].input == {
        "startUrls": sorted(links)[:100],
        "maxItems": 100,
    }
