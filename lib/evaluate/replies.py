"""The replies that an evaluation needs, which of them are there already, and the file that holds them all.

work/replies.jsonl is the log: one durable line per reply, kept as a cache. replies.jsonl is written from it
in one piece, at the end: what was interrupted is never taken for finished.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import append_line, content_hash, jsonl_bytes, read_jsonl, write_bytes, write_json
from lib.base.schema import Count, Pair, Record, Reply, TestPrompt
from lib.base.seals import damage, manifest_in, seal_in, seal_of
from lib.base.settings import SamplingConfig
from lib.evaluate.evaluation import HUMAN
from lib.evaluate.steps import RepliesManifest
from lib.model.chat import Messages
from lib.model.generate import Engine, Generated

VERSION = 1  # of how a reply is made: raise it when the code would answer differently


class Stored(Record):
    """A line of the log. key: hash of everything the reply depends on."""

    key: str
    leaks: Count = 0
    reply: Reply


@dataclass(frozen=True)
class Task:
    """One reply that is wanted. human: the real reply, for the system of that name; no model is asked."""

    key: str
    tweet_id: str
    system: str
    conversation: Messages
    human: str | None = None


def plan(
    systems: Sequence[str],
    prompts: Sequence[TestPrompt],
    conversation_of: Callable[[str, TestPrompt], Messages],
    identity_of: Mapping[str, Any],
    sampling: SamplingConfig,
) -> list[Task]:
    """The tasks, tweet by tweet, systems in their order.

    identity_of: per system, what names its weights and server.
    """
    tasks = []
    for prompt in prompts:
        for system in systems:
            if system == HUMAN:
                if prompt.human_reply:
                    key = content_hash(HUMAN, prompt.tweet_id, prompt.human_reply)
                    tasks.append(Task(key, prompt.tweet_id, system, [], prompt.human_reply))
                continue
            turns = conversation_of(system, prompt)
            key = content_hash(VERSION, prompt.tweet_id, system, identity_of[system], turns, sampling)
            tasks.append(Task(key, prompt.tweet_id, system, turns))
    return tasks


def conversations(
    prompt: str, others: Mapping[str, str], examples: Mapping[str, Sequence[Pair]]
) -> Callable[[str, TestPrompt], Messages]:
    """(system, tweet) -> conversation. others: another run -> the prompt it was trained with.

    examples: tweet_id -> few-shot pairs.
    """
    from lib.model.chat import messages

    def conversation(system: str, test: TestPrompt) -> Messages:
        return messages(
            others.get(system, prompt), test.tweet, examples[test.tweet_id] if system == "fewshot" else ()
        )

    return conversation


def read_log(log: Path) -> dict[str, Stored]:
    """key -> line; a last line cut off by a crash is not one."""
    return {stored.key: stored for stored in read_jsonl(log, Stored, torn_tail=True)} if log.exists() else {}


def missing(tasks: Iterable[Task], stored: Mapping[str, Stored]) -> list[Task]:
    """Tasks that a model still has to answer."""
    return [task for task in tasks if task.human is None and task.key not in stored]


def answer_all(
    tasks: Sequence[Task],
    engine: Engine | None,
    log: Path,
    sampling: SamplingConfig,
    progress: Callable[[str], None],
) -> dict[str, Stored]:
    """Make what the log lacks, one durable line each; returns every task's reply by key.

    Replies of another engine or quantization than the one at hand (a run that moved to another machine) are
    made anew: arms must be alike. engine None: nothing is missing but human replies.
    """
    stored = {
        key: line for key, line in read_log(log).items() if engine is None or _same_engine(line.reply, engine)
    }
    stored |= {task.key: Stored(key=task.key, reply=_human(task)) for task in tasks if task.human is not None}
    for system in dict.fromkeys(task.system for task in tasks if task.human is None):
        todo = (
            unfinished([task for task in tasks if task.system == system], stored, engine.batch)
            if engine
            else []
        )
        if not engine or not todo:
            continue
        answers = engine.answer(system, [task.conversation for task in todo])
        for n_done, (index, generated) in enumerate(answers, 1):
            task = todo[index]
            if task.key not in stored:
                stored[task.key] = Stored(
                    key=task.key, leaks=generated.n_leaks, reply=_reply(task, generated, engine, sampling)
                )
                append_line(log, stored[task.key])
            if n_done % 50 == 0 or n_done == len(todo):
                progress(f"generate: {system} {n_done} of {len(todo)}")
    return {task.key: stored[task.key] for task in tasks}


def _reply(task: Task, generated: Generated, engine: Engine, sampling: SamplingConfig) -> Reply:
    return Reply(
        tweet_id=task.tweet_id,
        system=task.system,
        reply=generated.text,
        engine=engine.name,
        quantization=engine.quantization,
        seed=sampling.seed,
        tokens=generated.n_tokens,
        seconds=round(generated.seconds, 3),
    )


def unfinished(tasks: Sequence[Task], stored: Mapping[str, Stored], batch: int) -> list[Task]:
    """The tasks of every batch that lacks a reply.

    Whole batches: a row's last digits depend on the rows it is computed with.
    """
    batches = [tasks[start : start + batch] for start in range(0, len(tasks), batch)]
    return [task for rows in batches if any(task.key not in stored for task in rows) for task in rows]


def _same_engine(reply: Reply, engine: Engine) -> bool:
    return reply.system == HUMAN or (reply.engine, reply.quantization) == (engine.name, engine.quantization)


def _human(task: Task) -> Reply:
    return Reply(
        tweet_id=task.tweet_id,
        system=HUMAN,
        reply=task.human or "",
        engine=HUMAN,
        quantization="none",
        seed=0,
        tokens=0,
        seconds=0.0,
    )


def refuse_unlike_arms(replies: Iterable[Reply]) -> None:
    """Raise UserError if systems differ in engine or quantization: Q4_K_M against NF4 would be measured as
    well as the training.
    """
    kinds: dict[tuple[str, str], set[str]] = {}
    for reply in replies:
        if reply.system != HUMAN:
            kinds.setdefault((reply.engine, reply.quantization), set()).add(reply.system)
    if len(kinds) > 1:
        found = "; ".join(
            f"{'/'.join(kind)}: {', '.join(sorted(systems))}" for kind, systems in sorted(kinds.items())
        )
        raise UserError(
            f"The systems differ in engine or quantization ({found}). Generate all of them the same way, "
            "then compare."
        )


def write_replies(
    folder: Path, tasks: Sequence[Task], stored: Mapping[str, Stored], fingerprint: str
) -> RepliesManifest:
    """The manifest, with the hash of what follows; then replies.jsonl whole, in the order of the tasks."""
    replies = [stored[task.key].reply for task in tasks]
    refuse_unlike_arms(replies)
    content, metrics = jsonl_bytes(replies), folder / "model_metrics.json"
    systems = list(dict.fromkeys(task.system for task in tasks))
    manifest = RepliesManifest(
        fingerprint=fingerprint,
        files={"replies.jsonl": seal_of(content)}
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
    write_bytes(folder / "replies.jsonl", content)  # last: make reads this file as "done"
    return manifest


def finished(folder: Path, fingerprint: str) -> bool:
    """True if replies.jsonl is whole, untouched, and made from the same content."""
    path, manifest = folder / "replies.jsonl", manifest_in(folder / "replies.manifest.json") or {}
    return path.is_file() and manifest.get("fingerprint") == fingerprint and not damage(path)


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
    of_models = [task for task in tasks if task.human is None]
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
