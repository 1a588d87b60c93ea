"""Replies from the transformers engine: base and tuned from one copy of the weights, in batches.

Every reply draws its own random numbers, so it does not depend on the batch it is in, up to the rounding of
the logits (none to speak of in float32). Where the last digit must not move either, in a resume, the same
batches are computed again.
"""

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lib.base.errors import UserError
from lib.base.settings import SamplingConfig
from lib.data.control_tokens import CONTROL_TOKEN, control_tokens, without_control_tokens
from lib.model.chat import Chat, Messages, chat_of
from lib.model.sampling import end_ids, generation_config, left_padded, of_candidate, row_seed, sampler

if TYPE_CHECKING:
    import torch

    from lib.model.loading import Loaded

BATCH = 16
ADAPTER = "default"  # the name PEFT gives the adapter that a run folder holds
FIXED_PROMPT: Messages = [
    {"role": "user", "content": "Generate an engaging Twitter reply to:\n\nI finally fixed my bike."}
]
_ROLES = ("assistant", "model", "system", "tool", "user")
_BEGUN = "|".join(role[:n] for role in _ROLES for n in range(1, len(role)))
# The head of a turn: control tokens and a role, which may be cut off at the end of the text.
_TURN = re.compile(
    rf"(?:{CONTROL_TOKEN.pattern})\s*(?:(?:{'|'.join(_ROLES)})\b(?:\s*(?:{CONTROL_TOKEN.pattern}))?:?"
    rf"|(?:{_BEGUN})?\Z)",
    re.IGNORECASE,
)
# The same where a server took the tokens out: the role alone on a line, or before a colon at the start.
_OWN_ROLE = re.compile(r"\s*(?:assistant|model)\s*(?::|\n|\Z)", re.IGNORECASE)
_OTHER_TURN = re.compile(r"\n[ \t]*(?:assistant|system|user)[ \t]*(?:\n|\Z)")
_MAYBE_ROLE = re.compile(rf"(?:\A|\n)\s*(?:{'|'.join(_ROLES)}|{_BEGUN})\Z", re.IGNORECASE)
THINK = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class Generated:
    """text: the reply alone. n_tokens: what the model wrote, its end token included. n_leaks: control tokens
    and think blocks taken out.
    """

    text: str
    n_tokens: int
    seconds: float
    n_leaks: int = 0


Answers = Iterator[tuple[int, Generated]]  # (index of the conversation, its reply), in any order


@dataclass(frozen=True)
class Engine:
    """One way to get replies. batch: replies that were computed together are repeated together, so that a
    resume changes nothing.
    """

    name: str
    quantization: str
    batch: int
    # (system, conversations, candidate=0): each candidate draws other random numbers
    answer: Callable[..., Answers]


def transformers_engine(
    loaded: "Loaded", sampling: SamplingConfig, load_adapter: Callable[[str], str]
) -> Engine:
    """load_adapter: another run's name -> the name of its adapter on the same weights.

    Raises UserError for one without effect.
    """
    refuse_inactive_adapter(loaded, ADAPTER)

    def answer(system: str, conversations: Sequence[Messages], candidate: int = 0) -> Answers:
        adapter = (
            None if system in ("base", "fewshot") else ADAPTER if system == "tuned" else load_adapter(system)
        )
        if adapter not in (None, ADAPTER):
            refuse_inactive_adapter(loaded, adapter)
        drawn, is_tuned = of_candidate(sampling, candidate), adapter is not None
        return enumerate(generate(loaded, conversations, drawn, tuned=is_tuned, adapter=adapter or ADAPTER))

    return Engine(loaded.engine, loaded.quantization, BATCH, answer)


def generate(
    loaded: "Loaded",
    conversations: Sequence[Messages],
    sampling: SamplingConfig,
    tuned: bool,
    batch: int = BATCH,
    adapter: str = ADAPTER,
) -> Iterator[Generated]:
    """One reply per conversation, in order.

    Raises UserError for a conversation that does not fit the model.
    """
    chat = chat_of(loaded.tokenizer)
    ends = end_ids(loaded.model, chat)
    for start in range(0, len(conversations), batch):
        began = time.monotonic()
        rows = conversations[start : start + batch]
        with arm(loaded, tuned, adapter):  # per batch: between two yields the model may be the other arm
            written = _write(loaded, chat, rows, sampling)
        seconds = (time.monotonic() - began) / len(rows)
        for ids in written:
            said = ids[:-1] if ids and ids[-1] in ends else ids
            text, n_leaks = clean_reply(loaded.tokenizer.decode(said, skip_special_tokens=False), chat)
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


def _write(
    loaded: "Loaded", chat: Chat, conversations: Sequence[Messages], sampling: SamplingConfig
) -> list[list[int]]:
    """New token ids per row, the end token included, padding not."""
    import torch

    prompts = [chat.prompt(turns) for turns in conversations]
    ids, mask = left_padded(prompts, loaded.tokenizer, loaded.device)
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
            generation_config=generation_config(loaded.model, chat, sampling),
            logits_processor=sampler(sampling, seeds, ids.shape[1]),
        )
    ends = end_ids(loaded.model, chat)
    rows = output[:, ids.shape[1] :].tolist()
    stops = [next((n + 1 for n, token in enumerate(row) if token in ends), len(row)) for row in rows]
    return [row[:stop] for row, stop in zip(rows, stops, strict=True)]


def clean_reply(text: str, chat: Chat | None = None) -> tuple[str, int]:
    """(the reply alone, how many think blocks and control tokens were taken out of it).

    Unfinished thought is no reply.

    chat: whose tokenizer's own control tokens count too; None: a server wrote the text.
    """
    text = text.encode("utf-8", "replace").decode("utf-8")  # a server may send half a surrogate pair
    text, n_leaks = THINK.subn("", text)
    if "</think>" in text:  # the block was opened in the prompt
        text, n_leaks = text.rpartition("</think>")[2], n_leaks + 1
    text, n_turns = _one_turn(text)
    n_leaks += n_turns + len(control_tokens(text))
    text = without_control_tokens(text)
    if chat:
        n_leaks += len(chat.own.findall(text))
        text = chat.plain(text)
    return text.strip(), n_leaks


def settled(text: str) -> str:
    """A reply that is still being written, without an end that may become a role or an emoji."""
    return _MAYBE_ROLE.sub("", text.rstrip("\ufffd"))


def _one_turn(text: str) -> tuple[str, int]:
    """(the first turn without its head, how many heads were taken out): no role is part of a reply, and
    nothing that follows a further one.
    """
    n_heads = 0
    while (head := _TURN.match(text.lstrip()) or _OWN_ROLE.match(text.lstrip())) and head.end():
        text, n_heads = text.lstrip()[head.end() :], n_heads + 1
    further = min((found.start() for of in (_TURN, _OTHER_TURN) if (found := of.search(text))), default=None)
    return (text, n_heads) if further is None else (text[:further], n_heads + 1)


def refuse_inactive_adapter(loaded: "Loaded", adapter: str) -> None:
    """Raise UserError if base and tuned answer a fixed prompt alike: every comparison would compare the base
    with itself.
    """
    base, tuned = (next_token_logits(loaded, is_tuned, adapter) for is_tuned in (False, True))
    if (base - tuned).abs().max().item() <= 1e-5:
        raise UserError(
            "Base and tuned answer a fixed prompt alike: the adapter is not active. "
            "Look at the training's metrics.jsonl (a loss that never moved, no steps) and train the run "
            "again."
        )


def next_token_logits(loaded: "Loaded", tuned: bool, adapter: str = ADAPTER) -> "torch.Tensor":
    """Logits of the first token after FIXED_PROMPT: (vocabulary,) float32."""
    import torch

    ids = torch.tensor([chat_of(loaded.tokenizer).prompt(FIXED_PROMPT)], device=loaded.device)
    with arm(loaded, tuned, adapter) as model, torch.inference_mode():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -1].float()
