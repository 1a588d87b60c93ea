"""Renting one machine for one job: ask, start, adopt, watch, bring home, end. Never two, never one left.

The order of the ledger's lines is the whole safety: a machine's name is written before a machine of that name
is asked for. So a process that dies anywhere leaves enough for the same command to find the machine again,
and to go on with it or end it.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

from lib.base.console import printable
from lib.base.errors import UserError
from lib.remote.ending import Ending
from lib.remote.orders import Order
from lib.remote.parcel import is_whole, listing, unpack_results
from lib.remote.seam import (
    AnswerLostError,
    Clock,
    Engine,
    Machine,
    NeverUpError,
    NoRoomError,
    Offer,
    Say,
    cheapest_first,
    table,
)

ATTEMPTS = 2  # creates of one offer whose answer was lost
FETCHES = 3
PRICE_SLACK = 1.02


class Renting:
    """One order on one engine. The caller holds the run's lock."""

    def __init__(
        self, engine: Engine, order: Order, say: Say, confirm: Callable[[str], None], clock: Clock
    ) -> None:
        self.engine, self.order, self.say, self.confirm = engine, order, say, confirm
        self.ending = Ending(engine, order.folder, clock, say)
        self.books = self.ending.books

    def run(self) -> list[str]:
        """Do the job. Returns the names of the files that came home; none if everything was home already."""
        self._refuse_other_engine()
        if self.order.is_done():
            self.ending.end_open()  # an earlier process died after everything had come home
            return []
        kept = False
        try:
            for machine in self._machines():
                try:
                    return self._use(machine)
                except NeverUpError as problem:
                    self.say(f"{machine.name} did not come up: {problem}")
                    self.ending.end(machine)
        except KeyboardInterrupt:
            kept = self._keep()
            raise
        finally:
            if not kept:
                self.ending.end_open()
        spent = self.books.spent_usd(self.order.hash)
        raise UserError(
            f"No machine could be had or came up (${spent:.2f} spent). The lines above say why; run it again "
            "later."
        )

    # --- machines: the one that is there, then the offers ---------------------------------------------

    def _machines(self) -> Iterator[Machine]:
        if machine := self._adopt():
            yield machine
        for offer in self._quote():
            seconds = self._seconds(offer)
            if self._is_enough(seconds, offer) and (machine := self._start(offer, seconds)):
                yield machine

    def _adopt(self) -> Machine | None:
        """The machine that an earlier process left, if it is of this job; all others are ended."""
        found = None
        for unit in self.ending.open_units():
            machine = self.ending.find(unit)
            if machine is None:
                continue
            if (
                unit.intent.note.get("job") != self.order.hash
                or found
                or self.engine.state(machine) == "ended"
            ):
                self.say(f"{machine.name} is of no more use")
                self.ending.end(machine)
            else:
                self.say(f"going on with {machine.name}, which is there already")
                found = machine
        return found

    def _quote(self) -> list[Offer]:
        """Offers by cost, shown and agreed to. Raises UserError where none fits the limits."""
        offers, limits, left = self.engine.offers(self.order.need), self.order.limits, self._left_usd()
        self.say(table(offers))
        fitting = [offer for offer in cheapest_first(offers) if self._is_enough(self._seconds(offer), offer)]
        if not fitting:
            raise UserError(
                f"No offer with stock does this job within ${left:.2f} and {limits.max_minutes:.0f} minutes. "
                "Raise `remote: {max_usd, max_minutes}` or name other GPUs in the run's config, or come back "
                "later."
            )
        first = fitting[0]
        low, high = first.minutes
        self.confirm(
            f"Rent the first of these that can be had ({first.engine} {first.gpu}, {low:.0f}–{high:.0f} min, "
            f"about ${first.usd(low):.2f}–{first.usd(high):.2f}), for at most ${left:.2f} in all and "
            f"{limits.max_minutes:.0f} minutes a machine?"
        )
        return fitting

    def _left_usd(self) -> float:
        return max(0.0, self.order.limits.max_usd - self.books.spent_usd(self.order.hash))

    def _seconds(self, offer: Offer) -> int:
        """How long a machine of this price may live: by its own limit and by what is left to spend."""
        by_money = self._left_usd() / offer.usd_per_hour * 3600 if offer.usd_per_hour > 0 else float("inf")
        return int(min(self.order.limits.max_minutes * 60, by_money))

    def _is_enough(self, seconds: int, offer: Offer) -> bool:
        return seconds >= offer.minutes[0] * 60

    def _still_stands(self, offer: Offer) -> Offer | None:
        """The offer as it is now, None where it is gone. A dearer one is asked about again."""
        now = next((new for new in self.engine.offers(self.order.need) if new.id == offer.id), None)
        if now is None or now.availability == "NONE":
            self.say(f"{offer.gpu} is no longer to be had")
            return None
        if now.usd_per_hour > offer.usd_per_hour * PRICE_SLACK:
            self.say(
                f"the price of {offer.gpu} moved from ${offer.usd_per_hour:.2f} to ${now.usd_per_hour:.2f} "
                "an hour since the question"
            )
            self.confirm(f"Rent {offer.gpu} at ${now.usd_per_hour:.2f} an hour?")
        return now

    # --- one machine ----------------------------------------------------------------------------------

    def _start(self, quoted: Offer, seconds: int) -> Machine | None:
        """A machine of this offer, or None if there is none to be had within the limits."""
        offer = self._still_stands(quoted)
        for _ in range(ATTEMPTS):
            if offer is None or not self._is_enough(seconds := min(seconds, self._seconds(offer)), offer):
                return None
            name = self.order.new_name()
            job = self.order.job(name)
            self.order.pack(job)
            self.books.intend(name, offer, self.order.hash, seconds, offer.usd(offer.minutes[1]))
            try:
                machine = self.engine.start(offer, job, seconds)
            except NoRoomError as problem:
                self.ending.never(name, str(problem))
                self.say(f"{offer.gpu}: {problem}")
                return None
            except AnswerLostError as problem:
                self.say(f"no answer to a start ({problem}); looking for {name}")
                if found := self.ending.look(name):
                    return found
                self.ending.never(name, f"never started: {problem}")
                continue
            self.books.started(machine)
            self.say(f"started {name} ({machine.id}), which lives {seconds / 60:.0f} minutes at most")
            if machine.usd_per_hour <= offer.usd_per_hour * PRICE_SLACK:
                return machine
            self.say(
                f"it costs ${machine.usd_per_hour:.2f} an hour, not the ${offer.usd_per_hour:.2f} that were "
                "offered"
            )
            self.ending.end(machine)
            return None
        return None

    def _use(self, machine: Machine) -> list[str]:
        job = self.order.job(machine.name)
        self.engine.ready(machine, job)
        job = replace(job, ends_at=self.books.ends_at(machine.name))
        with (self.order.folder / "remote.log").open("w", encoding="utf-8") as log:
            for line in self.engine.logs(machine, job):
                self.say("  | " + printable(line))
                log.write(line + "\n")
        for _ in range(FETCHES):
            self.engine.fetch(machine, job)
            if is_whole(job.folder):
                break
            self.say("the results were damaged on their way; they are fetched again")
            (job.folder / "results.tar").unlink()
        else:
            raise UserError(f"What {machine.name} sends is damaged every time. Run the same command again.")
        files = unpack_results(job.folder, self.order.folder)
        if code := listing(job.folder)["exit"]:
            raise UserError(
                f"The job on {machine.name} failed (exit {code}); {self.order.folder / 'remote.log'} says "
                "why. "
                f"{len(files)} files of it are in {self.order.folder}. Mend it, then run the same command "
                "again."
            )
        return files

    def _keep(self) -> bool:
        """After Ctrl-C: whether the machine is to go on alone. Without an answer it is ended."""
        names = ", ".join(unit.newest.key for unit in self.ending.open_units())
        if not names or not sys.stdin.isatty():
            return False
        try:
            answer = input(
                f"\nEnd {names} now? What it has made is lost then. Otherwise it goes on until its deadline. "
                "[Y/n] "
            )
        except (EOFError, KeyboardInterrupt):
            return False
        if answer.strip().lower() not in ("n", "no"):
            return False
        self.say(
            f"{names} goes on, and is paid for. The same command comes back to it; `make rented END=1` ends "
            "it."
        )
        return True

    def _refuse_other_engine(self) -> None:
        for unit in self.books.open_units():
            if unit.engine != self.engine.name:
                raise UserError(
                    f"{unit.newest.key} of this run is on {unit.engine} and may still be billed. "
                    f"Go on with it (ON={unit.engine}), or end it first: `make rented END=1`."
                )
