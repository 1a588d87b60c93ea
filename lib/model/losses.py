"""Losses of given texts: perplexity of the real replies, and whether general English got harder."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.base.schema import Pair
from lib.model.chat import Chat, chat_of, halves, messages
from lib.model.generate import ADAPTER, arm

if TYPE_CHECKING:
    from lib.model.loading import Loaded

GENERAL_TEXTS = Path(__file__).with_name("general_texts.txt")
FORGETTING_MARGIN = 0.1  # nats per token: a perplexity 10% higher. More than that is called forgetting
BATCH_TOKENS = 2048  # of a forward pass, padding included: 2 GB of logits where the vocabulary is Qwen3's
MAX_TOKENS = 1024

Row = tuple[list[int], int]  # token ids, how many of them are given (no loss falls on those)


@dataclass(frozen=True)
class RowLoss:
    """Sums over the n_tokens of a row that are not given: nats of loss, entropy (nats), and how many of them
    the model held for the likeliest.
    """

    nats: float
    n_tokens: int
    entropy: float
    n_right: int


def model_metrics(loaded: "Loaded", pairs: Sequence[Pair], prompt: str) -> dict[str, Any]:
    """Perplexity of the held-out human replies and mean token loss of each general text (nats), base and
    tuned.
    """
    texts = general_texts()
    losses = {
        name: reply_losses(loaded, pairs, prompt, tuned) for name, tuned in (("base", False), ("tuned", True))
    }
    return {
        "engine": loaded.engine,
        "quantization": loaded.quantization,
        "perplexity": {
            **{name: perplexity_of(found) for name, found in losses.items()},
            "n_pairs": len(pairs),
        },
        "reply_losses": {
            name: [[float(row.nats), row.n_tokens] for row in found] for name, found in losses.items()
        },
        "forgetting": {
            "base": mean_losses(loaded, texts, tuned=False),
            "tuned": mean_losses(loaded, texts, tuned=True),
            "margin": FORGETTING_MARGIN,
        },
        "reason": None,
    }


def perplexity(
    loaded: "Loaded", pairs: Sequence[Pair], prompt: str, tuned: bool, adapter: str = ADAPTER
) -> float | None:
    """exp of the mean loss over all tokens of all replies, the tokens that training fell on.

    None for no pairs.
    """
    return perplexity_of(reply_losses(loaded, pairs, prompt, tuned, adapter))


def reply_losses(
    loaded: "Loaded", pairs: Sequence[Pair], prompt: str, tuned: bool, adapter: str = ADAPTER
) -> list[tuple[float, int]]:
    """(sum of the losses in nats, number of tokens) of every reply: the tokens that training fell on."""
    chat = chat_of(loaded.tokenizer)
    return token_losses(loaded, [completion_row(chat, pair, prompt) for pair in pairs], tuned, adapter)


def perplexity_of(losses: Iterable[RowLoss]) -> float | None:
    """exp of the mean loss over all tokens of all rows. None for no tokens."""
    loss = per_token(losses)
    return None if loss is None else math.exp(min(loss, 700))


def mean_losses(loaded: "Loaded", texts: Sequence[str], tuned: bool, adapter: str = ADAPTER) -> list[float]:
    """Mean loss per token of each text, nats; the first token is given.

    A text of one token has no loss and is left out.
    """
    rows = [(loaded.tokenizer(text, add_special_tokens=False)["input_ids"][:MAX_TOKENS], 1) for text in texts]
    return [one.nats / one.n_tokens for one in token_losses(loaded, rows, tuned, adapter) if one.n_tokens]


def general_texts() -> list[str]:
    """Short paragraphs of plain English, nothing to do with tweets, one per block of GENERAL_TEXTS."""
    return [
        " ".join(block.split())
        for block in GENERAL_TEXTS.read_text(encoding="utf-8").split("\n\n")
        if block.strip()
    ]


def with_given(rows: Sequence[Mapping[str, list[int]]]) -> list[Row]:
    """Rows of token ids and labels, as (token ids, how many of them are given)."""
    return [(row["input_ids"], len(halves(row)[0])) for row in rows]


def completion_row(chat: Chat, pair: Pair, prompt: str) -> Row:
    """The row that training would read of pair, control tokens taken out."""
    row = chat.row(messages(prompt, chat.plain(pair.tweet)), chat.plain(pair.reply))
    return row["input_ids"], len(halves(row)[0])


def token_losses(loaded: "Loaded", rows: Sequence[Row], tuned: bool, adapter: str = ADAPTER) -> list[RowLoss]:
    """The loss of each row under one arm of a loaded run."""
    with arm(loaded, tuned, adapter) as model:
        found = row_losses(model, rows, batches(rows))
    return [found[place] for place in range(len(rows))]


def batches(rows: Sequence[Row], n_tokens: int = BATCH_TOKENS) -> list[list[int]]:
    """Places of the rows, the longest first: neighbours are of one length, so that hardly a token is padding.

    A batch holds up to n_tokens, padding included; a longer row stands alone.
    """
    found: list[list[int]] = []
    for place in sorted(range(len(rows)), key=lambda place: -len(rows[place][0])):
        if found and (len(found[-1]) + 1) * len(rows[found[-1][0]][0]) <= n_tokens:
            found[-1].append(place)
        else:
            found.append([place])
    return found


def row_losses(model: Any, rows: Sequence[Row], places: Sequence[Sequence[int]]) -> dict[int, RowLoss]:
    """Place -> the loss of that row. model: in evaluation mode. places: the batches, as batches() has them.

    Without a gradient, but not in inference mode: a model that trains may come to keep what it makes here.
    """
    import torch

    found = {}
    for batch in places:
        width = max(len(rows[place][0]) for place in batch)
        padded = [rows[place][0] + [0] * (width - len(rows[place][0])) for place in batch]
        filled = [[1] * len(rows[place][0]) + [0] * (width - len(rows[place][0])) for place in batch]
        ids, mask = (torch.tensor(values, device=model.device) for values in (padded, filled))
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=mask).logits
        for place, row_ids, row_logits in zip(batch, ids, logits, strict=True):
            found[place] = _row_loss(row_ids, row_logits, len(rows[place][0]), rows[place][1])
    return found


def _row_loss(ids: Any, logits: Any, length: int, n_given: int) -> RowLoss:
    """One row at a time: float32 logits of a whole batch of a 150,000-word vocabulary are GBs."""
    first = max(n_given, 1)
    targets = ids[first:length]
    if not len(targets):
        return RowLoss(0.0, 0, 0.0, 0)
    logs = logits[first - 1 : length - 1].float().log_softmax(-1)
    return RowLoss(
        nats=-logs.gather(1, targets[:, None]).double().sum().item(),
        n_tokens=len(targets),
        entropy=-(logs.exp() * logs).sum().item(),
        n_right=int((logs.argmax(-1) == targets).sum()),
    )


def per_token(losses: Iterable[RowLoss]) -> float | None:
    """The loss: nats of all rows over tokens of all rows, whatever the batches were. None without a token."""
    losses = list(losses)
    n_tokens = sum(one.n_tokens for one in losses)
    return math.fsum(one.nats for one in losses) / n_tokens if n_tokens else None
