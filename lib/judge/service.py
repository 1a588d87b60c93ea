"""The seam between a round of questions and the API that answers them: all that one kind of paid judge has of
its own.

Books, budget, retries and outcomes are the same for every kind: lib.judge.round.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from lib.base.settings import JudgeConfig
from lib.judge.books import Books
from lib.judge.comparisons import Comparison, Verdict
from lib.judge.failures import Rejections
from lib.judge.prices import Price

Params = Mapping[str, Any]  # of one question, as the client takes them
Say = Callable[[str], None]


class Client(Protocol):
    """A connection to the API. sleep: seconds -> None."""

    title: str  # in sentences: "The Messages API"
    takes_batches: bool  # known once the model was checked
    sleep: Callable[[float], None]

    def ask(self, params: Params) -> str:
        """The answer as JSON, as it came. Raises NotTakenError, AnswerLostError or UserError."""
        ...

    def n_tokens(self, params: Params) -> int | None:
        """Input tokens of a question, counted for free; None where the API cannot say."""
        ...

    def check_model(self, config: JudgeConfig) -> str | None:
        """A warning, or None. Raises UserError for a model that cannot be had, or cannot do this."""
        ...


class Batching(Protocol):
    """Questions that are handed in together, for less, and answered within a day.

    ended: key -> how its request last ended in this process, where it gave no answer.
    """

    ended: dict[str, str]

    def settle(self, wanted: set[str]) -> None:
        """Finish what an earlier process left open."""
        ...

    def run(self, requests: Mapping[str, Params], worst_usd: float, cap_usd: float) -> bool:
        """Hand in and wait. False: it does not fit under the cap."""
        ...


class Service(Protocol):
    """One kind of paid judge, as a round of questions sees it."""

    @property
    def config(self) -> JudgeConfig: ...

    @property
    def identity(self) -> list[Any]: ...

    def params(self, comparison: Comparison) -> dict[str, Any]:
        """The question in the shape that the client takes."""
        ...

    def read(self, comparison: Comparison, raw: str) -> Verdict:
        """The verdict in an answer as it came. Raises UnusableAnswerError; nothing is guessed."""
        ...

    def price(self) -> Price:
        """Raises UserError where nobody knows it."""
        ...

    def price_source(self) -> str:
        """Where the price comes from, in words."""
        ...

    def connect(self, folder: Path, sleep: Callable[[float], None]) -> Client:
        """Sends nothing yet. Raises UserError without a usable key. folder: to keep in what it learns."""
        ...

    def batching(
        self, client: Client, books: Books, price: Price, say: Say, rejections: Rejections
    ) -> Batching | None:
        """None for an API that only answers at once."""
        ...
