"""The runs of adapters/: the registry with one row for each, and finished ones read whole, to be compared."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import read_dicts
from lib.base.seals import checked
from lib.evaluate.evaluation import training
from lib.evaluate.report import Report, read_report
from lib.train.manifest import Manifest, Started

Row = dict[str, Any]
StepsOf = Callable[[Path], Sequence[int]]  # run folder -> steps of its whole checkpoints, the newest last
MAX_RUNS = 4  # in one comparison: as many colours as a plot has


def registry(root: Path, steps_of: StepsOf) -> list[Row]:
    """Every run below root/adapters, in the order of their names.

    A run that cannot be read says so in its `state`.
    """
    folders = sorted(
        path for path in (root / "adapters").glob("*") if path.is_dir() and not path.name.startswith(".")
    )
    return [run_row(folder, steps_of) for folder in folders]


def run_row(folder: Path, steps_of: StepsOf) -> Row:
    """One run: settings, numbers, evaluations.

    `state`: finished, unfinished (and the step it can go on from), or why there is nothing to show.
    """
    try:
        manifest = training(folder) if (folder / "manifest.json").is_file() else None
        started = Started.read(folder / "started.json") if (folder / "started.json").is_file() else None
        evaluations = _reports(folder)
    except UserError as error:
        return {"run": folder.name, "state": f"broken: {error}", "evaluations": {}}
    begun = manifest or started
    config = begun.config if begun else {}
    keys = ("n_train", "eval_loss", "train_eval_gap", "seconds", "usd", "alerts")
    return {
        "run": folder.name,
        "state": "finished" if manifest else _unfinished(steps_of(folder), bool(started)),
        **{key: config.get(key) for key in ("data", "model", "method", "learning_rate", "epochs")},
        "rank": (config.get("lora") or {}).get("rank"),
        **{key: getattr(manifest, key, None) for key in keys},
        "evaluations": evaluations,
        "pages": {
            name: page for name in evaluations if (page := folder / "eval" / name / "report.html").is_file()
        },
    }


def _unfinished(steps: Sequence[int], is_started: bool) -> str:
    if steps:
        return f"unfinished, checkpoint at step {steps[-1]}"
    return "unfinished, no checkpoint yet" if is_started else "not trained here"


def _reports(folder: Path) -> dict[str, Report]:
    return {path.parent.name: read_report(path) for path in sorted(folder.glob("eval/*/report.json"))}


def table(rows: Sequence[Row]) -> str:
    """The registry for the console, or that there is none yet."""
    if not rows:
        return "There is no run in adapters/ yet."
    head = (
        "run",
        "data",
        "model",
        "method",
        "rank",
        "lr",
        "epochs",
        "rows",
        "eval loss",
        "gap",
        "min",
        "usd",
        "state",
    )
    right = set(head[4:12])
    cells = [head, *(_cells(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = [
        "  ".join(
            _pad(text, width, name in right) for text, width, name in zip(row, widths, head, strict=True)
        ).rstrip()
        for row in cells
    ]
    printed = [lines[0]]
    for row, line in zip(rows, lines[1:], strict=True):
        printed.append(line)
        for name, found in row["evaluations"].items():
            printed.append(f"  {name}: {said(found)}")
            printed += [f"    {row['pages'][name]}"] if name in row["pages"] else []
        printed += [f"  alert: {alert}" for alert in row.get("alerts") or []]
    return "\n".join(printed)


def said(report: Report) -> str:
    """`underpowered, net win +25.5 (95% CI -4.3 to +50.0) on 47 tweets, judge ...`"""
    if report.net_win is None or not report.ci95:
        return "report.json holds no net win"
    low, high = report.ci95
    interval = f"(95% CI {low:+.1f} to {high:+.1f}) on {report.n_prompts} tweets"
    return f"{report.gate.verdict}, net win {report.net_win:+.1f} {interval}, {report.judge.model}"


def _cells(row: Row) -> tuple[str, ...]:
    minutes = None if row.get("seconds") is None else row["seconds"] / 60
    return (
        row["run"],
        *(str(row.get(key) or "–") for key in ("data", "model", "method")),
        *(_number(row.get(key), "g") for key in ("rank", "learning_rate", "epochs", "n_train")),
        *(_number(row.get(key), ".3f") for key in ("eval_loss", "train_eval_gap")),
        _number(minutes, ".1f"),
        _number(row.get("usd"), ".2f"),
        row["state"],
    )


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _pad(text: str, width: int, is_number: bool) -> str:
    return text.rjust(width) if is_number else text.ljust(width)


@dataclass(frozen=True)
class Run:
    """A finished run: its manifest, its curves, its evaluations by name."""

    name: str
    folder: Path
    manifest: Manifest
    history: list[dict[str, Any]]
    reports: dict[str, Report]


def finished_runs(root: Path) -> list[str]:
    """The names of the runs that hold a manifest."""
    return sorted(path.parent.name for path in (root / "adapters").glob("*/manifest.json"))


def read_runs(names: Sequence[str], root: Path) -> list[Run]:
    """The runs to compare.

    Raises UserError for one name, more than MAX_RUNS, a name twice, or an unfinished run.
    """
    there = finished_runs(root)
    finished = f"Finished runs: {', '.join(there) or 'none; `make train` makes one'}."
    if not 2 <= len(names) <= MAX_RUNS or len(set(names)) < len(names):
        raise UserError(f'Name two to {MAX_RUNS} different runs: make compare RUNS="a b". {finished}')
    for name in names:
        if name not in there:
            raise UserError(f"There is no finished run {name} in {root / 'adapters'}. {finished}")
    return [_read(root / "adapters" / name) for name in names]


def _read(folder: Path) -> Run:
    metrics = folder / "metrics.jsonl"
    return Run(
        name=folder.name,
        folder=folder,
        manifest=training(folder),
        history=read_dicts(checked(metrics), torn_tail=True) if metrics.exists() else [],
        reports=_reports(folder),
    )
