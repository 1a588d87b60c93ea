"""The judge step as a whole: comparisons and calibration pairs in, judgments, failures and the judge's accuracy out."""

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lib.calibration import calibrate, consistency, verdicts_of
from lib.errors import UserError
from lib.files import content_hash, read_dicts, read_json, read_jsonl, write_json, write_jsonl
from lib.generation import Evaluation
from lib.judge import (
    Comparison,
    calibration_comparisons,
    comparison_key,
    comparisons,
    judge_all,
    offline_identity,
    offline_judge,
    offline_name,
    read_judgments,
)
from lib.ledger import Ledger
from lib.replies import refuse_unlike_arms
from lib.schema import Judgment, Pair, Preference, Reply, TestPrompt

MAX_CALIBRATION_PAIRS = 200  # 194 show that a judge is better than a coin if it is right 60% of the time; more would only cost more
OUTPUTS = ("judgments.jsonl", "judgments.failed.jsonl", "calibration.jsonl", "calibration.json")


def make_judgments(evaluation: Evaluation) -> tuple[dict[str, Any], bool]:
    """Write OUTPUTS and judgments.manifest.json. Returns the manifest, and whether anything had to be done.

    What is in the log (work/judgments.jsonl) is never judged again; a changed reply, judge or rubric has another key.
    """
    found, failed, preferences = _questions(evaluation)
    calibration = calibration_comparisons(preferences, evaluation.eval.judge)
    train = read_jsonl(evaluation.processed / "train.jsonl", Pair) if evaluation.eval.judge.kind == "offline" else []
    identity = _identity(evaluation, train)
    keys = {comparison_key(comparison, identity): comparison for comparison in [*found, *calibration]}
    train_preferences = _preferences(evaluation.processed / "preferences.jsonl")
    fingerprint = content_hash(list(keys), failed, [pair.model_dump(mode="json") for pair in [*preferences, *train_preferences]])
    if _finished(evaluation.folder, fingerprint):
        os.utime(evaluation.folder / "judgments.jsonl")
        return read_json(evaluation.folder / "judgments.manifest.json"), False
    log = evaluation.folder / "work" / "judgments.jsonl"
    _judge(evaluation, [*found, *calibration], train, identity, log)
    known = read_judgments(log)
    judged, unjudged = _sorted_out(keys, known, log.with_name("judgments.failed.jsonl"))
    of_systems = {comparison_key(comparison, identity) for comparison in found}
    on_real = [line for line in judged if line.key not in of_systems]
    accuracy = calibrate(preferences, verdicts_of(preferences, on_real), train_preferences) | {"consistency": consistency(on_real)}
    write_jsonl(evaluation.folder / "judgments.failed.jsonl", [*failed, *unjudged])
    write_jsonl(evaluation.folder / "calibration.jsonl", on_real)
    write_json(evaluation.folder / "calibration.json", accuracy)
    write_jsonl(evaluation.folder / "judgments.jsonl", [line for line in judged if line.key in of_systems])
    manifest = {
        "fingerprint": fingerprint,
        "sha256": {name: content_hash(evaluation.folder / name) for name in OUTPUTS},
        "kind": evaluation.eval.judge.kind,
        "model": offline_name(train) if evaluation.eval.judge.kind == "offline" else evaluation.eval.judge.model,
        "n_judgments": sum(line.key in of_systems for line in judged),
        "n_failed": len(failed) + len(unjudged),
        "n_open": sum(row["reason"] == "not_judged" for row in unjudged),
        "n_calibration_pairs": len(preferences),
        "calibration": accuracy["sentence"],
        "created_at": datetime.now(UTC).isoformat(),
    }
    write_json(evaluation.folder / "judgments.manifest.json", manifest)
    return manifest, True


def _questions(evaluation: Evaluation) -> tuple[list[Comparison], list[dict[str, Any]], list[Preference]]:
    path = evaluation.folder / "replies.jsonl"
    replies = read_jsonl(path, Reply)
    if not replies:
        raise UserError(f"{path} holds no reply. Run the generate step again.")
    refuse_unlike_arms(replies)
    tweets = {prompt.tweet_id: prompt.tweet for prompt in read_jsonl(evaluation.processed / "test_prompts.jsonl", TestPrompt)}
    found, failed = comparisons(tweets, replies, evaluation.eval.systems, evaluation.eval.judge)
    pairs = _preferences(evaluation.processed / "calibration.jsonl")
    pairs = sorted(pairs, key=lambda pair: content_hash([pair.chosen_id, pair.rejected_id]))[:MAX_CALIBRATION_PAIRS]
    return found, failed, pairs


def _preferences(path: Path) -> list[Preference]:
    """Absent is empty: a data set with one reply per tweet has no such pairs."""
    return read_jsonl(path, Preference) if path.is_file() else []


def _identity(evaluation: Evaluation, train: Sequence[Pair]) -> Any:
    if evaluation.eval.judge.kind == "offline":
        return offline_identity(train)
    from lib.claude_judge import claude_identity

    return claude_identity(evaluation.eval.judge)


def _judge(evaluation: Evaluation, found: Sequence[Comparison], train: Sequence[Pair], identity: Any, log: Path) -> None:
    if evaluation.eval.judge.kind == "offline":
        judge_all(found, offline_judge(train), offline_name(train), identity, log)
        return
    from lib.claude_judge import judge_with_claude

    judge_with_claude(found, evaluation.eval.judge, log.parent, Ledger(Path("data") / evaluation.config.data / "ledger.jsonl"))


def _sorted_out(
    keys: Mapping[str, Comparison], known: Mapping[str, Judgment], failures: Path
) -> tuple[list[Judgment], list[dict[str, Any]]]:
    """Judgments in the order of the questions, and the questions that got none, with the judge's own reason where it left one."""
    said = {row.get("key"): row for row in read_dicts(failures, torn_tail=True)} if failures.exists() else {}
    judged = [known[key] for key in keys if key in known and known[key].verdict is not None]
    unjudged = []
    for key, comparison in keys.items():
        if key not in known or known[key].verdict is None:
            row = {"tweet_id": comparison.tweet_id, "a": comparison.a, "b": comparison.b, "order": comparison.order}
            own = said.get(key, {})
            unjudged.append(
                {**row, "repeat": comparison.repeat, "key": key, "reason": own.get("reason", "not_judged"), "detail": own.get("detail", "")}
            )
    return judged, unjudged


def _finished(folder: Path, fingerprint: str) -> bool:
    path = folder / "judgments.manifest.json"
    found = read_json(path) if path.is_file() else None
    if not isinstance(found, dict) or found.get("fingerprint") != fingerprint or found.get("n_open"):  # a budget may have stopped it
        return False
    return all((folder / name).is_file() and content_hash(folder / name) == digest for name, digest in found["sha256"].items())
