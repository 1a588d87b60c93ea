"""The proof that a served adapter does something, and what it should: against the base, and against torch.

A LoRA that silently does nothing is the commonest fault of serving one (vllm issue 55193,
unsloth issue 2142).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lib.base.errors import UserError
from lib.base.settings import ArmConfig, SamplingConfig
from lib.export.base_weights import n_bytes, weights_here
from lib.export.lora import Lora
from lib.model.openai_engine import first_candidates, refuse_equal_arms
from lib.model.openai_server import Arm

# Largest difference of a logprob that is rounding, by how the weights are held. Measured on SmolLM2-135M:
# bf16 0.018, Q4_1 0.22; on a model of 1 M parameters in f32 7e-4.
TOLERANCE = {"f32": 0.02, "f16": 0.1, "bf16": 0.1}
TOLERANCE_QUANTIZED = 0.6
MAX_TORCH_BYTES = 4e9  # beside a server that holds the same weights
RARE = math.log(100)  # candidates this far below the likeliest are not compared: their last digits are noise
TIMEOUT_S = 300.0
N_KNOWN = 200  # of torch's likeliest tokens


@dataclass(frozen=True)
class Reference:
    """torch's first token after the fixed prompt, per arm: (id, text, logprob) of the likeliest ones."""

    precision: str
    arms: dict[str, list[tuple[int, str, float]]]


def torch_reference(lora: Lora) -> Reference | None:
    """The answers of torch, base and tuned; None where the base weights are not here or very large."""
    folder = weights_here(lora.config)
    if folder is None or n_bytes(folder) > MAX_TORCH_BYTES:
        return None
    from lib.model.generate import next_token_logits
    from lib.model.loading import load_for_inference

    config = lora.config.model_copy(update={"quantization": "none", "backend": "peft"})
    loaded = load_for_inference(lora.run, config)
    arms = {}
    for arm in ("base", "tuned"):
        top = next_token_logits(loaded, arm == "tuned").log_softmax(-1).cpu()
        values, ids = top.topk(min(N_KNOWN, len(top)))
        texts = [loaded.tokenizer.decode([token]) for token in ids.tolist()]
        arms[arm] = list(zip(ids.tolist(), texts, values.tolist(), strict=True))
    return Reference(loaded.quantization.replace("fp32", "f32"), arms)


def prove(arms: Mapping[str, ArmConfig], sampling: SamplingConfig, reference: Reference | None) -> str:
    """The line "adapter active: ...". Raises UserError if both arms answer alike, or not as torch does."""
    import httpx

    with httpx.Client(timeout=httpx.Timeout(TIMEOUT_S, connect=10.0)) as client:
        base, tuned = (Arm(name, arms[name], client) for name in ("base", "tuned"))
        refuse_equal_arms(base, tuned, sampling)
        served = first_candidates(tuned, sampling)
    line = "adapter active: base and tuned answer the fixed prompt differently"
    if reference is None:
        return (
            f"{line} (not compared with torch: the base's weights are not here, or too large beside a server)"
        )
    if not served:
        return f"{line} (not compared with torch: this server gives no logprobs)"
    kinds = {arms["tuned"].quantization, reference.precision}
    tolerance = max(TOLERANCE.get(kind, TOLERANCE_QUANTIZED) for kind in kinds)
    off, off_base = (distance(served, reference.arms[arm]) for arm in ("tuned", "base"))
    if off > tolerance or off >= off_base:
        raise UserError(
            f"The served adapter does not answer as torch does: its logprobs are {off:.3f} off "
            f"({tolerance} is rounding), "
            f"{off_base:.3f} off the base's. Another base model, or the engine scales the adapter "
            "differently."
        )
    compared = f"{off:.4f} off torch's logprobs ({tolerance} is rounding), {off_base:.4f} off the base's"
    return f"{line}; tuned is {compared}"


def distance(served: list[dict[str, Any]], known: list[tuple[int, str, float]]) -> float:
    """Largest difference of a logprob, over the served candidates that are not rare; by id if it has one."""
    by_id = {token: logprob for token, _, logprob in known}
    by_text: dict[str, float] = {}
    for _, text, logprob in known:  # the likeliest first
        by_text.setdefault(text, logprob)
    least = min(by_id.values())
    best = max(entry["logprob"] for entry in served)
    found = [
        (
            entry["logprob"],
            by_id.get(entry["id"], least) if "id" in entry else by_text.get(entry["token"], least),
        )
        for entry in served
        if entry["logprob"] > best - RARE
    ]
    return max(abs(one - other) for one, other in found)
