"""Draws: how a reply's tokens are chosen, where it ends, and how prompts stand in a batch."""

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lib.base.settings import SamplingConfig
from lib.model.chat import Chat, Messages

if TYPE_CHECKING:
    import torch


def left_padded(
    rows: Sequence[Sequence[int]], tokenizer: Any, device: Any
) -> "tuple[torch.Tensor, torch.Tensor]":
    """(ids, mask), both (n, longest).

    A decoder goes on from the last column, so the padding stands on the left.
    """
    import torch

    width, pad = max(map(len, rows)), tokenizer.pad_token_id
    filler = pad if pad is not None else tokenizer.eos_token_id or 0
    ids = torch.tensor([[filler] * (width - len(row)) + list(row) for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return ids, mask


def sampler(sampling: SamplingConfig, seeds: Sequence[int], prompt_width: int) -> "list[Any]":
    """Temperature, top-k, top-p, then one draw per row and step by inverse CDF.

    generate(do_sample=True) draws all rows from one stream, so a row's reply would depend on its neighbours.
    Here row i draws from its own generator: one uniform number a step picks from the candidates, most likely
    first, and leaves only that token.
    """
    import torch
    from transformers import (
        LogitsProcessor,
        LogitsProcessorList,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    if sampling.temperature == 0:
        return LogitsProcessorList()
    draws = torch.stack(
        [torch.rand(sampling.max_new_tokens, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    )

    class Draw(LogitsProcessor):
        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            n = min(sampling.top_k or scores.shape[1], scores.shape[1])
            logits, tokens = scores.float().topk(n, dim=-1)
            reached = logits.softmax(-1).cumsum(-1)
            u = draws[:, input_ids.shape[1] - prompt_width].to(scores.device)[:, None] * reached[:, -1:]
            # Rounding may leave the last sum at u itself: the likeliest candidate below it is taken, never
            # one of probability 0.
            choice = (reached <= u).sum(-1, keepdim=True).clamp(max=n - 1)
            return torch.full_like(scores, float("-inf")).scatter(1, tokens.gather(1, choice), 0.0)

    warpers: list[Any] = [TemperatureLogitsWarper(sampling.temperature)]
    warpers += [TopKLogitsWarper(sampling.top_k)] if sampling.top_k else []
    warpers += [TopPLogitsWarper(sampling.top_p)] if sampling.top_p < 1 else []
    return LogitsProcessorList([*warpers, Draw()])


def generation_config(model: Any, chat: Chat, sampling: SamplingConfig) -> Any:
    """The draw is the sampler's; the model's own defaults (Qwen3: top_k 20, temperature 0.6) are off."""
    from transformers import GenerationConfig

    ends, pad = sorted(end_ids(model, chat)), chat.tokenizer.pad_token_id
    return GenerationConfig(
        max_new_tokens=sampling.max_new_tokens,
        do_sample=False,
        temperature=1.0,
        top_k=50,
        top_p=1.0,
        repetition_penalty=1.0,
        eos_token_id=ends,
        pad_token_id=pad if pad is not None else ends[0],
    )


def end_ids(model: Any, chat: Chat) -> set[int]:
    """Every token that ends a reply: the template's, the tokenizer's, and the generation config's (Qwen3 has
    two).
    """
    of_model = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    own = of_model if isinstance(of_model, list) else [of_model]
    return {token for token in (chat.end_id, chat.tokenizer.eos_token_id, *own) if token is not None}


def of_candidate(sampling: SamplingConfig, number: int) -> SamplingConfig:
    """The sampling of a tweet's n-th candidate, from 0: the same but for the seed."""
    return sampling.model_copy(update={"seed": (sampling.seed + number) % 2**32})


def row_seed(seed: int, conversation: Messages) -> int:
    """A reply's own seed, 31 bits: one conversation draws the same numbers in every batch, run and arm."""
    content = json.dumps([seed, conversation], ensure_ascii=True, sort_keys=True).encode()
    return int.from_bytes(hashlib.sha256(content).digest()[:4]) >> 1
