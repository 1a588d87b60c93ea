"""The judge step as a whole: questions in, judgments, failures and the judge's accuracy out."""

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import json_bytes, jsonl_bytes, read_dicts, write_bytes, write_json
from lib.base.ledger import Ledger
from lib.base.schema import Judgment
from lib.base.seals import damage, manifest_in, seal_in, seal_of
from lib.evaluate.evaluation import Evaluation
from lib.evaluate.questions import Questions, questions_of
from lib.evaluate.report import Account, Canaries
from lib.evaluate.steps import JudgmentsManifest, read_judgments_manifest
from lib.evidence.calibration import calibrate, consistency, verdicts_of
from lib.judge.canaries import canary_results
from lib.judge.comparisons import Comparison, comparison_key, read_judgments

OUTPUTS = ("judgments.jsonl", "judgments.failed.jsonl", "calibration.jsonl", "calibration.json")
Say = Callable[[str], None]


def make_judgments(evaluation: Evaluation, say: Say = lambda line: None) -> tuple[JudgmentsManifest, bool]:
    """Write OUTPUTS and judgments.manifest.json. Returns the manifest, and whether anything had to be done.

    What is in the log (work/judgments.jsonl) is never judged again; a changed reply, judge or rubric has
    another key.
    """
    asked, folder = questions_of(evaluation), evaluation.folder
    again = os.environ.get("AGAIN") == "1" and not asked.judge.is_free
    if not again and _is_finished(folder, asked.fingerprint):
        os.utime(folder / "judgments.jsonl")
        return read_judgments_manifest(folder), False
    known = _known(evaluation, asked, say, again)
    unjudged = _unjudged(asked.keys, known, evaluation.work / "judgments.failed.jsonl")
    judged, on_real = _verdicts(known, asked.of_systems), _verdicts(known, asked.on_real)
    verdicts = verdicts_of(asked.preferences, on_real)
    accuracy = calibrate(asked.preferences, verdicts, asked.train_preferences)
    outputs = {
        "judgments.failed.jsonl": jsonl_bytes([*asked.failed, *unjudged]),
        "calibration.jsonl": jsonl_bytes(on_real),
        "calibration.json": json_bytes(accuracy | {"consistency": consistency(on_real)}),
        "judgments.jsonl": jsonl_bytes(judged),
    }
    manifest = JudgmentsManifest(
        fingerprint=asked.fingerprint,
        files={name: seal_of(content) for name, content in outputs.items()},
        kind=evaluation.eval.judge.kind,
        model=asked.judge.name,
        n_judgments=len(judged),
        n_failed=len(asked.failed) + len(unjudged),
        n_open=sum(row["reason"] == "not_judged" for row in unjudged),
        n_calibration_pairs=len(asked.preferences),
        calibration=accuracy["sentence"],
        created_at=datetime.now(UTC).isoformat(),
        **_habits(evaluation, asked, known),
    )
    write_json(folder / "judgments.manifest.json", manifest.model_dump(mode="json", exclude_unset=True))
    for name, content in outputs.items():
        write_bytes(folder / name, content)  # judgments.jsonl last: make reads it as "done"
    if manifest.n_open:
        _look_outdated(folder / "judgments.jsonl", folder / "replies.jsonl")
    return manifest, True


def _habits(evaluation: Evaluation, asked: Questions, known: Mapping[str, Judgment]) -> dict[str, Any]:
    """canaries and account, of a judge that reads and of one that costs."""
    found: dict[str, Any] = {}
    if asked.judge.canaries:
        held = canary_results(known, lambda comparison: comparison_key(comparison, asked.identity))
        found["canaries"] = Canaries(**held)
    if account := asked.judge.account(evaluation.work, _ledger(evaluation), asked.keys):
        found["account"] = Account(**account)
    return found


def _look_outdated(judgments: Path, replies: Path) -> None:
    """make compares times: what a budget cut short must look older than its inputs, so that the step runs
    again.
    """
    before = replies.stat().st_mtime - 1
    os.utime(judgments, (before, before))


def _ledger(evaluation: Evaluation) -> Ledger:
    return Ledger(evaluation.folder / "ledger.jsonl")


def _known(evaluation: Evaluation, asked: Questions, say: Say, again: bool) -> dict[str, Judgment]:
    """The log once every question has been asked: key -> judgment.

    Where an output was damaged, the log must give back what the manifest knows. A log that does not was
    changed too, and is
    made again from what it was made from: the ranker, or the stored answers. Raises UserError if those do not
    give it back.
    """
    folder, ledger = evaluation.folder, _ledger(evaluation)
    log, answers, manifest = (
        evaluation.work / "judgments.jsonl",
        evaluation.work / "answers.jsonl",
        folder / "judgments.manifest.json",
    )
    is_closed = _is_closed(folder, asked.fingerprint)
    hashes = {name: seal_in(manifest, name).get("sha256") for name in asked.wanted} if is_closed else {}

    def judge() -> dict[str, Judgment]:
        asked.judge.ask(list(asked.keys.values()), evaluation.work, ledger, say, again=again)
        return read_judgments(log)

    def differs(known: Mapping[str, Judgment]) -> bool:
        return any(
            seal_of(jsonl_bytes(_verdicts(known, asked.wanted[name])))["sha256"] != sha256
            for name, sha256 in hashes.items()
            if sha256
        )

    booked = _size(ledger.path)
    known = judge()
    if not differs(known) or booked != _size(ledger.path):  # what was asked anew may be another answer
        return known
    stored = {row.get("key") for row in read_dicts(answers, torn_tail=True)} if answers.exists() else set()
    if asked.judge.is_free or {*asked.of_systems, *asked.on_real} & known.keys() <= stored:
        log.unlink()
        known = judge()
    if not asked.judge.is_free and differs(known):
        raise UserError(
            f"{answers} was changed, and so were the files made from it: neither holds what {manifest} was "
            f"written for. Copy one of them back, for free. Without a copy, delete {answers} and {log} and "
            "run this again: everything is asked once more, which is paid for once more (the estimate and "
            "a question come first)."
        )
    return known


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _verdicts(known: Mapping[str, Judgment], keys: Sequence[str]) -> list[Judgment]:
    return [known[key] for key in keys if key in known and known[key].verdict is not None]


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


def _is_closed(folder: Path, fingerprint: str) -> bool:
    """All of these very questions were answered once: no budget stopped it."""
    found = manifest_in(folder / "judgments.manifest.json") or {}
    return found.get("fingerprint") == fingerprint and not found.get("n_open")


def _is_finished(folder: Path, fingerprint: str) -> bool:
    whole = all((folder / name).is_file() and not damage(folder / name) for name in OUTPUTS)
    return whole and _is_closed(folder, fingerprint)


def summary(folder: Path, manifest: JudgmentsManifest) -> str:
    """The step's outcome for the console: verdicts, how far the judge can be trusted and what it cost."""
    lines = [f"judge: {manifest.n_judgments:,} verdicts by {manifest.model}"]
    if manifest.n_failed:
        lines.append(
            f"  {manifest.n_failed:,} without a verdict, reasons in {folder / 'judgments.failed.jsonl'}"
        )
    if manifest.n_open:
        lines.append(
            f"  {manifest.n_open:,} of them are not judged yet: the same command goes on where it stopped"
        )
    if canary := manifest.canaries:
        lines.append(f"  canaries: {canary.held} of {canary.n} injected orders were not obeyed")
        if canary.obeyed:
            lines.append(
                f"  warning: the judge obeyed {', '.join(canary.obeyed)}: its verdict on a hostile reply "
                "may be the reply's own"
            )
    if account := manifest.account:
        tokens = f"{account.input_tokens:,} tokens in, {account.output_tokens:,} out"
        lines.append(
            f"  cost: ${account.usd:.4f} for {account.answers:,} answers ({tokens}), {account.batches} "
            "batches, over all runs"
        )
        if account.possibly_paid:
            lines.append(
                f"  of that possibly paid: ${account.possibly_paid_usd:.4f} for {account.possibly_paid} "
                "answers lost on their way"
            )
    return "\n".join([*lines, f"  {manifest.calibration}", f"wrote {folder / 'judgments.jsonl'}"])
