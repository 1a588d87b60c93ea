"""The crowd at work: who sees which pairs, in an order of their own, and one durable line per answer.

Which system wrote what is not known here. A person is a Prolific id; it stands in this log and nowhere else.
"""

import re
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs

from pydantic import Field

from lib.base.files import append_line, content_hash, read_jsonl
from lib.base.schema import Record, Utc
from lib.evaluate.crowd_study import N_CHECKS, Study
from lib.evaluate.people_page import BALLOT, Item

_ID = re.compile(r"[0-9A-Za-z]{1,64}")
CHOICES = tuple(choice for choice, _ in BALLOT.values())
# Post, a reply that answers it, one that is no reply at all. Nobody who reads is in doubt.
BROKEN = (
    (
        "My train was cancelled and I walked home six kilometres in the rain.",
        "Six kilometres in the rain deserves a hot bath and a full refund.",
        "the the of null null 404 the reply reply reply of the %s %s",
    ),
    (
        "I baked bread for the first time today and it is hard as a stone.",
        "Every baker has built one brick. Slice it thin, call it toast, try again.",
        "qwjk lzzt bread? 7 7 7 7 undefined undefined lorem vvv",
    ),
)
INSTRUCTED = (
    "This one only checks that you read. Whatever the two replies say, please choose “Both bad”.",
    "What a lovely photo, where was it taken?",
    "Congratulations to the whole team!",
)


class Line(Record):
    """A line of human/crowd/log.jsonl. begun: with the ids of all that is asked, in order. again: another
    submission of the same person.
    """

    event: Literal["begun", "again", "answer"]
    at: Utc
    person: str
    study: str = ""
    session: str = ""
    items: list[str] = Field([])
    item: str = ""
    choice: str = ""


@dataclass(frozen=True)
class Visitor:
    """Who comes, as the address says it."""

    person: str
    study: str
    session: str


@dataclass
class Work:
    """What one person was asked, and has answered: item -> (choice, when)."""

    items: list[str]
    begun_at: datetime
    study: str
    session: str
    answers: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    n_again: int = 0

    @property
    def is_done(self) -> bool:
        return len(self.answers) == len(self.items)


def visitor(query: str, study: Study) -> Visitor | None:
    """Who an address names (?key=...&PROLIFIC_PID=...); None unless it is the study's own and whole."""
    try:
        values = parse_qs((query or "").removeprefix("?"), max_num_fields=20)
    except ValueError:
        return None
    given = [values.get(name, [""]) for name in ("key", "PROLIFIC_PID", "STUDY_ID", "SESSION_ID")]
    if any(len(value) != 1 for value in given) or given[0][0] != study.key:
        return None
    ids = [value[0] for value in given[1:]]
    return Visitor(*ids) if all(map(_ID.fullmatch, ids)) else None


def checks(study: Study) -> dict[str, tuple[dict[str, str], str]]:
    """id -> (the pair as it is shown, the right choice) of the attention checks; ids look like all others."""
    found = {}
    for n, (tweet, good, bad) in enumerate(BROKEN):
        name = "i" + content_hash(["check", study.key, n])[:15]
        swapped = int(name[1:9], 16) % 2 == 1
        a, b = (bad, good) if swapped else (good, bad)
        found[name] = (
            {"item": name, "tweet": tweet, "reply_a": a, "reply_b": b},
            "B" if swapped else "A",
        )
    name = "i" + content_hash(["check", study.key, len(BROKEN)])[:15]
    tweet, a, b = INSTRUCTED
    found[name] = ({"item": name, "tweet": tweet, "reply_a": a, "reply_b": b}, "both_bad")
    return found


def read_work(path: Path) -> dict[str, Work]:
    """person -> work, from the log. The first answer to an item counts."""
    found: dict[str, Work] = {}
    for line in read_jsonl(path, Line, torn_tail=True) if path.exists() else []:
        work = found.get(line.person)
        if line.event == "begun" and work is None:
            found[line.person] = Work(line.items, line.at, line.study, line.session)
        elif line.event == "again" and work:
            work.n_again += 1
        elif line.event == "answer" and work and line.item in work.items:
            work.answers.setdefault(line.item, (line.choice, line.at))
    return found


class Crowd:
    """The pairs of a study and its log. Safe for several people at once, each in any number of tabs."""

    def __init__(self, study: Study, items: Sequence[Item], path: Path) -> None:
        self.study, self.path, self._turn = study, path, threading.Lock()
        self._checks = checks(study)
        self._shown: Mapping[str, dict[str, str]] = {item.id: item.shown for item in items} | {
            name: shown for name, (shown, _) in self._checks.items()
        }
        self._items = [item.id for item in items]
        self.work = read_work(path)

    def begin(self, who: Visitor) -> None:
        """Give a new person the pairs that fewest people have, in an order of their own."""
        with self._turn:
            work = self.work.get(who.person)
            if work is None:
                items = self._drawn(who.person)
                line = self._keep("begun", who.person, study=who.study, session=who.session, items=items)
                self.work[who.person] = Work(items, line.at, who.study, who.session)
            elif work.session != who.session:
                self._keep("again", who.person, study=who.study, session=who.session)
                work.n_again += 1

    def open_pair(self, person: str) -> dict[str, str] | None:
        """The next pair of a person as it is shown, without system or tweet id; None after the last one."""
        work = self.work[person]
        name = next((item for item in work.items if item not in work.answers and item in self._shown), None)
        return None if name is None else self._shown[name]

    def give(self, person: str, item: str, choice: str) -> None:
        """Keep one answer, once: a double click adds nothing, nor does what was never asked."""
        with self._turn:
            work = self.work.get(person)
            if work is None or item not in work.items or item in work.answers or choice not in CHOICES:
                return
            line = self._keep("answer", person, item=item, choice=choice)
            work.answers[item] = (choice, line.at)

    def _drawn(self, person: str) -> list[str]:
        n_asked = Counter(item for work in self.work.values() for item in work.items)

        def drawn(item: str) -> str:
            return content_hash(["crowd", self.study.key, person, item])

        items = sorted(self._items, key=lambda item: (n_asked[item], drawn(item)))[: self.study.n_items]
        items.sort(key=drawn)
        for n, check in enumerate(sorted(self._checks, key=drawn), 1):
            items.insert(n * (len(items) + 1) // (N_CHECKS + 1), check)
        return items

    def _keep(self, event: Literal["begun", "again", "answer"], person: str, **fields: object) -> Line:
        line = Line.model_validate({"event": event, "at": datetime.now(UTC), "person": person, **fields})
        append_line(self.path, line)
        return line
