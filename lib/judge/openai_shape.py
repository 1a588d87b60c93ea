"""The shape of a request to an OpenAI-compatible server: they differ in what they take, and say so by
refusing.

A request begins with all that a judge wants; what a server refuses is left out, one thing after the other.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

FORMATS = ("json_schema", "json_object", "text")
NAMED = (400, 404, 405, 415, 422, 500, 501)  # a refusal of a thing that its sentence names
UNNAMED = (400, 422)
# What is refused, as the sentences of OpenAI, Azure, OpenRouter, Mistral, DeepSeek, Groq, vLLM, llama.cpp, LM
# Studio and Gemini's OpenAI-compatible door name it.
HINTS = {
    "limit": r"max_tokens|max_completion_tokens",
    "temperature": r"temperature|sampling parameter",
    "system": r"system.{0,20}\b(?:role|message|prompt|instruction)|\broles?\b.{0,40}(?:system|alternat)|"
    r"developer instruction|messages\[0\]\.role",
    "format": r"response.?format|json.?schema|json.?object|json.?mode|structured|schema|grammar|guided|"
    r"requested parameters",
}


@dataclass(frozen=True)
class Shape:
    """format: how the answer's form is asked for. limit: the name of the token limit. temperature, system:
    whether they are sent; without the system role its text begins the question.
    """

    format: Literal["json_schema", "json_object", "text"] = "json_schema"
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    temperature: bool = True
    system: bool = True

    def body(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The request. params: of lib.judge.openai; its extra_body wins, a null there removes a key."""
        turns = [
            {"role": "system", "content": params["system"]},
            {"role": "user", "content": params["user"]},
        ]
        if not self.system:
            turns = [{"role": "user", "content": f"{params['system']}\n\n{params['user']}"}]
        body = {"model": params["model"], "messages": turns, "stream": False}
        body[self.limit] = params["max_tokens"]
        if self.temperature:
            body["temperature"] = 0
        if self.format == "json_schema":
            named = {"name": "verdict", "strict": True, "schema": params["schema"]}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        elif self.format == "json_object":
            body["response_format"] = {"type": "json_object"}
        body |= params["extra_body"]
        return {name: value for name, value in body.items() if value is not None}

    def narrower(self, status: int, said: str) -> "Shape | None":
        """The shape to try after a refusal: without what the sentence names, else without the next thing.

        None where the refusal is not about the shape, or nothing is left to leave out.
        """
        if status not in NAMED:
            return None
        less = self._less()
        for name, pattern in HINTS.items():
            if name in less and re.search(pattern, said, re.IGNORECASE):
                return less[name]
        order = ("format", "temperature", "system", "limit") if status in UNNAMED else ()
        return next((less[name] for name in order if name in less), None)

    def _less(self) -> "dict[str, Shape]":
        found = {}
        if self.limit == "max_tokens":
            found["limit"] = replace(self, limit="max_completion_tokens")
        if self.temperature:
            found["temperature"] = replace(self, temperature=False)
        if self.system:
            found["system"] = replace(self, system=False)
        if self.format != "text":
            found["format"] = replace(self, format=FORMATS[FORMATS.index(self.format) + 1])
        return found
