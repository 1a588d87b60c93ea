"""From the question to the last dollar on RunPod: a loopback server that bills, pods with a real sshd."""

from dataclasses import replace

import pytest

from lib.base.errors import UserError
from tests.remote.world import QUICK, Desk, Told, assert_books_equal_the_bill, ledger_of, order_of, rent
from tests.stubs.runpod_server import KEY, Fault

pytestmark = pytest.mark.slow


def test_one_command_rents_trains_fetches_and_ends(project, stub, monkeypatch):
    for name in ("ANTHROPIC_API_KEY", "APIFY_API_TOKEN"):
        monkeypatch.setenv(name, "secret-of-mine")
    (project / ".env").write_text("ANTHROPIC_API_KEY=secret-of-mine\n")
    (project / "data/sample/raw/secret.jsonl").write_text("raw tweets\n")
    desk = Desk()
    files = rent(project, stub, desk, ssh=True)
    run = project / "adapters/tiny"
    assert sorted(files) == ["adapter.bin", "eval/offline/replies.jsonl", "manifest.json", "seen.jsonl"]
    assert (run / "seen.jsonl").read_text() == (project / "data/sample/processed/train.jsonl").read_text()
    assert (run / "eval/offline/replies.jsonl").read_text() == "reply\n"
    assert not (run / "remote").exists()
    assert "the pod's own watchdog works" in desk.text
    assert "  | training" in desk.text and "  | replying" in desk.text
    assert len(desk.asked) == 1 and "A40" in desk.asked[0]
    assert_books_equal_the_bill(project, stub, 1)
    assert [entry.state for entry in ledger_of(project).entries()] == ["intent", "started", "done"]

    body = stub.pods["pod0x"].body
    assert body["gpu"] == {"id": "NVIDIA A40", "count": 1, "minCudaVersion": "12.8"}
    assert body["ports"] == ["22/tcp"] and body["mounts"] == {
        "persistent": {"size": 60, "path": "/workspace"}
    }
    assert {name for name in body["env"] if not name.startswith("REPLIES_")} == {"PUBLIC_KEY", "HF_TOKEN"}
    assert stub.keys == ["ssh-ed25519 AAAA mine"] and stub.asked("ssh-keys") == 0
    on_the_pod = b"".join(path.read_bytes() for path in (stub.folder / "pod0x").rglob("*") if path.is_file())
    assert KEY.encode() not in on_the_pod and b"secret-of-mine" not in on_the_pod
    there = {
        path.relative_to(stub.folder / "pod0x/workspace/replies").parts[:3]
        for path in (stub.folder / "pod0x").glob("workspace/replies/data/*/*/*")
    }
    assert there == {("data", "sample", "processed"), ("data", "sample", "raw")}


LOST = [Fault("POST /pods", "done_500"), Fault("POST /pods", "done_502"), Fault("POST /pods", "lost")]


@pytest.mark.parametrize("fault", LOST, ids=lambda fault: fault.what)
def test_a_create_without_an_answer_is_looked_for_before_another_is_asked_for(project, stub, fault):
    stub.faults, stub.unlisted = [replace(fault)], 2
    rent(project, stub, desk := Desk())
    assert "looking for" in desk.text
    assert_books_equal_the_bill(project, stub, 1)


@pytest.mark.parametrize(
    "fault", [Fault("POST /pods", 500), Fault("POST /pods", "drop")], ids=lambda fault: str(fault.what)
)
def test_a_create_that_had_no_effect_is_made_again(project, stub, fault):
    stub.faults = [replace(fault)]
    rent(project, stub, Desk())
    assert_books_equal_the_bill(project, stub, 1)


def test_a_pod_that_turns_up_after_it_was_given_up_is_ended_and_booked(project, stub):
    stub.faults, stub.unlisted = [Fault("POST /pods", "done_500")], 7
    rent(project, stub, desk := Desk())
    assert "turned up late" in desk.text
    stub.most_alive = 1
    assert_books_equal_the_bill(project, stub, 2)


NO_ROOM = [
    Fault("POST /pods", 400, detail="There are no longer any instances available"),
    Fault("POST /pods", 403),
]


@pytest.mark.parametrize("fault", NO_ROOM, ids=lambda fault: str(fault.what))
def test_without_room_the_next_offer_is_taken(project, stub, fault):
    stub.faults = [replace(fault)]
    rent(project, stub, Desk())
    assert [pod.body["gpu"]["id"] for pod in stub.pods.values()] == ["NVIDIA RTX A6000"]
    assert_books_equal_the_bill(project, stub, 1)


def test_no_offer_at_all_says_why(project, stub):
    stub.faults = [Fault("POST /pods", 400, detail="There are no longer any instances available", times=9)]
    with pytest.raises(UserError, match="No machine could be had"):
        rent(project, stub, desk := Desk())
    assert desk.text.count("no longer any instances") == 3
    assert_books_equal_the_bill(project, stub, 0)


@pytest.mark.parametrize(
    "status, words", [(402, "Add credit"), (422, "refuses the request"), (401, "RUNPOD_API_KEY")]
)
def test_what_no_offer_can_mend_stops_at_once(project, stub, status, words):
    stub.faults = [Fault("POST /pods", status)]
    with pytest.raises(UserError, match=words):
        rent(project, stub, Desk(), moment_s=0)
    assert stub.asked("POST /pods") == 1
    assert_books_equal_the_bill(project, stub, 0)


def test_busy_answers_are_waited_for_as_long_as_the_server_says(project, stub):
    busy = {"headers": {"Retry-After": "7"}}
    stub.faults = [
        Fault("GET /catalog/gpus", 429, **busy),
        Fault("POST /pods", 429, **busy),
        Fault(r"DELETE /pods/\w+", 429, **busy),
    ]
    rent(project, stub, Desk())
    assert_books_equal_the_bill(project, stub, 1)


@pytest.mark.parametrize(
    "mode, words",
    [
        ("error", "it is error"),
        ("stranger", "verification failed"),  # another host key than the one it was given
        ("deaf", "verification failed"),
    ],
)
def test_a_pod_that_does_not_come_up_is_ended_and_the_next_offer_tried(project, stub, mode, words):
    stub.modes = [mode]
    stub.unseen = 2
    rent(project, stub, desk := Desk(), moment_s=0.002, ssh=mode in ("stranger", "deaf"))
    assert "did not come up: " in desk.text and words in desk.text
    assert_books_equal_the_bill(project, stub, 2)


def test_when_no_pod_comes_up_none_is_left(project, stub):
    stub.modes = ["error"] * 5
    with pytest.raises(UserError, match="No machine could be had or came up"):
        rent(project, stub, Desk())
    assert_books_equal_the_bill(project, stub, 3)


def test_a_pod_that_get_does_not_know_yet_is_not_a_pod_that_is_gone(project, stub):
    stub.unseen, stub.unlisted = 4, 3
    rent(project, stub, Desk())
    assert_books_equal_the_bill(project, stub, 1)


DELETES = [
    Fault(r"DELETE /pods/\w+", 404),
    Fault(r"DELETE /pods/\w+", 500, times=2),
    Fault(r"DELETE /pods/\w+", "drop", times=2),
    Fault(r"DELETE /pods/\w+", "lost"),
    Fault(r"DELETE /pods/\w+", 204),  # it says so, and the pod goes on
]


@pytest.mark.parametrize("fault", DELETES, ids=lambda fault: str(fault.what))
def test_an_end_is_believed_when_the_pod_is_absent(project, stub, fault):
    stub.faults = [replace(fault)]
    rent(project, stub, Desk())
    assert_books_equal_the_bill(project, stub, 1)


def test_an_end_that_cannot_be_had_is_said_and_stays_open_in_the_books(project, stub):
    stub.faults = [Fault(r"DELETE /pods/\w+", 500, times=99)]
    with pytest.raises(UserError, match=r"may still be billed.*make rented END=1"):
        rent(project, stub, Desk(), moment_s=0.01)
    assert ledger_of(project).entries()[-1].state == "started"
    assert (project / "adapters/tiny/manifest.json").exists()


def test_machines_are_found_on_every_page_of_the_list(project, stub):
    stub.page, stub.faults = 1, [Fault("POST /pods", "done_500")]
    rent(project, stub, Desk())
    assert_books_equal_the_bill(project, stub, 1)


def test_a_price_that_moved_since_the_question_is_asked_about_again(project, stub):
    desk = Desk(asked=Told(lambda question: stub.prices.update({"NVIDIA A40": 0.6})))
    rent(project, stub, desk)
    assert len(desk.asked) == 2 and "$0.61" in desk.asked[1]
    assert_books_equal_the_bill(project, stub, 1)


def test_a_pod_that_costs_more_than_was_offered_is_ended(project, stub):
    stub.billed_rate = 1.2
    with pytest.raises(UserError, match="No machine could be had"):
        rent(project, stub, desk := Desk())
    assert "not the $0.45 that were offered" in desk.text
    assert_books_equal_the_bill(project, stub, 3)


def test_the_cap_shortens_a_machines_life_and_forbids_what_does_not_fit(project, stub):
    with pytest.raises(UserError, match="No offer with stock does this job within"):
        rent(project, stub, Desk(), order_of(project, max_usd=0.01))
    rent(project, stub, Desk(), order_of(project, max_usd=0.1))
    assert int(stub.pods["pod0x"].body["env"]["REPLIES_SECONDS"]) < 0.1 / 0.44 * 3600
    assert_books_equal_the_bill(project, stub, 1)


def test_without_a_working_watchdog_nothing_is_trained(project, stub):
    stub.modes = ["barred"]
    with pytest.raises(UserError, match=r"cannot end itself \(RunPod answers 401.*FORCE=1"):
        rent(project, stub, Desk())
    assert not (stub.folder / "pod0x/workspace/replies").exists()
    assert_books_equal_the_bill(project, stub, 1)


def test_force_trains_without_a_working_watchdog(project, stub):
    stub.modes = ["barred"]
    rent(project, stub, desk := Desk(), force=True)
    assert "warning: the pod cannot end itself" in desk.text
    assert_books_equal_the_bill(project, stub, 1)


def test_a_job_that_fails_brings_home_what_it_made_and_the_machine_is_ended(project, stub):
    work = replace(QUICK, replies="echo no room for replies; false")
    with pytest.raises(UserError, match=r"failed \(exit 1\)"):
        rent(project, stub, desk := Desk(), order_of(project, work))
    assert "  | no room for replies" in desk.text
    assert (project / "adapters/tiny/adapter.bin").exists()
    assert_books_equal_the_bill(project, stub, 1)


def test_damaged_results_are_fetched_again_and_never_taken_over(project, stub):
    work = replace(
        QUICK,
        pack=f': && pack() {{ {QUICK.pack} "$@" && '
        "printf X | dd of=$2 bs=1 seek=600 conv=notrunc 2>/dev/null; }; pack",
    )
    with pytest.raises(UserError, match="damaged every time"):
        rent(project, stub, Desk(), order_of(project, work))
    assert not (project / "adapters/tiny/manifest.json").exists()
    assert_books_equal_the_bill(project, stub, 1)


def test_a_pod_that_dies_at_work_is_noticed_and_booked(project, stub):
    order = order_of(project, replace(QUICK, train="echo training; sleep 600"))
    desk = Desk(said=Told(lambda text: stub.end(stub.pods["pod0x"]) if "| training" in text else None))
    with pytest.raises(UserError, match="ended before its job did"):
        rent(project, stub, desk, order)
    assert_books_equal_the_bill(project, stub, 1)
