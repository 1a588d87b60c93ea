"""Message Batches: half the price, done within a day. Never two batches for the same requests.

The requests are on disk before the batch is created, its id before it is waited for. Where the answer to the
creation was lost, the provider's list is searched for a batch that was not there before and holds as many
requests; its results must then carry our custom_ids. (The API does not tell a batch's custom_ids before it
has ended.)
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lib.base.errors import UserError
from lib.judge.books import Books, OpenBatch
from lib.judge.claude_client import Claude
from lib.judge.failures import (
    IN_A_ROW,
    AnswerLostError,
    NotTakenError,
    RejectedError,
    Rejections,
    wait_s,
)
from lib.judge.prices import Price

LOOKS_S = (1, 2, 3)  # a batch that was just created may be missing from the list for a moment
FIRST_POLL_S, LONGEST_POLL_S, LONGEST_WAIT_S = 2.0, 60.0, 25 * 3600.0
MAX_STARTS = 3


class Batches:
    """The batches of one evaluation."""

    def __init__(
        self, books: Books, claude: Claude, price: Price, say: Callable[[str], None], rejections: Rejections
    ) -> None:
        self.books, self.claude, self.price, self._say, self._rejections = (
            books,
            claude,
            price,
            say,
            rejections,
        )
        self._wanted: set[str] = set()
        self.ended: dict[
            str, str
        ] = {}  # key -> how its request last ended in this process, where it gave no answer

    def settle(self, wanted: set[str]) -> None:
        """Finish what an earlier process left open.

        A batch for other questions is booked if it has ended and left alone if not.
        """
        self._wanted = wanted
        for batch in self.books.open_batches():
            self._finish(batch, wait=bool(wanted & set(batch.keys)) or batch.n_requests != len(batch.keys))

    def run(self, requests: Mapping[str, Mapping[str, Any]], worst_usd: float, cap_usd: float) -> bool:
        """Create one batch (key -> params) and wait for its results. worst_usd: of all of it.

        False: it does not fit under the cap.
        """
        unit = self.books.name_batch(list(requests), [batch.id for batch in self.claude.batches()])
        body = [{"custom_id": custom_id(key), "params": params} for key, params in requests.items()]
        for attempt in range(IN_A_ROW):
            if not self.books.begin(unit, worst_usd, cap_usd, n_requests=len(body), step="batch"):
                return False
            problem = self._create(unit, body)
            if problem is None:
                self._finish(
                    next(batch for batch in self.books.open_batches() if batch.unit == unit), wait=True
                )
                return True
            if attempt + 1 >= (MAX_STARTS if isinstance(problem, AnswerLostError) else IN_A_ROW):
                break
            self.claude.sleep(wait_s(attempt, problem))
        raise UserError(
            f"The batch could not be created ({problem}). Run the same command again later: what has been "
            "judged is kept."
        )

    def _create(self, unit: str, body: Sequence[Mapping[str, Any]]) -> Exception | None:
        """None: it exists, and its id is on disk. Otherwise it does not exist, and this is why."""
        try:
            batch_id, adopted = self.claude.create_batch(body), False
        except UserError as problem:
            self.books.refused(unit, str(problem))
            if isinstance(problem, RejectedError):
                raise UserError(
                    f"{problem} If it is one request's fault, set judge.batch: never: that one is then left "
                    "out."
                ) from problem
            raise
        except (NotTakenError, AnswerLostError) as problem:
            # Unlike a message, a batch goes on without its creator: whoever said 500 may have created it
            # before.
            never_arrived = isinstance(problem, NotTakenError) and problem.status in (None, 429)
            found = None if never_arrived else self._look_for(unit, problem)
            if found is None:
                self.books.refused(unit, str(problem) if never_arrived else "never created")
                return problem
            batch_id, adopted = found, True
        self.books.started(unit, batch_id, adopted)
        return None

    def _look_for(self, unit: str, problem: Exception) -> str | None:
        self._say(f"no answer to a new batch ({problem}): looking for it")
        return self._find(next(batch for batch in self.books.open_batches() if batch.unit == unit))

    def _find(self, batch: OpenBatch) -> str | None:
        """The batch that a creation without an answer made, if it did."""
        not_it = batch.not_it | self.books.batch_ids()
        for seconds in (0, *LOOKS_S):
            if seconds:
                self.claude.sleep(seconds)
            for found in self.claude.batches():
                if found.id in not_it or (batch.n_requests and _size(found) not in (0, batch.n_requests)):
                    continue
                if found.processing_status != "ended" or self._holds(found.id, batch):
                    self._say(f"adopted batch {found.id}: it was created, its answer was lost")
                    return found.id
        return None

    def _holds(self, batch_id: str, batch: OpenBatch) -> bool:
        """True if an ended batch answers our requests."""
        expected = self._key_of(batch)
        return self.claude.free(
            lambda: any(name in expected for name, _, _ in self.claude.results(batch_id)), wait_for_it=True
        )

    def _key_of(self, batch: OpenBatch) -> dict[str, str]:
        """custom id -> key, of all that may be in it: after `make repair` not all of its keys are known."""
        keys = batch.keys if batch.n_requests == len(batch.keys) else [*batch.keys, *self._wanted]
        return {custom_id(key): key for key in keys}

    def _finish(self, batch: OpenBatch, wait: bool) -> None:
        """Wait for it, keep its answers, book it."""
        if batch.id is None:
            found = self._find(batch)
            if found is None:
                self.books.refused(batch.unit, "never created")
                return
            self.books.started(batch.unit, found, adopted=True)
            batch = self._reread(batch)
        state = self._ended(batch, wait)
        if state is None:
            self._say(
                f"batch {batch.id} of earlier questions is still in progress; it is booked when it has ended"
            )
        elif getattr(state, "archived_at", None):
            self._say(
                f"warning: the results of batch {batch.id} are no longer available; its requests count as "
                "paid"
            )
            self.books.lost(batch.unit, "results archived")
        elif batch.adopted and not self._holds(str(batch.id), batch):
            self._say(f"batch {batch.id} is somebody else's: looking again")
            self.books.not_ours(batch)
            self._finish(self._reread(batch), wait)
        else:
            self._collect(batch)

    def _reread(self, batch: OpenBatch) -> OpenBatch:
        return next(found for found in self.books.open_batches() if found.unit == batch.unit)

    def _ended(self, batch: OpenBatch, wait: bool) -> Any:
        """Its state once it has ended; None if it has not and nobody waits."""
        waited, pause = 0.0, FIRST_POLL_S
        while True:
            state = self.claude.batch(str(batch.id), batch.is_new)
            if state.processing_status == "ended":
                return state
            if not wait:
                return None
            if waited >= LONGEST_WAIT_S:
                raise UserError(
                    f"Batch {batch.id} has not ended after a day. Run the same command again later: it goes "
                    "on waiting for it."
                )
            if not waited:
                self._say(
                    f"batch {batch.id} of {batch.n_requests:,} requests is in progress; Ctrl-C is safe, the "
                    "same command waits on"
                )
            self.claude.sleep(pause)
            waited, pause = waited + pause, min(pause * 1.5, LONGEST_POLL_S)

    def _collect(self, batch: OpenBatch) -> None:
        """Store every answer, then book the batch with what they cost.

        Read again after a crash, it adds only what is missing.
        """
        key_of = self._key_of(batch)
        ended: dict[str, str] = {}
        rejected: dict[str, str] = {}

        def read() -> None:
            results = list(self.claude.results(str(batch.id)))
            for name, outcome, text in results:
                if name not in key_of or key_of[name] in ended:
                    continue
                key = key_of[name]
                if outcome == "succeeded":
                    self.books.store(
                        key,
                        batch.unit,
                        text,
                        self.price,
                        batch.worst_usd / max(batch.n_requests, 1),
                        batch=True,
                    )
                elif outcome == "rejected":
                    rejected[key] = text
                ended[key] = outcome
            if len(results) < batch.n_requests:  # cut off: what is not there was paid for as well
                raise AnswerLostError(
                    f"batch {batch.id}: {len(results):,} of {batch.n_requests:,} results came"
                )

        self.claude.free(read, wait_for_it=True)
        self.ended |= {key: outcome for key, outcome in ended.items() if outcome != "succeeded"}
        counts = Counter(ended.values())
        if counts["succeeded"]:
            for key, detail in rejected.items():
                self._rejections.record(key, detail)
        self.books.batch_done(batch, counts)
        self._say(
            f"batch {batch.id} ended: {', '.join(f'{n:,} {outcome}' for outcome, n in counts.most_common())}"
        )
        if not counts[
            "succeeded"
        ]:  # this may raise: the batch is booked by now, so the next run is not stopped by it
            for key, detail in rejected.items():
                self._rejections.add(key, RejectedError(f"batch {batch.id}: {detail}"))


def custom_id(key: str) -> str:
    """The name by which the provider knows a request: found again from the content of the question (at most
    64 characters).
    """
    return f"judge-{key[:48]}"


def _size(batch: Any) -> int:
    """Requests of a batch; 0 if it does not say."""
    counts = batch.request_counts
    return sum(
        getattr(counts, name, 0) or 0
        for name in ("processing", "succeeded", "errored", "canceled", "expired")
    )
