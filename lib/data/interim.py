"""The files of interim/, each read once: what became of every record, and what splitting starts from."""

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.base.config import config_name, load_config
from lib.base.console import parser
from lib.base.errors import UserError
from lib.base.files import lock, read_dicts, read_jsonl, rejects_path
from lib.base.schema import Pair, Rejection, Tweet
from lib.base.seals import checked
from lib.base.settings import DataConfig
from lib.data.filters import candidates_in

CANDIDATES = "candidates.jsonl"


@dataclass(frozen=True)
class Interim:
    """All that pairing, filtering and cleaning left."""

    counts: dict[str, dict[str, Any]]  # stage -> {in, kept, rejected, reasons}
    clean: list[Pair]
    candidates: list[Pair]  # rejected replies that lack nothing but engagement
    tweets: list[Tweet]


@contextlib.contextmanager
def building(doc: str | None) -> Iterator[tuple[Path, DataConfig, Path]]:
    """(path of the config, the config, data/<set>) of a stage's command line, the set held for it alone.

    doc: the script's. Raises UserError while another process builds the same set.
    """
    arguments = parser(doc)
    arguments.add_argument("--config", type=Path, required=True, help="configs/data-<set>.yaml")
    path = arguments.parse_args().config
    config, folder = load_config(path, DataConfig), Path("data") / config_name(path)
    with lock(building_lock(folder)):
        yield path, config, folder


def building_lock(folder: Path) -> Path:
    """The file that whoever builds a set holds. folder: data/<set>."""
    return folder / "build.lock"


def stage_counts(n_kept: int, reasons: Iterable[str]) -> dict[str, Any]:
    """{in, kept, rejected, reasons}, most frequent reason first."""
    counts = Counter(reasons)
    ordered = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    return {"in": n_kept + counts.total(), "kept": n_kept, "rejected": counts.total(), "reasons": ordered}


def read_interim(folder: Path) -> Interim:
    """Read data/<set>/interim. Raises UserError if a stage did not read what the one before it wrote."""
    clean = read_jsonl(checked(folder / "clean.jsonl"), Pair)
    n_paired, n_filtered = (
        len(read_dicts(checked(folder / name))) for name in ("pairs.jsonl", "filtered.jsonl")
    )
    rejected = {
        stage: read_dicts(checked(rejects_path(folder / f"{name}.jsonl")))
        for stage, name in (("pair", "pairs"), ("filter", "filtered"), ("clean", "clean"))
    }
    kept = {"pair": n_paired, "filter": n_filtered, "clean": len(clean)}
    counts = {
        stage: stage_counts(n_kept, (str(row.get("reason")) for row in rejected[stage]))
        for stage, n_kept in kept.items()
    }
    for before, stage in (("pair", "filter"), ("filter", "clean")):
        if counts[stage]["in"] != counts[before]["kept"]:
            raise UserError(
                f"{folder}: {stage} read {counts[stage]['in']:,} pairs, but {before} wrote"
                f" {counts[before]['kept']:,}. Run `make data` again, so that the files belong together."
            )
    if (path := checked(folder / CANDIDATES)).is_file():
        candidates = read_jsonl(path, Pair)
    else:  # filtered by an earlier version
        candidates = candidates_in(Rejection.model_validate(row) for row in rejected["filter"])
    return Interim(counts, clean, candidates, read_jsonl(checked(folder / "tweets.jsonl"), Tweet))
