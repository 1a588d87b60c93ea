"""Keys and addresses of services, asked on a server of the loopback."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lib.base.endpoints import Endpoint, ask
from lib.base.findings import key_finding, network_finding, table

KEY = "sk-live-3fa85f64"


@contextmanager
def server(status=200, body=b'{"id": "me"}', headers=None, release=None):
    """Answers every GET so, and notes what it was asked. release: an event that it waits for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            asked.append((self.path, dict(self.headers)))
            if release:
                release.wait(20)
            answered = 401 if status == 200 and KEY not in str(self.headers) else status
            self.send_response(answered)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{running.server_port}", asked
        finally:
            if release:
                release.set()
            running.shutdown()


def endpoint(url, **changes):
    return Endpoint("SOME_KEY", "SOME_BASE_URL", url, "/v2/me", **changes)


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("SOME_KEY", KEY)
    monkeypatch.delenv("SOME_BASE_URL", raising=False)


@pytest.mark.parametrize(
    "status, body, state",
    [
        (200, b"{}", "accepted"),
        (401, b"{}", "refused"),
        (403, b"{}", "refused"),
        (429, b"{}", "unclear"),
        (500, b"{}", "unclear"),
        (204, b"", "unclear"),
        (200, b"<html>Welcome to the hotel</html>", "unclear"),
        (200, b"\xff\xfe", "unclear"),
    ],
)
def test_a_key_is_accepted_only_by_the_services_own_answer(status, body, state):
    with server(status, body) as (url, _):
        assert ask([endpoint(url)])[0].state == state


def test_without_a_key_any_answer_shows_that_the_service_is_reached(monkeypatch):
    monkeypatch.delenv("SOME_KEY")
    with server() as (url, asked):
        assert ask([endpoint(url)])[0].state == "reached"
        assert "Authorization" not in asked[0][1]


def test_nothing_listens_is_offline_with_the_reason_and_no_number():
    answer = ask([endpoint("http://127.0.0.1:9")])[0]
    assert answer.state == "offline"
    assert answer.why and "Errno" not in answer.why


def test_a_service_that_never_answers_is_not_waited_for():
    release = threading.Event()
    with server(release=release) as (slow, _), server() as (quick, _):
        begun = time.monotonic()
        states = [answer.state for answer in ask([endpoint(slow), endpoint(quick)], limit_s=0.5)]
        assert time.monotonic() - begun < 10  # the server waits 20 s
    assert states == ["offline", "accepted"]


def test_a_key_goes_to_no_other_host():
    with server() as (other, asked), server(302, b"", {"Location": f"{other}/steal"}) as (url, _):
        assert ask([endpoint(url)])[0].state == "unclear"
        assert asked == []


def test_the_variable_moves_the_address_with_or_without_the_version(monkeypatch):
    with server() as (url, asked):
        for moved in (url, f"{url}/", f"{url}/v2", f"{url}/v2/", f" {url} "):
            monkeypatch.setenv("SOME_BASE_URL", moved)
            assert ask([endpoint("http://127.0.0.1:9", suffix="/v2")])[0].state == "accepted"
        assert {path for path, _ in asked} == {"/v2/me"}


def test_a_services_own_headers_go_with_the_key():
    with server() as (url, asked):
        ask([endpoint(url, headers={"some-version": "1"})])
        headers = {name.lower(): value for name, value in asked[0][1].items()}
        assert (headers["authorization"], headers["some-version"]) == (f"Bearer {KEY}", "1")


@pytest.mark.parametrize("bad", ["sk-“curly”", "sk-line\nbreak", "sk-\x1b[31m"])
def test_a_key_that_no_header_can_hold_is_refused_without_asking(monkeypatch, bad):
    monkeypatch.setenv("SOME_KEY", bad)
    with server() as (url, asked):
        assert ask([endpoint(url)])[0].state == "refused"
        assert asked == []


@pytest.mark.parametrize("base", ["file:///etc/passwd", "localhost:80", "ftp://127.0.0.1", "http://[::1"])
def test_an_address_that_is_none_is_said_and_not_opened(monkeypatch, base):
    monkeypatch.setenv("SOME_BASE_URL", base)
    assert ask([endpoint("http://127.0.0.1:9")])[0].state in ("unclear", "offline")


@pytest.mark.parametrize("state", [200, 401, 500])
def test_no_finding_shows_a_key_or_the_password_of_an_address(monkeypatch, state):
    with server(state) as (url, _):
        monkeypatch.setenv("SOME_BASE_URL", url.replace("//", "//ann:pa55word@"))
        answers = ask([one := endpoint("http://127.0.0.1:9")])
        shown = table([network_finding([one], answers), key_finding(one, answers[0], "for make x")])
    assert KEY not in shown and "pa55word" not in shown
    assert json.dumps(shown)


def test_offline_is_one_line_about_the_network_and_keys_are_not_called_wrong():
    endpoints = [endpoint("http://127.0.0.1:9"), endpoint("http://127.0.0.1:9")]
    answers = ask(endpoints)
    assert network_finding(endpoints, answers).state == "?"
    assert [key_finding(endpoints[0], answers[0], "").said] == ["set; not tried"]
