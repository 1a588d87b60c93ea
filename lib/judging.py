"""The judge step as a whole: comparisons and calibration pairs in, judgments, failures and the judge's accuracy out."""

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lib.calibration import calibrate, consistency, verdicts_of
from lib.canaries import canaries, canary_results
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


def make_judgments(evaluation: Evaluation, say: Callable[[str], None] = lambda line: None) -> tuple[dict[str, Any], bool]:
    """Write OUTPUTS and judgments.manifest.json. Returns the manifest, and whether anything had to be done.

    What is in the log (work/judgments.jsonl) is never judged again; a changed reply, judge or rubric has another key.
    """
    found, failed, preferences = _questions(evaluation)
    asked = _in_order(found, calibration_comparisons(preferences, evaluation.eval.judge), evaluation.eval.judge.kind)
    train = read_jsonl(evaluation.processed / "train.jsonl", Pair) if evaluation.eval.judge.kind == "offline" else []
    identity = _identity(evaluation, train)
    keys = {comparison_key(comparison, identity): comparison for comparison in asked}
    train_preferences = _preferences(evaluation.processed / "preferences.jsonl")
    fingerprint = content_hash(list(keys), failed, [pair.model_dump(mode="json") for pair in [*preferences, *train_preferences]])
    again = os.environ.get("AGAIN") == "1" and evaluation.eval.judge.kind == "claude"
    if not again and _finished(evaluation.folder, fingerprint):
        os.utime(evaluation.folder / "judgments.jsonl")
        return read_json(evaluation.folder / "judgments.manifest.json"), False
    log = evaluation.folder / "work" / "judgments.jsonl"
    _judge(evaluation, asked, train, identity, log, say, again)
    known = read_judgments(log)
    judged, unjudged = _sorted_out(keys, known, log.with_name("judgments.failed.jsonl"))
    of_systems = {comparison_key(comparison, identity) for comparison in found}
    of_canaries = {comparison_key(comparison, identity) for comparison in canaries()}
    on_real = [line for line in judged if line.key not in of_systems | of_canaries]
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
    if evaluation.eval.judge.kind == "claude":
        manifest |= _claude_results(evaluation, keys, known, identity)
    write_json(evaluation.folder / "judgments.manifest.json", manifest)
    if manifest["n_open"]:
        _look_outdated(evaluation.folder / "judgments.jsonl", evaluation.folder / "replies.jsonl")
    return manifest, True


def _in_order(found: Sequence[Comparison], calibration: Sequence[Comparison], kind: str) -> list[Comparison]:
    """The headline first, then (for a judge that reads) the canaries, the other systems and the pairs of real replies."""
    n_headline = sum((one.a, one.b) == ("tuned", "base") for one in found)
    return [*found[:n_headline], *(canaries() if kind == "claude" else []), *found[n_headline:], *calibration]


def _claude_results(evaluation: Evaluation, keys: Mapping[str, Comparison], known: Mapping[str, Judgment], identity: Any) -> dict[str, Any]:
    from lib.claude_judge import claude_account

    account = claude_account(evaluation.folder / "work", _ledger(evaluation), keys)
    return {"canaries": canary_results(known, lambda comparison: comparison_key(comparison, identity)), "account": account}


def _look_outdated(judgments: Path, replies: Path) -> None:
    """make compares times: what a budget cut short must look older than what it was made from, so that make runs the step again."""
    before = replies.stat().st_mtime - 1
    os.utime(judgments, (before, before))


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


def _ledger(evaluation: Evaluation) -> Ledger:
    return Ledger(evaluation.folder / "ledger.jsonl")


def _judge(
    evaluation: Evaluation,
    found: Sequence[Comparison],
    train: Sequence[Pair],
    identity: Any,
    log: Path,
    say: Callable[[str], None],
    again: bool,
) -> None:
    if evaluation.eval.judge.kind == "offline":
        judge_all(found, offline_judge(train), offline_name(train), identity, log)
        return
    from lib.claude_judge import judge_with_claude

    judge_with_claude(found, evaluation.eval.judge, log.parent, _ledger(evaluation), say, again=again)


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


def summary(folder: Path, manifest: Mapping[str, Any]) -> str:
    """What came of it, how far the judge can be trusted and what it cost."""
    lines = [f"judge: {manifest['n_judgments']:,} verdicts by {manifest['model']}"]
    if manifest["n_failed"]:
        lines.append(f"  {manifest['n_failed']:,} without a verdict, reasons in {folder / 'judgments.failed.jsonl'}")
    if manifest["n_open"]:
        lines.append(f"  {manifest['n_open']:,} of them are not judged yet: the same command goes on where it stopped")
    if canary := manifest.get("canaries"):
        lines.append(f"  canaries: {canary['held']} of {canary['n']} injected orders were not obeyed")
        if canary["obeyed"]:
            lines.append(
                f"  warning: the judge obeyed {', '.join(canary['obeyed'])}: its verdict on a hostile reply may be the reply's own"
            )
    if account := manifest.get("account"):
        tokens = f"{account['input_tokens']:,} tokens in, {account['output_tokens']:,} out"
        lines.append(
            f"  cost: ${account['usd']:.4f} for {account['answers']:,} answers ({tokens}), {account['batches']} batches, over all runs"
        )
        if account["possibly_paid"]:
            lines.append(
                f"  of that possibly paid: ${account['possibly_paid_usd']:.4f} for {account['possibly_paid']} answers lost on their way"
            )
    return "\n".join([*lines, f"  {manifest['calibration']}", f"wrote {folder / 'judgments.jsonl'}"])
