"""The registry of runs: one row per folder of adapters/, read from what each run left there."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import read_json
from lib.train.checkpoints import step_of, whole_checkpoints

Row = dict[str, Any]
EVALUATED = ("verdict", "net_win", "ci95", "n", "judge")


def registry(root: Path) -> list[Row]:
    """Every run below root/adapters, in the order of their names. A run that cannot be read says so in its `state`."""
    folders = sorted(
        path for path in (root / "adapters").glob("*") if path.is_dir() and not path.name.startswith(".")
    )
    return [run_row(folder) for folder in folders]


def run_row(folder: Path) -> Row:
    """What is known of one run. `state`: finished, unfinished (and the step it can go on from), or why there is nothing to show."""
    try:
        manifest = _dict(folder / "manifest.json")
        started = _dict(folder / "started.json")
        evaluations = {
            path.parent.name: _evaluation(_dict(path)) for path in sorted(folder.glob("eval/*/report.json"))
        }
    except UserError as error:
        return {"run": folder.name, "state": f"broken: {error}", "evaluations": {}}
    config = manifest.get("config") or started.get("config") or {}
    keys = ("n_train", "eval_loss", "train_eval_gap", "seconds", "usd", "alerts")
    return {
        "run": folder.name,
        "state": "finished" if manifest else _unfinished(folder, bool(started)),
        **{key: config.get(key) for key in ("data", "model", "method", "learning_rate", "epochs")},
        "rank": (config.get("lora") or {}).get("rank"),
        **{key: manifest.get(key) for key in keys},
        "evaluations": evaluations,
    }


def _dict(path: Path) -> Row:
    """The JSON object in path, {} where there is no file. Raises UserError for anything else."""
    if not path.is_file():
        return {}
    value = read_json(path)
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected a JSON object")
    return value


def _unfinished(folder: Path, is_started: bool) -> str:
    whole = whole_checkpoints(folder / "checkpoints")
    if whole:
        return f"unfinished, checkpoint at step {step_of(whole[-1])}"
    return "unfinished, no checkpoint yet" if is_started else "not trained here"


def _evaluation(report: Mapping[str, Any]) -> Row:
    gate, judge = report.get("gate") or {}, report.get("judge") or {}
    values = (
        gate.get("verdict"),
        report.get("net_win"),
        report.get("ci95"),
        report.get("n_prompts"),
        judge.get("model"),
    )
    return dict(zip(EVALUATED, values, strict=True))


def table(rows: Sequence[Row]) -> str:
    """The registry for the console. Raises UserError where there is no run."""
    if not rows:
        raise UserError("There is no run in adapters/ yet. `make train RUN=tiny` makes the smallest one.")
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
        printed += [line, *(f"  {name}: {said(found)}" for name, found in row["evaluations"].items())]
        printed += [f"  alert: {alert}" for alert in row.get("alerts") or []]
    return "\n".join(printed)


def said(found: Mapping[str, Any]) -> str:
    """`underpowered, net win +25.5 (95% CI -4.3 to +50.0) on 47 tweets, judge ...`"""
    if found["net_win"] is None or not found["ci95"]:
        return "report.json holds no net win"
    low, high = found["ci95"]
    return f"{found['verdict']}, net win {found['net_win']:+.1f} (95% CI {low:+.1f} to {high:+.1f}) on {found['n']} tweets, {found['judge']}"


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
