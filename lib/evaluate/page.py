"""report.html of an evaluation: the numbers of report.json, plots, and replies to look at."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lib.base.files import content_hash, read_dicts, read_json, read_jsonl
from lib.base.html import render
from lib.base.plots import bars, intervals, label, lines
from lib.base.schema import Pair
from lib.base.seals import checked
from lib.evaluate.findings import Files
from lib.evaluate.reading import forgetting, tally, three_sentences, verdict_of
from lib.evaluate.report import Report
from lib.evaluate.second_judge import shown
from lib.evaluate.style_page import style_section

N_BLIND = 20
N_EXTREME = 3
SHOWN_METRICS = [
    ("median_chars", "median length, characters", 0, False),
    ("over_280", "over 280 characters", 0, True),
    ("failed", "empty, missing or cut off", 0, True),
    ("distinct_1", "distinct words", 2, False),
    ("distinct_2", "distinct word pairs", 2, False),
    ("alike", "alike among themselves", 0, True),
    ("copied", "copies of the tweet", 0, True),
    ("recited", "recited from training", 0, True),
    ("refusals", "refusals, “as an AI”", 0, True),
    ("leaks", "think blocks, control tokens", 0, False),
    ("other_language", "in another language", 0, True),
    ("toxic", "toxic or hostile", 0, True),
    ("perplexity", "perplexity of the real replies", 1, False),
]


def page(files: Files, report: Report, steps: Mapping[str, float]) -> str:
    """The whole page as HTML. steps: tweet_id -> step of tuned over base."""
    from markupsafe import Markup

    model, blind = files.evaluation.config.model, _blind(files, steps)
    return render(
        "eval.html",
        title=f"Does {report.run} write better replies?",
        report=report,
        verdict=verdict_of(report, model),
        sentences=three_sentences(report, model),
        general=report.forgetting and forgetting(report.forgetting),
        tally=tally(steps.values()),
        blind_tally=tally(example["step"] for example in blind),
        plots={
            "net": _net_plot(report),
            "criteria": _criteria_plot(report),
            "length": _length_plot(report),
            "curves": _curves(files),
        },
        metrics=_metric_rows(report),
        fit=report.metrics.get("tuned"),
        flawed=_flawed(files, report),
        blind=blind,
        best=_extremes(files, steps, 1),
        worst=_extremes(files, steps, -1),
        funnel=_funnel(files.evaluation.processed / "manifest.json"),
        train=files.train_manifest,
        samples=_samples(files),
        style=style_section(report.headline),
        other_judges=Markup(shown(report, files)),
        command=f"make eval RUN={report.run}",
    )


def _net_plot(report: Report) -> Any:
    rows = [("tuned against base", report.headline), *report.comparisons.items()]
    return intervals(
        [(label(name.replace(" vs ", " against ")), row.net_win, *row.ci95) for name, row in rows],
        "Net win rate with 95 % interval, in points",
        reference=0,
    )


def _criteria_plot(report: Report) -> Any:
    rows = [
        (f"{name}: {system}", value)
        for name, values in report.criteria.items()
        for system, value in values.items()
    ]
    return bars(rows, "Mean score by criterion") if rows else ""


def _length_plot(report: Report) -> Any:
    found = [
        (system, metrics.median_chars)
        for system, metrics in report.metrics.items()
        if metrics.median_chars is not None
    ]
    return bars(found, "Median length of the replies, characters") if found else ""


def _samples(files: Files) -> list[dict[str, Any]]:
    """[{tweet, replies: [(epoch, reply)]}]: what the model answered to the same validation tweets while it
    trained.
    """
    path = checked(files.evaluation.processed / "val.jsonl")
    tweet_of = {pair.tweet_id: pair.tweet for pair in read_jsonl(path, Pair)} if path.is_file() else {}
    replies: dict[str, list[tuple[int, str]]] = {}
    for sample in files.train_manifest.samples:
        replies.setdefault(sample.tweet_id, []).append((sample.epoch, sample.reply))
    return [
        {"tweet": tweet_of[tweet], "replies": rows} for tweet, rows in replies.items() if tweet in tweet_of
    ]


def _curves(files: Files) -> Any:
    path = files.evaluation.run_folder / "metrics.jsonl"
    rows = read_dicts(checked(path), torn_tail=True) if path.exists() else []
    series = [
        (name, [(row["step"], row[key]) for row in rows if key in row])
        for name, key in (("training loss", "loss"), ("validation loss", "eval_loss"))
    ]
    return lines(
        [(name, points) for name, points in series if points], "Loss during training", "optimiser step"
    )


def _metric_rows(report: Report) -> list[dict[str, Any]]:
    rows = []
    for key, name, digits, is_share in SHOWN_METRICS:
        values = [getattr(metrics, key) for metrics in report.metrics.values()]
        if any(value is not None for value in values):
            rows.append({"name": name, "values": values, "digits": digits, "is_share": is_share})
    return rows


def _example(files: Files, tweet_id: str, swap: bool) -> dict[str, Any]:
    texts = files.texts
    sides = ["tuned", "base"] if not swap else ["base", "tuned"]
    return {
        "tweet": files.prompts[tweet_id].tweet,
        "replies": [
            (name, system, texts.get((tweet_id, system), ""))
            for name, system in zip("AB", sides, strict=True)
        ],
    }


def _blind(files: Files, steps: Mapping[str, float]) -> list[dict[str, Any]]:
    """The same twenty tweets every time, left and right by hash."""
    chosen = sorted(
        (tweet for tweet in steps if tweet in files.prompts), key=lambda tweet: content_hash(["blind", tweet])
    )[:N_BLIND]
    return [
        _example(files, tweet, int(content_hash(["side", tweet])[:8], 16) % 2 == 1) | {"step": steps[tweet]}
        for tweet in chosen
    ]


def _extremes(files: Files, steps: Mapping[str, float], sign: int) -> list[dict[str, Any]]:
    """Where tuned won most clearly (sign 1) or lost most clearly (-1)."""
    ranked: Sequence[str] = sorted(steps, key=lambda tweet: (-sign * steps[tweet], tweet))
    return [
        _example(files, tweet, False)
        for tweet in ranked[:N_EXTREME]
        if sign * steps[tweet] > 0 and tweet in files.prompts
    ]


def _flawed(files: Files, report: Report) -> list[dict[str, Any]]:
    """The kinds of flaw that cost a tweet, with the examples of each."""
    return [
        {
            "kind": one,
            "examples": [_example(files, tweet, False) for tweet in one.examples if tweet in files.prompts],
        }
        for one in report.flaws
    ]


def _funnel(path: Path) -> list[tuple[str, int, int]]:
    if not path.is_file():
        return []
    return [
        (stage, counts["in"], counts["kept"]) for stage, counts in read_json(path).get("counts", {}).items()
    ]
