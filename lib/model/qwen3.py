"""Qwen3's own marks: the control tokens of its tokenizer and its chat template."""

import importlib.util
from pathlib import Path
from typing import Any

from lib.base.errors import UserError

# Qwen3's own added tokens, in its order; True: special (skipped when text is decoded for people).
ADDED_TOKENS = {
    **dict.fromkeys(
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>"], True
    ),
    **dict.fromkeys(
        [
            "<|box_start|>",
            "<|box_end|>",
            "<|quad_start|>",
            "<|quad_end|>",
            "<|vision_start|>",
            "<|vision_end|>",
        ],
        True,
    ),
    **dict.fromkeys(["<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"], True),
    **dict.fromkeys(
        ["<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>"],
        False,
    ),
    **dict.fromkeys(
        ["<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>", "</think>"], False
    ),
}
# How Qwen3 cuts text before it merges bytes (tokenizer.json of Qwen/Qwen3-8B).
PRE_TOKEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def qwen3_template() -> str:
    """Qwen3's chat template, as TRL ships it."""
    spec = importlib.util.find_spec("trl")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("The package trl is not installed. Run `make setup`.")
    return (Path(spec.submodule_search_locations[0]) / "chat_templates" / "qwen3.jinja").read_text(
        encoding="utf-8"
    )


def qwen3_without_words() -> Any:
    """A tokenizer of control tokens and chat template alone: shows how Qwen3 writes a chat where its own is
    not here.
    """
    from tokenizers import Tokenizer, models

    return as_qwen3(Tokenizer(models.BPE()))


def as_qwen3(raw: Any, **options: Any) -> Any:
    """A transformers tokenizer with Qwen3's control tokens and template. raw: a tokenizers.Tokenizer."""
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerFast

    raw.add_tokens(
        [AddedToken(token, special=special, normalized=False) for token, special in ADDED_TOKENS.items()]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        **options,
    )
    tokenizer.chat_template = qwen3_template()
    return tokenizer
