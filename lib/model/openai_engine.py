"""Replies from any OpenAI-compatible server: vLLM with a LoRA, llama-server, Ollama, mlx_lm.server. One arm is one address and model."""

import email.utils
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lib.base.errors import UserError
from lib.base.settings import ArmConfig, SamplingConfig
from lib.model.chat import CHAT_KWARGS, Messages, without_control_tokens
from lib.model.generate import FIXED_PROMPT, Answers, Engine, Generated, clean_reply, row_seed

if TYPE_CHECKING:
    import httpx

WORKERS = 8
ATTEMPTS = 5
MAX_WAIT_S = 30.0
TIMEOUT_S = 300.0
RETRIED = {408, 409, 425, 429}  # and everything from 500 up
PROBE_TOKENS = 32


class Arm:
    """One arm's server: asks, waits, asks again, and gives up with a sentence. Safe for several threads."""

    def __init__(
        self,
        name: str,
        config: ArmConfig,
        client: "httpx.Client",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name, self.config, self.client, self.sleep = name, config, client, sleep
        root = config.base_url.rstrip("/")
        self.root = (
            root if urlsplit(root).path else root + "/v1"
        )  # http://localhost:8080 -> what every one of these servers means
        self.headers = _headers(name, config)

    def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The answer's JSON object. Raises UserError with the arm and the status; 429, 5xx and broken connections are tried again first."""
        import httpx

        problem = ""
        for attempt in range(ATTEMPTS):
            wait = min(0.5 * 2**attempt, 8.0)
            try:
                response = self.client.request(method, self.root + path, json=body, headers=self.headers)
            except httpx.RequestError as error:
                problem = f"{type(error).__name__}: {error}"
            else:
                if response.status_code not in RETRIED and response.status_code < 500:
                    return self._checked(response)
                problem = f"status {response.status_code}{self._said(response)}"
                wait = _retry_after(response.headers.get("retry-after"), wait)
            if attempt + 1 < ATTEMPTS:
                self.sleep(wait)
        raise UserError(
            f"Arm {self.name}: {self.root}{path} failed {ATTEMPTS} times ({problem}). Is the server up? Then run the same command again: "
            "the replies that came are kept."
        )

    def _checked(self, response: "httpx.Response") -> dict[str, Any]:
        status, where = (
            response.status_code,
            f"Arm {self.name}: {response.request.method} {response.request.url}",
        )
        if status in (401, 403):
            key = self.config.api_key_env
            raise UserError(f"{where}: status {status}{self._said(response)}. {_key_advice(key)}")
        if status >= 300:
            advice = "Check engine.openai in the eval config: base_url (it usually ends in /v1), model and extra_body."
            raise UserError(f"{where}: status {status}{self._said(response)}. {advice}")
        try:
            answer = response.json()
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise UserError(
                f"{where}: the answer is not a JSON object. Is base_url the address of an OpenAI-compatible server?"
            )
        return answer

    def _said(self, response: "httpx.Response") -> str:
        text = " ".join(response.text.split())
        for secret in self.headers.values():  # some servers quote the request back
            text = text.replace(secret.removeprefix("Bearer "), "***")
        return f" ({text[:200]})" if text else ""

    def health(self) -> None:
        self.request("GET", "/models")

    def chat(self, conversation: Messages, sampling: SamplingConfig, **extra: Any) -> dict[str, Any]:
        """The first choice, with the answer's `usage` beside it. extra_body of the arm wins; a null there removes the key."""
        turns = [{**turn, "content": without_control_tokens(turn["content"])} for turn in conversation]
        body: dict[str, Any] = {
            "model": self.config.model,
            "messages": turns,
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k or None,
            "seed": row_seed(sampling.seed, conversation),
            "chat_template_kwargs": CHAT_KWARGS,
        }
        body |= extra | self.config.extra_body
        if isinstance(body["chat_template_kwargs"], Mapping):
            body["chat_template_kwargs"] = CHAT_KWARGS | dict(body["chat_template_kwargs"])
        answer = self.request(
            "POST", "/chat/completions", {key: value for key, value in body.items() if value is not None}
        )
        choices = answer.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise UserError(
                f"Arm {self.name}: the answer of {self.root} has no `choices`. Is it an OpenAI-compatible chat server?"
            )
        return {**choices[0], "usage": answer.get("usage")}

    def reply(self, conversation: Messages, sampling: SamplingConfig) -> Generated:
        began = time.monotonic()
        choice = self.chat(conversation, sampling)
        text, n_leaks = clean_reply(_content(choice))
        usage = choice["usage"] if isinstance(choice["usage"], dict) else {}
        n_tokens = usage.get("completion_tokens")
        return Generated(
            text,
            n_tokens if isinstance(n_tokens, int) and n_tokens > 0 else 0,
            time.monotonic() - began,
            n_leaks,
        )


def openai_engine(
    arms: Mapping[str, ArmConfig], sampling: SamplingConfig, sleep: Callable[[float], None] = time.sleep
) -> Engine:
    """Both servers checked: there, of one quantization, and answering a fixed prompt differently. Raises UserError otherwise."""
    import httpx

    if missing := {"base", "tuned"} - set(arms):
        raise UserError(
            f"engine.openai: the arm {missing.pop()} is missing. A comparison needs base and tuned."
        )
    refuse_unlike_quantization(arms)
    client = httpx.Client(
        timeout=httpx.Timeout(TIMEOUT_S, connect=10.0), limits=httpx.Limits(max_connections=2 * WORKERS)
    )
    base, tuned = (Arm(name, arms[name], client, sleep) for name in ("base", "tuned"))
    base.health()
    tuned.health()
    refuse_equal_arms(base, tuned, sampling)

    def answer(system: str, conversations: Sequence[Messages]) -> Answers:
        return _concurrently(tuned if system == "tuned" else base, conversations, sampling)

    return Engine("openai", arms["base"].quantization, 1, answer)


def refuse_unlike_quantization(arms: Mapping[str, ArmConfig]) -> None:
    if len({config.quantization for config in arms.values()}) > 1:
        found = ", ".join(f"{name} {config.quantization}" for name, config in sorted(arms.items()))
        raise UserError(
            f"engine.openai: the arms differ in quantization ({found}): that would be measured too. Serve both alike."
        )


def _concurrently(arm: Arm, conversations: Sequence[Messages], sampling: SamplingConfig) -> Answers:
    """Replies as they come, at most WORKERS asked at a time. After a failure what is under way is still handed over, then it is raised."""
    failed = threading.Event()

    def ask(conversation: Messages) -> Generated | None:
        try:
            return None if failed.is_set() else arm.reply(conversation, sampling)
        except BaseException:
            failed.set()
            raise

    pool = ThreadPoolExecutor(WORKERS)
    failure: UserError | None = None
    try:
        futures = {pool.submit(ask, conversation): index for index, conversation in enumerate(conversations)}
        for future in as_completed(futures):
            try:
                generated = future.result()
            except UserError as error:
                failure = failure or error
            else:
                if generated is not None:
                    yield futures[future], generated
    finally:
        failed.set()  # Ctrl-C or a closed iterator: nothing new is asked
        pool.shutdown(wait=True, cancel_futures=True)
    if failure:
        raise failure


def refuse_equal_arms(base: Arm, tuned: Arm, sampling: SamplingConfig) -> None:
    """Raise UserError if both arms answer a fixed prompt alike: a LoRA that is not applied, or two names for one model."""
    first, again, other = (_top_logprobs(arm, sampling) for arm in (base, base, tuned))
    if first and again and other:
        alike = _distance(first, other) <= max(
            1e-4, 2 * _distance(first, again)
        )  # a busy server's kernels are not exact
    else:
        alike = _greedy(base, sampling) == _greedy(tuned, sampling)
    if alike:
        raise UserError(
            "Base and tuned answer a fixed prompt alike: the adapter is not active. Check that the server of arm tuned has loaded it "
            "(vLLM: --lora-modules and its name as `model`; llama-server: `lora` in extra_body of both arms)."
        )


def _greedy(arm: Arm, sampling: SamplingConfig) -> list[str]:
    """What the arm says to three fixed prompts at temperature 0: for servers that give no logprobs."""
    plain = sampling.model_copy(update={"temperature": 0.0, "max_new_tokens": PROBE_TOKENS})
    tweets = (
        "I finally fixed my bike.",
        "What should I cook tonight?",
        "Nobody told me that moving house takes this long.",
    )
    return [
        _content(arm.chat([{"role": "user", "content": f"Reply to this tweet: {tweet}"}], plain))
        for tweet in tweets
    ]


def first_candidates(arm: Arm, sampling: SamplingConfig) -> list[dict[str, Any]]:
    """The likeliest first tokens of an answer to FIXED_PROMPT ({token, logprob}, some servers add id); [] where none are given."""
    one = sampling.model_copy(update={"temperature": 0.0, "max_new_tokens": 1})
    try:
        choice = arm.chat(FIXED_PROMPT, one, logprobs=True, top_logprobs=5)
        top = choice["logprobs"]["content"][0]["top_logprobs"]
        return [{**entry, "token": entry["token"], "logprob": float(entry["logprob"])} for entry in top]
    except UserError as error:
        if "status 400" in str(error) or "status 422" in str(error):
            return []  # this server does not know the parameter
        raise
    except (KeyError, IndexError, TypeError, ValueError):
        return []


def _top_logprobs(arm: Arm, sampling: SamplingConfig) -> dict[str, float]:
    return {entry["token"]: entry["logprob"] for entry in first_candidates(arm, sampling)}


def _distance(one: dict[str, float], other: dict[str, float]) -> float:
    """Largest difference of a logprob. A candidate that only one side lists is at most as likely on the other as the last one there."""
    floor_one, floor_other = min(one.values()), min(other.values())
    return max(abs(one.get(token, floor_one) - other.get(token, floor_other)) for token in one | other)


def _content(choice: dict[str, Any]) -> str:
    message = choice.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    return (
        content if isinstance(content, str) else ""
    )  # null: the server put all of it into its own thinking field


def _headers(name: str, config: ArmConfig) -> dict[str, str]:
    if not config.api_key_env:
        return {}
    key = os.environ.get(config.api_key_env, "").strip()
    if not key:
        raise UserError(
            f"Arm {name}: {config.api_key_env} is not set. Put the server's key into .env, or remove api_key_env."
        )
    if not key.isascii() or not key.isprintable():
        raise UserError(f"Arm {name}: {config.api_key_env} holds characters that no key has. Paste it again.")
    return {"Authorization": f"Bearer {key}"}


def _key_advice(key: str | None) -> str:
    return (
        f"Check {key} in .env."
        if key
        else "The server wants a key: set api_key_env to the name of the variable that holds it."
    )


def _retry_after(value: str | None, default: float) -> float:
    """Seconds to wait, from a Retry-After header in seconds or as a date; at most MAX_WAIT_S."""
    if not value:
        return default
    try:
        wait = float(value)
    except ValueError:
        try:
            wait = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError):
            return default
    return min(max(wait, 0.0), MAX_WAIT_S) if wait == wait else default
