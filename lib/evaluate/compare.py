"""Runs side by side: the settings that differ, the numbers, and whether their win rates can be told apart.

Two runs met the same base on the same tweets before the same judge, so their tweets are pairs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

from lib.base.files import content_hash, read_dicts, read_jsonl
from lib.base.schema import Judgment, Reply, TestPrompt
from lib.base.seals import checked
from lib.evaluate.runs import Run, said
from lib.evidence.outcomes import Gaps, outcomes
from lib.evidence.paired import net_win_difference
from lib.model.voice import is_unusable
from lib.train.manifest import Manifest

A, B = "tuned", "base"
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


def compare_runs(runs: Sequence[Run], root: Path) -> dict[str, Any]:
    """Everything the console and the page show."""
    return {
        "runs": [run.name for run in runs],
        "config": config_difference(runs),
        "metrics": metric_rows(runs),
        "evaluations": [
            {"run": run.name, "eval": name, "report": report, "said": said(report)}
            for run in runs
            for name, report in run.reports.items()
        ],
        "versus": [versus(one, other, root) for one, other in combinations(runs, 2)],
    }


def config_difference(runs: Sequence[Run]) -> list[tuple[str, list[Any]]]:
    """(key, its value in each run) for what differs, nested keys with dots; then data and base weights that
    differ behind equal names.
    """
    flat = [_flat(run.manifest.config) for run in runs]
    keys = dict.fromkeys(key for config in flat for key in config)
    rows = [(key, [config.get(key) for config in flat]) for key in keys]
    hashes = [run.manifest.data_hashes for run in runs]
    rows += [
        (f"content of {name}.jsonl", [str(each.get(name, "unknown"))[:12] for each in hashes])
        for name in ("train", "val")
    ]
    rows.append(("revision of the base model", [run.manifest.revision for run in runs]))
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
    """(name, its value in each run) for the numbers that some run has."""
    rows = []
    for key, name, digits in METRICS:
        values = [getattr(run.manifest, key) for run in runs]
        if any(value is not None for value in values):
            rows.append((name, [_shown(value, digits) for value in values]))
    rows.append(("alerts", [str(len(run.manifest.alerts)) for run in runs]))
    return rows


def _shown(value: Any, digits: int) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,.{digits}f}"
    return "–" if value is None else str(value)[:10] if len(str(value)) == 40 else str(value)


def versus(one: Run, other: Run, root: Path) -> dict[str, Any]:
    """{a, b, comparable, sentence} and, if comparable, eval, n, difference (net win points, a minus b), ci95,
    p, mde, notes.

    Tried are the evaluations of the same name first, then every other combination; the first that can be
    compared is taken.
    """
    tried = sorted(
        ((x, y) for x in one.reports for y in other.reports), key=lambda names: (names[0] != names[1], names)
    )
    found = {"a": one.name, "b": other.name, "comparable": False}
    if not tried:
        missing = [run.name for run in (one, other) if not run.reports]
        why = (
            f"{' and '.join(missing)} {'have' if len(missing) > 1 else 'has'} no evaluation. `make eval "
            f"RUN={missing[0]}` writes one"
        )
        return found | {"sentence": f"{one.name} and {other.name} cannot be compared by win rate: {why}."}
    reasons = []
    for x, y in tried:
        files = [
            run.folder / "eval" / name / file
            for run, name in ((one, x), (other, y))
            for file in ("judgments.jsonl", "replies.jsonl")
        ]
        if gone := [str(path) for path in files if not path.is_file()]:
            reasons.append(f"{gone[0]} is missing, only the report is left. `make eval` writes it again")
            continue
        sides = [side(run, name, root) for run, name in ((one, x), (other, y))]
        if reason := why_not(*sides):
            reasons.append(reason)
            continue
        return found | {"comparable": True, "eval": x if x == y else f"{x} and {y}"} | paired(*sides)
    return found | {"sentence": f"{one.name} and {other.name} cannot be compared by win rate: {reasons[0]}."}


def side(run: Run, evaluation: str, root: Path) -> dict[str, Any]:
    """One evaluation's verdicts on tuned against base, and all that another must share to be its pair."""
    folder, config = run.folder / "eval" / evaluation, run.manifest.config
    prompts_file = checked(root / "data" / str(config.get("data")) / "processed" / "test_prompts.jsonl")
    prompts = read_jsonl(prompts_file, TestPrompt) if prompts_file.is_file() else []
    judgments = [
        row for row in read_jsonl(checked(folder / "judgments.jsonl"), Judgment) if {row.a, row.b} == {A, B}
    ]
    replies = read_jsonl(checked(folder / "replies.jsonl"), Reply)
    texts = {(reply.tweet_id, reply.system): reply.reply for reply in replies}
    failures = checked(folder / "judgments.failed.jsonl")
    gaps = Gaps(
        asked=frozenset(reply.tweet_id for reply in replies),
        failures=read_dicts(failures) if failures.is_file() else [],
        unusable=frozenset(key for key, text in texts.items() if is_unusable(text)),
    )
    rows, tweets = outcomes(
        judgments, texts, {prompt.tweet_id: prompt.tweet_author for prompt in prompts}, A, B, gaps
    )
    tweet_of = {prompt.tweet_id: prompt.tweet for prompt in prompts}
    answered = sorted({reply.tweet_id for reply in replies})
    return {
        "run": run.name,
        "eval": evaluation,
        "steps": dict(zip(tweets, rows.step, strict=True)),
        "authors": dict(zip(tweets, rows.cluster, strict=True)),
        "answered": answered,
        "prompts": content_hash([(tweet, tweet_of.get(tweet)) for tweet in answered]),
        "base": {tweet: texts.get((tweet, B), "") for tweet in answered},
        "judge": _judge(judgments, run.manifest),
        "weights": [
            run.manifest.base_model,
            run.manifest.revision,
            *sorted({reply.quantization for reply in replies}),
        ],
    }


def _judge(judgments: Sequence[Judgment], manifest: Manifest) -> str:
    """Model, orders and repeats.

    The offline stand-in is made of training pairs: other pairs, another judge.
    """
    models = sorted({row.model for row in judgments})
    orders, repeats = (
        sorted({row.order for row in judgments}),
        max((row.repeat for row in judgments), default=0) + 1,
    )
    told = (
        f"{', '.join(models)}, {'both orders' if len(orders) == 2 else 'one order'}, {repeats} "
        f"repeat{'s' * (repeats > 1)}"
    )
    if any("stand-in" in model for model in models):
        told += f", made of training pairs {str(manifest.data_hashes.get('train'))[:12]}"
    return told


def why_not(one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """Why two evaluations cannot be paired; None if they can."""
    names = f"{one['run']} ({one['eval']}) and {other['run']} ({other['eval']})"
    if one["prompts"] != other["prompts"]:
        common = len(set(one["answered"]) & set(other["answered"]))
        n = f"{len(one['answered'])} and {len(other['answered'])} tweets, {common} with the same id"
        return (
            f"{names} answered different test prompts ({n}). Evaluate both on one data set with the same "
            "max_prompts"
        )
    if one["judge"] != other["judge"]:
        return (
            f"{names} had different judges ({one['judge']}; {other['judge']}). Evaluate both with the same "
            "eval config"
        )
    if one["weights"] != other["weights"]:
        return (
            f"{names} were compared with different bases ({one['weights']}; {other['weights']}): a win over "
            "one is no win over the other"
        )
    if len(set(one["steps"]) & set(other["steps"])) < 3:
        return f"{names} have fewer than 3 tweets with a verdict in common. Look at judgments.failed.jsonl"
    return None


def paired(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The difference of two net win rates, with its sentence. one, other: sides that can be paired."""
    tweets = sorted(set(one["steps"]) & set(other["steps"]))
    difference = net_win_difference(
        [one["steps"][tweet] for tweet in tweets],
        [other["steps"][tweet] for tweet in tweets],
        [one["authors"][tweet] or tweet for tweet in tweets],
    )
    same = sum(one["base"][tweet] == other["base"][tweet] for tweet in tweets) / len(tweets)
    found = asdict(difference) | {"same_base_replies": same}
    return found | {"sentence": sentence(one, other, found)}


def sentence(one: Mapping[str, Any], other: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """The verdict on two runs, with what it rests on."""
    a, b, n = one["run"], other["run"], found["n"]
    if found["ci95"] is None:
        return (
            f"{a} and {b} got the same verdict against base on every one of the same {n} tweets: nothing "
            "tells them apart."
        )
    low, high = found["ci95"]
    # Both must agree: an interval alone is optimistic with few tweets.
    sure = found["p"] < 0.05 and not low <= 0 <= high
    verdict = (
        f"{a if found['difference'] > 0 else b} is better" if sure else f"{a} and {b} are not told apart"
    )
    parts = [
        f"{verdict}: against the same base on the same {n} tweets, before the same judge, {a} has "
        f"{found['difference']:+.1f} net win points more than {b} (95% CI {low:+.1f} to {high:+.1f}, paired "
        f"permutation p = {found['p']:.2g}; smallest difference that could have been seen "
        f"{found['mde']:.0f} points)"
    ]
    if found["same_base_replies"] < 1:
        parts.append(f"the base wrote the same reply in {found['same_base_replies']:.0%} of them")
    if "stand-in" in one["judge"]:
        parts.append("the judge is a stand-in")
    return "; ".join(parts) + "."
