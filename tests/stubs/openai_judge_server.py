"""A loopback server that judges like those of OpenAI's kind do: each make takes, refuses and answers a little
differently, with faults on demand.

The faults, the counters and the verdicts are those of the Messages API's stub.
"""

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.stubs import anthropic_server
from tests.stubs.anthropic_server import AnthropicStub

ENDS = {"truncated": "length", "refusal": "content_filter"}


def wrong(message: str, status: int = 400, **more: Any) -> tuple[int, dict[str, Any]]:
    return status, {"error": {"message": message, "type": "invalid_request_error", **more}}


def format_of(body: dict[str, Any]) -> str:
    return (body.get("response_format") or {}).get("type", "text")


def has_system(body: dict[str, Any]) -> bool:
    return any(turn["role"] == "system" for turn in body["messages"])


@dataclass
class Make:
    """refuses: body -> (status, error) or None. turn: text -> the message of the choice. end: finish_reason.

    usage: (n_in, n_out) -> the usage record.
    """

    refuses: Any = lambda body: None
    turn: Any = lambda text: {"content": text}
    end: str | None = "stop"
    usage: Any = lambda n_in, n_out: {
        "prompt_tokens": n_in,
        "completion_tokens": n_out,
        "total_tokens": n_in + n_out,
    }


def reasoning_openai(body):
    if "max_tokens" in body:
        return wrong(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead.",
            param="max_tokens",
            code="unsupported_parameter",
        )
    if body.get("temperature", 1) != 1:
        return wrong("Unsupported value: 'temperature' does not support 0 with this model.")
    return None


def o1_mini(body):
    if has_system(body):
        return wrong("Unsupported value: 'messages[0].role' does not support 'system' with this model.")
    if format_of(body) != "text":
        return wrong("Invalid parameter: 'response_format' of type 'json_schema' is not supported.")
    return reasoning_openai(body)


def mistral(body):
    extra = [name for name in body if name in ("max_completion_tokens", "seed", "top_k")]
    if extra:
        return 422, {
            "object": "error",
            "message": {"detail": [{"loc": ["body", *extra], "msg": "Extra inputs are not permitted"}]},
        }
    return None


def no_format(*formats, message, status=400):
    return lambda body: wrong(message, status) if format_of(body) in formats else None


def strict_about_everything(body):
    known = {"model", "messages", "max_completion_tokens"}
    return (400, {"detail": "Bad Request"}) if set(body) - known - {"stream"} or has_system(body) else None


THOUGHT = 'First I thought {"verdict": "B>>A"} but no.'
NO_ENDPOINTS = "No endpoints found that can handle the requested parameters."
MAKES = {
    "vllm": Make(turn=lambda text: {"content": text, "reasoning_content": THOUGHT}),
    "openai reasoning": Make(refuses=reasoning_openai),
    "o1-mini": Make(refuses=o1_mini),
    "deepseek": Make(
        refuses=no_format("json_schema", message="This response_format type is unavailable now"),
        turn=lambda text: {"content": text, "reasoning_content": THOUGHT},
    ),
    "lm studio": Make(
        refuses=no_format("json_object", message="'response_format.type' must be 'json_schema' or 'text'")
    ),
    "groq": Make(
        refuses=no_format(
            "json_schema", "json_object", message="This model does not support response format `json_schema`."
        )
    ),
    "openrouter": Make(
        refuses=no_format("json_schema", "json_object", message=NO_ENDPOINTS, status=404),
        turn=lambda text: {"content": text, "reasoning": THOUGHT},
    ),
    "mistral": Make(
        refuses=mistral,
        turn=lambda text: {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]},
                {"type": "text", "text": text},
            ]
        },
    ),
    "ollama": Make(turn=lambda text: {"content": f"<think>\n{THOUGHT}\n</think>\n\n```json\n{text}\n```"}),
    "opened in the prompt": Make(turn=lambda text: {"content": f"{THOUGHT}\n</think>\n{text}"}),
    "gemma on vllm": Make(
        refuses=lambda body: wrong("System role not supported") if has_system(body) else None
    ),
    "gemma on llama.cpp": Make(
        refuses=lambda body: (
            wrong("Jinja Exception: System role not supported", 500) if has_system(body) else None
        )
    ),
    "everything in thoughts": Make(turn=lambda text: {"content": None, "reasoning_content": text}),
    "chatty": Make(turn=lambda text: {"content": f"Here is my verdict:\n{text}\nHope this helps!"}, end=None),
    "says nothing but no": Make(refuses=strict_about_everything, end="eos_token"),
    "thoughts beside the completion": Make(
        usage=lambda n_in, n_out: {
            "prompt_tokens": n_in,
            "completion_tokens": n_out - 200,
            "total_tokens": n_in + n_out,
            "completion_tokens_details": {"reasoning_tokens": 200},
        }
    ),
}


@dataclass
class OpenAIJudgeStub(AnthropicStub):
    """with OpenAIJudgeStub() as stub: judge.base_url = stub.base_url, its key (none is asked for) stub.KEY"""

    make: Make = field(default_factory=Make)
    refused: list[dict[str, Any]] = field(default_factory=list)
    KEY = "sk-stub-0123456789"

    def __enter__(self) -> "OpenAIJudgeStub":
        super().__enter__()
        self.server.RequestHandlerClass = type("Handler", (_Handler,), {"stub": self})
        return self

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def answer(self, body: dict[str, Any], batch: bool = False, what: object = None) -> dict[str, Any]:
        """A completion, computed and paid for. The question is known by its text, whatever carries it."""
        content = body["messages"][-1]["content"]
        question = content[content.index("The texts below are data") :]
        message = super().answer({**body, "messages": [{"content": question}]}, batch, what)
        text = "".join(block["text"] for block in message["content"] if block["type"] == "text")
        turn = {"role": "assistant", **self.make.turn(text)}
        if what in ("empty", "refusal"):
            turn = {"role": "assistant", "content": None}
        answer = {
            "id": message["id"],
            "object": "chat.completion",
            "model": body["model"],
            "choices": [{"index": 0, "message": turn, "finish_reason": ENDS.get(str(what), self.make.end)}],
        }
        return answer if what == "no_usage" else answer | {"usage": self.make.usage(*self.usage)}


class _Handler(anthropic_server._Handler):
    stub: OpenAIJudgeStub

    def do_POST(self) -> None:  # noqa: N802
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.allowed():
            return
        if urlsplit(self.path).path != "/v1/chat/completions":
            self.error(404, "not_found_error", self.path)
        elif problem := self.stub.make.refuses(body):
            self.stub.refused.append(body)
            status, error = problem
            self.send(status, json.dumps(error).encode(), "application/json")
        else:
            self.stub.bodies.append(body)
            if self.stub.delay:
                anthropic_server.time.sleep(self.stub.delay)
            self.serve(
                "create", lambda what=None: self.stub.answer(body, what=what), json.dumps(body["messages"])
            )

    def allowed(self) -> bool:
        if self.headers.get("Authorization") in (None, f"Bearer {self.stub.KEY}"):
            return True
        self.error(401, "authentication_error", f"invalid key {self.headers.get('Authorization')}")
        return False

    def error(self, status, kind, message, retry_after=None, headers=None) -> None:
        body = {"error": {"message": message, "type": kind, "code": None}}
        asked = {"retry-after": retry_after} if retry_after else {}
        self.send(status, json.dumps(body).encode(), "application/json", asked | (headers or {}))
