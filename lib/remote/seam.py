"""The seam between renting and those who rent out: need, offer, job, machine, and what an engine can do."""

import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from lib.base.errors import UserError

Say = Callable[[str], None]
# over: its job has ended and what it made may be there; ended: it is of no more use, and may still be billed
State = Literal["starting", "running", "over", "ended", "absent"]
MACHINE_NAME = re.compile(r"reply-train-[a-z0-9-]{1,40}-[0-9a-f]{8}")


class NoRoomError(Exception):
    """This offer cannot be had now; another one may. Nothing was started."""


class NeverUpError(Exception):
    """A machine was started and will never be of use: it is ended, and the next offer tried."""


class AnswerLostError(Exception):
    """Nobody knows whether a machine was started: a lost connection, a time-out, a 5xx."""


@dataclass(frozen=True)
class Clock:
    """Wall clock and patience. A monotonic clock stops while a laptop sleeps; the bill does not."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Candidate:
    """A GPU that the run's config allows. minutes: of the whole rental, best and cautious."""

    name: str
    minutes: tuple[float, float]


@dataclass(frozen=True)
class Need:
    """What a job needs of a machine. gpus: allowed ones. disk_gb: for model, packages, checkpoints."""

    memory_gb: float
    disk_gb: int
    gpus: tuple[Candidate, ...]
    image: str
    min_cuda: str = "12.8"


@dataclass(frozen=True)
class Offer:
    """One kind of machine at one price. id: the provider's word for it; usd_per_hour: disk included."""

    engine: str
    gpu: str
    id: str
    memory_gb: float
    usd_per_hour: float
    availability: str
    minutes: tuple[float, float]

    def usd(self, minutes: float) -> float:
        return self.usd_per_hour * minutes / 60


@dataclass(frozen=True)
class Work:
    """The commands of a job in a copy of the project; each runs if the one before it went well.

    `pack` always runs: an adapter that was paid for comes home even without replies.
    """

    setup: str
    train: str
    replies: str
    pack: str


@dataclass(frozen=True)
class Job:
    """One job on one machine. name: the machine's, unlike any other. folder: its keys and parcels at home."""

    name: str
    run: str
    folder: Path
    parcel: Path  # the project and its data, .tar.gz
    work: Work
    need: Need
    secrets: dict[str, str] = field(default_factory=dict, repr=False)  # HF_TOKEN, or nothing
    ends_at: float = float("inf")  # when the machine must be gone, by home's clock


@dataclass(frozen=True)
class Machine:
    """A machine as its provider knows it. id: "" where only the name is known. usd_per_hour: 0 if unsaid."""

    id: str
    name: str
    usd_per_hour: float = 0.0
    status: str = ""


class Engine(Protocol):
    """What renting needs of a provider. Each function raises UserError where a person has to do something."""

    name: str

    def offers(self, need: Need) -> list[Offer]:
        """Fitting offers, unsorted, those without stock too."""
        ...

    def start(self, offer: Offer, job: Job, seconds: int) -> Machine:
        """One machine that ends itself after seconds. Raises NoRoomError or AnswerLostError."""
        ...

    def find(self, name: str) -> list[Machine]:
        """Machines of this name, those whose job is over too."""
        ...

    def machines(self) -> list[Machine]:
        """All machines that this project started and that may still be billed."""
        ...

    def state(self, machine: Machine) -> State: ...

    def ready(self, machine: Machine, job: Job) -> None:
        """Return once the job runs on the machine, whether it began now or earlier. Raises NeverUpError."""
        ...

    def logs(self, machine: Machine, job: Job) -> Iterator[str]:
        """Lines of the job's output until the job has ended."""
        ...

    def fetch(self, machine: Machine, job: Job) -> None:
        """Bring results.tar and results.json into job.folder."""
        ...

    def end(self, machine: Machine) -> None:
        """Return once the machine is gone for certain. Raises UserError if that cannot be had."""
        ...

    def billed(self, machine: Machine) -> float | None:
        """Dollars by the provider's own account, or None while it says nothing."""
        ...


def machine_name(run: str) -> str:
    """A name that no other machine has, by which this project knows its own."""
    slug = re.sub(r"[^a-z0-9]+", "-", run.lower()).strip("-")[:40].strip("-") or "run"
    return f"reply-train-{slug}-{secrets.token_hex(4)}"


def cheapest_first(offers: list[Offer]) -> list[Offer]:
    """Offers with stock by what the whole job would cost, then by price."""
    there = [offer for offer in offers if offer.availability != "NONE"]
    return sorted(there, key=lambda offer: (offer.usd(offer.minutes[1]), offer.usd_per_hour, offer.id))


def same_gpu(wanted: str, *known: str) -> bool:
    """True if a provider's words hold all of wanted's: "A40" is "NVIDIA A40", "L40" is not "NVIDIA L40S"."""
    words = set(re.findall(r"[a-z0-9]+", " ".join(known).lower()))
    return set(re.findall(r"[a-z0-9]+", wanted.lower())) <= words


def table(offers: list[Offer], note: str = "") -> str:
    """A row per offer: price, stock, minutes, dollars. Raises UserError where there is none."""
    if not offers:
        raise UserError(
            "No GPU of `remote: {gpus: [...]}` fits this run. Name larger ones in the config (`make plan` "
            "shows the memory)."
        )
    lines = [
        f"  {'offer':<28}{'GB':>4}{'$/h':>7}  {'stock':<8}{'minutes':>9}{'dollars':>12}"
        + (f"   {note}" if note else "")
    ]
    for offer in sorted(
        offers, key=lambda offer: (offer.availability == "NONE", offer.usd(offer.minutes[1]))
    ):
        low, high = offer.minutes
        lines.append(
            f"  {f'{offer.engine} {offer.gpu}':<28}{offer.memory_gb:>4.0f}{offer.usd_per_hour:>7.2f}  "
            f"{offer.availability.lower():<8}"
            f"{f'{low:.0f}–{high:.0f}':>9}{f'{offer.usd(low):.2f}–{offer.usd(high):.2f}':>12}"
        )
    return "\n".join(lines)
