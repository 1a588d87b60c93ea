"""The one table of Claude's prices, and dollars from a usage record of either API.

Source: platform.claude.com, overview and pricing pages, September to November 2026. A model that is not
listed is refused: nothing is bought at a price that nobody knows.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lib.base.errors import UserError

CHECKED_ON = "2026-11-22"
CACHE_WRITE = 1.25  # times the input price, for the 5-minute cache
LONG_PROMPT = 100_000  # tokens; above them some models cost more


@dataclass(frozen=True)
class Price:
    """USD per million tokens. Message Batches cost half of everything.

    long: (input, output) of prompts above LONG_PROMPT.
    """

    input: float
    output: float
    cache_read: float
    long: tuple[float, float] | None = None

    def usd(self, usage: Mapping[str, Any], batch: bool) -> float:
        """Dollars of one answer. usage: as the API counts it; thinking is part of output_tokens."""
        plain, written, read = (_count(usage, name) for name in INPUT_COUNTS)
        rate_in, rate_out = (
            self.long if self.long and plain + written + read > LONG_PROMPT else (self.input, self.output)
        )
        tokens_usd = (
            plain * rate_in
            + written * rate_in * CACHE_WRITE
            + read * self.cache_read
            + _count(usage, "output_tokens") * rate_out
        )
        return tokens_usd / 1e6 * (0.5 if batch else 1.0)

    @property
    def is_free(self) -> bool:
        """True for a server of one's own."""
        return not (self.input or self.output)

    def worst_usd(self, n_input: float, max_tokens: int, batch: bool) -> float:
        """Dollars of an answer that uses all of max_tokens."""
        return self.usd({"input_tokens": n_input, "output_tokens": max_tokens}, batch)


INPUT_COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")

PRICES = {
    "claude-haiku-5-5": Price(0.10, 0.50, 0.01, long=(0.50, 2.50)),
    "claude-sonnet-5-5": Price(2, 10, 0.10),
    "claude-opus-5-5": Price(4, 20, 0.20),
    "claude-opus-5": Price(5, 25, 0.50),
    "claude-fable-5-1": Price(10, 50, 0.25),
    "claude-fable-5-2": Price(8, 40, 0.40),
    "claude-sonnet-4-6": Price(3, 15, 0.30),
    "claude-haiku-4-5": Price(1, 5, 0.10),
}


def price_of(model: str) -> Price:
    """The price of a model id, with or without its date.

    Raises UserError for one that is not in the table.
    """
    price = PRICES.get(re.sub(r"-\d{8}$", "", model))
    if price is None:
        raise UserError(
            f"judge.model: the price of {model} is not known. Choose one of {', '.join(PRICES)}, or add its "
            f"price to PRICES in lib/judge/prices.py (checked on {CHECKED_ON}; platform.claude.com lists "
            "them)."
        )
    return price


def is_usage(usage: Any) -> bool:
    """True if a usage record says what was billed."""
    return isinstance(usage, Mapping) and all(
        type(usage.get(name)) is int and usage[name] >= 0 for name in ("input_tokens", "output_tokens")
    )


def usage_of(message: Mapping[str, Any]) -> dict[str, Any]:
    """The tokens of an answer under the names of the Messages API, whichever API counted them; {} for none.

    An OpenAI-compatible server counts cached tokens among the prompt's. Some leave the tokens of the
    reasoning out of the completion's, and bill them: the total has them.
    """
    usage = message.get("usage")
    if not isinstance(usage, Mapping):
        return {}
    n_in, n_out, n_all = (usage.get(f"{name}_tokens") for name in ("prompt", "completion", "total"))
    if type(n_in) is not int:
        return {name: n for name, n in usage.items() if type(n) is int}
    if type(n_out) is int and type(n_all) is int:
        n_out = max(n_out, n_all - n_in)
    details = usage.get("prompt_tokens_details")
    n_cached = details.get("cached_tokens") if isinstance(details, Mapping) else None
    n_cached = min(max(n_cached, 0), n_in) if type(n_cached) is int else 0
    return {"input_tokens": n_in - n_cached, "cache_read_input_tokens": n_cached, "output_tokens": n_out}


def _count(usage: Mapping[str, Any], name: str) -> float:
    return usage.get(name) or 0


def n_input_tokens(usage: Mapping[str, Any]) -> int:
    """All input tokens, cached or not."""
    return int(sum(_count(usage, name) for name in INPUT_COUNTS))
