"""RunPod's REST v2, as far as renting a pod needs it. REST v1 is gone since November 2026; GraphQL follows.

Reading is repeated when the network or the server fails. Creating never is: only the caller can look whether
it had an effect.
"""

import json
import os
import re
from collections.abc import Iterator
from typing import Any

from lib.base.errors import UserError
from lib.remote.seam import AnswerLostError, Clock, NoRoomError

ORIGIN = "https://api.runpod.io"
WAITS_S = (1, 2, 4, 8, 15, 30)  # between attempts at what may be repeated
BUSY_WAITS = 12  # of a 429, each as long as the server says, at most a minute
LOG_S = 15


class RunPodApi:
    """A client for one account. Unknown fields of answers are ignored: v2 gains some every month."""

    def __init__(self, clock: Clock) -> None:
        key = os.environ.get("RUNPOD_API_KEY", "").strip()
        if not key:
            raise UserError(
                "RUNPOD_API_KEY is not set. Make a key at console.runpod.io/user/settings and put it into "
                ".env."
            )
        import httpx

        origin = (os.environ.get("RUNPOD_API_BASE_URL") or ORIGIN).rstrip("/").removesuffix("/v2")
        self.base_url = origin + "/v2"
        self._clock, self._httpx = clock, httpx
        headers = {
            "Authorization": f"Bearer {key}",
            "Accept": "application/json",
            "User-Agent": "reply-train",
        }
        self._client = httpx.Client(
            headers=headers, timeout=httpx.Timeout(30, connect=10), follow_redirects=False
        )

    def gpus(self, min_cuda: str) -> list[dict[str, Any]]:
        asked = {
            "include": "AVAILABILITY",
            "product": "POD",
            "cloud": "SECURE",
            "count": "1",
            "minCudaVersion": min_cuda,
        }
        return self._all("/catalog/gpus", "gpus", asked)

    def pods(self) -> list[dict[str, Any]]:
        return self._all("/pods", "pods", {})

    def pod(self, pod_id: str) -> dict[str, Any] | None:
        """None: 404, which right after a create means nothing."""
        answer = self._repeated("GET", f"/pods/{_word(pod_id)}", accept=(404,))
        return None if answer.status_code == 404 else self._json(answer)

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        """The new pod.

        Raises NoRoomError (nothing started), AnswerLostError (nobody knows), UserError (no candidate will
        do).
        """
        try:
            answer = self._patient("POST", "/pods", json=body)
        except self._httpx.HTTPError as error:
            raise AnswerLostError(f"{type(error).__name__} while a pod was created") from error
        status, detail = answer.status_code, _detail(answer)
        if status in (400, 403):
            raise NoRoomError(detail)
        if status == 402:
            raise UserError(
                f"RunPod: {detail}. Add credit at console.runpod.io/user/billing (an hour of the pod must be "
                "covered)."
            )
        if 400 <= status < 500:
            raise self._refused(status, detail)
        pod = self._json(answer) if status in (200, 201) else None
        if not isinstance(pod, dict) or not isinstance(pod.get("id"), str) or not pod["id"]:
            raise AnswerLostError(f"RunPod answered {status} to a create")
        return pod

    def delete(self, pod_id: str) -> int:
        """The status of one attempt, 0 without an answer: neither proves anything, only absence does."""
        try:
            answer = self._patient("DELETE", f"/pods/{_word(pod_id)}")
        except self._httpx.HTTPError:
            return 0
        if answer.status_code in (401, 403):
            raise self._refused(answer.status_code, _detail(answer))
        return answer.status_code

    def logs(self, pod_id: str) -> Iterator[str]:
        """The last lines of container and host: why does a pod not come up?"""
        deadline = self._clock.now() + LOG_S
        url, params = f"{self.base_url}/pods/{_word(pod_id)}/logs", {"tail": "40"}
        try:
            with self._client.stream("GET", url, params=params, timeout=self._httpx.Timeout(5)) as answer:
                for line in answer.iter_lines() if answer.status_code == 200 else ():
                    if line.startswith("data:"):
                        yield str(json.loads(line[5:]).get("line", ""))
                    if self._clock.now() > deadline:
                        return
        except (self._httpx.HTTPError, ValueError, AttributeError):
            return  # the stream stays open for ever: silence is its end

    def billed(self, pod_id: str) -> float | None:
        """Dollars of all records of this pod, None where there is no record yet."""
        records = self._all("/billing/pods", "records", {"podId": pod_id, "bucketSize": "hour"})
        amounts = [record.get("totalAmount") for record in records if record.get("podId") == pod_id]
        return (
            float(sum(amount for amount in amounts if isinstance(amount, int | float))) if amounts else None
        )

    def _all(self, path: str, key: str, params: dict[str, str]) -> list[dict[str, Any]]:
        """Every row of every page. The cursor's field is not documented: the usual names are followed."""
        rows: list[dict[str, Any]] = []
        seen: set[str] = set()
        while True:
            answer = self._repeated("GET", path, params=params)
            body = self._json(answer)
            page = body.get(key) if isinstance(body, dict) else None
            if not isinstance(page, list):
                raise UserError(
                    f"RunPod: {path} answered without `{key}`. Its API may have changed; see docs/runpod.md "
                    "for the manual way."
                )
            rows += [row for row in page if isinstance(row, dict)]
            cursor = _next_cursor(body)
            if not cursor:
                return rows
            if cursor in seen:
                raise UserError(
                    f"RunPod: the pages of {path} go in a circle. Run the same command again later."
                )
            seen.add(cursor)
            params = {**params, "cursor": cursor}

    def _repeated(self, method: str, path: str, accept: tuple[int, ...] = (), **options: Any) -> Any:
        """The answer to something that may be asked twice. Raises UserError."""
        problem = ""
        for wait_s in (*WAITS_S, None):
            try:
                answer = self._patient(method, path, **options)
            except self._httpx.HTTPError as error:
                problem = type(error).__name__
            else:
                if answer.status_code < 400 or answer.status_code in accept:
                    return answer
                if answer.status_code < 500:
                    raise self._refused(answer.status_code, _detail(answer))
                problem = f"{answer.status_code} {_detail(answer)}"
            if wait_s is not None:
                self._clock.sleep(wait_s)
        raise UserError(
            f"RunPod does not answer ({problem}). Run the same command again later; `make rented` says what "
            "is still billed."
        )

    def _patient(self, method: str, path: str, **options: Any) -> Any:
        """One request, asked again only where the server said that it did nothing (429)."""
        for _ in range(BUSY_WAITS):
            answer = self._client.request(method, self.base_url + path, **options)
            if answer.status_code != 429:
                return answer
            wait = answer.headers.get("Retry-After", "")
            self._clock.sleep(min(60.0, float(wait)) if re.fullmatch(r"\d+(\.\d+)?", wait) else 10.0)
        raise UserError(
            "RunPod is busy (429 for minutes). Run the same command again later; `make rented` says what is "
            "still billed."
        )

    def _refused(self, status: int, detail: str) -> UserError:
        if status in (401, 403):
            return UserError(
                f"RunPod refuses RUNPOD_API_KEY ({status}: {detail}). It needs read and write access to pods."
            )
        return UserError(
            f"RunPod refuses the request ({status}: {detail}). Nothing was started by it. The manual way: "
            "docs/runpod.md."
        )

    def _json(self, answer: Any) -> Any:
        try:
            return answer.json()
        except ValueError as error:
            if answer.request.method == "POST":
                raise AnswerLostError("RunPod's answer to a create cannot be read") from error
            raise UserError(
                "RunPod answered with something that is not JSON. Check RUNPOD_API_BASE_URL, then run it "
                "again."
            ) from error


def _next_cursor(body: dict[str, Any]) -> str | None:
    for holder in (
        body,
        body.get("pagination"),
        body.get("pageInfo"),
        body.get("meta"),
        body.get("metadata"),
    ):
        if isinstance(holder, dict):
            for key in ("nextCursor", "next_cursor", "cursor", "next", "endCursor"):
                if (
                    isinstance(holder.get(key), str)
                    and holder[key]
                    and holder.get("hasNextPage", True)
                    and holder.get("hasMore", True)
                ):
                    return str(holder[key])
    return None


def _detail(answer: Any) -> str:
    """RFC 9457's detail and errors, on one line."""
    try:
        body = answer.json()
        parts = [str(body.get("detail") or body.get("title") or ""), *map(str, body.get("errors") or [])]
    except (ValueError, AttributeError, TypeError):
        parts = []
    return " ".join("; ".join(part for part in parts if part).split())[:300] or f"status {answer.status_code}"


def _word(text: str) -> str:
    """A pod id as it may stand in a path. It comes from the network or from a ledger."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        raise UserError(f"{text[:80]!r} is no pod id. Look at your pods in the console.")
    return text
