"""Any model behind an OpenAI-compatible address as the judge: other vendors', gateways', or one's own.

The same rubric, orders, canaries and books as for Claude. What such servers differ in stands in openai_shape
(requests) and openai_answers.
"""

import json
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.base.api_servers import api_root, bearer, is_own
from lib.base.errors import UserError
from lib.base.ledger import Ledger
from lib.base.settings import JudgeConfig
from lib.judge.books import Books
from lib.judge.canaries import canaries
from lib.judge.comparisons import Comparison, Verdict
from lib.judge.estimate import OUTPUT_TOKENS, TOKENS_IN
from lib.judge.failures import Rejections
from lib.judge.openai_answers import read_answer
from lib.judge.openai_client import OpenAIClient
from lib.judge.paid import account_of, ask_all, refuse_small_budget
from lib.judge.prices import Price
from lib.judge.rubric import SCHEMA, SYSTEM, TEMPLATE, VERSION, prompt
from lib.judge.service import Say

# Not every server enforces a schema, and some take none: the words say it too.
WITH_SCHEMA = f"{SYSTEM}\n\nThe schema, and nothing but an object of it:\n{json.dumps(SCHEMA)}"


@dataclass(frozen=True)
class OpenAIJudge:
    """A model under the judge: keys of an eval config with kind: openai."""

    config: JudgeConfig
    is_stand_in = False
    is_free = False  # of a server of one's own it costs hours, and the next answer is another one

    @property
    def title(self) -> str:
        return self.config.model

    @property
    def name(self) -> str:
        return self.config.model

    @property
    def identity(self) -> list[Any]:
        config = self.config
        told = [config.model, config.extra_body, config.max_tokens, WITH_SCHEMA, SCHEMA, TEMPLATE]
        return ["openai", VERSION, api_root(str(config.base_url)), *told]

    @property
    def canaries(self) -> list[Comparison]:
        return canaries()

    def check(self) -> None:
        bearer(self.config.api_key_env, "judge.api_key_env")
        refuse_small_budget(self.config, self.estimate(1)["live"])

    def ask(
        self,
        questions: Sequence[Comparison],
        work: Path,
        ledger: Ledger,
        say: Callable[[str], None],
        again: bool = False,
    ) -> None:
        ask_all(self, questions, work, ledger, say, again=again)

    def account(self, work: Path, ledger: Ledger, keys: Container[str]) -> dict[str, Any]:
        return account_of(work, ledger, keys)

    def estimate(self, n_verdicts: int) -> dict[str, float]:
        usage = {"input_tokens": TOKENS_IN, "output_tokens": OUTPUT_TOKENS["low"]}
        return dict.fromkeys(("live", "batch"), n_verdicts * self.price().usd(usage, batch=False))

    # --- as a round of questions sees it -----------------------------------------------------------------

    def params(self, comparison: Comparison) -> dict[str, Any]:
        return {
            "model": self.config.model,
            "max_tokens": self.config.max_tokens,
            "system": WITH_SCHEMA,
            "user": prompt(comparison),
            "schema": SCHEMA,
            "extra_body": self.config.extra_body,
        }

    def read(self, comparison: Comparison, raw: str) -> Verdict:
        return read_answer(comparison, raw)

    def price(self) -> Price:
        """As the config says; nothing for a server of one's own that it gives no price."""
        prices = self.config.prices
        if prices:
            cached = prices.input if prices.cached_input is None else prices.cached_input
            return Price(prices.input, prices.output, cached)
        if is_own(str(self.config.base_url)):
            return Price(0.0, 0.0, 0.0)
        raise UserError(
            f"judge.prices: what {self.config.model} costs at {self.config.base_url} is not known. Add "
            "prices: {input: ..., output: ...} in dollars per million tokens to the judge of the eval "
            "config; 0 and 0 for a server of your own."
        )

    def price_source(self) -> str:
        return "judge.prices of the eval config"

    def connect(self, folder: Path, sleep: Callable[[float], None]) -> OpenAIClient:
        return OpenAIClient(self.config, folder, sleep)

    def batching(
        self, client: OpenAIClient, books: Books, price: Price, say: Say, rejections: Rejections
    ) -> None:
        """Such servers answer at once, or not at all."""
