"""Everything an evaluation found, as one Report. The page shows these numbers and no others."""

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
from lib.evaluate.evaluation import Evaluation, training
from lib.evaluate.measures import Calibration, Compared, Equivalence, Length, Metrics, Position, Strength
from lib.evaluate.report import VERSION, Gate, Judge, People, Report, parsed
from lib.evaluate.steps import (
    JudgmentsManifest,
    ModelMetrics,
    RepliesManifest,
    read_judgments_manifest,
    read_model_metrics,
    read_replies_manifest,
)
from lib.evidence.calibration import true_win_rate
from lib.evidence.gate import evaluate_gate
from lib.evidence.outcomes import outcomes
from lib.evidence.secondary import bradley_terry, equivalence, holm
from lib.evidence.stats import Comparison, compare
from lib.judge.comparisons import system_pairs
from lib.judge.judges import judge_of
from lib.train.manifest import Manifest


@dataclass(frozen=True)
class Files:
    """Everything that the earlier steps left for a report. Raises UserError where a step is missing."""

    evaluation: Evaluation
    replies: list[Reply]
    judgments: list[Judgment]
    failed: list[dict[str, Any]]
    prompts: dict[str, TestPrompt]
    train: list[Pair]
    train_manifest: Manifest
    model_metrics: ModelMetrics
    calibration: Calibration
    judge_manifest: JudgmentsManifest
    reply_manifest: RepliesManifest

    @classmethod
    def read(cls, evaluation: Evaluation) -> "Files":
        folder = evaluation.folder
        failures, accuracy = checked(folder / "judgments.failed.jsonl"), checked(folder / "calibration.json")
        return cls(
            evaluation=evaluation,
            replies=evaluation.replies(),
            judgments=read_jsonl(checked(folder / "judgments.jsonl"), Judgment),
            failed=read_dicts(failures) if failures.exists() else [],
            prompts={prompt.tweet_id: prompt for prompt in evaluation.prompts()},
            train=evaluation.train(),
            train_manifest=training(evaluation.run_folder),
            model_metrics=read_model_metrics(checked(folder / "model_metrics.json")),
            calibration=parsed(read_json(accuracy), Calibration, str(accuracy)),
            judge_manifest=read_judgments_manifest(folder),
            reply_manifest=read_replies_manifest(folder),
        )

    @property
    def texts(self) -> dict[tuple[str, str], str]:
        return {(reply.tweet_id, reply.system): reply.reply for reply in self.replies}

    @property
    def systems(self) -> list[str]:
        """The systems that answered, in the order of the eval config."""
        there = {reply.system for reply in self.replies}
        return [system for system in self.evaluation.eval.systems if system in there]


def gather(
    files: Files, sanity: Mapping[str, dict[str, Any]], seed: int = 17
) -> tuple[Report, dict[str, float]]:
    """(the report, tweet_id -> step of tuned over base). sanity: system -> metrics of lib.model.sanity."""
    found, steps = comparisons(files, seed)
    headline, fewshot = found.get(("tuned", "base")), found.get(("tuned", "fewshot"))
    if headline is None:
        raise UserError(
            f"{files.evaluation.folder / 'judgments.jsonl'} has no verdict on tuned against base. See "
            "judgments.failed.jsonl for the reasons."
        )
    folder, gap = files.evaluation.folder, files.train_manifest.train_eval_gap
    perplexity = (files.model_metrics.perplexity or {}).get("tuned")
    losses = files.train_manifest.eval_losses
    gate = evaluate_gate(headline, perplexity, gap, files.evaluation.eval.gate, fewshot, losses)
    others = {f"{a} vs {b}": c for (a, b), c in found.items() if (a, b) != ("tuned", "base")}
    report = Report(
        version=VERSION,
        run=files.evaluation.run,
        eval=folder.name,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        n_prompts=headline.n,
        systems=files.systems,
        win_rate=headline.win_rate,
        net_win=headline.net_win,
        wilcoxon_p=headline.wilcoxon_p,
        mannwhitney_p=headline.mannwhitney_p,
        cohens_d=headline.cohens_d,
        ci95=headline.ci95,
        mde=headline.mde["d"],
        underpowered=headline.underpowered,
        judge=_judge(files, headline),
        metrics={
            system: Metrics(**sanity.get(system, {}), **_losses(files, system)) for system in files.systems
        },
        gate=Gate(**gate),
        headline=Compared(**headline.to_dict()),
        comparisons={name: Compared(**c.to_dict()) for name, c in others.items()},
        holm_p=holm({name: c.permutation_p for name, c in others.items()}),
        bradley_terry=_strengths(files.judgments, files.systems),
        forgetting=_forgetting(files.model_metrics),
        criteria=by_criterion(files.judgments),
        people=_people(folder),
        cost=_cost(files),
        hashes={name: content_hash(folder / name) for name in ("replies.jsonl", "judgments.jsonl")}
        | {"adapter": files.train_manifest.adapter_sha256},
        versions=files.train_manifest.versions,
        engine={"name": files.replies[0].engine, "quantization": files.replies[0].quantization},
    )
    return report, steps


def comparisons(files: Files, seed: int) -> tuple[dict[tuple[str, str], Comparison], dict[str, float]]:
    """Every pair of systems that was judged, and the headline's step per tweet."""
    authors = {prompt.tweet_id: prompt.tweet_author for prompt in files.prompts.values()}
    tweets_of = {prompt.tweet_id: prompt.tweet for prompt in files.prompts.values()}
    found: dict[tuple[str, str], Comparison] = {}
    steps: dict[str, float] = {}
    for a, b in system_pairs(files.systems):
        rows, tweets = outcomes(files.judgments, files.texts, authors, a, b, tweets_of)
        if not tweets:
            continue
        found[a, b] = compare(rows, seed)
        if (a, b) == ("tuned", "base"):
            steps = dict(zip(tweets, rows.step, strict=True))
    return found, steps


def _people(folder: Path) -> People | None:
    """People's answers (human/report.json), where they were asked. outdated: the replies changed since."""
    path = folder / "human" / "report.json"
    if not path.is_file():
        return None
    found = parsed(read_json(path), People, str(path))
    return found.model_copy(
        update={"outdated": found.replies_sha256 != content_hash(folder / "replies.jsonl")}
    )


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


def _judge(files: Files, headline: Comparison) -> Judge:
    calibration, config = files.calibration, files.evaluation.eval
    accuracy = calibration.accuracy if calibration.status != "not calibrated" else None
    is_headline = [row for row in files.failed if {row.get("a"), row.get("b")} <= set(config.systems)]
    length = {key: headline.length[key] for key in ("win_rate", "ci95", "correlation", "longer_wins")}
    return Judge(
        kind=config.judge.kind,
        model=files.judge_manifest.model or config.judge.model,
        stand_in=judge_of(config.judge, files.evaluation.train).is_stand_in,
        position_bias=headline.position and Position(**headline.position),
        length=Length(**length),
        calibration=calibration,
        true_win_rate=true_win_rate(headline.win_rate, accuracy),
        parse_failures=len(is_headline),
        failure_reasons=_counts(row.get("reason", "unknown") for row in is_headline),
        canaries=files.judge_manifest.canaries,
        account=files.judge_manifest.account,
        usd=_usd(files.evaluation.folder / "ledger.jsonl"),
    )


def _counts(values: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return counts


def _losses(files: Files, system: str) -> dict[str, Any]:
    """Perplexity of the real replies: base and tuned only, few-shot shares the base's weights."""
    value = (files.model_metrics.perplexity or {}).get(system)
    return {} if value is None else {"perplexity": value}


def _strengths(judgments: Sequence[Judgment], systems: Sequence[str]) -> dict[str, Strength]:
    """One scale for more than two systems."""
    if len(systems) < 3:
        return {}
    rows = []
    for judgment in judgments:
        if judgment.verdict is not None and {judgment.a, judgment.b} <= set(systems):
            rows.append((judgment.a, judgment.b, judgment.verdict, judgment.tweet_id))
    return {system: Strength(**row) for system, row in bradley_terry(rows).items()}


def _forgetting(metrics: ModelMetrics) -> Equivalence | None:
    """Equivalence of the token loss on general texts, tuned against base, within the stated margin."""
    losses = metrics.forgetting or {}
    if not losses.get("base") or not losses.get("tuned"):
        return None
    return Equivalence(**equivalence(losses["tuned"], losses["base"], losses["margin"]))


def _usd(path: Path) -> float:
    return Ledger(path).spent_usd() if path.exists() else 0.0


def _cost(files: Files) -> dict[str, float]:
    """Dollars of each step that led here."""
    return {
        "collect": _usd(files.evaluation.processed.parent / "ledger.jsonl"),
        "train": files.train_manifest.usd or 0.0,
        "judge": _usd(files.evaluation.folder / "ledger.jsonl"),
    }
