"""Every machine that may still be billed: by the ledgers here and by the lists of engines in memory."""

from dataclasses import replace

import pytest

from lib.remote.rented import end_all, engines, look
from lib.remote.seam import Clock, Machine
from tests.remote.shop import NAME, Shop, begun, states


def test_a_machine_that_is_in_a_ledger_and_in_a_providers_list_is_listed_once(tmp_path, shop, ending):
    unit, asked_for = begun(ending), begun(ending, 1, is_started=False)
    other = Machine("far", "reply-train-far-0123abcd", 0.5)
    shop.alive = [replace(unit.machine, usd_per_hour=0.7), other]
    found = look(tmp_path, [shop])
    assert [(row.machine.id, row.run, row.machine.usd_per_hour) for row in found.machines] == [
        ("id0", "tiny", 0.7), ("", "tiny", 0.6), ("far", "", 0.5),
    ]  # fmt: skip
    assert asked_for.machine.name == NAME(1) and (found.asked, found.problems) == (["runpod"], [])


@pytest.mark.parametrize("was_used", [True, False])
def test_an_engine_that_does_not_answer_is_a_problem_where_it_was_used(tmp_path, shop, ending, was_used):
    begun(ending, engine="hf" if was_used else "runpod")
    silent = Shop(name="hf", is_silent=True)
    shop.alive = [Machine("far", "reply-train-far-0123abcd")]
    found = look(tmp_path, [silent, shop])
    assert "far" in [row.machine.id for row in found.machines] and found.asked == ["runpod"]
    assert found.problems == (["hf does not answer"] if was_used else [])


def test_a_machine_of_an_engine_without_a_key_is_named_with_its_run(tmp_path, shop, ending):
    begun(ending, engine="hf")
    (problem,) = look(tmp_path, [shop]).problems
    assert problem.startswith(f"{NAME(0)} (run tiny) is on hf, whose key is not set")
    assert look(tmp_path, [Shop(name="hf")]).problems == []


def test_all_are_ended_each_once_and_what_cannot_be_is_told(tmp_path, shop, ending):
    mine = begun(ending)
    shop.alive = [mine.machine, Machine("far", "reply-train-far-0123abcd")]
    assert end_all(tmp_path, [shop], shop.fast.clock(), (said := []).append) == []
    assert shop.calls == ["end id0", "end far"] and shop.alive == []
    assert said[-1] == "ended reply-train-far-0123abcd" and states(tmp_path) == {"0": "done"}
    begun(ending, 1)
    shop.alive, shop.cannot_end = [Machine("id1", NAME(1)), Machine("far2", "reply-train-far-0123abce")], True
    assert end_all(tmp_path, [shop], shop.fast.clock(), print) == [
        f"{NAME(1)} may still be billed", "reply-train-far-0123abce may still be billed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "runpod, hf, names",
    [("", "", []), ("k", " ", ["runpod"]), (" ", "t", ["hf"]), ("k", "t", ["runpod", "hf"])],
)
def test_the_engines_whose_key_is_set_are_asked(monkeypatch, runpod, hf, names):
    monkeypatch.setenv("RUNPOD_API_KEY", runpod)
    monkeypatch.setenv("HF_TOKEN", hf)
    assert [engine.name for engine in engines(Clock(), print)] == names
