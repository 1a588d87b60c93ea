"""Replies that another evaluation of the run has already: a second judge reads the same ones, and nothing is
written twice.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from lib.base.files import append_line, read_jsonl, write_bytes
from lib.base.schema import Reply
from lib.base.seals import damage, manifest_in
from lib.evaluate.replies import Stored, Task, missing, read_log, to_write

METRICS = "model_metrics.json"


def take_over(folder: Path, tasks: Sequence[Task], metrics_print: str, say: Callable[[str], None]) -> None:
    """Copy what is wanted from the evaluations beside folder into its log: replies under the same key, so of
    the same weights, conversation and seed, all from one engine; and the model's measures.
    """
    log = folder / "work" / "replies.jsonl"
    own = read_log(log)
    wanted = {task.key for task in missing(tasks, own)}
    beside = _beside(folder, "replies.jsonl") if wanted else []
    there = [own[task.key] for task in to_write(tasks) if task.key in own]
    found = {path.parent.name: [line for line in _lines(path) if line.key in wanted] for path in beside}
    kinds = Counter(map(_kind, there or [line for lines in found.values() for line in lines]))
    for name, lines in found.items():
        fitting = [line for line in lines if line.key in wanted and _kind(line) == kinds.most_common(1)[0][0]]
        for line in fitting:
            append_line(log, line)
            wanted.discard(line.key)
        if fitting:
            say(f"generate: {len(fitting):,} replies taken over from the evaluation {name}")
    if not is_measured(folder, metrics_print):
        measured = [path for path in _beside(folder, METRICS) if is_measured(path.parent, metrics_print)]
        if measured:
            write_bytes(folder / METRICS, measured[0].read_bytes())


def _lines(path: Path) -> list[Stored]:
    """The log behind a replies.jsonl, without what that file, whose hash is known, contradicts."""
    if damage(path):
        return []
    known = {_name(reply): reply for reply in read_jsonl(path, Reply)}
    lines = read_log(path.parent / "work" / path.name).values()
    return [line for line in lines if known.get(_name(line.reply), line.reply) == line.reply]


def _name(reply: Reply) -> tuple[str, str, int]:
    return reply.tweet_id, reply.system, reply.seed


def is_measured(folder: Path, fingerprint: str) -> bool:
    """True if model_metrics.json is there, whole, and of these weights and texts."""
    path = folder / METRICS
    return (manifest_in(path) or {}).get("fingerprint") == fingerprint and not damage(path)


def _beside(folder: Path, name: str) -> list[Path]:
    return [path for path in sorted(folder.parent.glob(f"*/{name}")) if folder not in path.parents]


def _kind(line: Stored) -> tuple[str, str]:
    return line.reply.engine, line.reply.quantization
