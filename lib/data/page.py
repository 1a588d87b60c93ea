"""data/<set>/report.html: reads what the stages left, and shows it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib.base.files import read_json, read_jsonl, rejects_path
from lib.base.html import render
from lib.base.ledger import Ledger
from lib.base.plots import bars, histogram, label
from lib.base.schema import Pair, Rejection
from lib.base.seals import checked
from lib.base.settings import DataConfig
from lib.data.report import STAGES, Stage, describe


def read_report(folder: Path, config: DataConfig) -> dict[str, Any]:
    """The report of data/<set>. Raises UserError where a stage has not run."""
    counts = read_json(folder / "processed" / "manifest.json")["counts"]
    stages = []
    for name, stage in (("pairs", "pair"), ("filtered", "filter"), ("clean", "clean"), ("split", "split")):
        rejected = read_jsonl(checked(rejects_path(folder / "interim" / f"{name}.jsonl")), Rejection)
        stages.append(Stage(name, counts[stage]["kept"], rejected))
    parts = [checked(folder / "processed" / f"{split}.jsonl") for split in ("train", "val", "test")]
    pairs = [pair for part in parts for pair in read_jsonl(part, Pair)]
    ledger = folder / "ledger.jsonl"
    usd = Ledger(ledger).spent_usd("collect") if ledger.exists() else 0.0
    target = (config.collect.min_pairs, config.collect.target_pairs, config.collect.max_pairs)
    return describe(stages, pairs, target, usd, _queries(folder / "raw"))


def _queries(raw: Path) -> dict[str, str]:
    """raw file -> the search that it answers, from the .meta.json beside it."""
    metas = {path: read_json(path) for path in sorted(raw.glob("*.meta.json"))}
    return {
        path.name.removesuffix(".meta.json") + ".jsonl": str(meta["query"])
        for path, meta in metas.items()
        if meta.get("query")
    }


def page(name: str, report: Mapping[str, Any], config: DataConfig) -> str:
    """The page as HTML."""
    notices = []
    if config.filter.toxicity_model == "none":
        notices.append("Toxicity was not checked (toxicity_model: none).")
    if config.clean.embedding_model == "char-ngrams":
        notices.append(
            "Near-duplicates were found by character n-grams, an offline stand-in for sentence vectors."
        )
    return render(
        "data.html",
        title=f"Data set {name}",
        name=name,
        report=report,
        notices=notices,
        stage_names=STAGES,
        plots=_plots(report),
    )


def _plots(report: Mapping[str, Any]) -> dict[str, Any]:
    stages, spread = report["stages"], report["spread"]
    funnel = [
        ("replies and rows in raw", stages[0].n_in),
        *((f"after {STAGES[stage.name]}", stage.n_kept) for stage in stages),
    ]
    plots = {"funnel": bars([(label(name), float(n)) for name, n in funnel], "Records left after each stage")}
    if spread:
        plots |= {
            "likes": histogram(spread["likes"], "Likes of the replies", "likes", log=True),
            "chars": histogram(spread["chars"], "Length of the replies", "characters"),
            "minutes": histogram(
                spread["minutes"], "Delay of the replies", "minutes after the tweet", log=True
            ),
            "topics": bars([(label(topic), float(n)) for topic, n in spread["topics"]], "Pairs per search"),
        }
    return plots
