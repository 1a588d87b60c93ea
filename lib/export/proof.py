"""The proof that a served adapter does something, and what it should: against the base, and against torch.

A LoRA that silently does nothing is the commonest fault of serving one (vllm issue 55193,
unsloth issue 2142).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lib.base.errors import UserError
from lib.base.settings import ArmConfig, SamplingConfig
from lib.export.base_weights import n_bytes, weights_here
from lib.export.lora import Lora
from lib.model.base_model import load_tokenizer
from lib.model.chat import chat_of
from lib.model.generate import FIXED_PROMPT
from lib.model.openai_engine import first_candidates, first_logprobs, n_prompt_tokens, refuse_equal_arms
from lib.model.openai_server import Arm

# Largest difference of a logprob that is rounding, by how the weights are held. Measured on SmolLM2-135M:
# bf16 0.018, Q4_1 0.22; on a model of 1 M parameters in f32 7e-4.
TOLERANCE = {"f32": 0.02, "f16": 0.1, "bf16": 0.1}
TOLERANCE_QUANTIZED = 0.6
MAX_TORCH_BYTES = 4e9  # beside a server that holds the same weights
RARE = math.log(100)  # candidates this far below the likeliest are not compared: their last digits are noise
TIMEOUT_S = 300.0
N_KNOWN = 200  # of torch's likeliest tokens
ARMS = ("base", "tuned")

Known = list[tuple[int, str, float]]  # (id, text, logprob) of torch's likeliest first tokens


@dataclass(frozen=True)
class Reference:
    """What training and torch know of the fixed prompt.

    n_tokens: of the prompt, as training wrote it. arms: torch's first token, per arm; None where the base
    weights are not here or very large.
    """

    n_tokens: int
    precision: str = ""
    arms: dict[str, Known] | None = None


@dataclass(frozen=True)
class Proof:
    """line: "adapter active: ...". arms: with what a later use holds their servers against."""

    line: str
    arms: dict[str, ArmConfig]


def reference_of(lora: Lora) -> Reference:
    """How training asks the fixed prompt, and the answers of torch where its weights are here."""
    n_tokens = len(chat_of(load_tokenizer(lora.config)).prompt(FIXED_PROMPT))
    folder = weights_here(lora.config)
    if folder is None or n_bytes(folder) > MAX_TORCH_BYTES:
        return Reference(n_tokens)
    from lib.model.generate import next_token_logits
    from lib.model.loading import load_for_inference

    config = lora.config.model_copy(update={"quantization": "none", "backend": "peft"})
    loaded = load_for_inference(lora.run, config)
    arms = {}
    for arm in ARMS:
        top = next_token_logits(loaded, arm == "tuned").log_softmax(-1).cpu()
        values, ids = top.topk(min(N_KNOWN, len(top)))
        texts = [loaded.tokenizer.decode([token]) for token in ids.tolist()]
        arms[arm] = list(zip(ids.tolist(), texts, values.tolist(), strict=True))
    return Reference(n_tokens, loaded.quantization.replace("fp32", "f32"), arms)


def prove(arms: Mapping[str, ArmConfig], sampling: SamplingConfig, reference: Reference) -> Proof:
    """The proof. Raises UserError if both arms answer alike, are asked otherwise than in training, or do not
    answer as torch does.
    """
    import httpx

    with httpx.Client(timeout=httpx.Timeout(TIMEOUT_S, connect=10.0)) as client:
        base, tuned = both = [Arm(name, arms[name], client) for name in ARMS]
        refuse_equal_arms(base, tuned, sampling)
        for arm in both:
            _refuse_other_prompt(arm, n_prompt_tokens(arm, sampling), reference.n_tokens)
        served = {arm.name: first_candidates(arm, sampling) for arm in both}
    known = {
        arm: arms[arm].model_copy(update={"first_logprobs": first_logprobs(served[arm])}) for arm in ARMS
    }
    line = "adapter active: base and tuned answer the fixed prompt differently"
    if reference.arms is None:
        why = "the base's weights are not here, or too large beside a server"
    elif not all(served.values()):
        why = "this server gives no logprobs"
    else:
        kind = arms["tuned"].quantization
        return Proof(f"{line}; {_as_torch(served, reference.arms, {kind, reference.precision})}", known)
    return Proof(f"{line} (not compared with torch: {why})", known)


def _refuse_other_prompt(arm: Arm, n_found: int | None, n_known: int) -> None:
    if n_found not in (None, n_known):
        raise UserError(
            f"Arm {arm.name}: the server writes the fixed prompt in {n_found} tokens, training wrote it in "
            f"{n_known}: another chat template, or it thinks. Name a base model with its own template, "
            "MODEL=..., or update the engine: one that is too old has no switch for thinking."
        )


def _as_torch(served: Mapping[str, Sequence[Any]], torch: Mapping[str, Known], kinds: set[str]) -> str:
    """How near tuned is. Raises UserError where an arm is not nearest to torch's, and as near as rounding."""
    tolerance = max(TOLERANCE.get(kind, TOLERANCE_QUANTIZED) for kind in kinds)
    for arm, other in (("base", "tuned"), ("tuned", "base")):
        off, off_other = (distance(served[arm], torch[name]) for name in (arm, other))
        if off > tolerance or off >= off_other:
            raise UserError(
                f"The served {'adapter' if arm == 'tuned' else 'base'} does not answer as torch does: its "
                f"logprobs are {off:.3f} off ({tolerance} is rounding), {off_other:.3f} off the {other}'s. "
                "Another base model, or the engine scales the adapter differently."
            )
    return (
        f"tuned is {off:.4f} off torch's logprobs ({tolerance} is rounding), {off_other:.4f} off the base's"
    )


def distance(served: Sequence[Mapping[str, Any]], known: Known) -> float:
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
