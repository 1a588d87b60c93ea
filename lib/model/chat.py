"""What the model is shown: chat messages for a tweet, and the guard that keeps tweets from being control tokens."""

import re
from collections.abc import Sequence
from typing import Any

from lib.base.schema import Pair

Messages = list[dict[str, str]]

# Qwen3 thinks aloud unless told not to; with this flag its template puts an empty think block at the END OF THE PROMPT,
# so the loss never falls on it. The same flag goes to training, evaluation and demo, base and tuned alike.
CHAT_KWARGS = {"enable_thinking": False}

# Every string that Qwen3's tokenizer turns into a control token, and those of other families that a judge or a server may obey.
CONTROL_TOKEN = re.compile(
    r"<\|[^|<>\s]{1,40}\|>|<｜[^｜<>\s]{1,40}｜>|</?(?:think|tool_call|tool_response|s|unk|pad|bos|eos)>"
    r"|\[/?(?:INST|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|SYSTEM_PROMPT)\]|<</?SYS>>|<(?:start|end)_of_turn>",
    re.IGNORECASE,
)


def control_tokens(text: str) -> list[str]:
    """The control tokens that text contains, in order; empty for ordinary text."""
    return CONTROL_TOKEN.findall(text)


def without_control_tokens(text: str) -> str:
    """text with its control tokens removed, also those that only appear once others are gone."""
    while CONTROL_TOKEN.search(text):
        text = CONTROL_TOKEN.sub("", text)
    return text


def messages(prompt: str, tweet: str, examples: Sequence[Pair] = ()) -> Messages:
    """The conversation that asks for a reply to tweet; examples become earlier turns (few-shot). prompt holds {tweet} once."""
    turns: Messages = []
    for pair in examples:
        turns.append({"role": "user", "content": prompt.replace("{tweet}", pair.tweet)})
        turns.append({"role": "assistant", "content": pair.reply})
    return [*turns, {"role": "user", "content": prompt.replace("{tweet}", tweet)}]


def training_row(prompt: str, pair: Pair) -> dict[str, Any]:
    """One TRL row. Prompt and completion apart, so that the loss falls on `reply<|im_end|>` and on nothing else."""
    return {
        "prompt": messages(prompt, pair.tweet),
        "completion": [{"role": "assistant", "content": pair.reply}],
        "chat_template_kwargs": CHAT_KWARGS,
    }
