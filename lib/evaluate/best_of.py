"""Best of k: an arm writes several candidates to a tweet, a ranker of likes picks one. So a person uses the
model: write five, post one.

The ranker is the one of lib.judge.offline, fitted on the training pairs: it sees no held-out tweet, no judge.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean

from lib.base.files import read_jsonl
from lib.base.schema import Count, Id, Pair, Record, System, TestPrompt
from lib.base.seals import checked
from lib.data.text import normalised
from lib.evaluate.judge_records import BestOf
from lib.evaluate.replies import Stored, Task
from lib.judge.offline import Ranker, fit_ranker

CANDIDATES = "candidates.jsonl"


class Candidate(Record):
    """A line of candidates.jsonl. number: from 0, the reply of the arm itself. score: the ranker's, 1 to 10,
    None for an empty reply, which is never picked beside another one.
    """

    tweet_id: Id
    system: System
    number: Count
    reply: str
    score: float | None = None
    picked: bool


def picked(
    tasks: Sequence[Task],
    stored: Mapping[str, Stored],
    prompts: Iterable[TestPrompt],
    read_train: Callable[[], Sequence[Pair]],
) -> tuple[dict[str, Stored], list[Candidate]]:
    """(task's key -> the best of its candidates under the name of its system, all candidates).

    Of equal scores the first is picked. read_train: called only where something is to be picked.
    """
    best: dict[str, Stored] = {}
    rows: list[Candidate] = []
    if not (tasks := [task for task in tasks if task.of]):
        return best, rows
    ranker, tweets = fit_ranker(read_train()), {prompt.tweet_id: prompt.tweet for prompt in prompts}
    for task in tasks:
        drawn = [stored[one.key] for one in task.of]
        scores = [_score(ranker, tweets[task.tweet_id], one.reply.reply) for one in drawn]
        first = max(range(len(drawn)), key=lambda n: (scores[n] is not None, scores[n] or 0.0, -n))
        reply = drawn[first].reply.model_copy(update={"system": task.system})
        best[task.key] = Stored(key=task.key, leaks=drawn[first].leaks, reply=reply)
        rows += [
            Candidate(
                tweet_id=task.tweet_id,
                system=task.system,
                number=n,
                reply=one.reply.reply,
                score=scores[n],
                picked=n == first,
            )
            for n, one in enumerate(drawn)
        ]
    return best, rows


def _score(ranker: Ranker, tweet: str, reply: str) -> float | None:
    return ranker(tweet, reply) if reply.strip() else None


def read_best_of(folder: Path) -> dict[str, BestOf]:
    """system -> how its candidates came out; {} for an evaluation without any. Raises UserError for a damaged
    file.
    """
    by_system: dict[str, dict[str, list[Candidate]]] = defaultdict(lambda: defaultdict(list))
    for row in read_candidates(folder):
        by_system[row.system][row.tweet_id].append(row)
    return {system: best_of(list(tweets.values())) for system, tweets in by_system.items()}


def read_candidates(folder: Path) -> list[Candidate]:
    """The candidates of an evaluation, [] for one without any. Raises UserError for a damaged file."""
    path = checked(folder / CANDIDATES)
    return read_jsonl(path, Candidate) if path.is_file() else []


def best_of(tweets: Sequence[Sequence[Candidate]]) -> BestOf:
    """The measures of one system. tweets: the candidates of each, the arm's own reply first."""
    k = len(tweets[0])
    words = [[frozenset(normalised(one.reply).split()) for one in drawn] for drawn in tweets]
    texts = [[normalised(one.reply) for one in drawn] for drawn in tweets]
    return BestOf(
        k=k,
        n=len(tweets),
        distinct=fmean(len(set(own)) / k for own in texts),
        diversity=fmean(1 - fmean(_common(a, b) for a, b in combinations(own, 2)) for own in words),
        first_picked=fmean(drawn[0].picked for drawn in tweets),
        gain=fmean(_gain(drawn) for drawn in tweets),
    )


def _common(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other) if one | other else 1.0


def _gain(drawn: Sequence[Candidate]) -> float:
    """Of the picked one over the first; an empty reply counts as the lowest score, 1."""
    best = next(one for one in drawn if one.picked)
    return (best.score or 1.0) - (drawn[0].score or 1.0)
