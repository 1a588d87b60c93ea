"""Replies from the transformers engine: base and tuned from one copy of the weights, in batches.

Every reply draws its own random numbers, so it does not depend on the batch it is in, up to the rounding of the logits (none to
speak of in float32). Where the last digit must not move either, in a resume, the same batches are computed again.
"""

import contextlib
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lib.base.errors import UserError
from lib.base.settings import SamplingConfig
from lib.model.chat import Messages, control_tokens, without_control_tokens
from lib.model.streaming import encode

if TYPE_CHECKING:
    import torch

    from lib.model.loading import Loaded

BATCH = 16
ADAPTER = "default"  # the name PEFT gives the adapter that a run folder holds
FIXED_PROMPT: Messages = [
    {"role": "user", "content": "Generate an engaging Twitter reply to:\n\nI finally fixed my bike."}
]
THINK = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class Generated:
    """text: the reply alone. n_tokens: what the model wrote, its end token included. n_leaks: control tokens and think blocks taken out."""

    text: str
    n_tokens: int
    seconds: float
    n_leaks: int = 0


Answers = Iterator[tuple[int, Generated]]  # (index of the conversation, its reply), in any order


@dataclass(frozen=True)
class Engine:
    """One way to get replies. batch: replies that were computed together are repeated together, so that a resume changes nothing."""

    name: str
    quantization: str
    batch: int
    answer: Callable[[str, Sequence[Messages]], Answers]  # system, conversations


def transformers_engine(
    loaded: "Loaded", sampling: SamplingConfig, load_adapter: Callable[[str], str]
) -> Engine:
    """load_adapter: another run's name -> the name of its adapter on the same weights. Raises UserError for one without effect."""
    refuse_inactive_adapter(loaded, ADAPTER)

    def answer(system: str, conversations: Sequence[Messages]) -> Answers:
        adapter = (
            None if system in ("base", "fewshot") else ADAPTER if system == "tuned" else load_adapter(system)
        )
        if adapter not in (None, ADAPTER):
            refuse_inactive_adapter(loaded, adapter)
        return enumerate(
            generate(loaded, conversations, sampling, tuned=adapter is not None, adapter=adapter or ADAPTER)
        )

    return Engine(loaded.engine, loaded.quantization, BATCH, answer)


def generate(
    loaded: "Loaded",
    conversations: Sequence[Messages],
    sampling: SamplingConfig,
    tuned: bool,
    batch: int = BATCH,
    adapter: str = ADAPTER,
) -> Iterator[Generated]:
    """One reply per conversation, in order. Raises UserError for a conversation that does not fit the model."""
    for start in range(0, len(conversations), batch):
        began = time.monotonic()
        rows = conversations[start : start + batch]
        with arm(
            loaded, tuned, adapter
        ):  # per batch: between two yields the model may be used for the other arm
            written = _write(loaded, rows, sampling)
        seconds = (time.monotonic() - began) / len(rows)
        for ids in written:
            text, n_leaks = clean_reply(
                loaded.tokenizer.decode(_until_end(ids, end_ids(loaded)), skip_special_tokens=False)
            )
            yield Generated(text, len(ids), seconds, n_leaks)


@contextlib.contextmanager
def arm(loaded: "Loaded", tuned: bool, adapter: str = ADAPTER) -> Iterator[Any]:
    """The model as the base (adapters off) or with an adapter on, in evaluation mode."""
    loaded.model.eval()
    if not tuned:
        with loaded.model.disable_adapter():
            yield loaded.model
    elif adapter == ADAPTER:
        yield loaded.model
    else:
        loaded.model.set_adapter(adapter)
        try:
            yield loaded.model
        finally:
            loaded.model.set_adapter(ADAPTER)


def _write(loaded: "Loaded", conversations: Sequence[Messages], sampling: SamplingConfig) -> list[list[int]]:
    """New token ids per row, the end token included, padding not."""
    import torch

    ids, mask = left_padded([encode(loaded.tokenizer, turns) for turns in conversations], loaded)
    longest = getattr(loaded.model.config, "max_position_embeddings", None)
    if longest and ids.shape[1] + sampling.max_new_tokens > longest:
        raise UserError(
            f"A prompt has {ids.shape[1]} tokens and the model reads {longest} with the reply. "
            "Lower fewshot.k or sampling.max_new_tokens in the eval config."
        )
    seeds = [row_seed(sampling.seed, turns) for turns in conversations]
    with torch.inference_mode():
        output = loaded.model.generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=_generation_config(loaded, sampling),
            logits_processor=_sampler(sampling, seeds, ids.shape[1]),
        )
    ends = end_ids(loaded)
    rows = output[:, ids.shape[1] :].tolist()
    stops = [next((n + 1 for n, token in enumerate(row) if token in ends), len(row)) for row in rows]
    return [row[:stop] for row, stop in zip(rows, stops, strict=True)]


def left_padded(rows: Sequence[Sequence[int]], loaded: "Loaded") -> "tuple[torch.Tensor, torch.Tensor]":
    """(ids, mask), both (n, longest). A decoder continues from the last column, so the padding stands on the left."""
    import torch

    width, pad = max(map(len, rows)), loaded.tokenizer.pad_token_id
    filler = pad if pad is not None else loaded.tokenizer.eos_token_id or 0
    ids = torch.tensor([[filler] * (width - len(row)) + list(row) for row in rows], device=loaded.device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=loaded.device)
    return ids, mask


def _sampler(sampling: SamplingConfig, seeds: Sequence[int], prompt_width: int) -> "list[Any]":
    """Temperature, top-k, top-p, then one draw per row and step by inverse CDF.

    generate(do_sample=True) draws all rows from one stream, so a row's reply would depend on its neighbours. Here row i draws
    from its own generator: one uniform number a step picks from the candidates, most likely first, and leaves only that token.
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
            # Rounding may leave the last sum at u itself: the likeliest candidate below it is taken, never one of probability 0.
            choice = (reached <= u).sum(-1, keepdim=True).clamp(max=n - 1)
            return torch.full_like(scores, float("-inf")).scatter(1, tokens.gather(1, choice), 0.0)

    warpers: list[Any] = [TemperatureLogitsWarper(sampling.temperature)]
    warpers += [TopKLogitsWarper(sampling.top_k)] if sampling.top_k else []
    warpers += [TopPLogitsWarper(sampling.top_p)] if sampling.top_p < 1 else []
    return LogitsProcessorList([*warpers, Draw()])


def _generation_config(loaded: "Loaded", sampling: SamplingConfig) -> Any:
    from transformers import GenerationConfig

    # The sampler above has already chosen. The model's own defaults (Qwen3: top_k 20, temperature 0.6) are switched off by name.
    ends, pad = sorted(end_ids(loaded)), loaded.tokenizer.pad_token_id
    return GenerationConfig(
        max_new_tokens=sampling.max_new_tokens,
        do_sample=False,
        temperature=1.0,
        top_k=50,
        top_p=1.0,
        repetition_penalty=1.0,
        eos_token_id=ends or None,
        pad_token_id=pad if pad is not None else ends[0],
    )


def end_ids(loaded: "Loaded") -> set[int]:
    """Every token that ends a reply: the tokenizer's and those of the model's generation config (Qwen3 has two)."""
    of_model = getattr(getattr(loaded.model, "generation_config", None), "eos_token_id", None)
    ends = [loaded.tokenizer.eos_token_id, *(of_model if isinstance(of_model, list) else [of_model])]
    return {token for token in ends if token is not None}


def _until_end(ids: list[int], ends: set[int]) -> list[int]:
    return ids[:-1] if ids and ids[-1] in ends else ids


def row_seed(seed: int, conversation: Messages) -> int:
    """A reply's own seed, 31 bits: the same conversation draws the same numbers in every batch, run and arm."""
    content = json.dumps([seed, conversation], ensure_ascii=True, sort_keys=True).encode()
    return int.from_bytes(hashlib.sha256(content).digest()[:4]) >> 1


def clean_reply(text: str) -> tuple[str, int]:
    """The reply alone, and how many think blocks and control tokens were taken out of it. Unfinished thought is no reply."""
    text = text.encode("utf-8", "replace").decode("utf-8")  # a server may send half a surrogate pair
    text, n_leaks = THINK.subn("", text)
    if "</think>" in text:  # the block was opened in the prompt
        text, n_leaks = text.rpartition("</think>")[2], n_leaks + 1
    return without_control_tokens(text).strip(), n_leaks + len(control_tokens(text))


def refuse_inactive_adapter(loaded: "Loaded", adapter: str) -> None:
    """Raise UserError if base and tuned answer a fixed prompt alike: every comparison would compare the base with itself."""
    base, tuned = (next_token_logits(loaded, is_tuned, adapter) for is_tuned in (False, True))
    if (base - tuned).abs().max().item() <= 1e-5:
        raise UserError(
            "Base and tuned answer a fixed prompt alike: the adapter is not active. "
            "Look at the training's metrics.jsonl (a loss that never moved, no steps) and train the run again."
        )


def next_token_logits(loaded: "Loaded", tuned: bool, adapter: str = ADAPTER) -> "torch.Tensor":
    """What the model would say first to FIXED_PROMPT: (vocabulary,) float32."""
    import torch

    ids = torch.tensor([encode(loaded.tokenizer, FIXED_PROMPT)], device=loaded.device)
    with arm(loaded, tuned, adapter) as model, torch.inference_mode():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -1].float()
