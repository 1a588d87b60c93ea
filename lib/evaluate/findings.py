"""Everything an evaluation found, as one Report. The page shows these numbers and no others."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import content_hash, read_json
from lib.base.ledger import Ledger
from lib.base.schema import Judgment
from lib.base.seals import checked
from lib.evaluate.best_of import read_best_of
from lib.evaluate.error_classes import flawed
from lib.evaluate.inputs import Files
from lib.evaluate.measures import Calibration, Compared, Equivalence, Length, Metrics, Position, Strength
from lib.evaluate.pairings import Pairings, pairings
from lib.evaluate.report import VERSION, Flawed, Gate, Judge, People, Report, parsed
from lib.evaluate.report import Trust as TrustRecord
from lib.evaluate.second_judge import habits, second_judges
from lib.evaluate.steps import ModelMetrics
from lib.evidence.calibration import true_win_rate, true_win_rate_interval
from lib.evidence.criteria import Shares
from lib.evidence.gate import Facts, evaluate_gate
from lib.evidence.secondary import bradley_terry, equivalence, holm, perplexity_interval
from lib.evidence.stats import Comparison
from lib.evidence.trust import Trust, trust
from lib.judge.judges import judge_of
from lib.model.flaws import Flaws, shares
from lib.model.sanity import asked


def gather(
    files: Files, sanity: Mapping[str, dict[str, Any]], flaws: Flaws, seed: int = 17
) -> tuple[Report, dict[str, float]]:
    """(the report, tweet_id -> the judge's step of tuned over base).

    sanity: system -> metrics of lib.model.sanity. flaws: of all replies, and of people's where they are
    known.
    """
    paired = pairings(files.judgments, files.failed, files.replies, files.prompts, files.systems, flaws, seed)
    headline = paired.found.get(("tuned", "base"))
    if headline is None:
        raise UserError(
            f"{files.evaluation.folder / 'judgments.jsonl'} has no verdict on tuned against base. See "
            "judgments.failed.jsonl for the reasons."
        )
    folder, people = files.evaluation.folder, _people(files.evaluation.folder)
    classes = flawed(paired.headline, files.texts, files.tweets, flaws)
    gate = evaluate_gate(headline, _facts(files, paired, flaws, classes, people), files.evaluation.eval.gate)
    others = {f"{a} vs {b}": c for (a, b), c in paired.found.items() if (a, b) != ("tuned", "base")}
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
        judge=_judge(files, headline, people),
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
        people=people,
        flaws=classes,
        cost=_cost(files),
        hashes={name: content_hash(folder / name) for name in ("replies.jsonl", "judgments.jsonl")}
        | {"adapter": files.train_manifest.adapter_sha256},
        versions=files.train_manifest.versions,
        engine={"name": files.replies[0].engine, "quantization": files.replies[0].quantization},
        best_of=read_best_of(folder),
        second_judges=second_judges(folder),
    )
    return report, paired.judged


def _facts(
    files: Files, paired: Pairings, flaws: Flaws, classes: Sequence[Flawed], people: People | None
) -> Facts:
    """All that the gate is told besides the headline."""
    looks = {
        system: Shares(**shares(flaws, system, asked(files.replies, system))) for system in ("tuned", "base")
    }
    usd, n = _usd(files.evaluation.folder / "ledger.jsonl"), paired.found["tuned", "base"].n
    return Facts(
        perplexity=(files.model_metrics.perplexity or {}).get("tuned"),
        train_eval_gap=files.train_manifest.train_eval_gap,
        shares=looks | files.of_people(flaws),
        trust=_trust(files, people),
        unjudged=paired.unjudged,
        best_net_win=paired.best_net_win,
        base_absent=paired.base_absent,
        fewshot=paired.found.get(("tuned", "fewshot")),
        losses=files.train_manifest.eval_losses,
        classes=[(one.name, one.losses + one.ties, one.wins) for one in classes],
        usd_per_tweet=usd / n or None,
    )


def _people(folder: Path) -> People | None:
    """People's answers (human/report.json), where they were asked. outdated: the replies changed since."""
    path = folder / "human" / "report.json"
    if not path.is_file():
        return None
    found = parsed(read_json(checked(path)), People, str(path))
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


def _trust(files: Files, people: People | None) -> Trust:
    """On real likes, or with people who judged these very replies."""
    with_people = people.agreement.judge if people and not people.outdated else None
    if with_people and with_people.votes:  # reports of earlier versions have the majority of each tweet only
        with_people = with_people.votes
    stand_in = judge_of(files.evaluation.eval.judge, files.evaluation.train).is_stand_in
    return trust(files.calibration, with_people, stand_in)


def _judge(files: Files, headline: Comparison, people: People | None) -> Judge:
    calibration, config = files.calibration, files.evaluation.eval
    is_headline = [row for row in files.failed if {row.get("a"), row.get("b")} <= set(config.systems)]
    length = {key: headline.length[key] for key in ("win_rate", "ci95", "correlation", "longer_wins")}
    found = _trust(files, people)
    return Judge(
        kind=config.judge.kind,
        model=files.judge_manifest.model or config.judge.model,
        stand_in=found.stand_in,
        trust=TrustRecord(status=found.status, sentence=found.sentence, needs=found.needs),
        position_bias=headline.position and Position(**headline.position),
        length=Length(**length),
        calibration=calibration,
        **_true_win_rate(headline, calibration),
        parse_failures=len(is_headline),
        failure_reasons=_counts(row.get("reason", "unknown") for row in is_headline),
        canaries=files.judge_manifest.canaries,
        habits=habits(files),
        account=files.judge_manifest.account,
        usd=_usd(files.evaluation.folder / "ledger.jsonl"),
    )


def _true_win_rate(headline: Comparison, calibration: Calibration) -> dict[str, Any]:
    """The win rate behind the observed one, with its interval; nothing of a judge that beats no coin."""
    accuracy, ci95 = calibration.accuracy, calibration.ci95
    if accuracy is None or ci95 is None or calibration.status != "better than chance":
        return {}
    interval = true_win_rate_interval(headline.net_win, headline.ci95, accuracy, ci95)
    if interval is None:
        return {}
    return {
        "true_win_rate": true_win_rate(headline.win_rate, accuracy),
        "true_win_rate_ci95": interval,
    }


def _counts(values: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return counts


def _losses(files: Files, system: str) -> dict[str, Any]:
    """Perplexity of the real replies: base and tuned only, few-shot shares the base's weights."""
    metrics = files.model_metrics
    value = (metrics.perplexity or {}).get(system)
    losses = (metrics.reply_losses or {}).get(system)
    if value is None:
        return {}
    return {
        "perplexity": value,
        "perplexity_ci95": perplexity_interval(losses) if losses else None,
        "perplexity_n": (metrics.perplexity or {}).get("n_pairs"),
    }


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
