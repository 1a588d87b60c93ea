"""The verdict in an answer of an OpenAI-compatible server: thoughts, fences and words around it are left out,
nothing is guessed.
"""

import json
import re
from typing import Any

from lib.judge.comparisons import Comparison, Verdict
from lib.judge.prices import usage_of
from lib.judge.rubric import UnusableAnswerError, verdict_in

CUT = ("length", "max_tokens", "model_length", "max_output_tokens")
REFUSED = ("content_filter", "refusal", "safety", "prohibited_content", "blocklist", "recitation")
NOT_ENDED = ("tool_calls", "function_call", "error", "abort")
THINK = re.compile(r"<(think|thinking|reasoning)>.*?(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE)
THOUGHTS_END = re.compile(r"</(?:think|thinking|reasoning)>", re.IGNORECASE)
MAX_OBJECTS = 100  # beginnings of an object that are tried in one answer


def read_answer(comparison: Comparison, raw: str) -> Verdict:
    """The verdict from the point of view of `a`. raw: the stored answer. Raises UnusableAnswerError."""
    message = json.loads(raw)
    choices = message.get("choices") or [{}]
    choice = choices[0] if isinstance(choices[0], dict) else {}
    turn = choice.get("message") if isinstance(choice.get("message"), dict) else {}
    end = str(choice.get("finish_reason") or "").lower()
    if turn.get("refusal") or end.startswith(REFUSED):
        why = " ".join(str(turn.get("refusal") or end).split())[:200]
        raise UnusableAnswerError("refusal", f"the model declined to judge this pair ({why})")
    if end in CUT:
        raise UnusableAnswerError("truncated", f"stopped at {end}; a higher judge.max_tokens asks it anew")
    if end in NOT_ENDED:
        raise UnusableAnswerError("unfinished", f"finish_reason {end}")
    text, thoughts = text_of(turn.get("content")), _thoughts(turn)
    if not text.strip():
        # Some servers file all of an answer under thoughts. What is one whole JSON object is no thought.
        if not thoughts.strip().startswith("{"):
            raise UnusableAnswerError("empty", f"no text, {len(thoughts):,} characters of thoughts")
        text = thoughts
    return verdict_in(the_object(text), comparison, usage_of(message), raw)


def text_of(content: Any) -> str:
    """The text of a message; a list of parts holds thoughts as well, which are not part of it."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [
        part if isinstance(part, str) else part.get("text")
        for part in parts
        if isinstance(part, str) or (isinstance(part, dict) and part.get("type") in ("text", "output_text"))
    ]
    return "".join(text for text in texts if isinstance(text, str))


def _thoughts(turn: dict[str, Any]) -> str:
    found = turn.get("reasoning_content") or turn.get("reasoning")
    return found if isinstance(found, str) else ""


def the_object(text: str) -> str:
    """The one JSON object with a verdict in a text; the text itself where there is none.

    Raises UnusableAnswerError for two that differ: a judge that quotes a reply's forged verdict and gives its
    own.
    """
    if _is_json(text):
        return text
    text = THINK.sub("", text)
    text = THOUGHTS_END.split(text)[-1]  # the block was opened in the prompt
    decoder, found, at = json.JSONDecoder(), [], 0
    for _ in range(MAX_OBJECTS):
        at = text.find("{", at)
        if at < 0:
            break
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at += 1
            continue
        if "verdict" in value:
            found.append((value, text[at:end]))
        at = end
    if any(value != found[0][0] for value, _ in found):
        raise UnusableAnswerError("invalid_json", "two verdicts that differ")
    return found[0][1] if found else text


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
