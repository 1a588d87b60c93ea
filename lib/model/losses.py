"""Losses of given texts: perplexity of the real replies, and whether general English got harder."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.base.schema import Pair
from lib.model.chat import Chat, chat_of, halves, messages
from lib.model.generate import ADAPTER, arm

if TYPE_CHECKING:
    from lib.model.loading import Loaded

GENERAL_TEXTS = Path(__file__).with_name("general_texts.txt")
FORGETTING_MARGIN = 0.1  # nats per token: a perplexity 10% higher. More than that is called forgetting
ROWS = 8
MAX_TOKENS = 1024

Row = tuple[list[int], int]  # token ids, how many of them are given (no loss falls on those)


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
            **{name: _perplexity(found) for name, found in losses.items()},
            "n_pairs": len(pairs),
        },
        "reply_losses": losses,
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
    return _perplexity(reply_losses(loaded, pairs, prompt, tuned, adapter))


def reply_losses(
    loaded: "Loaded", pairs: Sequence[Pair], prompt: str, tuned: bool, adapter: str = ADAPTER
) -> list[tuple[float, int]]:
    """(sum of the losses in nats, number of tokens) of every reply: the tokens that training fell on."""
    chat = chat_of(loaded.tokenizer)
    return token_losses(loaded, [_completion_row(chat, pair, prompt) for pair in pairs], tuned, adapter)


def _perplexity(losses: Sequence[tuple[float, int]]) -> float | None:
    n_tokens = sum(n for _, n in losses)
    return math.exp(min(sum(total for total, _ in losses) / n_tokens, 700)) if n_tokens else None


def mean_losses(loaded: "Loaded", texts: Sequence[str], tuned: bool, adapter: str = ADAPTER) -> list[float]:
    """Mean loss per token of each text, nats; the first token is given.

    A text of one token has no loss and is left out.
    """
    rows = [(loaded.tokenizer(text, add_special_tokens=False)["input_ids"][:MAX_TOKENS], 1) for text in texts]
    return [total / n for total, n in token_losses(loaded, rows, tuned, adapter) if n]


def general_texts() -> list[str]:
    """Short paragraphs of plain English, nothing to do with tweets, one per block of GENERAL_TEXTS."""
    return [
        " ".join(block.split())
        for block in GENERAL_TEXTS.read_text(encoding="utf-8").split("\n\n")
        if block.strip()
    ]


def _completion_row(chat: Chat, pair: Pair, prompt: str) -> Row:
    """The row that training would read."""
    row = chat.row(messages(prompt, chat.plain(pair.tweet)), chat.plain(pair.reply))
    return row["input_ids"], len(halves(row)[0])


def token_losses(
    loaded: "Loaded", rows: Sequence[Row], tuned: bool, adapter: str = ADAPTER
) -> list[tuple[float, int]]:
    """(sum of the losses in nats, number of tokens they fall on) per row."""
    with arm(loaded, tuned, adapter) as model:
        return [
            loss
            for start in range(0, len(rows), ROWS)
            for loss in _batch_losses(model, rows[start : start + ROWS], loaded.device)
        ]


def certainty(model: Any, rows: Sequence[Row]) -> dict[str, float]:
    """{eval_entropy (nats), eval_mean_token_accuracy} over the tokens of the rows that are not given, as TRL
    logs them.

    model: in evaluation mode. rows: fewer than it takes to be noticed beside an evaluation.
    """
    import torch

    n_tokens, entropy, n_right = 0, 0.0, 0
    for start in range(0, len(rows), ROWS):
        batch = rows[start : start + ROWS]
        ids, logits = _logits(model, batch, model.device)
        for number, (row, n_given) in enumerate(batch):
            targets = ids[number, n_given : len(row)]
            of_row = torch.log_softmax(logits[number, n_given - 1 : len(row) - 1].float(), dim=-1)
            entropy -= (of_row.exp() * of_row).sum().item()
            n_right += (of_row.argmax(dim=-1) == targets).sum().item()
            n_tokens += len(targets)
    return {"eval_entropy": entropy / n_tokens, "eval_mean_token_accuracy": n_right / n_tokens}


def _logits(model: Any, rows: Sequence[Row], device: Any) -> tuple[Any, Any]:
    """(token ids, logits) of a padded batch.

    Without a gradient, but not in inference mode: a model that trains may come to keep them.
    """
    import torch

    width = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([row + [0] * (width - len(row)) for row, _ in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row, _ in rows], device=device)
    with torch.no_grad():
        return ids, model(input_ids=ids, attention_mask=mask).logits


def _batch_losses(model: Any, rows: Sequence[Row], device: str) -> list[tuple[float, int]]:
    import torch

    ids, logits = _logits(model, rows, device)
    sums = []
    for number, (row, n_given) in enumerate(
        rows
    ):  # row by row: float32 logits of a whole batch of a 150,000-word vocabulary are GBs
        first = max(n_given, 1)
        targets = ids[number, first : len(row)]
        of_row = logits[number, first - 1 : len(row) - 1].float()
        sums.append(
            (
                torch.nn.functional.cross_entropy(of_row, targets, reduction="sum").item()
                if len(targets)
                else 0.0,
                len(targets),
            )
        )
    return sums
