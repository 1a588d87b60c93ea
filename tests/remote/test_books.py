"""The books of rented machines: what is spent, what may still be, and how long a machine may live."""

from datetime import UTC, datetime, timedelta

import pytest

from lib.base.errors import UserError
from lib.base.settings import RemoteConfig, TrainConfig
from lib.remote.books import Books
from lib.remote.orders import limits_of
from lib.remote.renting import Renting
from lib.remote.seam import Machine, Offer

OFFER = Offer("runpod", "A40", "a40", 48, 0.44, "HIGH", (20.0, 40.0))
HOUR = 3600


@pytest.fixture
def books(tmp_path):
    return Books(tmp_path)


def begun(books, name="m1", job="job", seconds=2 * HOUR):
    books.intend(name, OFFER, job, seconds, 0.3)
    machine = Machine(f"id-{name}", name, OFFER.usd_per_hour)
    books.started(machine)
    return machine


def later(books, seconds):
    """So many seconds after the first intent, since 1970."""
    return books.units()[0].intent.at.timestamp() + seconds


def test_an_open_machine_counts_with_all_that_its_life_may_cost(books):
    begun(books)
    assert books.spent_usd("job") == pytest.approx(0.88)
    assert books.spent_usd("another job") == 0
    books.intend("m2", OFFER, "job", HOUR, 0.1)  # asked for, and nobody knows yet
    assert books.spent_usd("job") == pytest.approx(1.32)
    books.failed("m2", "never started")
    assert books.spent_usd("job") == pytest.approx(0.88)


@pytest.mark.parametrize("seconds, usd", [(0, 0.0), (HOUR / 2, 0.22), (2 * HOUR, 0.88), (9 * HOUR, 0.88)])
def test_what_the_provider_does_not_bill_yet_is_price_times_time_until_the_deadline(books, seconds, usd):
    machine = begun(books)
    assert books.done(machine, None, later(books, seconds)) == pytest.approx(usd, abs=1e-4)
    assert books.spent_usd("job") == pytest.approx(usd, abs=1e-4)


def test_where_the_clock_was_set_back_the_whole_life_is_booked(books):
    assert books.done(begun(books), None, later(books, -HOUR)) == pytest.approx(0.88)


def test_the_providers_own_figure_wins(books):
    machine = begun(books)
    assert books.done(machine, 0.5, later(books, HOUR)) == books.spent_usd("job") == 0.5
    assert books.open_units() == []


def test_a_machine_ends_when_its_seconds_are_over(books):
    begun(books, seconds=90)
    started = books.units()[0].newest.at.timestamp()
    assert books.ends_at("m1") == pytest.approx(started + 90)


def test_bills_of_a_week_may_still_change(books):
    machine = begun(books)
    assert books.unsettled(later(books, 0)) == []  # not ended yet
    books.done(machine, None, later(books, HOUR))
    assert [unit.newest.key for unit in books.unsettled(later(books, 6.9 * 86_400))] == ["m1"]
    assert books.unsettled((datetime.now(UTC) + timedelta(days=7.1)).timestamp()) == []


@pytest.mark.parametrize("given, usd", [("", 3.0), ("2", 2.0), ("3", 3.0), ("50", 3.0), (" 0.5 ", 0.5)])
def test_max_usd_can_only_lower_what_a_job_may_cost(monkeypatch, given, usd):
    monkeypatch.setenv("MAX_USD", given)
    limits = limits_of(TrainConfig(data="x", remote=RemoteConfig(max_usd=3, max_minutes=90)))
    assert (limits.max_usd, limits.max_minutes) == (usd, 90)


@pytest.mark.parametrize("given", ["0", "-1", "nan", "inf", "two"])
def test_an_amount_that_rents_nothing_or_without_end_is_a_sentence(monkeypatch, given):
    monkeypatch.setenv("MAX_USD", given)
    with pytest.raises(UserError, match="MAX_USD"):
        limits_of(TrainConfig(data="x"))


class Job:
    """An order's folder, hash and limits: all that the arithmetic of a renting asks for."""

    def __init__(self, folder, max_usd, max_minutes):
        self.folder, self.hash = folder, "job"
        self.limits = limits_of(
            TrainConfig(data="x", remote=RemoteConfig(max_usd=max_usd, max_minutes=max_minutes))
        )


@pytest.mark.parametrize(
    "max_usd, max_minutes, seconds, is_enough",
    [
        (3, 90, 90 * 60, True),  # by the limit of time
        (0.22, 90, 1800, True),  # by what is left to spend
        (0.14, 90, 1145, False),  # less than the 20 minutes that the job takes at best
        (3, 20, 1200, True),
        (3, 19, 1140, False),
    ],
)
def test_time_and_money_bound_a_machines_life(
    tmp_path, monkeypatch, max_usd, max_minutes, seconds, is_enough
):
    monkeypatch.delenv("MAX_USD", raising=False)
    renting = Renting(None, Job(tmp_path, max_usd, max_minutes), print, print, None)
    assert renting._seconds(OFFER) == seconds
    assert renting._is_enough(seconds, OFFER) == is_enough
    begun(renting.books, seconds=600)
    left = max(0.0, max_usd - 0.44 / 6)
    assert renting._left_usd() == pytest.approx(left, abs=1e-5)


def test_a_machine_that_nobody_has_answered_for_cost_nothing_and_a_bill_of_zero_is_one(books):
    books.intend("m1", OFFER, "job", HOUR, 0.3)
    assert books.done(Machine("", "m1"), None, later(books, HOUR)) == 0
    machine = begun(books, "m2")
    assert books.done(machine, 0.0, later(books, HOUR)) == books.spent_usd("job") == 0
    assert [unit.newest.note["source"] for unit in books.units()] == ["reckoned", "billed"]
    assert [unit.newest.key for unit in books.unsettled(later(books, HOUR))] == [
        "m2"
    ]  # nobody bills the other


def test_a_unit_is_a_machine_and_keeps_what_was_asked_for(books):
    books.ledger.append("intent", "batch-1", "judge", note={"job": "job", "worst_usd": 9})
    begun(books)
    (unit,) = books.units()
    assert (unit.machine, unit.engine) == (Machine("id-m1", "m1", 0.44), "runpod")
    assert unit.intent.note == {
        "engine": "runpod", "gpu": "A40", "usd_per_hour": 0.44, "seconds": 7200, "worst_usd": 0.88,
        "estimate_usd": 0.3, "job": "job",
    }  # fmt: skip
    assert books.open_units() == [unit]
    books.intend("m2", OFFER, "job", HOUR, 0.1)
    assert [unit.newest.key for unit in books.open_units()] == ["m1", "m2"]
