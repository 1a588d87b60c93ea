"""An end that is certain, and books that say what it cost, with an engine in memory."""

import pytest

from lib.base.errors import UserError
from lib.remote.ending import YOUNG_S
from lib.remote.rented import settle_all
from lib.remote.seam import Machine
from tests.remote.shop import NAME, Shop, begun, states
from tests.remote.world import ledger_of


@pytest.mark.parametrize("n_unseen, age_s, is_found", [(0, 0, True), (3, 0, True), (1, 2 * YOUNG_S, False)])
def test_a_machine_that_has_just_started_is_looked_for_more_than_once(
    tmp_path, shop, ending, n_unseen, age_s, is_found
):
    unit = begun(ending)
    shop.alive, shop.n_unseen, shop.fast.ahead_s = [unit.machine], n_unseen, age_s
    assert ending.find(unit) == (unit.machine if is_found else None)
    assert states(tmp_path) == {"0": "started" if is_found else "done"}


@pytest.mark.parametrize("state", ["starting", "running", "over", "ended"])
def test_a_machine_that_is_not_absent_is_there_whatever_it_does(shop, ending, state):
    unit = begun(ending)
    shop.alive, shop.states = [unit.machine], {"id0": state}
    assert ending.find(unit) == unit.machine and shop.calls == []


def test_a_machine_that_was_asked_for_and_never_answered_is_looked_for_by_its_name(tmp_path, shop, ending):
    unit = begun(ending, is_started=False)
    shop.alive, shop.n_unseen = [Machine("a", NAME(0)), Machine("b", NAME(0)), Machine("c", NAME(1))], 2
    assert ending.find(unit) == Machine("a", NAME(0))
    assert [machine.id for machine in shop.alive] == ["a", "c"]  # a second one of its name is ended
    assert ledger_of(tmp_path).entries()[-1].id == "a"


def test_a_machine_that_never_was_costs_nothing_and_what_was_laid_out_for_it_goes(tmp_path, shop, ending):
    assert ending.find(begun(ending, is_started=False)) is None
    assert shop.calls == ["end nothing"] and states(tmp_path) == {"0": "failed"}
    assert ending.books.spent_usd("the job") == 0


def test_an_end_that_is_not_certain_leaves_the_books_open(tmp_path, shop, ending):
    unit = begun(ending)
    shop.cannot_end = True
    with pytest.raises(UserError, match="may still be billed"):
        ending.end(unit.machine)
    assert states(tmp_path) == {"0": "started"}


def test_a_machine_that_cannot_be_ended_keeps_no_other_from_its_end(tmp_path, shop, ending):
    shop.alive = [begun(ending, number).machine for number in range(3)]
    end = shop.end

    def end_most(machine):
        shop.cannot_end = machine.id == "id1"
        end(machine)

    shop.end = end_most
    with pytest.raises(UserError, match=f"^{NAME(1)} may still be billed$"):
        ending.end_open()
    assert states(tmp_path) == {"0": "done", "1": "started", "2": "done"}


def test_who_turns_up_after_it_was_given_up_is_ended_and_booked_too(tmp_path, shop, ending):
    begun(ending, 1, is_started=False)
    ending.books.failed(NAME(1), "never started")
    unit = begun(ending, 2)
    shop.alive = [Machine("late", NAME(1)), unit.machine, Machine("other", NAME(3))]
    shop.bills = {"late": 0.25, "id2": 0.5}
    ending.end(unit.machine)
    assert [machine.id for machine in shop.alive] == ["other"]
    assert {entry.id: entry.usd for entry in ledger_of(tmp_path).latest().values()} == {
        "late": 0.25,
        "id2": 0.5,
    }
    assert states(tmp_path) == {"1": "done", "2": "done"}


def test_keys_and_parcels_go_with_their_machine_and_no_other(tmp_path, ending):
    begun(ending, 1)
    for name in (NAME(0), NAME(1)):
        (ending.folder / "remote" / name).mkdir(parents=True)
        (ending.folder / "remote" / name / "id").touch()
    ending.clean()
    assert [path.name for path in (ending.folder / "remote").iterdir()] == [NAME(1)]
    ending.end(ending.books.units()[0].machine)
    assert not (ending.folder / "remote").exists()


@pytest.mark.parametrize(
    "bill, usd, source", [(0.2, 0.2, "billed"), (0.0, 0.0, "billed"), (None, 0.6, "reckoned")]
)
def test_the_bill_is_the_providers_or_else_price_times_time(tmp_path, shop, ending, bill, usd, source):
    unit = begun(ending)
    shop.bills, shop.fast.ahead_s = {"id0": bill}, 3600
    ending.end(unit.machine)
    newest = ledger_of(tmp_path).entries()[-1]
    assert (newest.usd, newest.note["source"]) == (pytest.approx(usd, abs=0.001), source)


@pytest.mark.parametrize("answers", [[None, None, 0.4], [UserError("busy"), 0.4], [UserError("busy")] * 3])
def test_a_bill_that_is_late_is_asked_for_again_and_undoes_no_end(tmp_path, shop, ending, answers):
    unit, left = begun(ending), list(answers)

    def billed(machine):
        answer = left.pop(0)
        if isinstance(answer, UserError):
            raise answer
        return answer

    shop.billed = billed
    ending.end(unit.machine)
    assert left == [] and states(tmp_path) == {"0": "done"}
    assert ledger_of(tmp_path).entries()[-1].note["source"] == ("billed" if 0.4 in answers else "reckoned")


def test_an_engine_is_asked_about_its_own_machines_and_bills_alone(tmp_path, shop, ending):
    begun(ending, 1, engine="hf")
    mine = begun(ending, 2)
    shop.alive = [mine.machine]
    ending.end_open()
    assert states(tmp_path) == {"1": "started", "2": "done"} and shop.calls == ["end id2"]
    hf = Shop(name="hf")
    hf.ending(tmp_path).end(ending.books.units()[0].machine)
    shop.bills, hf.bills = {"id1": 9.0, "id2": 0.101}, {"id1": 0.202, "id2": 9.0}
    for engine in (shop, hf):
        engine.ending(tmp_path).settle()
    assert {entry.id: entry.usd for entry in ledger_of(tmp_path).latest().values()} == {
        "id1": 0.202,
        "id2": 0.101,
    }


def test_a_late_bill_is_booked_once_to_the_cent_and_below(tmp_path, shop, ending):
    unit = begun(ending)
    shop.bills = {"id0": 0.2}
    ending.end(unit.machine)
    n_lines = len(ledger_of(tmp_path).entries())
    for bill, n_more in ((None, 0), (0.2, 0), (0.201, 1), (0.201, 1), (0.0, 2)):
        shop.bills = {"id0": bill}
        settle_all(tmp_path, [shop], shop.fast.clock(), print)
        assert len(ledger_of(tmp_path).entries()) == n_lines + n_more, bill
    assert ending.books.spent_usd("the job") == 0
