"""replies.jsonl of an evaluation: written from the log in one piece, at the end, so that what was interrupted
is never taken for finished; beside it the candidates of which the best were picked.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from lib.base.errors import UserError
from lib.base.files import jsonl_bytes, write_bytes, write_json
from lib.base.seals import damage, manifest_in, seal_in, seal_of
from lib.evaluate.best_of import CANDIDATES, Candidate
from lib.evaluate.replies import Stored, Task, refuse_unlike_arms, to_write
from lib.evaluate.steps import RepliesManifest


def write_replies(
    folder: Path,
    tasks: Sequence[Task],
    stored: Mapping[str, Stored],
    fingerprint: str,
    candidates: Sequence[Candidate] = (),
) -> RepliesManifest:
    """The manifest, with the hashes of what follows; then the candidates, if some were drawn; then
    replies.jsonl whole, in the order of the tasks.
    """
    replies = [stored[task.key].reply for task in tasks]
    refuse_unlike_arms(replies)
    content, metrics, drawn = jsonl_bytes(replies), folder / "model_metrics.json", jsonl_bytes(candidates)
    systems = list(dict.fromkeys(task.system for task in tasks))
    manifest = RepliesManifest(
        fingerprint=fingerprint,
        files={"replies.jsonl": seal_of(content)}
        | ({CANDIDATES: seal_of(drawn)} if candidates else {})
        | ({metrics.name: seal_of(metrics.read_bytes())} if metrics.is_file() else {}),
        n={system: sum(task.system == system for task in tasks) for system in systems},
        n_empty={
            system: sum(not reply.reply for reply in replies if reply.system == system) for system in systems
        },
        leaks={
            system: sum(stored[task.key].leaks for task in tasks if task.system == system)
            for system in systems
        },
        created_at=datetime.now(UTC).isoformat(),
    )
    write_json(folder / "replies.manifest.json", manifest.model_dump(mode="json", exclude={"replies_sha256"}))
    if candidates:
        write_bytes(folder / CANDIDATES, drawn)
    write_bytes(folder / "replies.jsonl", content)  # last: make reads this file as "done"
    return manifest


def finished(folder: Path, fingerprint: str) -> bool:
    """True if replies.jsonl and its candidates are whole, untouched, and made from the same content."""
    path, manifest = folder / "replies.jsonl", manifest_in(folder / "replies.manifest.json") or {}
    files = [path, *([folder / CANDIDATES] if CANDIDATES in manifest.get("files", {}) else [])]
    return manifest.get("fingerprint") == fingerprint and all(
        file.is_file() and not damage(file) for file in files
    )


def refuse_changed_log(
    folder: Path,
    tasks: Sequence[Task],
    before: Mapping[str, Stored],
    stored: Mapping[str, Stored],
    fingerprint: str,
) -> None:
    """Raise UserError if a damaged replies.jsonl would be written again from a log that was changed as well.

    before: the log when the step began. Nothing can be said where a reply was made since, or another set of
    replies is wanted.
    """
    manifest, log = folder / "replies.manifest.json", folder / "work" / "replies.jsonl"
    known = seal_in(manifest, "replies.jsonl").get("sha256")
    of_models = [task for task in to_write(tasks) if task.human is None]
    same = (manifest_in(manifest) or {}).get("fingerprint") == fingerprint and all(
        task.key in before for task in of_models
    )
    if not known or not same or any(before[task.key] != stored[task.key] for task in of_models):
        return
    if seal_of(jsonl_bytes(stored[task.key].reply for task in tasks))["sha256"] != known:
        raise UserError(
            f"{log} was changed, and so was {folder / 'replies.jsonl'}: neither holds the replies that "
            f"{manifest} was written for. Copy one of them back. Or delete {log} and run this again: all "
            "replies are generated anew, which costs time on the GPU, and those that come out differently "
            "are judged again, which the judge step asks about before it costs anything."
        )
