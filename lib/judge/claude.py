"""Claude as the judge: every comparison is asked once, live or in batches, and never again once an answer is
stored.
"""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.base.ledger import Ledger
from lib.base.settings import JudgeConfig
from lib.judge.books import Books
from lib.judge.canaries import canaries
from lib.judge.claude_batches import Batches
from lib.judge.claude_client import API_VERSION, Claude
from lib.judge.comparisons import Comparison, Verdict
from lib.judge.estimate import OUTPUT_TOKENS, TOKENS_IN
from lib.judge.failures import Rejections
from lib.judge.paid import account_of, ask_all, refuse_small_budget
from lib.judge.prices import CHECKED_ON, Price, price_of
from lib.judge.rubric import SCHEMA, SYSTEM, TEMPLATE, VERSION, prompt, read_answer
from lib.judge.service import Say


@dataclass(frozen=True)
class ClaudeJudge:
    """Claude under the judge: keys of an eval config."""

    config: JudgeConfig
    is_stand_in = False
    is_free = False

    @property
    def title(self) -> str:
        return self.config.model

    @property
    def name(self) -> str:
        return self.config.model

    @property
    def identity(self) -> list[Any]:
        """All of the judge that its verdict depends on."""
        config = self.config
        told = [config.model, config.effort, config.max_tokens, SYSTEM, SCHEMA, TEMPLATE]
        return ["claude", VERSION, API_VERSION, *told]

    @property
    def canaries(self) -> list[Comparison]:
        return canaries()

    def check(self) -> None:
        Claude()
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
        price = price_of(self.config.model)
        usd = {way: price.usd(usage, batch=way == "batch") for way in ("live", "batch")}
        return {way: n_verdicts * each for way, each in usd.items()}

    # --- as a round of questions sees it -----------------------------------------------------------------

    def params(self, comparison: Comparison) -> dict[str, Any]:
        return {
            "model": self.config.model,
            "max_tokens": self.config.max_tokens,
            "system": SYSTEM,
            "messages": [{"role": "user", "content": prompt(comparison)}],
            "output_config": {
                "format": {"type": "json_schema", "schema": SCHEMA},
                "effort": self.config.effort,
            },
        }

    def read(self, comparison: Comparison, raw: str) -> Verdict:
        return read_answer(comparison, raw)

    def price(self) -> Price:
        return price_of(self.config.model)

    def price_source(self) -> str:
        return f"checked on {CHECKED_ON}"

    def connect(self, folder: Path, sleep: Callable[[float], None]) -> Claude:
        return Claude(sleep)

    def batching(
        self, client: Claude, books: Books, price: Price, say: Say, rejections: Rejections
    ) -> Batches:
        return Batches(books, client, price, say, rejections)
