"""Ollama's Modelfile: the adapter over its own copy of the base model, with the template that never thinks.

Ollama reads no adapter of Qwen3 in safetensors files (ollama/ollama issue 11376), so it is the GGUF one.
"""

from typing import Any

from lib.base.settings import SamplingConfig
from lib.model.chat import rendered

TAGS = {"Qwen/Qwen3-8B": "qwen3:8b"}  # base model -> Ollama's name of the same weights
TURN = "<|im_start|>{role}\n{content}<|im_end|>\n"


def modelfile(adapter: str | None, base: str, suffix: str, sampling: SamplingConfig) -> str:
    """A Modelfile's text. adapter: a GGUF file, None for the base model alone; suffix: see answer_begins."""
    lines = [
        f"FROM {base}",
        *([f"ADAPTER {adapter}"] if adapter else []),
        'TEMPLATE """{{- range .Messages }}<|im_start|>{{ .Role }}',
        "{{ .Content }}<|im_end|>",
        f'{{{{ end }}}}<|im_start|>assistant\n{suffix}"""',
        'PARAMETER stop "<|im_end|>"',
        'PARAMETER stop "<|endoftext|>"',
        f"PARAMETER temperature {sampling.temperature}",
        f"PARAMETER top_p {sampling.top_p}",
        f"PARAMETER top_k {sampling.top_k}",
        f"PARAMETER num_predict {sampling.max_new_tokens}",
    ]
    return "\n".join(lines) + "\n"


def answer_begins(tokenizer: Any) -> str | None:
    """The text between `<|im_start|>assistant` and an answer, thinking off; None if it is not ChatML."""
    turns = [
        {"role": role, "content": content}
        for role, content in (("user", "one"), ("assistant", "two"), ("user", "three"))
    ]
    text = rendered(tokenizer, turns, is_prompt=True)
    expected = "".join(TURN.format(**turn) for turn in turns) + "<|im_start|>assistant\n"
    return text.removeprefix(expected) if text.startswith(expected) else None
