"""The estimate of what a judging job will cost, in words, before it starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lib.base.files import to_json
from lib.judge.prices import Price

TOKENS_IN = 1100  # of one question, for a plan: the judge step counts before it asks
OUTPUT_TOKENS = {
    "low": 500,
    "medium": 1000,
    "high": 2000,
}  # (estimate) thinking included, until answers of the job itself are there


@dataclass(frozen=True)
class Sizes:
    """Tokens of a request, from one that the API counted (None: it could not) and the length of its text."""

    counted: int | None
    example: Mapping[str, Any]

    def expected(self, params: Mapping[str, Any]) -> float:
        """All requests are of one kind, so tokens go with characters."""
        return (
            (self.counted or n_bytes(self.example) / 3.5)
            * len(to_json(dict(params)))
            / len(to_json(dict(self.example)))
        )

    def worst(self, params: Mapping[str, Any]) -> float:
        """A token is at least one byte: the counted example holds the fixed part, the bytes of the question
        bound the rest.
        """
        return self.counted + n_bytes(params["messages"][0]) if self.counted else 500 + n_bytes(params)


def n_bytes(value: Mapping[str, Any]) -> int:
    """Of its JSON."""
    return len(to_json(dict(value)).encode())


def question(
    model: str,
    price: Price,
    price_source: str,
    sizes: Sizes,
    requests: Sequence[Mapping[str, Any]],
    n_output: float,
    batch: bool,
    spent_usd: float,
    cap_usd: float,
) -> str:
    """The rest of the questions, their tokens, its price and the budget, as a question."""
    n_input = [sizes.expected(params) for params in requests]
    expected = sum(price.usd({"input_tokens": n, "output_tokens": n_output}, batch) for n in n_input)
    worst = sum(price.worst_usd(sizes.worst(params), params["max_tokens"], batch) for params in requests)
    left = max(0.0, cap_usd - spent_usd)
    factor = 0.5 if batch else 1.0
    source = "counted by the API on one example" if sizes.counted else "estimated from the length"
    stops = (
        f"; it stops at the budget, after about {left / expected:.0%} of the requests"
        if expected > left
        else ""
    )
    usd = f"${price.input * factor:g} in, ${price.output * factor:g} out per million tokens"
    return "\n".join(
        [
            f"{model}: {len(requests):,} requests {'in batches at half price' if batch else 'live'}",
            f"  price     {usd} ({price_source})",
            (
                f"  tokens    about {sum(n_input) / len(n_input):,.0f} in ({source}), {n_output:,.0f} out "
                "each (estimate)"
            ),
            f"  expected  ${expected:.2f}, at most ${min(worst, left):.2f}{stops}",
            f"  spent     ${spent_usd:.2f} of the ${cap_usd:.2f} that judging this evaluation may cost",
            "Start?",
        ]
    )
