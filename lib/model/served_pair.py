"""Base and tuned reply at the same time, word by word, from served arms: lib.model.streaming for engines."""

import json
import queue
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lib.base.errors import UserError
from lib.base.settings import ArmConfig, SamplingConfig
from lib.model.chat import Messages
from lib.model.generate import clean_reply
from lib.model.openai_server import Arm

if TYPE_CHECKING:
    import httpx

CONNECT_S = 10.0
BETWEEN_TOKENS_S = 300.0  # a slow machine reads a long prompt before its first token
ARMS = ("base", "tuned")
END = "[DONE]"


def stream_served_pair(
    arms: Mapping[str, ArmConfig], conversation: Messages, sampling: SamplingConfig
) -> Iterator[tuple[str, str]]:
    """Yield (base reply so far, tuned reply so far) as they grow; the last pair is the two whole replies.

    Closing the iterator hangs up on both servers, at their next word.
    Raises UserError naming the arm whose server fails.
    """
    import httpx

    timeout = httpx.Timeout(BETWEEN_TOKENS_S, connect=CONNECT_S)
    told: queue.Queue[tuple[str, str | UserError | None]] = queue.Queue()
    stop = threading.Event()
    with httpx.Client(timeout=timeout) as client:
        threads = [
            threading.Thread(
                target=_tell,
                args=(Arm(name, arms[name], client), conversation, sampling, told, stop),
                daemon=True,
            )
            for name in ARMS
        ]
        for thread in threads:
            thread.start()
        try:
            yield from _pairs(told)
        finally:
            stop.set()


def served_reply(
    arms: Mapping[str, ArmConfig], name: str, conversation: Messages, sampling: SamplingConfig
) -> str:
    """One arm's whole reply. Raises UserError naming the arm whose server fails."""
    import httpx

    with httpx.Client(timeout=httpx.Timeout(BETWEEN_TOKENS_S, connect=CONNECT_S)) as client:
        return Arm(name, arms[name], client).reply(conversation, sampling).text


def _pairs(told: "queue.Queue[tuple[str, str | UserError | None]]") -> Iterator[tuple[str, str]]:
    texts, open_arms = dict.fromkeys(ARMS, ""), set(ARMS)
    while open_arms:
        name, news = told.get()
        if isinstance(news, UserError):
            raise news
        if news is None:
            open_arms.discard(name)
            continue
        texts[name] += news
        yield _cleaned(texts)
    yield _cleaned(texts)


def _cleaned(texts: Mapping[str, str]) -> tuple[str, str]:
    base, tuned = (clean_reply(texts[name])[0] for name in ARMS)
    return base, tuned


def _tell(
    arm: Arm,
    conversation: Messages,
    sampling: SamplingConfig,
    told: "queue.Queue[tuple[str, str | UserError | None]]",
    stop: threading.Event,
) -> None:
    """Put an arm's words into told as they come, then None; an error instead where the server fails."""
    import httpx

    try:
        with arm.stream(conversation, sampling) as response:
            for news in _words(arm, response):
                if stop.is_set():
                    return
                told.put((arm.name, news))
        told.put((arm.name, None))
    except UserError as error:
        told.put((arm.name, error))
    except (httpx.HTTPError, RuntimeError) as error:  # RuntimeError: the client was closed
        told.put((arm.name, UserError(f"Arm {arm.name}: {arm.root} broke off ({error}). Is the server up?")))


def _words(arm: Arm, response: "httpx.Response") -> Iterator[str]:
    """The pieces of text in a stream of server-sent events."""
    for line in response.iter_lines():
        if not line.startswith("data:") or line[5:].strip() in ("", END):
            continue
        try:
            event: Any = json.loads(line[5:])
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"Arm {arm.name}: {arm.root} sent what is no JSON. Is it an OpenAI-compatible server?"
            ) from error
        if isinstance(event, dict) and event.get("error"):
            raise UserError(f"Arm {arm.name}: {arm.root} says: {str(event['error'])[:200]}")
        choices = event.get("choices") if isinstance(event, dict) else None
        delta = choices[0].get("delta") if choices and isinstance(choices[0], dict) else None
        text = delta.get("content") if isinstance(delta, dict) else None
        if isinstance(text, str) and text:
            yield text
