"""The judge step as a whole: comparisons and calibration pairs in, judgments, failures and the judge's accuracy out."""

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import (
    content_hash,
    json_bytes,
    jsonl_bytes,
    read_dicts,
    read_jsonl,
    write_bytes,
    write_json,
)
from lib.base.ledger import Ledger
from lib.base.schema import Judgment, Pair, Preference, Reply, TestPrompt
from lib.base.seals import checked, damage, manifest_in, seal_in, seal_of
from lib.evaluate.answers import Evaluation
from lib.evaluate.replies import refuse_unlike_arms
from lib.evidence.calibration import calibrate, consistency, verdicts_of
from lib.judge.canaries import canaries, canary_results
from lib.judge.comparisons import (
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

MAX_CALIBRATION_PAIRS = 200  # 194 show that a judge is better than a coin if it is right 60% of the time; more would only cost more
OUTPUTS = ("judgments.jsonl", "judgments.failed.jsonl", "calibration.jsonl", "calibration.json")


def make_judgments(
    evaluation: Evaluation, say: Callable[[str], None] = lambda line: None
) -> tuple[dict[str, Any], bool]:
    """Write OUTPUTS and judgments.manifest.json. Returns the manifest, and whether anything had to be done.

    What is in the log (work/judgments.jsonl) is never judged again; a changed reply, judge or rubric has another key.
    """
    found, failed, preferences = _questions(evaluation)
    asked = _in_order(
        found, calibration_comparisons(preferences, evaluation.eval.judge), evaluation.eval.judge.kind
    )
    train = (
        read_jsonl(checked(evaluation.processed / "train.jsonl"), Pair)
        if evaluation.eval.judge.kind == "offline"
        else []
    )
    identity = _identity(evaluation, train)
    keys = {comparison_key(comparison, identity): comparison for comparison in asked}
    train_preferences = _preferences(evaluation.processed / "preferences.jsonl")
    fingerprint = content_hash(
        list(keys), failed, [pair.model_dump(mode="json") for pair in [*preferences, *train_preferences]]
    )
    again = os.environ.get("AGAIN") == "1" and evaluation.eval.judge.kind == "claude"
    if not again and (manifest := _finished(evaluation.folder, fingerprint)):
        os.utime(evaluation.folder / "judgments.jsonl")
        return manifest, False
    of_systems = {comparison_key(comparison, identity) for comparison in found}
    of_canaries = {comparison_key(comparison, identity) for comparison in canaries()}
    wanted = {
        "judgments.jsonl": [key for key in keys if key in of_systems],
        "calibration.jsonl": [key for key in keys if key not in of_systems | of_canaries],
    }
    known = _known(
        evaluation,
        lambda log: _judge(evaluation, asked, train, identity, log, say, again),
        wanted,
        fingerprint,
    )
    unjudged = _unjudged(keys, known, evaluation.folder / "work" / "judgments.failed.jsonl")
    judged = {name: _verdicts(known, of) for name, of in wanted.items()}
    on_real = judged["calibration.jsonl"]
    accuracy = calibrate(preferences, verdicts_of(preferences, on_real), train_preferences) | {
        "consistency": consistency(on_real)
    }
    outputs = {
        "judgments.failed.jsonl": jsonl_bytes([*failed, *unjudged]),
        "calibration.jsonl": jsonl_bytes(on_real),
        "calibration.json": json_bytes(accuracy),
        "judgments.jsonl": jsonl_bytes(judged["judgments.jsonl"]),
    }
    manifest = {
        "fingerprint": fingerprint,
        "files": {name: seal_of(content) for name, content in outputs.items()},
        "kind": evaluation.eval.judge.kind,
        "model": offline_name(train)
        if evaluation.eval.judge.kind == "offline"
        else evaluation.eval.judge.model,
        "n_judgments": len(judged["judgments.jsonl"]),
        "n_failed": len(failed) + len(unjudged),
        "n_open": sum(row["reason"] == "not_judged" for row in unjudged),
        "n_calibration_pairs": len(preferences),
        "calibration": accuracy["sentence"],
        "created_at": datetime.now(UTC).isoformat(),
    }
    if evaluation.eval.judge.kind == "claude":
        manifest |= _claude_results(evaluation, keys, known, identity)
    write_json(evaluation.folder / "judgments.manifest.json", manifest)
    for name, content in outputs.items():
        write_bytes(evaluation.folder / name, content)  # judgments.jsonl last: make reads it as "done"
    if manifest["n_open"]:
        _look_outdated(evaluation.folder / "judgments.jsonl", evaluation.folder / "replies.jsonl")
    return manifest, True


def _in_order(found: Sequence[Comparison], calibration: Sequence[Comparison], kind: str) -> list[Comparison]:
    """The headline first, then (for a judge that reads) the canaries, the other systems and the pairs of real replies."""
    n_headline = sum((one.a, one.b) == ("tuned", "base") for one in found)
    return [*found[:n_headline], *(canaries() if kind == "claude" else []), *found[n_headline:], *calibration]


def _claude_results(
    evaluation: Evaluation, keys: Mapping[str, Comparison], known: Mapping[str, Judgment], identity: Any
) -> dict[str, Any]:
    from lib.judge.claude import claude_account

    account = claude_account(evaluation.folder / "work", _ledger(evaluation), keys)
    return {
        "canaries": canary_results(known, lambda comparison: comparison_key(comparison, identity)),
        "account": account,
    }


def _look_outdated(judgments: Path, replies: Path) -> None:
    """make compares times: what a budget cut short must look older than what it was made from, so that make runs the step again."""
    before = replies.stat().st_mtime - 1
    os.utime(judgments, (before, before))


def _questions(evaluation: Evaluation) -> tuple[list[Comparison], list[dict[str, Any]], list[Preference]]:
    path = evaluation.folder / "replies.jsonl"
    replies = read_jsonl(checked(path), Reply)
    if not replies:
        raise UserError(f"{path} holds no reply. Run the generate step again.")
    refuse_unlike_arms(replies)
    tweets = {
        prompt.tweet_id: prompt.tweet
        for prompt in read_jsonl(checked(evaluation.processed / "test_prompts.jsonl"), TestPrompt)
    }
    found, failed = comparisons(tweets, replies, evaluation.eval.systems, evaluation.eval.judge)
    pairs = _preferences(evaluation.processed / "calibration.jsonl")
    pairs = sorted(pairs, key=lambda pair: content_hash([pair.chosen_id, pair.rejected_id]))[
        :MAX_CALIBRATION_PAIRS
    ]
    return found, failed, pairs


def _preferences(path: Path) -> list[Preference]:
    """Absent is empty: a data set with one reply per tweet has no such pairs."""
    return read_jsonl(path, Preference) if checked(path).is_file() else []


def _identity(evaluation: Evaluation, train: Sequence[Pair]) -> Any:
    if evaluation.eval.judge.kind == "offline":
        return offline_identity(train)
    from lib.judge.claude import claude_identity

    return claude_identity(evaluation.eval.judge)


def _ledger(evaluation: Evaluation) -> Ledger:
    return Ledger(evaluation.folder / "ledger.jsonl")


def _known(
    evaluation: Evaluation,
    judge: Callable[[Path], None],
    wanted: Mapping[str, Sequence[str]],
    fingerprint: str,
) -> dict[str, Judgment]:
    """The log once every question has been asked: key -> judgment. wanted: file -> its keys.

    Where an output was damaged, the log must give back what the manifest knows. A log that does not was changed too, and is made again
    from what it was made from: the ranker, or Claude's stored answers. Raises UserError if those do not give it back either.
    """
    folder = evaluation.folder
    log, ledger, answers = (
        folder / "work" / "judgments.jsonl",
        folder / "ledger.jsonl",
        folder / "work" / "answers.jsonl",
    )
    manifest = folder / "judgments.manifest.json"
    hashes = (
        {name: seal_in(manifest, name).get("sha256") for name in wanted}
        if _closed(folder, fingerprint)
        else {}
    )

    def differs(known: Mapping[str, Judgment]) -> bool:
        return any(
            seal_of(jsonl_bytes(_verdicts(known, wanted[name])))["sha256"] != sha256
            for name, sha256 in hashes.items()
            if sha256
        )

    booked = ledger.stat().st_size if ledger.exists() else 0
    judge(log)
    known = read_judgments(log)
    if not differs(known) or booked != (
        ledger.stat().st_size if ledger.exists() else 0
    ):  # what was asked anew may be another answer
        return known
    is_free = evaluation.eval.judge.kind == "offline"
    stored = {row.get("key") for row in read_dicts(answers, torn_tail=True)} if answers.exists() else set()
    if is_free or {key for keys in wanted.values() for key in keys} & known.keys() <= stored:
        log.unlink()
        judge(log)
        known = read_judgments(log)
    if not is_free and differs(known):
        raise UserError(
            f"{answers} was changed, and so were the files made from it: neither holds what {manifest} was written for. Copy one of them "
            f"back, for free. Without a copy, delete {answers} and {log} and run this again: everything is asked once more, which is "
            "paid for once more (the estimate and a question come first)."
        )
    return known


def _verdicts(known: Mapping[str, Judgment], keys: Sequence[str]) -> list[Judgment]:
    return [known[key] for key in keys if key in known and known[key].verdict is not None]


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
    from lib.judge.claude import judge_with_claude

    judge_with_claude(found, evaluation.eval.judge, log.parent, _ledger(evaluation), say, again=again)


def _unjudged(
    keys: Mapping[str, Comparison], known: Mapping[str, Judgment], failures: Path
) -> list[dict[str, Any]]:
    """The questions that got no verdict, with the judge's own reason where it left one."""
    said = {row.get("key"): row for row in read_dicts(failures, torn_tail=True)} if failures.exists() else {}
    unjudged = []
    for key, comparison in keys.items():
        if key not in known or known[key].verdict is None:
            row = {
                "tweet_id": comparison.tweet_id,
                "a": comparison.a,
                "b": comparison.b,
                "order": comparison.order,
            }
            own = said.get(key, {})
            unjudged.append(
                {
                    **row,
                    "repeat": comparison.repeat,
                    "key": key,
                    "reason": own.get("reason", "not_judged"),
                    "detail": own.get("detail", ""),
                }
            )
    return unjudged


def _closed(folder: Path, fingerprint: str) -> dict[str, Any]:
    """The manifest, if all of these very questions were answered once; else empty: a budget may have stopped it."""
    found = manifest_in(folder / "judgments.manifest.json") or {}
    return found if found.get("fingerprint") == fingerprint and not found.get("n_open") else {}


def _finished(folder: Path, fingerprint: str) -> dict[str, Any]:
    found = _closed(folder, fingerprint)
    return {} if any(damage(folder / name) or not (folder / name).is_file() for name in OUTPUTS) else found


def summary(folder: Path, manifest: Mapping[str, Any]) -> str:
    """What came of it, how far the judge can be trusted and what it cost."""
    lines = [f"judge: {manifest['n_judgments']:,} verdicts by {manifest['model']}"]
    if manifest["n_failed"]:
        lines.append(
            f"  {manifest['n_failed']:,} without a verdict, reasons in {folder / 'judgments.failed.jsonl'}"
        )
    if manifest["n_open"]:
        lines.append(
            f"  {manifest['n_open']:,} of them are not judged yet: the same command goes on where it stopped"
        )
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
