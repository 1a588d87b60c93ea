"""A comparison of runs as a page, and as text for the console."""

from collections.abc import Mapping, Sequence
from typing import Any

from lib.base.html import render
from lib.base.plots import intervals, label, lines
from lib.evaluate.runs import Run


def page(runs: Sequence[Run], found: Mapping[str, Any]) -> str:
    """adapters/compare-<a>-<b>.html: one file, no script, no request."""
    curves = {
        "val": lines(_curves(runs, "eval_loss"), "Validation loss", "optimiser step"),
        "train": lines(_curves(runs, "loss"), "Training loss", "optimiser step"),
    }
    rows = [
        (label(f"{row['run']} · {row['eval']}"), row["report"].net_win, *row["report"].ci95)
        for row in found["evaluations"]
        if row["report"].ci95
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
