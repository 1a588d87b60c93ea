"""Control tokens as plain text: how they look in every family of models, and text without them."""

import re

# Every string that Qwen3's tokenizer turns into a control token, and those of other families that a judge
# or a server may obey. A model's own further tokens are added where its tokenizer is at hand: lib.model.chat.
CONTROL_TOKEN = re.compile(
    r"<\|[^|<>\s]{1,40}\|>|<｜[^｜<>\s]{1,40}｜>|</?(?:think|tool_call|tool_response|s|unk|pad|bos|eos)>"
    r"|\[/?(?:INST|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|SYSTEM_PROMPT)\]|<</?SYS>>"
    r"|<(?:start|end)_of_turn>",
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
