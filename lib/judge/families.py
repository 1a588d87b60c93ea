"""Families of models: a judge that is of the family of what it judges may prefer its own kin (Panickssery et
al. 2024, arXiv:2404.13076).
"""

import re

# Family -> names that its models go by. Distilled and merged models carry several, and belong to all of them.
FAMILIES = {
    "Qwen": r"qwen|qwq|qvq",
    "Llama": r"llama|hermes|vicuna|tulu|nemotron",
    "Mistral": r"mi[sx]tral|ministral|magistral|devstral|codestral|pixtral|zephyr",
    "Gemma and Gemini": r"gemma|gemini",
    "GPT": r"gpt|chatgpt|\bo[1-9]\b",
    "Claude": r"claude",
    "DeepSeek": r"deepseek",
    "Phi": r"\bphi\b|phi-?[1-9]",
    "Command": r"command-|c4ai|\baya\b",
    "GLM": r"\bglm\b|glm-|chatglm",
    "Kimi": r"kimi|moonshot",
    "Grok": r"grok",
    "SmolLM": r"smollm",
    "OLMo": r"olmo",
    "Yi": r"\byi\b",
    "Granite": r"granite",
    "MiniMax": r"minimax",
}


def families(model: str) -> set[str]:
    """The families that a model's name, or its path, speaks of; empty for a name that says nothing."""
    words = re.sub(r"[_/:]", " ", model.casefold())
    return {family for family, names in FAMILIES.items() if re.search(names, words)}


def kin(judge: str, model: str) -> str | None:
    """A sentence where the judge and the model are of one family; None where that is not known."""
    if not (common := sorted(families(judge) & families(model))):
        return None
    return (
        f"The judge ({judge}) and the model that was trained ({model}) are of one family, "
        f"{' and '.join(common)}: judges favour texts like their own, here perhaps the base's. Ask one of "
        "another family as well: one more eval config, on the same replies"
    )
