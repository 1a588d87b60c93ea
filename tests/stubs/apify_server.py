"""A loopback Apify API: what apify-client asks of it, with faults on demand. Runs in a thread of the test;
its counters outlive the client process.

with ApifyStub(world) as stub: APIFY_API_BASE_URL=stub.url. world(input) -> the items of a run with this
input. The first fault of an operation that has `times` left is applied.
"""

import gzip
import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "apify_api_stub"
PAY_PER_RESULT = [
    {
        "pricingModel": "PRICE_PER_DATASET_ITEM",
        "pricePerUnitUsd": 0.0004,
        "unitName": "result",
        "startedAt": "2025-01-01T00:00:00.000Z",
        "createdAt": "2025-01-01T00:00:00.000Z",
        "apifyMarginPercentage": 0.2,
    }
]


@dataclass
class Fault:
    """What happens to one request, instead of or after its answer.

    op: start | run | items | dataset | input | list | actor | limits. after: requests of this op to let pass
    first.
    what: a status number (not processed); lost (processed, answered 502); drop_before, drop_after (the
    connection, around the processing); kill_before, kill_created, kill_after (the client: before, after
    processing, after the answer); slow (half the body late); no_headers (of pagination); drift (a required
    field is gone).
    """

    op: str
    what: int | str
    times: int = 1
    after: int = 0
    type: str = "stub-error"


@dataclass
class ApifyStub:
    world: Callable[[dict[str, Any]], list[Any]]
    pricing: list[dict[str, Any]] = field(default_factory=lambda: PAY_PER_RESULT)
    usd_per_item: float = 0.0004
    report_usd: bool = True
    events: Callable[[list[Any]], dict[str, int]] | None = (
        None  # a run's items -> how often each event was charged
    )
    page_cap: int = 1000  # rows of a page at most, whatever was asked
    page: Callable[[list[Any], int, int], tuple[list[Any], int, int]] | None = (
        None  # offset, limit -> rows, total, offset
    )
    counts: Callable[[list[Any]], tuple[int, int] | None] = lambda items: (len(items), sum(map(bool, items)))
    ended_s_ago: float = 0.0
    polls: int = 0  # answers READY or RUNNING before the end
    end: Callable[[dict[str, Any]], str] = lambda run_input: "SUCCEEDED"
    faults: list[Fault] = field(default_factory=list)
    victim: int = 0  # the process that a kill fault kills
    runs: list[dict[str, Any]] = field(default_factory=list)
    posts: int = 0
    calls: Counter = field(default_factory=Counter)
    queries: list[dict[str, Any]] = field(default_factory=list)  # the query string of each start

    def __enter__(self) -> "ApifyStub":
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"stub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def starts(self) -> Counter:
        """How many runs were created per search term."""
        return Counter(run["input"]["searchTerms"][0] for run in self.runs)

    def billed_usd(self) -> float:
        return sum(len(run["items"]) * self.usd_per_item for run in self.runs)

    def fault(self, op: str) -> Fault | None:
        with self.lock:
            self.calls[op] += 1
            for fault in self.faults:
                if fault.op == op and fault.times > 0:
                    if fault.after > 0:
                        fault.after -= 1
                        continue
                    fault.times -= 1
                    return fault
        return None

    def create(self, run_input: dict[str, Any]) -> dict[str, Any]:
        with self.lock:
            n = len(self.runs) + 1
            run = {
                "n": n,
                "input": run_input,
                "items": self.world(run_input),
                "polls": 0,
                "at": datetime.now(UTC),
            }
            self.runs.append(run)
            return run

    def shown(self, run: dict[str, Any]) -> dict[str, Any]:
        ended = run["polls"] > self.polls
        status = self.end(run["input"]) if ended else "RUNNING" if run["polls"] else "READY"
        shown = {
            "id": f"R{run['n']}",
            "actId": "A1",
            "userId": "U1",
            "buildId": "B1",
            "buildNumber": "0.0.7",
            "status": status,
            "stats": {},
            "startedAt": run["at"].isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "meta": {"origin": "API"},
            "options": {"build": "latest", "timeoutSecs": 60, "memoryMbytes": 256, "diskMbytes": 512},
            "defaultKeyValueStoreId": f"K{run['n']}",
            "defaultDatasetId": f"D{run['n']}",
            "defaultRequestQueueId": f"Q{run['n']}",
            "aFieldOfNextYear": True,
        }
        if ended:
            finished = (datetime.now(UTC) - timedelta(seconds=self.ended_s_ago)).isoformat(
                timespec="milliseconds"
            )
            shown["finishedAt"] = finished.replace("+00:00", "Z")
        if ended and self.events:
            shown["chargedEventCounts"] = self.events(run["items"])
        return (
            {**shown, "usageTotalUsd": round(len(run["items"]) * self.usd_per_item, 6)}
            if self.report_usd and ended
            else shown
        )


class _Handler(BaseHTTPRequestHandler):
    stub: ApifyStub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one packet

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        names, query = [unquote(name) for name in parts.path.split("/")[2:]], parse_qs(parts.query)
        match names:
            case ["actors", _]:
                actor = {"id": "A1", "name": "tweet-scraper", "pricingInfos": self.stub.pricing}
                self.answer("actor", lambda: (200, {"data": actor}, {}))
            case ["actors", _, "runs"]:
                self.answer("list", self.list_runs)
            case ["users", "me"]:
                self.answer("me", lambda: (200, {"data": {"id": "U1"}}, {}))
            case ["users", "me", "limits"]:
                limits = {"limits": {"maxMonthlyUsageUsd": 49}, "current": {"monthlyUsageUsd": 12.3}}
                self.answer("limits", lambda: (200, {"data": limits}, {}))
            case ["actor-runs", run_id]:
                self.answer("run", lambda: self.run_status(run_id))
            case ["datasets", dataset, "items"]:
                offset, limit = (
                    int(query.get("offset", ["0"])[0]),
                    int(query.get("limit", ["999999999999"])[0]),
                )
                self.answer("items", lambda: self.items(dataset, offset, limit))
            case ["datasets", dataset]:
                self.answer("dataset", lambda: self.dataset(dataset))
            case ["key-value-stores", store, "records", "INPUT"]:
                self.answer("input", lambda: (200, self.run_of(store)["input"], {}))
            case _:
                self.send(404, {"error": {"type": "page-not-found", "message": self.path}}, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        run_input = json.loads(body)
        with self.stub.lock:
            self.stub.posts += 1
            self.stub.queries.append(
                {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            )
        self.answer("start", lambda: (201, {"data": self.stub.shown(self.stub.create(run_input))}, {}))

    def answer(self, op: str, process: Callable[[], tuple[int, Any, dict[str, str]]]) -> None:
        """Process and answer, or what the next fault says."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token != TOKEN:
            self.send(
                401,
                {
                    "error": {
                        "type": "user-or-token-not-found",
                        "message": f"User was not found or {token} is not valid",
                    }
                },
                {},
            )
            return
        fault = self.stub.fault(op)
        what = fault.what if fault else None
        if what == "kill_before":
            os.kill(self.stub.victim, signal.SIGKILL)
            what = "drop_before"
        if what == "drop_before":
            self.drop()
            return
        if isinstance(what, int):
            self.send(
                what, {"error": {"type": fault.type, "message": "the stub says no"}}, {"Retry-After": "1"}
            )
            return
        status, body, headers = process()
        if what in ("drop_after", "kill_created"):
            if what == "kill_created":
                os.kill(self.stub.victim, signal.SIGKILL)
            self.drop()
            return
        if what == "lost":  # done, and answered with 502
            self.send(502, {"error": {"type": "bad-gateway", "message": "bad gateway"}}, {})
            return
        if what == "drift":
            del body["data"]["buildId"]
        self.send(status, body, {} if what == "no_headers" else headers, slow=what == "slow")
        if what == "kill_after":
            os.kill(self.stub.victim, signal.SIGKILL)

    def run_of(self, name: str) -> dict[str, Any]:
        return self.stub.runs[int(name[1:]) - 1]

    def run_status(self, run_id: str) -> tuple[int, Any, dict[str, str]]:
        run = self.run_of(run_id)
        run["polls"] += 1
        return 200, {"data": self.stub.shown(run)}, {}

    def list_runs(self) -> tuple[int, Any, dict[str, str]]:
        items = [self.stub.shown(run) for run in reversed(self.stub.runs)][:100]
        page = {
            "total": len(items),
            "offset": 0,
            "limit": 100,
            "desc": True,
            "count": len(items),
            "items": items,
        }
        return 200, {"data": page}, {}

    def items(self, dataset: str, offset: int, limit: int) -> tuple[int, Any, dict[str, str]]:
        items = self.run_of(dataset)["items"]
        page, total = items[offset : offset + min(limit, self.stub.page_cap)], len(items)
        if self.stub.page:
            page, total, offset = self.stub.page(items, offset, limit)
        numbers = {"Total": total, "Offset": offset, "Count": len(page), "Limit": limit}
        return (
            200,
            page,
            {
                **{f"X-Apify-Pagination-{name}": str(n) for name, n in numbers.items()},
                "X-Apify-Pagination-Desc": "false",
            },
        )

    def dataset(self, name: str) -> tuple[int, Any, dict[str, str]]:
        counts = self.stub.counts(self.run_of(name)["items"])
        if counts is None:
            return 404, {"error": {"type": "record-not-found", "message": "Dataset was not found"}}, {}
        return 200, {"data": {"id": name, "itemCount": counts[0], "cleanItemCount": counts[1]}}, {}

    def send(self, status: int, body: Any, headers: dict[str, str], slow: bool = False) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json; charset=utf-8",
            "Content-Length": str(len(content)),
            **headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        half = len(content) // 2 if slow else len(content)
        self.wfile.write(content[:half])
        if slow:
            self.wfile.flush()
            time.sleep(0.2)
            self.wfile.write(content[half:])
        self.wfile.flush()

    def drop(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        pass
