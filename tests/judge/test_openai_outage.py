"""An OpenAI-compatible server fails in every way that it can: what is asked again, what is booked, when the
program stops.
"""

# ruff: noqa: F811, F401 -- fixtures of other test files

import json

import pytest

from lib.base.errors import UserError
from lib.judge import openai_client
from tests.judge.test_claude import USD, questions
from tests.judge.test_openai import judge, stub
from tests.stubs.anthropic_server import Fault
from tests.stubs.openai_judge_server import Make

ERRORS = [408, 429, 500, 503, 520, 524]


def exact(stub, judge):
    """The account says what the server billed, to the cent, and doubts nothing."""
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


@pytest.mark.parametrize("n_before", [0, 30])
@pytest.mark.parametrize("status", ERRORS)
def test_an_outage_stops_after_a_few_requests_and_loses_nothing(stub, judge, status, n_before):
    if n_before:
        judge(questions(n_before))
    stub.faults = [Fault("create", status, times=10_000)]
    with pytest.raises(UserError, match=rf"127.0.0.1:\d+ took no request in 5 attempts .*{status}.*again"):
        judge(questions(500))
    assert stub.calls["create"] <= n_before + 8 + 5 and exact(stub, judge) and not judge.failed
    stub.faults = []
    judge(questions(60))
    assert len(judge.judgments) == 60 and exact(stub, judge) and max(stub.seen.values()) == 1


@pytest.mark.parametrize("what", ["drop_after", "half"])
def test_connections_that_break_one_after_the_other_stop_the_run_before_much_is_in_doubt(stub, judge, what):
    judge(questions(1))
    stub.faults = [Fault("create", what, times=10_000)]
    with pytest.raises(UserError, match=r"5 answers in a row were lost .*may have been paid"):
        judge(questions(300))
    account = judge.account()
    assert 5 <= account["possibly_paid"] <= 5 + 8 and stub.billed_usd() <= account["usd"]
    assert account["usd"] - account["possibly_paid_usd"] == pytest.approx(USD)
    stub.faults = []
    judge(questions(40))
    assert len(judge.judgments) == 40 and not judge.failed


def test_a_server_that_is_not_there_is_not_waited_for_for_long(stub, judge):
    stub.server.shutdown()
    stub.server.server_close()
    with pytest.raises(UserError, match=r"took no request in 5 attempts .*no connection to 127\.0\.0\.1"):
        judge(questions(20))
    assert judge.account()["usd"] == 0 and len(judge.slept) <= 5


@pytest.mark.parametrize("status", [401, 402, 403, 404, 302])
def test_what_only_a_person_can_mend_stops_at_once_with_advice(stub, judge, status):
    stub.faults = [Fault("create", status, times=10_000)]
    with pytest.raises(UserError, match=rf"{status}.*(Check|Add credit).*is kept"):
        judge(questions(300))
    assert stub.calls["create"] == 1 and exact(stub, judge)


@pytest.mark.parametrize("status", [429, 400])
def test_an_account_without_credit_stops_at_once_whatever_the_status(stub, judge, status):
    said = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}
    stub.make = Make(refuses=lambda body: (status, said))
    with pytest.raises(UserError, match="Add credit"):
        judge(questions(30))
    assert len(stub.refused) == 1 and exact(stub, judge)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_one_request_that_is_refused_is_left_out_once_another_was_taken(stub, judge, status):
    stub.faults = [Fault("create", status, times=10_000, holds="post 7")]
    judge(questions(20))
    assert len(judge.judgments) == 19 and list(judge.failed.values()) == ["rejected"] and exact(stub, judge)
    n_requests = stub.n_requests()
    judge(questions(20))
    assert stub.n_requests() == n_requests


@pytest.mark.parametrize("n", [1, 3, 100])
@pytest.mark.parametrize("n_before", [0, 3])
def test_a_refusal_of_everything_stops_the_run_and_rejects_nothing(stub, judge, n_before, n):
    judge(questions(n_before))
    stub.faults = [Fault("create", 400, times=10_000)]
    asked = questions(n_before + n)
    if n_before and n < 5:  # some were taken: these are refused for what is in them
        judge(asked)
        assert len(judge.failed) == n
        return
    with pytest.raises(UserError, match="answered 400"):
        judge(asked)
    assert not judge.failed and exact(stub, judge)
    stub.faults = []
    judge(questions(40))
    assert len(judge.judgments) == 40 and exact(stub, judge)


@pytest.mark.parametrize(
    "error", [{"code": 502, "message": "Provider returned error"}, {"message": "oops"}, "x"]
)
def test_an_error_under_status_200_costs_nothing_and_is_asked_again(stub, judge, error):
    judge(questions(1))
    stub.make = Make(refuses=lambda body: (200, {"error": error}))
    with pytest.raises(UserError, match="took no request in 5 attempts"):
        judge(questions(20))
    choice = {"error": error, "finish_reason": "error", "message": {"content": ""}}
    stub.make = Make(refuses=lambda body: (200, {"choices": [choice]}))
    with pytest.raises(UserError, match="took no request in 5 attempts"):
        judge(questions(20))
    assert exact(stub, judge) and not judge.failed


def test_a_refusal_under_status_200_is_about_the_shape_too(stub, judge):
    said = {"error": {"code": "400", "message": "response_format is not supported"}}
    stub.make = Make(refuses=lambda body: (200, said) if "response_format" in body else None)
    judge(questions(3))
    assert len(judge.judgments) == 3 and "response_format" not in stub.bodies[0]


@pytest.mark.parametrize("answer", [{}, {"object": "list"}, {"choices": "no"}, [], "hello"])
def test_an_answer_of_another_kind_of_server_is_in_doubt_and_stops_soon(stub, judge, answer):
    judge(questions(1))
    stub.make = Make(refuses=lambda body: (200, answer))
    with pytest.raises(UserError, match="5 answers in a row were lost"):
        judge(questions(20))
    assert judge.account()["possibly_paid"] >= 5


def test_a_moderated_tweet_is_left_out_whatever_the_status(stub, judge):
    said = {"error": {"code": 403, "message": "Input was flagged", "metadata": {"reasons": ["hate"]}}}
    stub.make = Make(refuses=lambda body: (403, said) if "post 3" in json.dumps(body) else None)
    judge(questions(8))
    assert len(judge.judgments) == 7 and list(judge.failed.values()) == ["rejected"]
    assert stub.bodies[-1]["response_format"]["type"] == "json_schema"


def test_milliseconds_and_seconds_are_waited_for(stub, judge):
    stub.faults = [
        Fault("create", 429, headers={"retry-after-ms": "3500"}),
        Fault("create", 429, retry_after="7"),
    ]
    judge(questions(1))
    assert 3.5 <= judge.slept[0] <= 4.4 and 7 <= judge.slept[1] <= 8.8


def test_an_answer_in_small_pieces_is_an_answer_and_one_that_never_ends_is_lost(stub, judge, monkeypatch):
    stub.faults = [Fault("create", "trickle", times=2)]
    judge(questions(2))
    assert len(judge.judgments) == 2 and exact(stub, judge)
    monkeypatch.setattr(openai_client, "LONGEST_ANSWER_S", -1.0)
    with pytest.raises(UserError, match="the answer does not end"):
        judge(questions(20))


def test_what_was_given_up_is_asked_again_only_with_a_word_and_the_risk_is_said(stub, judge, monkeypatch):
    stub.faults = [Fault("create", "drop_after", times=2), Fault("create", 400, times=1, holds="post 5")]
    judge(questions(1))
    judge(questions(8))
    assert sorted(judge.failed.values()) == ["answer_lost", "rejected"] and len(judge.judgments) == 6
    n_requests = stub.calls["create"]
    judge(questions(8))
    assert stub.calls["create"] == n_requests
    monkeypatch.delenv("YES")
    with pytest.raises(UserError, match=r"2 were given up before and may have been paid for already"):
        judge(questions(8), again=True)
    monkeypatch.setenv("YES", "1")
    judge(questions(8), again=True)
    assert len(judge.judgments) == 8 and stub.calls["create"] == n_requests + 2
    assert judge.account()["usd"] - judge.account()["possibly_paid_usd"] == pytest.approx(8 * USD)


def test_a_server_that_repeats_the_key_gets_it_into_no_message_and_no_file(stub, judge):
    stub.faults = [Fault("create", 401, times=10)]
    said = {"error": {"message": f"no entry for Bearer {stub.KEY}"}}
    for status in (401, 500, 400, 200):
        stub.make = Make(refuses=lambda body, status=status: (status, said))
        with pytest.raises(UserError) as caught:
            judge(questions(20))
        assert stub.KEY not in str(caught.value)
    stub.make = Make(turn=lambda text: {"content": text.replace("because", f"because {stub.KEY}")})
    stub.faults = []
    judge(questions(1))
    files = [path for path in judge.folder.parent.rglob("*") if path.is_file()]
    assert len(files) >= 3 and not [path for path in files if stub.KEY in path.read_text()]
