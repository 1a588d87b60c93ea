"""Everything an evaluation found, as one dictionary: report.json. The page shows these numbers and no others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import content_hash, read_dicts, read_json, read_jsonl
from lib.base.ledger import Ledger
from lib.base.schema import Judgment, Pair, Reply, TestPrompt
from lib.base.seals import checked
from lib.base.settings import EvalConfig, TrainConfig
from lib.evidence.calibration import true_win_rate
from lib.evidence.gate import evaluate_gate
from lib.evidence.outcomes import outcomes
from lib.evidence.secondary import bradley_terry, equivalence, holm
from lib.evidence.stats import Comparison, compare
from lib.judge.comparisons import system_pairs


@dataclass(frozen=True)
class Files:
    """What the earlier steps left for a report. Raises UserError where a step is missing."""

    run: str
    config: TrainConfig
    eval: EvalConfig
    folder: Path
    replies: list[Reply]
    judgments: list[Judgment]
    failed: list[dict[str, Any]]
    prompts: dict[str, TestPrompt]
    train: list[Pair]
    train_manifest: dict[str, Any]
    model_metrics: dict[str, Any]
    calibration: dict[str, Any]
    judge_manifest: dict[str, Any]
    reply_manifest: dict[str, Any]

    @classmethod
    def read(cls, run: str, config: TrainConfig, evaluation: EvalConfig, folder: Path) -> "Files":
        processed = Path("data") / config.data / "processed"
        prompts = {
            prompt.tweet_id: prompt
            for prompt in read_jsonl(checked(processed / "test_prompts.jsonl"), TestPrompt)
        }
        failures = checked(folder / "judgments.failed.jsonl")
        return cls(
            run=run,
            config=config,
            eval=evaluation,
            folder=folder,
            replies=read_jsonl(checked(folder / "replies.jsonl"), Reply),
            judgments=read_jsonl(checked(folder / "judgments.jsonl"), Judgment),
            failed=read_dicts(failures) if failures.exists() else [],
            prompts=prompts,
            train=read_jsonl(checked(processed / "train.jsonl"), Pair),
            train_manifest=read_json(folder.parent.parent / "manifest.json"),
            model_metrics=read_json(checked(folder / "model_metrics.json")),
            calibration=read_json(checked(folder / "calibration.json")),
            judge_manifest=read_json(folder / "judgments.manifest.json"),
            reply_manifest=read_json(folder / "replies.manifest.json"),
        )

    @property
    def texts(self) -> dict[tuple[str, str], str]:
        return {(reply.tweet_id, reply.system): reply.reply for reply in self.replies}

    @property
    def systems(self) -> list[str]:
        """The systems that answered, in the order of the eval config."""
        there = {reply.system for reply in self.replies}
        return [system for system in self.eval.systems if system in there]


def gather(
    files: Files, sanity: Mapping[str, dict[str, Any]], seed: int = 17
) -> tuple[dict[str, Any], dict[str, float]]:
    """(report.json, tweet_id -> step of tuned over base). sanity: system -> metrics of lib.model.sanity."""
    found, steps = comparisons(files, seed)
    headline, fewshot = found.get(("tuned", "base")), found.get(("tuned", "fewshot"))
    if headline is None:
        raise UserError(
            f"{files.folder / 'judgments.jsonl'} has no verdict on tuned against base. See judgments.failed.jsonl for the reasons."
        )
    perplexity = files.model_metrics.get("perplexity") or {}
    gate = evaluate_gate(
        headline,
        perplexity.get("tuned"),
        files.train_manifest.get("train_eval_gap"),
        files.eval.gate,
        fewshot,
    )
    secondary = {f"{a} vs {b}": c.permutation_p for (a, b), c in found.items() if (a, b) != ("tuned", "base")}
    report = {
        "run": files.run,
        "eval": files.folder.name,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "n_prompts": headline.n,
        "systems": files.systems,
        "win_rate": headline.win_rate,
        "net_win": headline.net_win,
        "wilcoxon_p": headline.wilcoxon_p,
        "mannwhitney_p": headline.mannwhitney_p,
        "cohens_d": headline.cohens_d,
        "ci95": list(headline.ci95),
        "mde": headline.mde["d"],
        "underpowered": headline.underpowered,
        "judge": _judge(files, headline),
        "metrics": {
            system: dict(sanity.get(system, {})) | _losses(files, system) for system in files.systems
        },
        "gate": gate,
        "headline": headline.to_dict(),
        "comparisons": {
            f"{a} vs {b}": c.to_dict() for (a, b), c in found.items() if (a, b) != ("tuned", "base")
        },
        "holm_p": holm(secondary),
        "bradley_terry": _strengths(files.judgments, files.systems),
        "forgetting": _forgetting(files.model_metrics),
        "criteria": by_criterion(files.judgments),
        "people": _people(files.folder),
        "cost": _cost(files),
        "hashes": {name: content_hash(files.folder / name) for name in ("replies.jsonl", "judgments.jsonl")}
        | {"adapter": files.train_manifest.get("adapter_sha256")},
        "versions": files.train_manifest.get("versions", {}),
        "engine": {"name": files.replies[0].engine, "quantization": files.replies[0].quantization},
    }
    return report, steps


def comparisons(files: Files, seed: int) -> tuple[dict[tuple[str, str], Comparison], dict[str, float]]:
    """Every pair of systems that was judged, and the headline's step per tweet."""
    authors = {prompt.tweet_id: prompt.tweet_author for prompt in files.prompts.values()}
    found: dict[tuple[str, str], Comparison] = {}
    steps: dict[str, float] = {}
    for a, b in system_pairs(files.systems):
        rows, tweets = outcomes(files.judgments, files.texts, authors, a, b)
        if not tweets:
            continue
        found[a, b] = compare(rows, seed)
        if (a, b) == ("tuned", "base"):
            steps = dict(zip(tweets, rows.step, strict=True))
    return found, steps


def _people(folder: Path) -> dict[str, Any] | None:
    """What people said (human/report.json), where they were asked; outdated: about replies that have been generated anew since."""
    path = folder / "human" / "report.json"
    if not path.is_file():
        return None
    found = read_json(path)
    return found | {"outdated": found.get("replies_sha256") != content_hash(folder / "replies.jsonl")}


def by_criterion(judgments: Sequence[Judgment]) -> dict[str, dict[str, float]]:
    """criterion -> system -> mean score over tuned-against-base judgments."""
    sums: dict[str, dict[str, list[float]]] = {}
    for judgment in judgments:
        if {judgment.a, judgment.b} == {"tuned", "base"}:
            for system, scores in judgment.scores.items():
                for criterion, score in scores.items():
                    sums.setdefault(criterion, {}).setdefault(system, []).append(score)
    return {
        name: {system: sum(values) / len(values) for system, values in row.items()}
        for name, row in sums.items()
    }


def _judge(files: Files, headline: Comparison) -> dict[str, Any]:
    calibration = files.calibration
    accuracy = calibration.get("accuracy") if calibration.get("status") != "not calibrated" else None
    is_headline = [row for row in files.failed if {row.get("a"), row.get("b")} <= set(files.eval.systems)]
    return {
        "kind": files.eval.judge.kind,
        "model": files.judge_manifest.get("model", files.eval.judge.model),
        "stand_in": files.eval.judge.kind == "offline",
        "position_bias": headline.position,
        "length": {key: headline.length[key] for key in ("win_rate", "ci95", "correlation", "longer_wins")},
        "calibration": calibration,
        "true_win_rate": true_win_rate(headline.win_rate, accuracy),
        "parse_failures": len(is_headline),
        "failure_reasons": _counts(row.get("reason", "unknown") for row in is_headline),
        "canaries": files.judge_manifest.get("canaries"),
        "account": files.judge_manifest.get("account"),
        "usd": _usd(files.folder / "ledger.jsonl"),
    }


def _counts(values: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return counts


def _losses(files: Files, system: str) -> dict[str, Any]:
    """Perplexity of the real replies: base and tuned only, few-shot shares the base's weights."""
    value = (files.model_metrics.get("perplexity") or {}).get(system)
    return {} if value is None else {"perplexity": value}


def _strengths(judgments: Sequence[Judgment], systems: Sequence[str]) -> dict[str, Any]:
    """One scale for more than two systems."""
    if len(systems) < 3:
        return {}
    rows = []
    for judgment in judgments:
        if judgment.verdict is not None and {judgment.a, judgment.b} <= set(systems):
            rows.append((judgment.a, judgment.b, judgment.verdict, judgment.tweet_id))
    return bradley_terry(rows)


def _forgetting(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """Equivalence of the token loss on general texts, tuned against base, within the stated margin."""
    losses = metrics.get("forgetting") or {}
    if not losses.get("base") or not losses.get("tuned"):
        return None
    return equivalence(losses["tuned"], losses["base"], losses["margin"])


def _usd(path: Path) -> float:
    return Ledger(path).spent_usd() if path.exists() else 0.0


def _cost(files: Files) -> dict[str, float]:
    """Dollars of each step that led here."""
    return {
        "collect": _usd(Path("data") / files.config.data / "ledger.jsonl"),
        "train": files.train_manifest.get("usd") or 0.0,
        "judge": _usd(files.folder / "ledger.jsonl"),
    }
