"""Services that take a key: can this machine reach one, and does it accept the key? One free GET each."""

import json
import os
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

LIMIT_S = 5.0
MAX_BYTES = 1_000_000


@dataclass(frozen=True)
class Answer:
    """state: accepted and refused are said of a key; reached: it answers, which is all one can know.

    why: of a service that is offline, or that answers unclearly.
    """

    state: Literal["accepted", "refused", "reached", "offline", "unclear"]
    why: str = ""


@dataclass(frozen=True)
class Endpoint:
    """A service: the variable that holds its key, and a free question that only a valid key gets answered.

    base_variable: the variable that moves its address. suffix: what such an address may end in already.
    """

    key_variable: str
    base_variable: str
    default_base: str
    path: str
    headers: Mapping[str, str] | None = None
    suffix: str = ""

    @property
    def base(self) -> str:
        """Its address on this machine."""
        moved = os.environ.get(self.base_variable, "").strip() or self.default_base
        return moved.rstrip("/").removesuffix(self.suffix).rstrip("/")

    @property
    def host(self) -> str:
        """The address as it may be shown: without a password that stands in it."""
        return urlsplit(self.base).netloc.rpartition("@")[2] or self.base_variable

    @property
    def key(self) -> str:
        """Its key, empty if none is set. For the request's header only: never printed."""
        return os.environ.get(self.key_variable, "").strip()


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer: no other host ever gets the key."""

    def redirect_request(self, *_: object) -> None:
        return None


def ask(endpoints: Sequence[Endpoint], limit_s: float = LIMIT_S) -> list[Answer]:
    """Their answers, in order. All are asked at once, and none is waited for much longer than limit_s."""
    answers = [Answer("offline", f"no answer within {limit_s:g} s")] * len(endpoints)

    def note(number: int) -> None:
        answers[number] = _answer(endpoints[number], limit_s)

    # Looking up a name knows no limit, and a thread of a pool would keep the program from ending.
    threads = [threading.Thread(target=note, args=(number,), daemon=True) for number in range(len(endpoints))]
    for thread in threads:
        thread.start()
    end = time.monotonic() + limit_s
    for thread in threads:
        thread.join(max(0, end - time.monotonic()))
    return list(answers)


def _answer(endpoint: Endpoint, limit_s: float) -> Answer:
    key = endpoint.key
    if not (key.isascii() and key.isprintable()):
        return Answer("refused", "it holds a character that no key has")
    if not endpoint.base.startswith(("http://", "https://")):
        return Answer("unclear", f"{endpoint.base_variable} is not an address: it begins with https://")
    headers = {"User-Agent": "doctor", **(endpoint.headers or {})}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    try:
        request = urllib.request.Request(endpoint.base + endpoint.path, headers=headers)
        with urllib.request.build_opener(_NoRedirects).open(request, timeout=limit_s) as response:
            json.loads(response.read(MAX_BYTES))  # a hotel's login page answers 200 as well
        return Answer("accepted" if key else "reached")
    except urllib.error.HTTPError as error:
        if not key:
            return Answer("reached")
        return Answer("refused" if error.code in (401, 403) else "unclear", f"it answers {error.code}")
    except OSError as error:
        return Answer("offline", re.sub(r"^\[Errno -?\d+\] ", "", str(getattr(error, "reason", error)))[:80])
    except Exception as error:  # what it answers is no HTTP, or no JSON
        return Answer("unclear", f"it answers something else ({type(error).__name__})")
