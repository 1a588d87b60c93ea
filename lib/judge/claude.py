"""Claude as the judge: every comparison is asked once, live or in batches, and never again once an answer is
stored.
"""

import os
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.base.costs import budget_usd
from lib.base.errors import UserError
from lib.base.ledger import Ledger
from lib.base.settings import JudgeConfig
from lib.judge.canaries import canaries
from lib.judge.claude_books import Books
from lib.judge.claude_client import API_VERSION, Claude
from lib.judge.claude_estimate import OUTPUT_TOKENS, TOKENS_IN
from lib.judge.claude_round import Round
from lib.judge.comparisons import Comparison, comparison_key
from lib.judge.prices import price_of
from lib.judge.rubric import SCHEMA, SYSTEM, TEMPLATE, VERSION


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
        return claude_identity(self.config)

    @property
    def canaries(self) -> list[Comparison]:
        return canaries()

    def check(self) -> None:
        Claude()
        cap_usd, each_usd = (
            budget_usd(self.config.max_usd, os.environ.get("MAX_USD")),
            self.estimate(1)["live"],
        )
        if each_usd > cap_usd:
            raise UserError(
                f"The budget of ${cap_usd:.2f} does not pay for one verdict of {self.config.model} (about "
                f"${each_usd:.4f}). Raise MAX_USD or judge.max_usd."
            )

    def ask(
        self,
        questions: Sequence[Comparison],
        work: Path,
        ledger: Ledger,
        say: Callable[[str], None],
        again: bool = False,
    ) -> None:
        judge_with_claude(questions, self.config, work, ledger, say, again=again)

    def account(self, work: Path, ledger: Ledger, keys: Container[str]) -> dict[str, Any]:
        return claude_account(work, ledger, keys)

    def estimate(self, n_verdicts: int) -> dict[str, float]:
        usage = {"input_tokens": TOKENS_IN, "output_tokens": OUTPUT_TOKENS["low"]}
        price = price_of(self.config.model)
        usd = {way: price.usd(usage, batch=way == "batch") for way in ("live", "batch")}
        return {way: n_verdicts * each for way, each in usd.items()}


def claude_identity(config: JudgeConfig) -> list[Any]:
    """All of the judge that its verdict depends on."""
    return [
        "claude",
        VERSION,
        API_VERSION,
        config.model,
        config.effort,
        config.max_tokens,
        SYSTEM,
        SCHEMA,
        TEMPLATE,
    ]


def judge_with_claude(
    comparisons: Sequence[Comparison],
    config: JudgeConfig,
    folder: Path,
    ledger: Ledger,
    say: Callable[[str], None] = lambda line: None,
    sleep: Callable[[float], None] | None = None,
    again: bool = False,
) -> None:
    """Append a judgment or a failure {key, reason, detail} for every comparison to folder/judgments.jsonl and
    judgments.failed.jsonl.

    What the budget (judge.max_usd, lowered by MAX_USD; over all runs) leaves out gets neither: the next run
    asks it. Raises UserError, with all answers kept, where the API refuses or cannot be reached. Costs no
    request where everything has been answered.
    again: ask once more for what was given up.
    """
    identity = claude_identity(config)
    job = Round(
        {comparison_key(one, identity): one for one in comparisons},
        config,
        Books(folder, ledger),
        folder,
        say,
        sleep,
        again,
    )
    if n_lost := job.books.settle():
        say(
            f"{n_lost} requests were under way when the last run ended: booked as possibly paid, each is "
            "asked once more at most"
        )
    try:
        job.ask()
    finally:
        job.read()


def claude_account(folder: Path, ledger: Ledger, keys: Container[str]) -> dict[str, Any]:
    """The bill: what the judge of an evaluation has cost so far, and how many of these questions were asked
    twice because an answer was lost.
    """
    books = Books(folder, ledger)
    return books.account() | {"asked_again": sum(n > 0 for key, n in books.n_lost().items() if key in keys)}
