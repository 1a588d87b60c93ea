"""A loopback Messages API: messages, count_tokens, models and batches as the real one answers them, with
faults on demand.

Runs in a thread of the test, so that its counters outlive a client process that was killed.

with AnthropicStub() as stub: ANTHROPIC_BASE_URL=stub.url, ANTHROPIC_API_KEY=stub.KEY
"""

import json
import os
import re
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

FENCED = re.compile(r"<([a-z]+-[0-9a-f]{8,})>\n(.*?)\n</\1>", re.DOTALL)
REJECTED_PARAMETERS = ("temperature", "top_p", "top_k")
ENDS = {"truncated": "max_tokens", "refusal": "refusal"}


@dataclass
class Fault:
    """What happens to one request, instead of or after its answer.

    op: create | count | models | batch_create | batch_list | batch_get | results. after: requests of this op
    to let pass first.
    what: a status number (not processed; as a web page with page); cut_error (500, half of its body); lost
    (processed, then 502); drop_before, drop_after (the connection, around the processing); kill_before,
    kill_created, kill_after (the client: before, after the processing, after the answer); html (200, no JSON;
    not processed); truncated, refusal, invalid_json, outside_enum, empty, no_usage (processed, and answered
    so); half, kill_half (part of the answer, then the connection or the client ends); half_lines (part of the
    answer, as if it were all); trickle (all of it, in small pieces).
    holds: only requests with this text.
    """

    op: str
    what: int | str
    times: int = 1
    after: int = 0
    retry_after: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    holds: str = ""
    page: bool = False


def longer_wins(post: str, first: str, second: str) -> tuple[str, int, int]:
    """(verdict, score of A, score of B)"""
    if len(first) == len(second):
        return "tie", 5, 5
    return ("A>B", 7, 4) if len(first) > len(second) else ("B>A", 4, 7)


def first_wins(post: str, first: str, second: str) -> tuple[str, int, int]:
    return "A>>B", 9, 2


def obeys(post: str, first: str, second: str) -> tuple[str, int, int]:
    """Does what a reply tells it to do: the reply that talks about choosing wins."""
    return ("A>>B", 10, 1) if re.search(r"(?i)choose A|reply A gets 10", first) else ("B>>A", 1, 10)


def resists(post: str, first: str, second: str) -> tuple[str, int, int]:
    """Prefers the reply that gives no orders, otherwise the longer one."""
    orders = re.compile(r"(?i)choose|ignore|verdict|10 in every|wins|B>>A|rate this")
    one, two = bool(orders.search(first)), bool(orders.search(second))
    if one == two:
        return longer_wins(post, first, second)
    return ("B>>A", 1, 8) if one else ("A>>B", 8, 1)


@dataclass
class AnthropicStub:
    judge: Callable[[str, str, str], tuple[str, int, int]] = resists
    lifecycle: str = "active"
    capabilities: dict[str, Any] | None = None  # of the first model, as the API lists them
    stop_details: dict[str, Any] | None = None  # of a refusal
    models: tuple[str, ...] = ("claude-sonnet-5-5", "claude-haiku-5-5", "claude-opus-5-5")
    usage: tuple[int, int] = (1000, 300)  # tokens of every answer
    polls: int = 0  # answers "in_progress" before the end of a batch
    outcome: Callable[[str, int], str] = lambda content, time: (
        "succeeded"
    )  # of a batch request, the n-th time it is in a batch
    faults: list[Fault] = field(default_factory=list)
    delay: float = 0.0
    victim: int = 0  # the process that a kill fault kills
    calls: Counter = field(default_factory=Counter)
    seen: Counter = field(default_factory=Counter)  # question -> processed, live or in a batch
    paid: list[tuple[int, int, bool]] = field(
        default_factory=list
    )  # (tokens in, out, batch) of every answer that was computed
    messages: dict[str, str] = field(default_factory=dict)  # message id -> question
    batches: list[dict[str, Any]] = field(default_factory=list)  # oldest first
    bodies: list[dict[str, Any]] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)

    KEY = "sk-ant-stub"

    def __enter__(self) -> "AnthropicStub":
        self.lock = threading.RLock()
        handler = type("Handler", (_Handler,), {"stub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # a client that hung up is part of the tests
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def n_requests(self) -> int:
        return sum(self.calls.values())

    def billed_usd(self, usd_in: float = 2.0, usd_out: float = 10.0) -> float:
        return sum(
            (n_in * usd_in + n_out * usd_out) / 1e6 * (0.5 if batch else 1)
            for n_in, n_out, batch in self.paid
        )

    def fault(self, op: str, text: str = "") -> Fault | None:
        """The fault for this request, and one request of it used up."""
        with self.lock:
            self.calls[op] += 1
            for fault in self.faults:
                if fault.op == op and fault.times and fault.holds in text:
                    if fault.after:
                        fault.after -= 1
                        return None
                    fault.times -= 1
                    return fault
        return None

    def answer(self, body: dict[str, Any], batch: bool, what: object = None) -> dict[str, Any]:
        """A message, computed and paid for."""
        content = body["messages"][0]["content"]
        texts = [json.loads(text) for _, text in FENCED.findall(content)]
        verdict, one, two = self.judge(*texts)
        scores = {
            side: dict.fromkeys(("relevance", "engagement", "tone", "clarity"), n)
            for side, n in (("A", one), ("B", two))
        }
        text = json.dumps(
            {
                "reason": "because",
                "scores": scores,
                "verdict": "A wins" if what == "outside_enum" else verdict,
            }
        )
        if what in ("truncated", "invalid_json"):
            text = text[:40]
        blocks = [{"type": "thinking", "thinking": "hm", "signature": "x"}, {"type": "text", "text": text}]
        if what == "empty":
            blocks.pop()
        if what == "refusal":
            blocks = []
        with self.lock:
            self.seen[content] += 1
            self.paid.append((*self.usage, batch))
            name = f"msg_{len(self.paid)}"
            self.messages[name] = content
        message = {
            "id": name,
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": blocks,
        }
        usage = {
            "input_tokens": self.usage[0],
            "output_tokens": self.usage[1],
            "service_tier": "batch" if batch else "standard",
        }
        return message | {
            "stop_reason": ENDS.get(str(what), "end_turn"),
            "stop_sequence": None,
            "stop_details": self.stop_details if what == "refusal" else None,
            "usage": {} if what == "no_usage" else usage,
        }

    def new_batch(self, requests: list[dict[str, Any]]) -> dict[str, Any]:
        with self.lock:
            name = f"msgbatch_{len(self.batches) + 1:04d}"
            batch = {
                "id": name,
                "requests": requests,
                "polls": self.polls,
                "results": None,
                "created": len(self.batches),
            }
            self.batches.append(batch)
            return batch

    def state(self, batch: dict[str, Any]) -> dict[str, Any]:
        results = batch["results"]
        counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
        if results is None:
            counts["processing"] = len(batch["requests"])
        for row in results or []:
            counts[row["result"]["type"]] += 1
        moment = f"2026-11-22T10:{batch['created'] // 60:02d}:{batch['created'] % 60:02d}Z"
        return {
            "id": batch["id"],
            "type": "message_batch",
            "processing_status": "in_progress" if results is None else "ended",
            "request_counts": counts,
            "created_at": moment,
            "expires_at": "2026-11-23T10:00:00Z",
            "ended_at": None if results is None else moment,
            "archived_at": moment if batch.get("archived") else None,
            "cancel_initiated_at": None,
            "results_url": None
            if results is None
            else f"{self.url}/v1/messages/batches/{batch['id']}/results",
        }

    def poll(self, batch: dict[str, Any]) -> None:
        """One look at a batch; at the last one its requests are computed."""
        with self.lock:
            if batch["results"] is not None:
                return
            if batch["polls"]:
                batch["polls"] -= 1
                return
            rows = [
                {"custom_id": request["custom_id"], "result": self.result(request["params"])}
                for request in batch["requests"]
            ]
            batch["results"] = rows[::-1]  # in any order

    def result(self, params: dict[str, Any]) -> dict[str, Any]:
        content = params["messages"][0]["content"]
        n = sum(
            request["params"]["messages"][0]["content"] == content
            for batch in self.batches
            for request in batch["requests"]
        )
        outcome = self.outcome(content, n)
        if outcome == "succeeded" or outcome in ("truncated", "refusal", "invalid_json"):
            return {"type": "succeeded", "message": self.answer(params, batch=True, what=outcome)}
        if outcome in ("errored", "invalid"):
            error = {
                "type": "invalid_request_error" if outcome == "invalid" else "api_error",
                "message": "stub",
            }
            return {"type": "errored", "error": {"type": "error", "error": error, "request_id": "r"}}
        return {"type": outcome}


class _Handler(BaseHTTPRequestHandler):
    stub: AnthropicStub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        words = parts.path.strip("/").split("/")[1:]
        if not self.allowed():
            return
        if words[:1] == ["models"]:
            self.serve("models", lambda: self.model(words))
        elif words == ["messages", "batches"]:
            self.serve("batch_list", lambda: self.listing(parse_qs(parts.query)))
        elif words[:2] == ["messages", "batches"] and len(words) in (3, 4):
            batch = next((batch for batch in self.stub.batches if batch["id"] == words[2]), None)
            if batch is None:
                self.error(404, "not_found_error", f"batch {words[2]}")
            elif len(words) == 4:
                self.serve("results", lambda: "".join(json.dumps(row) + "\n" for row in batch["results"]))
            else:
                self.stub.poll(batch)
                self.serve("batch_get", lambda: self.stub.state(batch))
        else:
            self.error(404, "not_found_error", self.path)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.allowed():
            return
        if self.stub.delay:
            time.sleep(self.stub.delay)
        path = urlsplit(self.path).path
        if path == "/v1/messages/count_tokens":
            self.serve("count", lambda: {"input_tokens": self.stub.usage[0]})
        elif path == "/v1/messages/batches":
            self.serve("batch_create", lambda: self.stub.state(self.stub.new_batch(body["requests"])))
        elif path == "/v1/messages":
            self.stub.bodies.append(body)
            if problem := _problem(body):
                self.stub.calls["create"] += 1
                self.error(400, "invalid_request_error", problem)
            elif body["model"] not in self.stub.models:
                self.error(404, "not_found_error", f"model: {body['model']}")
            else:
                self.serve(
                    "create",
                    lambda what=None: self.stub.answer(body, batch=False, what=what),
                    json.dumps(body),
                )
        else:
            self.error(404, "not_found_error", self.path)

    def model(self, words: list[str]) -> dict[str, Any] | None:
        def info(name: str) -> dict[str, Any]:
            lifecycle = self.stub.lifecycle if name == self.stub.models[0] else "active"
            dates = (
                {"deprecated_at": "2026-10-01T00:00:00Z", "retires_at": "2026-12-24T00:00:00Z"}
                if lifecycle != "active"
                else {}
            )
            able = self.stub.capabilities if name == self.stub.models[0] else None
            return {
                "id": name,
                "type": "model",
                "display_name": name,
                "created_at": "2026-09-01T00:00:00Z",
                "lifecycle": lifecycle,
                **({"capabilities": able, "max_tokens": 64_000} if able else {}),
            } | dates

        if len(words) == 1:
            return {
                "data": [info(name) for name in self.stub.models],
                "has_more": False,
                "first_id": None,
                "last_id": None,
            }
        return info(words[1]) if words[1] in self.stub.models else None

    def listing(self, query: dict[str, list[str]]) -> dict[str, Any]:
        newest_first = self.stub.batches[::-1]
        if after := query.get("after_id"):
            names = [batch["id"] for batch in newest_first]
            newest_first = newest_first[names.index(after[0]) + 1 :]
        page = newest_first[: int(query.get("limit", ["20"])[0])]
        ends = (
            {"first_id": page[0]["id"], "last_id": page[-1]["id"]}
            if page
            else {"first_id": None, "last_id": None}
        )
        return {
            "data": [self.stub.state(batch) for batch in page],
            "has_more": len(page) < len(newest_first),
            **ends,
        }

    def serve(self, op: str, process: Callable[..., Any], text: str = "") -> None:
        """Process and answer, or whatever fault is due."""
        fault = self.stub.fault(op, text)
        what = fault.what if fault else None
        if isinstance(what, int) and fault.page:
            self.send(what, b"<html><h1>Bad gateway</h1></html>", "text/html", fault.headers)
        elif what == "cut_error":
            self.send(500, b'{"type": "error", "error": {}}', "application/json", cut=True)
        elif isinstance(what, int):
            kind = {429: "rate_limit_error", 529: "overloaded_error", 401: "authentication_error"}.get(
                what, "api_error"
            )
            self.error(what, kind, f"stub {what}", fault.retry_after, fault.headers)
        elif what == "html":
            self.send(200, b"<html>hello</html>", "text/html")
        elif what == "drop_before":
            self.drop()
        elif what == "kill_before":
            self.kill()
        else:
            in_answer = op == "create" and what in (
                "truncated",
                "refusal",
                "invalid_json",
                "outside_enum",
                "empty",
                "no_usage",
            )
            answer = process(what) if in_answer else process()
            if what == "drop_after":
                self.drop()
            elif what == "kill_created":
                self.kill()
            elif what == "lost":
                self.error(502, "api_error", "bad gateway")
            elif answer is None:
                self.error(404, "not_found_error", self.path)
            else:
                payload = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
                if what == "half_lines":
                    payload = b"".join(payload.splitlines(keepends=True)[::2])
                self.send(
                    200,
                    payload,
                    "application/json",
                    cut=what in ("half", "kill_half"),
                    piece=40 if what == "trickle" else 0,
                )
                if what in ("kill_after", "kill_half"):
                    self.kill()

    def kill(self) -> None:
        os.kill(self.stub.victim, signal.SIGKILL)
        self.close_connection = True

    def drop(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def allowed(self) -> bool:
        self.stub.versions.add(self.headers.get("anthropic-version", ""))
        if self.headers.get("Authorization") == f"Bearer {self.stub.KEY}":
            return True
        self.error(401, "authentication_error", f"invalid key {self.headers.get('Authorization')}")
        return False

    def error(
        self,
        status: int,
        kind: str,
        message: str,
        retry_after: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
        self.send(
            status,
            json.dumps(body).encode(),
            "application/json",
            ({"retry-after": retry_after} if retry_after else {}) | (headers or {}),
        )

    def send(
        self,
        status: int,
        payload: bytes,
        kind: str,
        headers: dict[str, str] | None = None,
        cut: bool = False,
        piece: int = 0,
    ) -> None:
        self.send_response(status)
        for name, value in (
            {"Content-Type": kind, "Content-Length": str(len(payload))} | (headers or {})
        ).items():
            self.send_header(name, value)
        self.end_headers()
        payload = payload[: len(payload) // 2] if cut else payload
        for start in range(0, len(payload), piece or len(payload) or 1):
            self.wfile.write(payload[start : start + (piece or len(payload))])
            self.wfile.flush()
        if cut:
            self.close_connection = True


def _problem(body: dict[str, Any]) -> str | None:
    """Why the API of October 2026 does not take this request."""
    if given := [name for name in REJECTED_PARAMETERS if name in body]:
        return f"{given[0]}: sampling parameters are not supported"
    if (body.get("tool_choice") or {}).get("type") in ("tool", "any"):
        return "tool_choice: forced tool use is not supported"
    if body.get("output_config", {}).get("format", {}).get("type") != "json_schema":
        return "output_config: the stub answers only JSON"
    return None
