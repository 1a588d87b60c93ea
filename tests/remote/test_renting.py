"""One machine for one job, with an engine in memory: never two, never one left, never more than agreed to."""

from dataclasses import replace

import pytest

from lib.base.errors import UserError
from lib.remote.seam import AnswerLostError, Machine, NeverUpError, NoRoomError
from tests.remote.shop import A40, A6000, L40S, NAME, NOTHING, rent
from tests.remote.world import Desk, ledger_of


def states(home):
    return [entry.state for entry in ledger_of(home).entries()]


def left_behind(home, shop, job="the job", name="reply-train-tiny-abcdef01", engine="runpod"):
    """A machine that an earlier process started and did not end."""
    books = shop.ending(home).books
    machine = Machine(f"old-{name[-2:]}", name, 0.6)
    books.intend(name, replace(A40, engine=engine), job, 5400, 0.3)
    books.started(machine)
    shop.alive.append(machine)
    return machine


def test_the_cheapest_offer_is_asked_about_rented_booked_and_ended(tmp_path, shop):
    shop.bills = {"id0": 0.2}
    desk = Desk()
    assert rent(tmp_path, shop, desk) == ["manifest.json"]
    assert shop.calls == ["start a40", "ready id0", "fetch id0", "end id0"] and shop.alive == []
    (question,) = desk.asked
    assert "runpod A40, 4–30 min, about $0.04–0.30), for at most $3.00 in all and 90 minutes" in question
    assert states(tmp_path) == ["intent", "started", "done"]
    assert ledger_of(tmp_path).spent_usd("pod") == 0.2 and "ended " + NAME(0) + ": $0.20" in desk.text
    assert (tmp_path / "adapters/tiny/remote.log").read_text() == "training\n"
    assert not (tmp_path / "adapters/tiny/remote").exists()


def test_before_a_machine_is_asked_for_its_name_and_cautious_estimate_are_in_the_books(tmp_path, shop):
    shop.starts = [NoRoomError("full"), NoRoomError("full")]
    rent(tmp_path, shop)
    assert shop.seen == [("intent", NAME(n)) for n in range(3)]
    intents = [entry.note for entry in ledger_of(tmp_path).entries() if entry.state == "intent"]
    assert [(note["gpu"], note["estimate_usd"], note["worst_usd"]) for note in intents] == [
        ("A40", 0.3, 0.9), ("RTX A6000", 0.45, 1.35), ("L40S", 0.6, 1.8),
    ]  # fmt: skip
    assert shop.calls[:4] == ["start a40", "end nothing", "start a6000", "end nothing"]


def test_a_machine_that_does_not_come_up_is_ended_before_the_next_is_asked_for(tmp_path, shop):
    shop.ups = [NeverUpError("no runtime")]
    rent(tmp_path, shop, desk := Desk())
    assert shop.calls == [
        "start a40",
        "ready id0",
        "end id0",
        "start a6000",
        "ready id1",
        "fetch id1",
        "end id1",
    ]
    assert f"{NAME(0)} did not come up: no runtime" in desk.text


def test_what_was_spent_on_machines_that_never_came_up_is_said(tmp_path, shop):
    shop.ups, shop.bills = [NeverUpError("no")] * 3, {"id0": 0.1, "id1": 0.2, "id2": 0.3}
    with pytest.raises(UserError, match=r"No machine could be had or came up \(\$0.60 spent\)"):
        rent(tmp_path, shop)
    assert shop.alive == []


@pytest.mark.parametrize("problem", [UserError("no"), RuntimeError("a bug"), SystemExit(143)])
def test_whatever_breaks_off_a_job_the_machine_is_ended(tmp_path, shop, problem):
    shop.lines = ["training", problem]
    with pytest.raises(type(problem)):
        rent(tmp_path, shop)
    assert shop.alive == [] and states(tmp_path)[-1] == "done"


def test_what_is_home_is_not_rented_for_and_an_earlier_machine_of_it_is_ended(tmp_path, shop):
    left_behind(tmp_path, shop)
    (tmp_path / "adapters/tiny/manifest.json").write_text("{}")
    desk = Desk()
    assert rent(tmp_path, shop, desk) == []
    assert shop.calls == ["end old-01"] and desk.asked == []


def test_the_machine_of_an_earlier_process_is_gone_on_with_unasked(tmp_path, shop):
    left_behind(tmp_path, shop)
    rent(tmp_path, shop, desk := Desk())
    assert shop.calls == ["ready old-01", "fetch old-01", "end old-01"] and desk.asked == []


@pytest.mark.parametrize(
    "state, is_used", [("running", True), ("over", True), ("starting", True), ("ended", False)]
)
def test_a_machine_is_gone_on_with_while_it_may_be_of_use(tmp_path, shop, state, is_used):
    machine = left_behind(tmp_path, shop)
    shop.states[machine.id] = state
    rent(tmp_path, shop)
    assert ("ready old-01" in shop.calls) == is_used
    assert shop.calls.count("end old-01") == 1 and shop.calls.count("start a40") == (not is_used)


def test_a_machine_of_another_job_and_a_second_one_are_ended_first(tmp_path, shop):
    left_behind(tmp_path, shop, job="an earlier config", name="reply-train-tiny-abcdef02")
    left_behind(tmp_path, shop, name="reply-train-tiny-abcdef03")
    left_behind(tmp_path, shop, name="reply-train-tiny-abcdef04")
    rent(tmp_path, shop)
    assert shop.calls == ["end old-02", "end old-04", "ready old-03", "fetch old-03", "end old-03"]


def test_a_machine_on_another_engine_is_not_forgotten(tmp_path, shop):
    left_behind(tmp_path, shop, engine="hf")
    with pytest.raises(UserError, match=r"abcdef01 of this run is on hf .*ON=hf"):
        rent(tmp_path, shop)
    assert shop.calls == []


@pytest.mark.parametrize(
    "now, gpus, n_asked",
    [
        ([A40, A6000], ["a40"], 1),
        ([replace(A40, availability="NONE"), A6000], ["a6000"], 1),
        ([A6000], ["a6000"], 1),
        ([replace(A40, usd_per_hour=0.61)], ["a40"], 1),  # two in a hundred are no other price
        ([replace(A40, usd_per_hour=0.62)], ["a40"], 2),
    ],
)
def test_an_offer_is_looked_at_again_after_the_question(tmp_path, shop, now, gpus, n_asked):
    class Slow(list):
        def append(self, question):
            super().append(question)
            shop.listed = now

    desk = Desk(asked=Slow())
    rent(tmp_path, shop, desk)
    assert [call.split()[1] for call in shop.calls if call.startswith("start")] == gpus
    assert len(desk.asked) == n_asked
    if n_asked == 2:
        assert desk.asked[1] == "Rent A40 at $0.62 an hour?" and "from $0.60 to $0.62" in desk.text


@pytest.mark.parametrize("rate, is_kept", [(0.6, True), (0.612, True), (0.62, False)])
def test_a_machine_that_costs_more_than_was_offered_is_ended(tmp_path, shop, rate, is_kept):
    shop.rate, shop.listed = rate, [A40]
    if is_kept:
        rent(tmp_path, shop)
    else:
        with pytest.raises(UserError, match="No machine could be had"):
            rent(tmp_path, shop)
    used = ["start a40", "ready id0", "fetch id0", "end id0"] if is_kept else ["start a40", "end id0"]
    assert shop.calls == used and states(tmp_path)[-1] == "done"


def test_a_start_without_an_answer_is_looked_for_before_another(tmp_path, shop):
    shop.starts, shop.n_unseen = [AnswerLostError("a time-out")], 3
    rent(tmp_path, shop)
    assert shop.calls == ["start a40", "ready id0", "fetch id0", "end id0"]
    assert states(tmp_path) == ["intent", "started", "done"]


def test_a_start_without_an_answer_or_an_effect_is_made_once_more(tmp_path, shop):
    shop.starts = [NOTHING, NOTHING]
    rent(tmp_path, shop)
    assert [call for call in shop.calls if "start" in call] == ["start a40", "start a40", "start a6000"]
    assert [entry.key for entry in ledger_of(tmp_path).entries() if entry.state == "failed"] == [
        NAME(0),
        NAME(1),
    ]


def test_what_is_spent_shortens_the_next_machines_life(tmp_path, shop):
    shop.ups, shop.bills = [NeverUpError("no")], {"id0": 0.55}
    rent(tmp_path, shop, desk := Desk(), max_usd=1)
    intents = [entry.note for entry in ledger_of(tmp_path).entries() if entry.state == "intent"]
    assert [note["seconds"] for note in intents] == pytest.approx([5400, 1800], abs=1)
    assert "lives 90 minutes at most" in desk.text and "lives 30 minutes at most" in desk.text


@pytest.mark.parametrize(
    "limits, said",
    [({"max_usd": 0.03}, "within $0.03 and 90 minutes"), ({"max_minutes": 3}, "within $3.00 and 3 minutes")],
)
def test_an_offer_that_cannot_do_the_job_within_the_limits_is_not_asked_about(tmp_path, shop, limits, said):
    with pytest.raises(UserError) as caught:
        rent(tmp_path, shop, desk := Desk(), **limits)
    assert said in str(caught.value) and desk.asked == [] and shop.calls == []


def test_home_knows_a_machines_deadline(tmp_path, shop):
    rent(tmp_path, shop, max_minutes=10)
    started = next(entry for entry in ledger_of(tmp_path).entries() if entry.state == "started")
    assert shop.ends_at == pytest.approx(started.at.timestamp() + 600)


@pytest.mark.parametrize("n_damaged, is_home", [(1, True), (2, True), (3, False)])
def test_damaged_results_are_fetched_anew_twice_and_never_taken_over(tmp_path, shop, n_damaged, is_home):
    shop.n_damaged = n_damaged
    if is_home:
        rent(tmp_path, shop)
    else:
        with pytest.raises(UserError, match="is damaged every time"):
            rent(tmp_path, shop)
    assert shop.calls.count("fetch id0") == min(n_damaged + 1, 3)
    assert (tmp_path / "adapters/tiny/manifest.json").exists() == is_home and shop.alive == []


def test_a_job_that_failed_is_an_error_and_what_it_made_is_home(tmp_path, shop):
    shop.exit_code = 2
    with pytest.raises(UserError, match=r"failed \(exit 2\).*remote.log.* 1 files of it"):
        rent(tmp_path, shop)
    assert (tmp_path / "adapters/tiny/manifest.json").exists() and shop.alive == []


@pytest.mark.parametrize(
    "is_terminal, answer, is_kept",
    [
        (True, "n", True), (True, " NO ", True), (True, "", False), (True, "y", False), (True, "what", False),
        (True, EOFError, False), (True, KeyboardInterrupt, False), (False, "n", False),
    ],
)  # fmt: skip
def test_after_ctrl_c_only_a_no_keeps_the_machine(tmp_path, shop, monkeypatch, is_terminal, answer, is_kept):
    def typed(question):
        assert f"End {NAME(0)} now?" in question
        if isinstance(answer, type):
            raise answer
        return answer

    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda self: is_terminal})())
    monkeypatch.setattr("builtins.input", typed)
    shop.lines = ["training", KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        rent(tmp_path, shop)
    assert len(shop.alive) == is_kept and states(tmp_path)[-1] == ("started" if is_kept else "done")


def test_no_offer_with_stock_is_a_sentence(tmp_path, shop):
    shop.listed = [replace(one, availability="NONE") for one in (A40, L40S)]
    with pytest.raises(UserError, match="No offer with stock"):
        rent(tmp_path, shop)
