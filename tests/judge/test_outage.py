"""The judge's API fails in every way that it can: what is asked again, what is booked, when the program
stops.
"""

# ruff: noqa: F811, F401 -- fixtures of other test files

import pytest

from lib.base.errors import UserError
from lib.base.files import read_dicts, read_json
from lib.judge import claude_client
from lib.judge.claude_failures import sort_failure
from lib.judge.failures import AnswerLostError, RejectedError
from tests.judge.test_claude import BATCH, LIVE, USD, command, judge, questions, stub
from tests.stubs.anthropic_server import Fault

ERRORS = [408, 429, 500, 503, 520, 529]


def exact(stub, judge):
    """The account says what the API billed, to the cent, and doubts nothing."""
    account = judge.account()
    return account["usd"] == pytest.approx(stub.billed_usd()) and account["possibly_paid"] == 0


@pytest.mark.parametrize("page", [False, True])
@pytest.mark.parametrize("status", ERRORS)
def test_an_error_that_came_back_whole_costs_nothing_and_is_asked_again(stub, judge, status, page):
    stub.faults = [Fault("create", status, times=3, page=page)]
    judge(questions(6))
    assert len(judge.judgments) == 6 and exact(stub, judge) and max(stub.seen.values()) == 1


def test_a_page_of_a_proxy_under_status_200_is_no_answer_and_costs_nothing(stub, judge):
    stub.faults = [Fault("create", "html", times=2)]
    judge(questions(1))
    assert len(judge.judgments) == 1 and exact(stub, judge)


@pytest.mark.parametrize("status", ERRORS)
@pytest.mark.parametrize("n_before", [0, 30])
def test_an_outage_stops_after_a_few_requests_and_loses_nothing(stub, judge, status, n_before):
    if n_before:
        judge(questions(n_before))
    stub.faults = [Fault("create", status, times=10_000)]
    with pytest.raises(UserError, match=rf"took no request in 5 attempts .*{status}.*same command again"):
        judge(questions(500))
    assert stub.calls["create"] <= n_before + 8 + 5 and exact(stub, judge) and not judge.failed
    stub.faults = []
    judge(questions(60))
    assert len(judge.judgments) == 60 and exact(stub, judge) and max(stub.seen.values()) == 1


def test_an_outage_in_the_middle_of_a_run_stops_it(stub, judge):
    stub.faults = [Fault("create", 500, times=10_000, after=40)]
    with pytest.raises(UserError, match="took no request"):
        judge(questions(500))
    assert len(judge.judgments) == 40 and stub.calls["create"] <= 40 + 2 * 8 + 5 and exact(stub, judge)


def test_connections_that_break_one_after_the_other_stop_the_run_before_much_is_in_doubt(stub, judge):
    judge(questions(1))
    stub.faults = [Fault("create", "drop_after", times=10_000)]
    with pytest.raises(UserError, match=r"5 answers in a row were lost .*may have been paid"):
        judge(questions(300))
    account = judge.account()
    assert 5 <= account["possibly_paid"] <= 5 + 8 and stub.billed_usd() <= account["usd"]
    assert account["usd"] - account["possibly_paid_usd"] == pytest.approx(USD)
    stub.faults = []
    judge(questions(40))
    assert len(judge.judgments) == 40 and not judge.failed


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_stops_at_once(stub, judge, status):
    stub.faults = [Fault("create", status, times=10_000)]
    with pytest.raises(UserError, match=str(status)):
        judge(questions(300))
    assert stub.calls["create"] == 1 and exact(stub, judge)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_one_request_that_is_refused_is_left_out_once_another_was_taken(stub, judge, status):
    stub.faults = [Fault("create", status, times=10_000, holds="post 7")]
    judge(questions(20))
    assert len(judge.judgments) == 19 and list(judge.failed.values()) == ["rejected"] and exact(stub, judge)
    n_requests = stub.n_requests()
    judge(questions(20))
    assert stub.n_requests() == n_requests


def test_a_hostile_tweet_in_many_requests_is_left_out_and_the_others_are_judged(stub, judge):
    stub.faults = [Fault("create", 400, times=10_000, holds="post 3")]
    asked = [
        one
        for number in range(10)
        for repeat in range(7)
        for one in questions(10, repeat=repeat)[number : number + 1]
    ]
    judge(asked)
    assert len(judge.judgments) == 63 and len(judge.failed) == 7


@pytest.mark.parametrize("n_before", [0, 3])
def test_a_refusal_of_everything_stops_the_run_and_rejects_nothing(stub, judge, n_before):
    judge(questions(n_before))
    stub.faults = [Fault("create", 400, times=10_000)]
    with pytest.raises(UserError, match="answered 400"):
        judge(questions(100))
    assert not judge.failed
    stub.faults = []
    judge(questions(40))
    assert len(judge.judgments) == 40 and exact(stub, judge)


def test_an_account_without_credit_stops_at_once_although_the_status_is_that_of_a_bad_request():
    import httpx2
    from anthropic import BadRequestError

    body = {
        "error": {
            "type": "invalid_request_error",
            "message": "Your credit balance is too low to access the API.",
        }
    }
    answer = httpx2.Response(400, json=body, request=httpx2.Request("POST", "http://127.0.0.1/"))

    def call():
        raise BadRequestError("no", response=answer, body=body)

    with pytest.raises(UserError, match="Add credit") as caught:
        sort_failure(call, "key")
    assert not isinstance(caught.value, RejectedError)


def test_one_request_that_always_ends_in_an_error_does_not_stop_the_others(stub, judge):
    stub.faults = [Fault("create", 500, times=10_000, holds="post 7")]
    judge(questions(40))
    assert len(judge.judgments) == 39 and not judge.failed and exact(stub, judge)
    assert any("left for the next run" in line for line in judge.said)


def test_an_answer_in_small_pieces_is_an_answer_and_one_that_never_ends_is_lost(stub, judge, monkeypatch):
    stub.faults = [Fault("create", "trickle", times=2)]
    judge(questions(2))
    assert len(judge.judgments) == 2 and exact(stub, judge)
    monkeypatch.setattr(claude_client, "LONGEST_ANSWER_S", -1.0)
    with pytest.raises(AnswerLostError, match="ReadTimeout"):
        claude_client.Claude().ask(stub.bodies[0])


def test_milliseconds_are_waited_for(stub, judge):
    stub.faults = [Fault("create", 429, times=2, headers={"retry-after-ms": "3500"})]
    judge(questions(1))
    assert len(judge.slept) == 2 and all(3.5 <= seconds <= 4.4 for seconds in judge.slept)


# --- batches -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["batch_get", "results"])
def test_a_new_batch_that_is_not_known_yet_is_waited_for(stub, judge, op):
    stub.faults = [Fault(op, 404, times=3)]
    judge(questions(15), BATCH)
    assert len(judge.judgments) == 15 and len(stub.batches) == 1 and exact(stub, judge)


@pytest.mark.parametrize("op", ["batch_get", "results"])
@pytest.mark.parametrize("what", [404, 500, 529, "half", "html"])
def test_a_batch_that_cannot_be_read_stops_with_a_sentence_and_is_read_by_the_next_run(stub, judge, op, what):
    stub.faults = [Fault(op, what, times=10_000)]
    with pytest.raises(UserError):
        judge(questions(15), BATCH)
    assert stub.calls[op] <= 7 and len(judge.slept) <= 7
    stub.faults = []
    judge(questions(15), BATCH)
    assert len(judge.judgments) == 15 and len(stub.batches) == 1 and exact(stub, judge)


def test_results_that_come_short_are_read_again_and_never_asked_again(stub, judge):
    stub.faults = [Fault("results", "half_lines", times=2)]
    judge(questions(15), BATCH)
    assert (
        len(judge.judgments) == 15
        and len(stub.batches) == 1
        and exact(stub, judge)
        and max(stub.seen.values()) == 1
    )


@pytest.mark.parametrize("what", ["lost", "drop_after", "half"])
def test_a_batch_that_was_created_and_answered_with_an_error_is_adopted(stub, judge, what):
    stub.faults = [Fault("batch_create", what)]
    judge(questions(15), BATCH)
    assert len(judge.judgments) == 15 and len(stub.batches) == 1 and exact(stub, judge)


@pytest.mark.parametrize("status", [429, 500, 529])
@pytest.mark.parametrize("page", [False, True])
def test_a_batch_that_cannot_be_created_stops_with_a_sentence(stub, judge, status, page):
    stub.faults = [Fault("batch_create", status, times=10_000, page=page)]
    with pytest.raises(UserError, match="could not be created"):
        judge(questions(15), BATCH)
    assert stub.calls["batch_create"] == 5 and exact(stub, judge)
    stub.faults = []
    judge(questions(15), BATCH)
    assert len(judge.judgments) == 15 and len(stub.batches) == 1 and exact(stub, judge)


@pytest.mark.parametrize("outcome", ["errored", "expired"])
def test_batches_in_which_nothing_is_answered_end_with_a_sentence(stub, judge, outcome):
    judge(questions(1))
    stub.outcome = lambda content, n: outcome
    with pytest.raises(UserError, match="No request of two batches was answered"):
        judge(questions(15), BATCH)
    assert exact(stub, judge) and not judge.failed
    stub.outcome = lambda content, n: "succeeded"
    judge(questions(15), BATCH)
    assert len(judge.judgments) == 15 and exact(stub, judge)


def test_a_batch_in_which_everything_is_refused_stops_and_rejects_nothing(stub, judge):
    judge(questions(1))
    stub.outcome = lambda content, n: "invalid"
    with pytest.raises(UserError, match="invalid_request_error"):
        judge(questions(15), BATCH)
    assert not judge.failed and exact(stub, judge)
    stub.outcome = lambda content, n: "succeeded"
    judge(questions(15), BATCH)
    assert len(judge.judgments) == 15 and exact(stub, judge)


# --- asked again ---------------------------------------------------------------------------------------


def test_what_was_given_up_is_asked_again_only_with_a_word_and_the_risk_is_said(stub, judge, monkeypatch):
    stub.faults = [Fault("create", "drop_after", times=2), Fault("create", 400, times=1, holds="post 5")]
    judge(questions(1))
    judge(questions(8))
    assert sorted(judge.failed.values()) == ["answer_lost", "rejected"] and len(judge.judgments) == 6
    n_requests = stub.calls["create"]
    judge(questions(8))
    assert stub.calls["create"] == n_requests
    monkeypatch.delenv("YES")
    with pytest.raises(
        UserError, match=r"2 were given up before and may have been paid for already, up to \$0\.\d\d"
    ):
        judge(questions(8), LIVE, again=True)
    monkeypatch.setenv("YES", "1")
    judge(questions(8), LIVE, again=True)
    assert len(judge.judgments) == 8 and stub.calls["create"] == n_requests + 2
    assert judge.account()["usd"] - judge.account()["possibly_paid_usd"] == pytest.approx(8 * USD)


def test_the_command_asks_again_for_what_was_given_up(stub, command, monkeypatch, capsys):
    stub.faults = [Fault("create", "drop_after", times=2)]  # the first request is asked alone, and twice
    where = command()
    n_judged = read_json(where / "judgments.manifest.json")["n_judgments"]
    assert {row["reason"] for row in read_dicts(where / "judgments.failed.jsonl")} == {"answer_lost"}
    monkeypatch.setenv("AGAIN", "1")
    command()
    manifest = read_json(where / "judgments.manifest.json")
    assert manifest["n_judgments"] > n_judged and manifest["n_failed"] == 0
