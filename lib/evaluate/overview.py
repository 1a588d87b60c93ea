"""The overview of a project: its data sets, runs, verdicts and costs on one page, with links to every report.

The same page lies in data/ and in adapters/: its links begin with `../`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lib.base.costs import Cost
from lib.base.errors import UserError
from lib.base.files import read_json
from lib.base.html import render
from lib.evaluate.runs import Row

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class DataSet:
    """One folder of data/. rows: of each split, None where it is not made yet; state: what it lacks."""

    name: str
    rows: tuple[int, ...] | None
    state: str
    report: str | None  # link


def data_sets(root: Path) -> list[DataSet]:
    """Every data set below root/data, by name. One that cannot be read says so in its state."""
    folders = sorted(
        {path.parent for kind in ("raw", "interim", "processed") for path in root.glob(f"data/*/{kind}")}
    )
    return [_data_set(folder, root) for folder in folders]


def _data_set(folder: Path, root: Path) -> DataSet:
    report, rows = _link(folder / "report.html", root), None
    manifest = folder / "processed" / "manifest.json"
    state = "ready" if manifest.is_file() else f"not split yet: make data DATA={folder.name}"
    try:
        if manifest.is_file():
            files = read_json(manifest)["files"]
            rows = tuple(int(files[f"{split}.jsonl"]["rows"]) for split in SPLITS)
    except UserError as error:
        state = f"broken: {error}"
    except (KeyError, TypeError, ValueError):
        state = f"{manifest} is not what `make data` writes: make data DATA={folder.name}"
    return DataSet(folder.name, rows, state, report)


def _link(page: Path | None, root: Path) -> str | None:
    """From data/ or adapters/ to a page, None where there is none."""
    return quote(f"../{page.relative_to(root).as_posix()}") if page and page.is_file() else None


def page(root: Path, runs: Sequence[Row], paid: Sequence[Cost] | str) -> str:
    """The page. runs: the registry. paid: the costs, or the sentence that says why they cannot be read."""
    found: list[dict[str, Any]] = [
        {
            **run,
            "reports": [
                (name, report, _link(run["pages"].get(name), root))
                for name, report in run["evaluations"].items()
            ],
            "field": _link(root / "adapters" / run["run"] / "field" / "report.html", root),
        }
        for run in runs
    ]
    compared = [(path.stem, _link(path, root)) for path in sorted(root.glob("adapters/compare-*.html"))]
    return render(
        "index.html",
        title="Data sets, runs, verdicts, costs",
        sets=data_sets(root),
        runs=found,
        compared=compared,
        paid=() if isinstance(paid, str) else paid,
        problem=paid if isinstance(paid, str) else None,
        usd=0.0 if isinstance(paid, str) else sum(cost.usd for cost in paid),
    )
