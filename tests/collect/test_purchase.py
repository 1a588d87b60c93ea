"""Buying once: what is started, looked for, read and booked, over a shop whose answers the test decides."""

from collections import Counter
from dataclasses import replace

import pytest

from lib.base.errors import UserError
from lib.base.ledger import Ledger
from lib.collect.provider import (
    AnswerLostError,
    BusyError,
    Delivery,
    GoneError,
    Price,
    Provider,
    RefusedError,
    Request,
    Run,
)
from lib.collect.purchase import Purchases, has_open

FILLER = {"noResults": True}


def wanted(*queries):
    return [Request("search", query, "a/b", {"query": query}, 10) for query in queries]


class Shop:
    """A provider of runs at 10 cents. answers: an error for each start that does not succeed."""

    def __init__(
        self, name="apify", answers=(), n_parallel=8, deliver=lambda query: [{"id": query}], blind=0
    ):
        self.answers, self.deliver, self.blind = iter(answers), deliver, blind
        self.runs, self.asked, self.open, self.most_open = {}, Counter(), 0, 0
        functions = (self.start, self.run_ids, self.find, self.wait, self.items)
        self.provider = Provider(name, Price("per run", usd_per_run=0.1), *functions, n_parallel=n_parallel)

    def start(self, request, max_usd):
        self.asked[request.query] += 1
        problem = next(self.answers, None)
        if problem is None or isinstance(problem, AnswerLostError):
            run = Run(f"R{len(self.runs)}", usd=0.1)
            self.runs[run.id] = request
            self.open += 1
            self.most_open = max(self.most_open, self.open)
        if problem is not None:
            raise problem
        return run

    def run_ids(self):
        return list(self.runs)

    def find(self, request, not_these):
        self.blind -= 1  # so often the list does not have the newest run yet
        found = [run for run in self.runs if self.runs[run] == request and run not in not_these]
        return Run(found[-1], usd=0.1) if found and self.blind < 0 else None

    def wait(self, run_id):
        if run_id not in self.runs:
            raise GoneError(f"{run_id} is gone.")
        return Run(run_id, usd=0.1)

    def items(self, request, run):
        self.open -= 1
        return Delivery(self.deliver(request.query))


@pytest.fixture
def set_of(tmp_path):
    """Purchases of the set in tmp_path from a shop; their lines are in .lines, their pauses in .slept."""

    def make(shop, max_usd=5.0, again=False):
        lines, slept = [], []
        voice = (lambda: None, lines.append, lambda item: True)
        purchases = Purchases(tmp_path, shop.provider, max_usd, *voice, again, slept.append)
        purchases.lines, purchases.slept = lines, slept
        return purchases

    return make


def refuse(sentence):
    raise UserError(sentence)


def states(folder):
    return [entry.state for entry in Ledger(folder / "ledger.jsonl").entries()]


def test_no_more_runs_are_open_at_once_than_the_provider_takes(set_of):
    shop = Shop(n_parallel=2)
    assert set_of(shop).buy(wanted(*"abcde"))
    assert shop.most_open == 2 and set(shop.asked.values()) == {1}


def test_the_waits_for_room_begin_anew_after_every_run_that_was_started(set_of):
    busy = [BusyError("full")] * 7
    purchases = set_of(Shop(n_parallel=1, answers=[*busy, None, *busy, None]))
    assert purchases.buy(wanted("a", "b"))
    assert purchases.slept[:3] == purchases.slept[7:10] == [5, 10, 20]


@pytest.mark.parametrize("problem", [RefusedError("no"), BusyError("full")])
def test_what_the_provider_did_not_start_is_closed_and_costs_nothing(set_of, tmp_path, problem):
    with pytest.raises(UserError):
        set_of(Shop(answers=[problem] * 99)).buy(wanted("a"))
    assert set(states(tmp_path)[1::2]) == {"failed"}
    assert set_of(Shop()).spent_usd() == 0 and not has_open(tmp_path, "apify")


def test_a_run_that_appears_late_in_the_list_is_adopted_and_not_started_twice(set_of, tmp_path):
    shop = Shop(answers=[AnswerLostError("dropped")], blind=3)
    purchases = set_of(shop)
    assert purchases.buy(wanted("a"))
    assert shop.asked["a"] == 1 and purchases.slept == [1, 2, 3]
    assert states(tmp_path) == ["intent", "started", "done"]


def test_runs_that_cannot_be_listed_before_the_first_start_are_a_warning(set_of):
    shop = Shop()
    shop.provider = replace(shop.provider, run_ids=lambda: refuse("no right to list"))
    purchases = set_of(shop)
    assert purchases.buy(wanted("a"))
    assert purchases.lines == ["warning: no right to list"]


def test_a_run_that_is_gone_is_lost_until_again_is_said_and_counts_at_its_worst(set_of, tmp_path):
    shop = Shop()
    shop.provider = replace(shop.provider, wait=lambda run_id: shop.wait("deleted"))
    with pytest.raises(GoneError):
        set_of(shop).buy(wanted("a"))
    assert has_open(tmp_path, "apify")
    purchases = set_of(shop, again=True)
    purchases.settle()
    assert purchases.spent_usd() == pytest.approx(0.1)
    assert not has_open(tmp_path, "apify")


def test_again_asks_once_more_in_one_command_and_only_where_nothing_but_filler_came(set_of):
    rows = {"filler": [FILLER], "some": [FILLER, {"id": "1"}], "none": [], "all": [{"id": "2"}]}
    shop = Shop(deliver=rows.get)
    requests = wanted(*rows)
    assert set_of(shop).buy(requests)
    assert set_of(shop).missing(requests) == []
    again = set_of(shop, again=True)
    assert [request.query for request in again.missing(requests)] == ["filler", "none"]
    assert again.buy(requests) and again.missing(requests) == []
    assert shop.asked == {"filler": 2, "some": 1, "none": 2, "all": 1}


def test_a_start_without_an_answer_and_without_a_run_is_tried_three_times(set_of):
    shop = Shop()

    def never(request, max_usd):
        shop.asked[request.query] += 1
        raise AnswerLostError("dropped")

    shop.provider = replace(shop.provider, start=never)
    with pytest.raises(UserError, match="could not be started"):
        set_of(shop).buy(wanted("a"))
    assert shop.asked["a"] == 3


def test_what_another_provider_left_open_is_left_to_it(set_of, tmp_path):
    theirs = Shop("twscrape")
    theirs.provider = replace(theirs.provider, wait=lambda run_id: refuse("stopped"))
    with pytest.raises(UserError, match="stopped"):
        set_of(theirs).buy(wanted("a"))
    set_of(Shop("apify")).settle()
    assert states(tmp_path) == ["intent", "started"]
    assert has_open(tmp_path, "twscrape") and not has_open(tmp_path, "apify")


def test_a_file_that_another_provider_delivered_is_not_asked_of_this_one(set_of):
    set_of(theirs := Shop("twscrape")).buy(wanted("a"))
    entry = set_of(theirs).done(wanted("a")[0])
    with pytest.raises(UserError, match=r"bought from twscrape, and collect\.source is apify"):
        set_of(Shop("apify")).read_again(entry)
    mine = set_of(theirs)
    mine.read_again(entry)
    assert "for free" in mine.lines[0] and mine.spent_usd() == pytest.approx(0.1)
