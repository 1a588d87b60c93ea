"""The three local pages answer to their own host only: real gradio servers, real requests, raw sockets."""

import asyncio
import json
import os
import re
import socket
import threading
from pathlib import Path

import httpx
import pytest

from demo.own_host import OTHER_SITE, WRONG_NAME, OwnHost, only_this_machine
from demo.page import build_app, launch
from lib.base.files import read_dicts
from lib.base.settings import SamplingConfig
from lib.evaluate.crowd_log import Crowd
from lib.evaluate.crowd_study import planned
from lib.evaluate.people_page import Item
from tests.data.test_review import a_review, pairs

ROOT = Path(__file__).parents[2]
ROUTES = (
    "/", "/config", "/theme.css", "/gradio_api/info", "/gradio_api/startup-events",
    "/gradio_api/queue/join", "/gradio_api/upload", "/gradio_api/queue/data?session_hash=a",
    "/gradio_api/file=/etc/hostname", "/gradio_api/call/reply", "/login", "/no-such-page",
)  # fmt: skip
STRANGERS = [
    *({"Host": host} for host in (
        "evil.example", "evil.example:{port}", "EVIL.EXAMPLE", "localhost.evil.example",
        "127.0.0.1.evil.example:{port}", "localhost.", "a@localhost:{port}",
        "localhost:{port}@evil.example", "evil.example#localhost", "abc.gradio.live", "0.0.0.0:{port}",
        "127.1", "2130706433", "[::ffff:127.0.0.1]", "localhost:{port}:1", "localhost:x",
        "localhost,evil.example", "",
    )),
    *({"Origin": origin} for origin in (
        "null", "", "http://evil.example", "http://evil.example:{port}", "https://abc.gradio.live",
        "http://localhost:{port}.evil.example", "http://localhost:1", "http://localhost",
        "http://a@localhost:{port}", "file://", "http://localhost:{port}/",
    )),
    *({"Sec-Fetch-Site": site} for site in ("cross-site", "same-site", "anything")),
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    {"Host": "evil.example", "X-Forwarded-Host": "localhost:{port}"},
    {"Host": "evil.example", "Origin": "http://localhost:{port}"},
    {"Host": "evil.example", "Origin": "http://evil.example"},
    {"X-Forwarded-Host": "evil.example"}, {"X-Forwarded-Host": "localhost, evil.example"},
    {"X-Gradio-Server": "http://evil.example"},
]  # fmt: skip


@pytest.fixture(scope="module")
def looked_up():
    """The names that this process asked the network for while the pages were up."""
    asked, real = [], socket.getaddrinfo
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            socket,
            "getaddrinfo",
            lambda host, *rest, **more: (asked.append(host), real(host, *rest, **more))[1],
        )
        yield asked


@pytest.fixture(scope="module")
def pages(tmp_path_factory, looked_up):
    """name -> (blocks, folder): every page of the project, served as its command serves it."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    from demo import crowd_app
    from demo.human_app import Answers, build
    from demo.review_app import _Page

    folder = tmp_path_factory.mktemp("pages")
    items = [Item("1", "t1", "post", {"base": "one", "tuned": "two"}, "tuned")]
    started = {
        "demo": build_app(lambda *tweet: iter([("one", "two")]), "a", "b", SamplingConfig()).queue(
            max_size=16
        ),
        "review": _Page(a_review(folder, pairs(3)), "main", threading.Event()).build(),
        "human": build(Answers(items, folder / "answers.jsonl")).queue(max_size=64),
        "crowd": crowd_app.build(
            Crowd(planned("r", "e", items, 1, 1, 12.0, "company"), items, folder / "log")
        ),
    }
    for blocks in started.values():
        launch(blocks, None)
    yield {name: (blocks, folder) for name, blocks in started.items()}
    for blocks in started.values():
        blocks.close(verbose=False)


@pytest.mark.parametrize("name", ["demo", "review", "human", "crowd"])
def test_no_route_and_no_method_answers_a_stranger(pages, name):
    port = pages[name][0].server_port
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for headers in STRANGERS:
            sent = {key: value.format(port=port) for key, value in headers.items()}
            for route in ROUTES:
                assert client.get(route, headers=sent).status_code == 403, (route, sent)
            for method in ("HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"):
                assert client.request(method, "/config", headers=sent).status_code == 403, (method, sent)
            for route in ("/gradio_api/queue/join", "/gradio_api/upload", "/gradio_api/run/reply", "/login"):
                assert client.post(route, headers=sent, data={"a": "b"}).status_code == 403, (route, sent)
            preflight = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"} | sent
            assert client.options("/gradio_api/queue/join", headers=preflight).status_code == 403, sent
            said = client.get("/", headers=sent)
            assert said.text in (WRONG_NAME, OTHER_SITE)
            assert said.headers["content-type"].startswith("text/plain")
            assert "access-control-allow-origin" not in said.headers


@pytest.mark.parametrize("name", ["demo", "review", "human", "crowd"])
def test_every_page_answers_its_own_names_and_its_own_requests(pages, name):
    port = pages[name][0].server_port
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for host in (
            "localhost",
            "127.0.0.1",
            "[::1]",
            "LocalHost",
            f"localhost:{port}",
            f"[::1]:{port}",
            "127.0.0.1:9000",
        ):
            assert client.get("/config", headers={"Host": host}).status_code == 200, host
            sent = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
            assert client.get("/config", headers=sent).status_code == 200, host
        assert client.get("/", headers={"Sec-Fetch-Site": "none"}).status_code == 200
        assert client.get("/config", headers={"Origin": f"http://localhost:{port}"}).status_code == 200


def test_a_link_on_another_site_opens_the_page_and_nothing_else(pages):
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    url = pages["human"][0].local_url
    assert httpx.get(url, headers=link).status_code == 200
    assert httpx.get(f"{url}config", headers=link).status_code == 403
    assert httpx.post(url, headers=link).status_code == 403


def raw(port, text):
    """The first line of the answer, and its body, to a request as no client would write it."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(text.replace("\n", "\r\n").encode())
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    head, _, body = answer.decode().partition("\r\n\r\n")
    return head.splitlines()[0], body


SOCKET_KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Version: 13\n"
SOCKET = f"Connection: Upgrade\nUpgrade: websocket\n{SOCKET_KEY}"


@pytest.mark.parametrize("name", ["demo", "review", "human", "crowd"])
@pytest.mark.parametrize(
    "request_text",
    [
        "GET /config HTTP/1.0\n\n",
        "GET /config HTTP/1.1\nConnection: close\n\n",
        "GET /config HTTP/1.1\nHost: localhost\nHost: evil.example\nConnection: close\n\n",
        "GET /config HTTP/1.1\nHost: evil.example\nHost: localhost\nConnection: close\n\n",
        "GET /config HTTP/1.1\nhost: localhost\nHOST: localhost\nConnection: close\n\n",
        "GET / HTTP/1.1\nHost: localhost\nOrigin: http://localhost\nOrigin: null\nConnection: close\n\n",
        "GET http://localhost/config HTTP/1.1\nHost: evil.example\nConnection: close\n\n",
        f"GET /gradio_api/stream HTTP/1.1\nHost: evil.example\n{SOCKET}\n",
        f"GET /gradio_api/stream HTTP/1.1\nHost: localhost\nOrigin: http://evil.example\n{SOCKET}\n",
    ],
)
def test_requests_that_no_client_writes_are_refused_with_a_sentence(pages, name, request_text):
    status, body = raw(pages[name][0].server_port, request_text)
    assert status.startswith("HTTP/1.1 403")
    assert body in (WRONG_NAME, OTHER_SITE)


def press(blocks, key, headers):
    """Press a button of the page as its script does; the answer to the request for it."""
    button = next(
        one["id"] for one in blocks.config["components"] if one["props"].get("elem_id") == f"key-{key}"
    )
    jobs = blocks.config["dependencies"]
    number = next(
        job["id"] for job in jobs if [button, "click"] in [list(target) for target in job["targets"]]
    )
    body = {"data": [pairs(1)[0].id], "fn_index": number, "session_hash": f"s{key}"}
    # A simple request: no preflight asks whether it may be sent.
    plain = {"Content-Type": "text/plain", **headers}
    return httpx.post(f"{blocks.local_url}gradio_api/queue/join", content=json.dumps(body), headers=plain)


def test_a_rebound_name_reads_no_pair_and_writes_no_decision(pages):
    blocks, folder = pages["review"]
    for headers in (
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        refused = press(blocks, "k", headers)
        assert refused.status_code == 403
        assert "ann" not in refused.text
    assert not (folder / "decisions.jsonl").exists()
    own = {
        "Origin": blocks.local_url.rstrip("/"),
        "Sec-Fetch-Site": "same-origin",
        "Content-Type": "application/json",
    }
    assert press(blocks, "k", own).status_code == 200
    with httpx.stream("GET", f"{blocks.local_url}gradio_api/queue/data?session_hash=sk") as events:
        assert any("process_completed" in line for line in events.iter_lines())
    assert [row["decision"] for row in read_dicts(folder / "decisions.jsonl")] == ["keep"]


def test_pages_listen_on_this_machine_and_ask_the_network_for_nothing(pages, looked_up):
    assert {blocks.server.config.host for blocks, _ in pages.values()} == {"127.0.0.1"}
    assert {str(host) for host in looked_up} <= {"127.0.0.1", "localhost", "None"}


def test_every_page_is_launched_by_the_one_function_that_guards_it():
    paths = [path for folder in ("demo", "scripts", "lib") for path in (ROOT / folder).glob("*.py")]
    serves = re.compile(r"\.launch\(|uvicorn|mount_gradio_app")
    assert [path.name for path in paths if serves.search(path.read_text(encoding="utf-8"))] == ["page.py"]


def test_no_page_keeps_a_history_or_is_rendered_by_node(pages):
    """A CVE of Gradio before 6.32 needs both."""
    for blocks, _ in pages.values():
        assert httpx.get(f"{blocks.local_url}config").json()["run_history"] is False
        assert httpx.get(f"{blocks.local_url}gradio_api/runs").status_code == 404
        assert blocks.ssr_mode is False


def test_a_share_link_is_answered_where_it_was_asked_for(pages, tmp_path, monkeypatch):
    from gradio import networking

    from demo.human_app import Answers, build

    monkeypatch.setattr(networking, "setup_tunnel", lambda **tunnel: "https://abc123.gradio.live")
    blocks = build(Answers([], tmp_path / "answers.jsonl"))
    assert launch(blocks, None, share=True, auth=("rater", "secret")) == "https://abc123.gradio.live"
    try:
        for headers, status in (
            ({"Host": "abc123.gradio.live"}, 200),
            (
                {
                    "Host": "abc123.gradio.live",
                    "Origin": "https://abc123.gradio.live",
                    "X-Forwarded-Host": "abc123.gradio.live",
                },
                200,
            ),
            ({"Host": "abc123.gradio.live", "Origin": "https://other.gradio.live"}, 403),
            ({"Host": "gradio.live"}, 403),
            ({"Host": "abc123.gradio.live.evil.example"}, 403),
            ({"Host": "evil.example"}, 403),
            ({"Host": "localhost"}, 200),
        ):
            assert httpx.get(blocks.local_url, headers=headers).status_code == status, headers
    finally:
        blocks.close(verbose=False)
    assert httpx.get(pages["human"][0].local_url, headers={"Host": "abc123.gradio.live"}).status_code == 403


def status_of(host, asked, server=("127.0.0.1", 7860)):
    """What the guard of a page that listens at host answers to a request for asked."""
    sent = []

    async def page(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "headers": [(b"host", asked.encode())],
        "server": server,
    }
    asyncio.run(OwnHost(page, host, share=False)(scope, None, send))
    return sent[0]["status"]


@pytest.mark.parametrize(
    ("host", "asked", "server", "status"),
    [
        ("mybox.local", "mybox.local:7860", ("192.168.1.5", 7860), 200),
        ("MyBox.local", "mybox.local", ("192.168.1.5", 7860), 200),
        ("mybox.local", "192.168.1.5", ("192.168.1.5", 7860), 403),
        ("mybox.local", "evil.mybox.local", ("192.168.1.5", 7860), 403),
        ("192.168.1.5", "192.168.1.5:7860", ("192.168.1.5", 7860), 200),
        ("0.0.0.0", "192.168.1.5:7860", ("192.168.1.5", 7860), 200),
        ("0.0.0.0", "192.168.1.6:7860", ("192.168.1.5", 7860), 403),
        ("0.0.0.0", "evil.example:7860", ("192.168.1.5", 7860), 403),
        ("::", "[fd00::5]:7860", ("fd00::5", 7860), 200),
        ("127.0.0.1", "192.168.1.5:7860", ("192.168.1.5", 7860), 403),
    ],
)
def test_the_name_given_with_host_is_answered_and_no_other(host, asked, server, status):
    assert status_of(host, asked, server) == status


@pytest.mark.parametrize(
    ("host", "here"),
    [("localhost", True), ("127.0.0.2", True), ("[::1]", True), ("::1", True), ("127.1", False),
     ("0.0.0.0", False), ("999.1.1.1", False), ("mybox.local", False), ("", False)],
)  # fmt: skip
def test_a_host_beyond_this_machine_is_known_as_such(host, here):
    assert only_this_machine(host) is here
