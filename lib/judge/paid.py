"""The door of every paid judge: ask what is open, once, and say what it has cost."""

import os
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import Any

from lib.base.costs import budget_usd
from lib.base.errors import UserError
from lib.base.ledger import Ledger
from lib.base.settings import JudgeConfig
from lib.judge.books import Books
from lib.judge.comparisons import Comparison, comparison_key
from lib.judge.round import Round
from lib.judge.service import Service


def ask_all(
    service: Service,
    comparisons: Sequence[Comparison],
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
    questions = {comparison_key(one, service.identity): one for one in comparisons}
    job = Round(questions, service, Books(folder, ledger), folder, say, sleep, again)
    if n_lost := job.books.settle():
        say(
            f"{n_lost} requests were under way when the last run ended: booked as possibly paid, each is "
            "asked once more at most"
        )
    try:
        job.ask()
    finally:
        job.read()


def refuse_small_budget(config: JudgeConfig, verdict_usd: float) -> None:
    """Raise UserError where judge.max_usd, lowered by MAX_USD, does not pay for one verdict."""
    cap_usd = budget_usd(config.max_usd, os.environ.get("MAX_USD"))
    if verdict_usd > cap_usd:
        raise UserError(
            f"The budget of ${cap_usd:.2f} does not pay for one verdict of {config.model} (about "
            f"${verdict_usd:.4f}). Raise MAX_USD or judge.max_usd."
        )


def account_of(folder: Path, ledger: Ledger, keys: Container[str]) -> dict[str, Any]:
    """The bill: what the judge of an evaluation has cost so far, and how many of these questions were asked
    twice because an answer was lost.
    """
    books = Books(folder, ledger)
    return books.account() | {"asked_again": sum(n > 0 for key, n in books.n_lost().items() if key in keys)}
