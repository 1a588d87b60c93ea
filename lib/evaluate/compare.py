"""Runs side by side: the settings that differ, the numbers, the curves, and whether their win rates can be told apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import read_dicts, read_json
from lib.base.html import render
from lib.base.plots import intervals, label, lines
from lib.evaluate.versus import versus
from lib.train.registry import said

MAX_RUNS = 4  # as many colours as a plot has
METRICS = [  # key of manifest.json, name, decimals
    ("n_train", "training pairs", 0),
    ("n_val", "validation pairs", 0),
    ("steps", "optimiser steps", 0),
    ("best_step", "best step", 0),
    ("train_loss", "training loss", 3),
    ("eval_loss", "validation loss", 3),
    ("train_eval_gap", "gap", 3),
    ("perplexity", "perplexity", 1),
    ("seconds", "seconds", 0),
    ("usd", "dollars", 2),
    ("seed", "seed", 0),
    ("backend", "backend", 0),
    ("gpu", "GPU", 0),
    ("git_commit", "git commit", 0),
]


@dataclass(frozen=True)
class Run:
    """A finished run: its manifest, its curves, its evaluations by name."""

    name: str
    folder: Path
    manifest: dict[str, Any]
    history: list[dict[str, Any]]
    reports: dict[str, dict[str, Any]]


def read_runs(names: Sequence[str], root: Path) -> list[Run]:
    """Raises UserError for fewer than two names, more than MAX_RUNS, a name twice, or a run that is not finished."""
    there = sorted(path.parent.name for path in (root / "adapters").glob("*/manifest.json"))
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
        manifest=read_json(folder / "manifest.json"),
        history=read_dicts(metrics, torn_tail=True) if metrics.exists() else [],
        reports={path.parent.name: read_json(path) for path in sorted(folder.glob("eval/*/report.json"))},
    )


def compare_runs(runs: Sequence[Run], root: Path) -> dict[str, Any]:
    """Everything the console and the page show."""
    return {
        "runs": [run.name for run in runs],
        "config": config_difference(runs),
        "metrics": metric_rows(runs),
        "evaluations": [
            {"run": run.name, "eval": name, "report": report, "said": said(_short(report))}
            for run in runs
            for name, report in run.reports.items()
        ],
        "versus": [versus(one, other, root) for one, other in combinations(runs, 2)],
    }


def config_difference(runs: Sequence[Run]) -> list[tuple[str, list[Any]]]:
    """(key, its value in each run) for what differs, nested keys with dots; then data and base weights that differ behind equal names."""
    flat = [_flat(run.manifest.get("config") or {}) for run in runs]
    keys = dict.fromkeys(key for config in flat for key in config)
    rows = [(key, [config.get(key) for config in flat]) for key in keys]
    hashes = [run.manifest.get("data_hashes") or {} for run in runs]
    rows += [
        (f"content of {name}.jsonl", [str(each.get(name, "unknown"))[:12] for each in hashes])
        for name in ("train", "val")
    ]
    rows.append(("revision of the base model", [run.manifest.get("revision") for run in runs]))
    return [
        (key, values)
        for key, values in rows
        if any(value != values[0] for value in values) and key != "revision"
    ]


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            flat |= _flat(inner, f"{prefix}{key}.")
        else:
            flat[prefix + key] = inner
    return flat


def metric_rows(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    rows = []
    for key, name, digits in METRICS:
        values = [run.manifest.get(key) for run in runs]
        if any(value is not None for value in values):
            rows.append((name, [_shown(value, digits) for value in values]))
    rows.append(("alerts", [str(len(run.manifest.get("alerts") or [])) for run in runs]))
    return rows


def _shown(value: Any, digits: int) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,.{digits}f}"
    return "–" if value is None else str(value)[:10] if len(str(value)) == 40 else str(value)


def _short(report: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "verdict": (report.get("gate") or {}).get("verdict"),
        "net_win": report.get("net_win"),
        "ci95": report.get("ci95"),
        "n": report.get("n_prompts"),
        "judge": (report.get("judge") or {}).get("model"),
    }


def page(runs: Sequence[Run], found: Mapping[str, Any]) -> str:
    """adapters/compare-<a>-<b>.html: one file, no script, no request."""
    curves = {
        "val": lines(_curves(runs, "eval_loss"), "Validation loss", "optimiser step"),
        "train": lines(_curves(runs, "loss"), "Training loss", "optimiser step"),
    }
    rows = [
        (label(f"{row['run']} · {row['eval']}"), row["report"]["net_win"], *row["report"]["ci95"])
        for row in found["evaluations"]
        if row["report"].get("ci95")
    ]
    net = intervals(rows, "Net win rate over base with 95 % interval, in points", reference=0) if rows else ""
    evaluated = {row["run"] for row in found["evaluations"]}
    missing = [name for name in found["runs"] if name not in evaluated]
    return render(
        "compare.html",
        title=" and ".join(found["runs"]),
        found=found,
        curves=curves,
        net=net,
        missing=missing,
    )


def _curves(runs: Sequence[Run], key: str) -> list[tuple[str, list[tuple[float, float]]]]:
    curves = [
        (label(run.name, 18), [(row["step"], row[key]) for row in run.history if row.get(key) is not None])
        for run in runs
    ]
    return [(name, points) for name, points in curves if points]


def text(found: Mapping[str, Any]) -> str:
    """The same for the console."""
    names = found["runs"]
    config = [(key, [_value(value) for value in values]) for key, values in found["config"]]
    rows = [("", names), *config, *found["metrics"]]
    first = max(len(key) for key, _ in rows)
    widths = [max(len(values[column]) for _, values in rows) for column in range(len(names))]

    def line(key: str, values: Sequence[str]) -> str:
        return f"{key:<{first}}  " + "  ".join(
            f"{value:>{width}}" for value, width in zip(values, widths, strict=True)
        )

    printed = [line("", names), "settings that differ" if config else "no setting differs"]
    printed += [line(f"{key}", values) for key, values in config]
    printed += ["numbers", *(line(key, values) for key, values in found["metrics"])]
    printed += [
        "evaluations",
        *(f"  {row['run']}, {row['eval']}: {row['said']}" for row in found["evaluations"]),
    ]
    printed += [
        f"  {name}: not evaluated; `make eval RUN={name}`"
        for name in names
        if name not in {row["run"] for row in found["evaluations"]}
    ]
    return "\n".join([*printed, *(row["sentence"] for row in found["versus"])])


def _value(value: Any) -> str:
    shown = (
        "–"
        if value is None
        else ", ".join(map(str, value))
        if isinstance(value, list)
        else repr(value)
        if value == ""
        else str(value)
    )
    shown = shown.replace("\n", "\\n")
    return shown if len(shown) <= 60 else shown[:59] + "…"
