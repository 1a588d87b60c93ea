"""An engine in memory: a test lays out what it offers, refuses and bills; what is asked of it is noted."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from lib.base.errors import UserError
from lib.remote.books import Unit
from lib.remote.ending import Ending
from lib.remote.orders import Limits, Order
from lib.remote.parcel import pack_results
from lib.remote.renting import Renting
from lib.remote.seam import AnswerLostError, Job, Machine, Need, NoRoomError, Offer, State, Work
from tests.remote.world import NEED, Desk, FastClock, ledger_of

A40 = Offer("runpod", "A40", "a40", 48, 0.6, "HIGH", (4, 30))
A6000 = replace(A40, gpu="RTX A6000", id="a6000", usd_per_hour=0.9)
L40S = replace(A40, gpu="L40S", id="l40s", usd_per_hour=1.2)
NAME = "reply-train-tiny-{:08}".format
NOTHING = AnswerLostError("a time-out")  # of a create that had no effect


@dataclass
class Shop:
    """seam.Engine. starts: a problem, or None, for each of the next starts; ups: the same for `ready`.

    n_damaged: so many fetches bring a damaged parcel. late: machines whose start nobody sees at first.
    """

    name: str = "runpod"
    fast: FastClock = field(default_factory=lambda: FastClock(0))
    listed: list[Offer] = field(default_factory=lambda: [L40S, A40, A6000])
    alive: list[Machine] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    starts: list[Exception | None] = field(default_factory=list)
    ups: list[Exception | None] = field(default_factory=list)
    states: dict[str, State] = field(default_factory=dict)
    bills: dict[str, float | UserError] = field(default_factory=dict)
    lines: list[str | BaseException] = field(default_factory=lambda: ["training"])
    rate: float | None = None
    exit_code: int = 0
    n_damaged: int = 0
    n_unseen: int = 0
    is_silent: bool = False
    cannot_end: bool = False
    ends_at: float = 0.0
    seen: list[tuple[str, str]] = field(default_factory=list)  # the ledger's newest line at each start
    ids: Iterator[int] = field(default_factory=count)

    def offers(self, need: Need) -> list[Offer]:
        return list(self.listed)

    def start(self, offer: Offer, job: Job, seconds: int) -> Machine:
        self.calls.append(f"start {offer.id}")
        newest = ledger_of(job.folder.parents[3]).entries()[-1]
        self.seen.append((newest.state, newest.key))
        problem = self.starts.pop(0) if self.starts else None
        machine = Machine(f"id{next(self.ids)}", job.name, self.rate or offer.usd_per_hour)
        if not isinstance(problem, NoRoomError) and problem is not NOTHING:
            self.alive.append(machine)
        if problem:
            raise problem
        return machine

    def find(self, name: str) -> list[Machine]:
        self.n_unseen -= 1
        return [one for one in self.alive if one.name == name] if self.n_unseen < 0 else []

    def machines(self) -> list[Machine]:
        if self.is_silent:
            raise UserError(f"{self.name} does not answer")
        return list(self.alive)

    def state(self, machine: Machine) -> State:
        self.n_unseen -= 1
        is_there = machine.id in [one.id for one in self.alive] and self.n_unseen < 0
        return self.states.get(machine.id, "running") if is_there else "absent"

    def ready(self, machine: Machine, job: Job) -> None:
        self.calls.append(f"ready {machine.id}")
        if problem := self.ups.pop(0) if self.ups else None:
            raise problem

    def logs(self, machine: Machine, job: Job) -> Iterator[str]:
        self.ends_at = job.ends_at
        for line in self.lines:
            if isinstance(line, BaseException):
                raise line
            yield line

    def fetch(self, machine: Machine, job: Job) -> None:
        self.calls.append(f"fetch {machine.id}")
        made = job.folder / "made"
        made.mkdir(parents=True, exist_ok=True)
        (made / "manifest.json").write_text("{}")
        if not (job.folder / "results.tar").exists():  # else it goes on where it left off, as an engine does
            pack_results(made, job.folder / "results.tar", self.exit_code)
            if self.n_damaged:
                self.n_damaged -= 1
                with (job.folder / "results.tar").open("ab") as handle:
                    handle.write(b"X")

    def end(self, machine: Machine) -> None:
        self.calls.append(f"end {machine.id or 'nothing'}")
        if self.cannot_end and machine.id:
            raise UserError(f"{machine.name} may still be billed")
        self.alive = [one for one in self.alive if one.id != machine.id]

    def billed(self, machine: Machine) -> float | None:
        found = self.bills.get(machine.id)
        if isinstance(found, UserError):
            raise found
        return found

    def ending(self, folder: Path, say=print) -> Ending:
        return Ending(self, folder / "adapters/tiny", self.fast.clock(), say)


def wanted(home: Path, max_usd: float = 3, max_minutes: float = 90, job: str = "the job") -> Order:
    """An order whose run is home where its manifest is."""
    folder, numbers = home / "adapters/tiny", count()
    work = Work("setup", "train", "replies", "pack")

    def job_of(name: str) -> Job:
        return Job(name, "tiny", folder / "remote" / name, folder / "remote" / name / "p", work, NEED)

    def pack(job: Job) -> None:
        job.folder.mkdir(parents=True)

    def new_name() -> str:
        return NAME(next(numbers))

    limits, is_done = Limits(max_usd, max_minutes), (folder / "manifest.json").exists
    return Order(folder, job, NEED, limits, is_done, new_name, job_of, pack)


def rent(home: Path, shop: Shop, desk: Desk | None = None, **changes) -> list[str]:
    desk = desk or Desk()
    order = wanted(home, **changes)
    return Renting(shop, order, desk.said.append, desk.asked.append, shop.fast.clock()).run()


def begun(ending: Ending, number: int = 0, is_started: bool = True, engine: str = "runpod") -> Unit:
    """A machine in the books."""
    ending.books.intend(NAME(number), replace(A40, engine=engine), "the job", 3600, 0.3)
    if is_started:
        ending.books.started(Machine(f"id{number}", NAME(number)))
    return ending.books.units()[-1]


def states(home: Path) -> dict[str, str]:
    """Last digit of a machine's name -> its newest state in the books."""
    return {entry.key[-1]: entry.state for entry in ledger_of(home).latest().values()}
