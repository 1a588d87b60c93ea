"""RunPod's answers, one by one: what is asked again, what is not, and what each of them means."""

import json

import httpx
import pytest

from lib.base.errors import UserError
from lib.remote.runpod_api import RunPodApi
from lib.remote.seam import AnswerLostError, Clock, NoRoomError
from tests.remote.world import FastClock, api

POD = {"id": "pod0x", "name": "n"}


class Script:
    """Answers in a row, the last one again and again: a status, (status, body) or an error of the network."""

    def __init__(self, *answers, headers=None):
        self.answers, self.headers, self.asked = list(answers), headers or {}, []

    def __call__(self, request):
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        status, body = answer if isinstance(answer, tuple) else (answer, {"detail": "why"})
        return httpx.Response(status, json=body, headers=self.headers)


@pytest.mark.parametrize(
    "answer, error",
    [
        (400, NoRoomError), (403, NoRoomError),
        (401, UserError), (402, UserError), (404, UserError), (422, UserError),
        (500, AnswerLostError), (502, AnswerLostError), (302, AnswerLostError),
        ((201, {}), AnswerLostError), ((201, {"id": ""}), AnswerLostError),
        ((201, {"id": 7}), AnswerLostError),
        ((201, []), AnswerLostError), ((202, POD), AnswerLostError),
        (httpx.ReadTimeout("slow"), AnswerLostError), (httpx.ConnectError("no"), AnswerLostError),
    ],
)  # fmt: skip
def test_a_create_is_asked_once_and_its_answer_says_what_is_known(monkeypatch, answer, error):
    script = Script(answer)
    with pytest.raises(error):
        api(monkeypatch, script).create({"name": "n"})
    assert len(script.asked) == 1


def test_a_create_that_cannot_be_read_has_an_unknown_effect(monkeypatch):
    with pytest.raises(AnswerLostError):
        api(monkeypatch, lambda request: httpx.Response(201, text="<html>")).create({})


@pytest.mark.parametrize("status", [200, 201])
def test_a_create_sends_the_body_and_returns_the_pod(monkeypatch, status):
    script = Script((status, POD))
    assert api(monkeypatch, script).create({"name": "n"}) == POD
    assert json.loads(script.asked[0].content) == {"name": "n"} and script.asked[0].method == "POST"


@pytest.mark.parametrize(
    "problem", [500, 502, 599, httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("cut")]
)
def test_reading_is_repeated_in_bounded_time_when_network_or_server_fail(monkeypatch, problem):
    fast, script = FastClock(0), Script(problem, problem, (200, {"pods": [POD]}))
    assert api(monkeypatch, script, fast).pods() == [POD]
    assert fast.waits == [1, 2]
    script = Script(problem)
    with pytest.raises(UserError, match="does not answer"):
        api(monkeypatch, script).pods()
    assert len(script.asked) == 7


@pytest.mark.parametrize(
    "status, said", [(400, "refuses the request"), (401, "KEY"), (403, "KEY"), (499, "why")]
)
def test_a_refusal_is_not_repeated(monkeypatch, status, said):
    script = Script(status)
    with pytest.raises(UserError, match=said):
        api(monkeypatch, script).pods()
    assert len(script.asked) == 1


@pytest.mark.parametrize(
    "asked_for, waited", [("7", 7), ("0.5", 0.5), ("3600", 60), ("", 10), ("Wed, 21 Oct", 10), ("-5", 10)]
)
def test_a_busy_server_is_waited_for_as_it_says_and_a_minute_at_most(monkeypatch, asked_for, waited):
    fast, script = FastClock(0), Script(429, (201, POD), headers={"Retry-After": asked_for})
    assert api(monkeypatch, script, fast).create({}) == POD and fast.waits == [waited]


def test_a_server_that_stays_busy_is_given_up(monkeypatch):
    fast, script = FastClock(0), Script(429)
    with pytest.raises(UserError, match="busy"):
        api(monkeypatch, script, fast).pods()
    assert len(script.asked) == 12


@pytest.mark.parametrize("status, pod", [(404, None), (200, POD)])
def test_a_pod_that_is_not_there_is_none(monkeypatch, status, pod):
    assert api(monkeypatch, Script((status, POD))).pod("pod0x") == pod


@pytest.mark.parametrize(
    "answer, status", [(204, 204), (404, 404), (500, 500), (httpx.ReadTimeout("slow"), 0)]
)
def test_a_delete_is_one_attempt_and_its_status_is_the_answer(monkeypatch, answer, status):
    script = Script(answer)
    assert api(monkeypatch, script).delete("pod0x") == status and len(script.asked) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_may_not_delete_is_told(monkeypatch, status):
    with pytest.raises(UserError, match=rf"refuses RUNPOD_API_KEY \({status}"):
        api(monkeypatch, Script(status)).delete("pod0x")


@pytest.mark.parametrize(
    "records, usd",
    [
        ([], None),
        ([("other", 5)], None),
        ([("pod0x", 0)], 0.0),
        ([("pod0x", 0.25), ("other", 5), ("pod0x", 0.5)], 0.75),
        ([("pod0x", None), ("pod0x", 1)], 1.0),
    ],
)
def test_a_bill_is_the_sum_of_this_pods_records(monkeypatch, records, usd):
    rows = [{"podId": pod, "totalAmount": amount} for pod, amount in records]
    assert api(monkeypatch, Script((200, {"records": rows}))).billed("pod0x") == usd


@pytest.mark.parametrize("flag", ["hasMore", "hasNextPage"])
@pytest.mark.parametrize("holder", ["pagination", "pageInfo", "meta", "metadata"])
def test_a_flag_says_that_there_is_no_more(monkeypatch, holder, flag):
    script = Script((200, {"pods": [POD], holder: {"endCursor": "x", flag: False}}))
    assert api(monkeypatch, script).pods() == [POD] and len(script.asked) == 1


def test_offers_are_asked_for_with_stock_for_one_card_of_the_secure_cloud(monkeypatch):
    script = Script((200, {"gpus": []}))
    assert api(monkeypatch, script).gpus("12.8") == []
    assert dict(script.asked[0].url.params) == {
        "include": "AVAILABILITY", "product": "POD", "cloud": "SECURE", "count": "1",
        "minCudaVersion": "12.8",
    }  # fmt: skip


def test_the_log_says_the_last_lines_and_a_stream_without_end_is_left(monkeypatch):
    lines = [f'data: {{"line": "{number}"}}' for number in range(3)]
    content = "\n".join(["event: log", lines[0], "", lines[1], lines[2]]).encode()
    client = api(monkeypatch, lambda request: httpx.Response(200, content=content))
    assert list(client.logs("pod0x")) == ["0", "1", "2"]
    fast = FastClock(0)

    def long():
        for _ in range(99):
            fast.ahead_s += 5
            yield lines[0].encode() + b"\n"

    client = api(monkeypatch, lambda request: httpx.Response(200, content=long()), fast)
    assert 2 <= len(list(client.logs("pod0x"))) <= 4
    assert list(api(monkeypatch, Script(500)).logs("pod0x")) == []
    assert list(api(monkeypatch, Script(httpx.ReadTimeout("slow"))).logs("pod0x")) == []


def test_the_key_goes_to_runpod_alone(monkeypatch):
    script = Script((307, {}), headers={"Location": "http://elsewhere.example/"})
    client = api(monkeypatch, script)
    client._client.get("http://127.0.0.1:1/v2/pods")
    assert len(script.asked) == 1 and script.asked[0].headers["Authorization"] == "Bearer key"
    monkeypatch.setenv("RUNPOD_API_BASE_URL", "")
    assert RunPodApi(Clock()).base_url == "https://api.runpod.io/v2"
    monkeypatch.setenv("RUNPOD_API_KEY", " ")
    with pytest.raises(UserError, match=r"RUNPOD_API_KEY is not set.*console.runpod.io/user/settings"):
        RunPodApi(Clock())
