"""data/<set>/report.html and the console's summary: the funnel, the targets, the spread of a data set."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from lib.base.characters import n_characters
from lib.base.files import read_json
from lib.base.html import render
from lib.base.ledger import Ledger
from lib.base.plots import bars, histogram, label
from lib.base.schema import Pair
from lib.base.seals import checked
from lib.base.settings import DataConfig
from lib.data.funnel import N_EXAMPLES, Stage, read_stage, sampled
from lib.data.quality import topic_of, topics_of

STAGES = {"pairs": "pair", "filtered": "filter", "clean": "clean", "split": "review and split"}
VALIDATION = {"language", "low_language_confidence", "no_language", "toxicity"}


def read_report(folder: Path, config: DataConfig) -> dict[str, Any]:
    """The report of data/<set>, read line by line. Raises UserError where a stage has not run."""
    counts = read_json(folder / "processed" / "manifest.json")["counts"]
    stages = [
        read_stage(folder / "interim" / f"{name}.jsonl", counts[stage]["kept"])
        for name, stage in (("pairs", "pair"), ("filtered", "filter"), ("clean", "clean"), ("split", "split"))
    ]
    parts = [checked(folder / "processed" / f"{split}.jsonl") for split in ("train", "val", "test")]
    pairs, n_pairs = sampled(parts)
    ledger = folder / "ledger.jsonl"
    usd = Ledger(ledger).spent_usd("collect") if ledger.exists() else 0.0
    target = (config.collect.min_pairs, config.collect.target_pairs, config.collect.max_pairs)
    return describe(stages, pairs, target, usd, topics_of(folder / "raw"), n_pairs)


def describe(
    stages: Sequence[Stage],
    pairs: Sequence[Pair],
    target: tuple[int, int, int],
    usd: float,
    queries: Mapping[str, str],
    n_pairs: int | None = None,
) -> dict[str, Any]:
    """Everything that the page and the console show.

    pairs: what was kept at the end, or a sample of these n_pairs. target: (min, target, max) pairs. usd: paid
    for collecting. queries: raw file -> search.
    """
    n_pairs = len(pairs) if n_pairs is None else n_pairs
    return {
        "n_pairs": n_pairs,
        "n_described": len(pairs),
        "stages": stages,
        "targets": targets(stages, pairs, target, n_pairs),
        "spread": spread(pairs, queries) if pairs else {},
        "usd": usd,
        "usd_per_pair": usd / n_pairs if n_pairs and usd else None,
        "duplicates": sum(
            n for stage in stages for reason, n in stage.reasons if reason.endswith("duplicate")
        ),
        "examples": examples(stages),
    }


def targets(
    stages: Sequence[Stage], pairs: Sequence[Pair], target: tuple[int, int, int], n_pairs: int
) -> list[dict[str, Any]]:
    """The goals of a data set, each with what was reached."""
    least, wanted, most = target
    n_tweets, n_authors = (
        len({pair.tweet_id for pair in pairs}),
        len({pair.reply_author.lower() for pair in pairs}),
    )
    likes = fmean(pair.reply_likes for pair in pairs) if pairs else None
    validated = [stage for stage in stages if stage.name == "filtered"]
    n_failed = sum(n for stage in validated for reason, n in stage.reasons if reason in VALIDATION)
    n_reached = sum(stage.n_kept for stage in validated) + n_failed
    share = n_failed / n_reached if n_reached else None
    rows = [
        ("pairs", n_pairs, least, most, f"{least:,}–{most:,}, best {wanted:,}"),
        ("tweets", n_tweets, 150, 300, "150–300"),
        ("reply authors", n_authors, 300, 700, "300–700"),
        ("mean reply likes", likes, 10, 25, "10–25"),
        ("rejected by validation, %", None if share is None else 100 * share, 0, 10, "under 10"),
    ]
    return [_target(*row) for row in rows]


def _target(name: str, value: float | None, low: float, high: float, goal: str) -> dict[str, Any]:
    state = (
        "not measured" if value is None else "below" if value < low else "above" if value > high else "met"
    )
    digits = 0 if value is None or value >= 100 or value == int(value) else 1
    return {
        "name": name,
        "value": value,
        "shown": "–" if value is None else f"{value:,.{digits}f}",
        "goal": goal,
        "state": state,
    }


def spread(pairs: Sequence[Pair], queries: Mapping[str, str]) -> dict[str, Any]:
    """The origins of the pairs, and how even they are."""
    times = [pair.tweet_created_at for pair in pairs]
    topics = Counter(topic_of(pair, queries) for pair in pairs)
    scores = [pair.quality for pair in pairs if pair.quality is not None]
    return {
        "from": min(times),
        "to": max(times),
        "likes": [pair.reply_likes for pair in pairs],
        "chars": [n_characters(pair.reply) for pair in pairs],
        "minutes": [pair.reply_time_diff_seconds / 60 for pair in pairs],
        "median_likes": median(pair.reply_likes for pair in pairs),
        "median_chars": median(n_characters(pair.reply) for pair in pairs),
        "quality": scores,
        "median_quality": median(scores) if scores else None,
        "topics": topics.most_common(10),
        "concentration": [
            concentration("tweet", [pair.tweet_id for pair in pairs]),
            concentration("tweet author", [pair.tweet_author.lower() for pair in pairs]),
            concentration("reply author", [pair.reply_author.lower() for pair in pairs]),
            concentration("topic (search)", [name for name, n in topics.items() for _ in range(n)]),
        ],
    }


def concentration(name: str, values: Sequence[str]) -> dict[str, Any]:
    """Concentration of repeated values: distinct ones, the largest's share, the ten largest's share.

    effective: the number of equal shares that would be as concentrated (inverse Simpson).
    """
    counts = Counter(values)
    n = len(values)
    largest = [count for _, count in counts.most_common(10)]
    return {
        "name": name,
        "distinct": len(counts),
        "largest": largest[0] / n,
        "top10": sum(largest) / n,
        "effective": n * n / sum(count * count for count in counts.values()),
    }


def examples(stages: Sequence[Stage]) -> list[dict[str, Any]]:
    """A few of the replies that each reason dropped, so that a person can see whether the rule is right."""
    found: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for stage in stages:
        for rejection in stage.rejected:
            shown = found[stage.name, rejection.reason]
            if len(shown) < N_EXAMPLES:
                text = rejection.pair.get("reply") or rejection.pair.get("text") or ""
                shown.append({"text": str(text)[:400], "detail": rejection.detail, "id": rejection.id})
    return [
        {"stage": STAGES.get(stage, stage), "reason": reason, "rows": rows}
        for (stage, reason), rows in found.items()
    ]


def page(name: str, report: Mapping[str, Any], config: DataConfig) -> str:
    """The page as HTML."""
    notices = []
    if config.filter.toxicity_model == "none":
        notices.append("Toxicity was not checked (toxicity_model: none).")
    if config.clean.embedding_model == "char-ngrams":
        notices.append(
            "Near-duplicates were found by character n-grams, an offline stand-in for sentence vectors."
        )
    if report["n_described"] < report["n_pairs"]:
        notices.append(
            f"Tweets, authors, likes and the plots are those of {report['n_described']:,} pairs, drawn at "
            f"random from {report['n_pairs']:,}."
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
            **({"quality": histogram(spread["quality"], "Quality", "score")} if spread["quality"] else {}),
            "topics": bars([(label(topic), float(n)) for topic, n in spread["topics"]], "Pairs per search"),
        }
    return plots


def console(name: str, report: Mapping[str, Any]) -> str:
    """The summary for the terminal: targets met or not, cost, concentration."""
    lines = [f"data set {name}: {report['n_pairs']:,} pairs"]
    lines += [
        f"  {row['name']:<26}{row['shown']:>8}   goal {row['goal']:<24}{row['state']}"
        for row in report["targets"]
    ]
    if report["usd_per_pair"] is not None:
        lines.append(
            f"  {'cost':<26}{'$' + format(report['usd'], '.2f'):>8}   ${report['usd_per_pair']:.3f} per kept "
            "pair"
        )
    return "\n".join(lines)
