"""The replies that an evaluation needs, which of them are there already, and the log that keeps them.

work/replies.jsonl is the log: one durable line per reply, kept as a cache.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import append_line, content_hash, read_jsonl
from lib.base.schema import Count, Pair, Record, Reply, TestPrompt, drawn_from
from lib.base.settings import SamplingConfig
from lib.evaluate.evaluation import HUMAN
from lib.model.chat import Messages
from lib.model.generate import Engine, Generated
from lib.model.sampling import of_candidate

VERSION = 1  # of how a reply is made: raise it when the code would answer differently


class Stored(Record):
    """A line of the log. key: hash of everything the reply depends on."""

    key: str
    leaks: Count = 0
    reply: Reply


@dataclass(frozen=True)
class Task:
    """One reply that is wanted. human: the real reply, for the system of that name; no model is asked.

    candidate: of several replies of one system to one tweet. of: the candidates of which the best is wanted.
    """

    key: str
    tweet_id: str
    system: str
    conversation: Messages
    human: str | None = None
    candidate: int = 0
    of: tuple["Task", ...] = ()


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
            arm, k = drawn_from(system)
            turns = conversation_of(arm, prompt)
            made_of = [VERSION, prompt.tweet_id, arm, identity_of[arm], turns, sampling]
            # The first candidate is the arm's own reply, and fewer are the first of more.
            drawn = [
                Task(content_hash(*made_of, *([n] if n else [])), prompt.tweet_id, arm, turns, candidate=n)
                for n in range(k)
            ]
            best = Task(
                content_hash([one.key for one in drawn]), prompt.tweet_id, system, turns, of=(*drawn,)
            )
            tasks.append(best if k > 1 else drawn[0])
    return tasks


def to_write(tasks: Iterable[Task]) -> list[Task]:
    """The replies that a person or a model writes, each once: the candidates instead of the best of them."""
    return list({one.key: one for task in tasks for one in task.of or (task,)}.values())


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
    return [task for task in to_write(tasks) if task.human is None and task.key not in stored]


def answer_all(
    tasks: Sequence[Task],
    engine: Engine | None,
    log: Path,
    sampling: SamplingConfig,
    progress: Callable[[str], None],
) -> dict[str, Stored]:
    """Make what the log lacks, one durable line each; returns every written reply by key.

    Replies of another engine or quantization than the one at hand (a run that moved to another machine) are
    made anew: arms must be alike. engine None: nothing is missing but human replies.
    """
    stored = {
        key: line for key, line in read_log(log).items() if engine is None or _same_engine(line.reply, engine)
    }
    tasks = to_write(tasks)
    stored |= {task.key: Stored(key=task.key, reply=_human(task)) for task in tasks if task.human is not None}
    of_models = [task for task in tasks if task.human is None] if engine else []
    for system, candidate in dict.fromkeys((task.system, task.candidate) for task in of_models):
        own = [task for task in of_models if (task.system, task.candidate) == (system, candidate)]
        if not engine or not (todo := unfinished(own, stored, engine.batch)):
            continue
        other = {"candidate": candidate} if candidate else {}
        answers = engine.answer(system, [task.conversation for task in todo], **other)
        for n_done, (index, generated) in enumerate(answers, 1):
            task = todo[index]
            if task.key not in stored:
                stored[task.key] = Stored(
                    key=task.key, leaks=generated.n_leaks, reply=_reply(task, generated, engine, sampling)
                )
                append_line(log, stored[task.key])
            if n_done % 50 == 0 or n_done == len(todo):
                which = f"{system}, candidate {candidate + 1}" if candidate else system
                progress(f"generate: {which} {n_done} of {len(todo)}")
    return {task.key: stored[task.key] for task in tasks}


def _reply(task: Task, generated: Generated, engine: Engine, sampling: SamplingConfig) -> Reply:
    return Reply(
        tweet_id=task.tweet_id,
        system=task.system,
        reply=generated.text,
        engine=engine.name,
        quantization=engine.quantization,
        seed=of_candidate(sampling, task.candidate).seed,
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
