"""An order from a run's config: what is to be done on the machine, with what, within which limits."""

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from lib.base.errors import UserError
from lib.base.settings import TrainConfig
from lib.remote.parcel import pack_project
from lib.remote.seam import Job, Need, Work, machine_name


@dataclass(frozen=True)
class Limits:
    """max_usd: of the job, all its machines together. max_minutes: of one machine's life."""

    max_usd: float
    max_minutes: float


@dataclass(frozen=True)
class Order:
    """What is to be done, whatever machine does it.

    hash: of config and data. is_done: whether everything is home. job: under a machine's name. pack: writes
    job.parcel.
    """

    folder: Path  # adapters/<run>
    hash: str
    need: Need
    limits: Limits
    is_done: Callable[[], bool]
    new_name: Callable[[], str]
    job: Callable[[str], Job]
    pack: Callable[[Job], None]


def work_of(
    run: str,
    data: str,
    evaluation: str,
    to_train: bool = True,
    told: Mapping[str, str] = MappingProxyType({}),
) -> Work:
    """The project's own commands. -o: the machine holds processed/ only, so make must not look further.

    told: variables for the training, such as the commit: the machine's copy has no .git.
    """
    names = f"RUN={shlex.quote(run)} DATA={shlex.quote(data)} EVAL={shlex.quote(evaluation)}"
    told_as = "".join(f"{name}={shlex.quote(value)} " for name, value in told.items())
    processed, trained = f"data/{data}/processed/manifest.json", f"adapters/{run}/manifest.json"
    return Work(
        setup="make setup-runpod",
        train=f"{told_as}make train {names} ON=here -o {shlex.quote(processed)}" if to_train else ":",
        replies=f"make replies {names} ON=here -o {shlex.quote(processed)} -o {shlex.quote(trained)}",
        pack=f".venv/bin/python -m scripts.pack_results --run {shlex.quote(run)}",
    )


def limits_of(config: TrainConfig) -> Limits:
    """remote.max_usd and remote.max_minutes; MAX_USD can only lower.

    Raises UserError where it is not a number.
    """
    given = os.environ.get("MAX_USD", "").strip()
    try:
        lowered = float(given) if given else config.remote.max_usd
    except ValueError as error:
        raise UserError(f"MAX_USD={given}: not a number. Write dollars, such as MAX_USD=2.") from error
    if not 0 < lowered < float("inf"):
        raise UserError(f"MAX_USD={given}: must be above 0. Write dollars, such as MAX_USD=2.")
    return Limits(min(lowered, config.remote.max_usd), config.remote.max_minutes)


def order(
    root: Path,
    run: str,
    config: TrainConfig,
    need: Need,
    job_hash: str,
    work: Work,
    is_done: Callable[[], bool],
    adapters: Sequence[str] = (),
) -> Order:
    """The order for a run below root. adapters: of these runs leave with the project.

    The only secret that leaves is HF_TOKEN, for the base model.
    """
    folder = root / "adapters" / run
    token = os.environ.get("HF_TOKEN", "").strip()

    def job(name: str) -> Job:
        home = folder / "remote" / name
        return Job(name, run, home, home / "parcel.tar.gz", work, need, {"HF_TOKEN": token} if token else {})

    def pack(job: Job) -> None:
        pack_project(root, job.parcel, config.data, adapters)

    return Order(folder, job_hash, need, limits_of(config), is_done, lambda: machine_name(run), job, pack)
