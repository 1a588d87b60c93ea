"""The log of a field test: every draw, draft, post and discard is one durable line, and no line says the arm.

A draw that was made stays made: the same tweet gets the same draft again, and a number is given once.
"""

import contextlib
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from lib.base.errors import UserError
from lib.base.files import append_line, content_hash, lock, read_jsonl
from lib.base.schema import Id, Record, Text, Utc
from lib.evaluate.field_plan import FieldPlan

WAIT_S, ATTEMPTS = 0.05, 200  # for another command's turn, which takes milliseconds
SKEW = timedelta(minutes=2)  # between this machine's clock and X's
# A post's address, whatever stands around it. No other site has replies that X counts the likes of.
_POST = re.compile(
    r"(?:https?://)?(?:www\.|mobile\.)?(?:x|twitter)\.com/(?:i/web|\w{1,30})/status(?:es)?/(\d{15,20})\S*"
)


class Line(Record):
    """A line of field/log.jsonl. number: of the draw, from 1. sha256: of plan.json, in the first line."""

    event: Literal["plan", "draw", "draft", "posted", "discarded"]
    at: Utc
    sha256: str | None = None
    number: int | None = None
    tweet_id: Id | None = None  # of the tweet that is replied to, where its link was given
    tweet: Text | None = None
    reply: str | None = None
    post_id: Id | None = None
    link: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Draft:
    """One draw and what became of it. reply: None while it is not written yet."""

    number: int
    drawn_at: datetime
    tweet: str
    tweet_id: str | None
    reply: str | None = None
    post_id: str | None = None
    link: str | None = None
    posted_at: datetime | None = None
    discarded: str | None = None

    @property
    def is_open(self) -> bool:
        return self.post_id is None and self.discarded is None


class FieldLog:
    """The drafts of field/log.jsonl, under a plan. Raises UserError where plan.json is not the log's own."""

    def __init__(self, folder: Path, plan: FieldPlan) -> None:
        self.path, self.plan, self._lock = folder / "log.jsonl", plan, folder / "log.lock"
        with self._turn():
            lines, sha256 = self._lines(), content_hash(folder / "plan.json")
            if not lines:
                self._append(event="plan", sha256=sha256)
            elif lines[0].sha256 != sha256:
                raise UserError(
                    f"{folder / 'plan.json'} was changed after {self.path} was begun, so its result would "
                    "prove nothing. Copy the plan back from a backup, or move the folder away and begin anew."
                )

    def drafts(self) -> dict[int, Draft]:
        """number -> draft. Only the planned number of posts counts, the first ones."""
        found: dict[int, Draft] = {}
        for line in self._lines():
            draft = found.get(line.number or 0)
            if line.event == "draw" and draft is None and line.number and line.tweet:
                found[line.number] = Draft(line.number, line.at, line.tweet, line.tweet_id)
            elif draft is None:
                continue  # the plan; or what `forget` left of a draft
            elif line.event == "draft" and draft.reply is None:
                found[draft.number] = replace(draft, reply=line.reply or "")
            elif line.event == "posted" and draft.is_open and line.post_id:
                changes = {"post_id": line.post_id, "link": line.link, "posted_at": time_of(line.post_id)}
                found[draft.number] = replace(draft, **changes)
            elif line.event == "discarded" and draft.is_open:
                found[draft.number] = replace(draft, discarded=line.reason or "")
        return found

    def draw(self, tweet: str, tweet_id: str | None = None) -> Draft:
        """The draft of this tweet: the one that it has, or the next number, written before anything else."""
        with self._turn():
            drafts = self.drafts()
            for draft in drafts.values():
                # Two tweets may have the same words: where both addresses are known, they decide.
                if (tweet_id == draft.tweet_id) if tweet_id and draft.tweet_id else tweet == draft.tweet:
                    return draft
            n_left = self.plan.n_posts - sum(draft.discarded is None for draft in drafts.values())
            if n_left <= 0:
                n_open = sum(draft.is_open for draft in drafts.values())
                raise UserError(
                    f"All {self.plan.n_posts} drafts of the plan are drawn"
                    + (
                        f", and {n_open} of them wait for their post: POSTED=<link> DRAFT=<n>."
                        if n_open
                        else "."
                    )
                )
            # Lines that `forget` took away have had their numbers: none is given twice.
            number = 1 + max([line.number or 0 for line in self._lines()], default=0)
            self._append(event="draw", number=number, tweet=tweet, tweet_id=tweet_id)
            return self.drafts()[number]

    def write(self, number: int, reply: str) -> Draft:
        """Keep a draft's text; an empty one is discarded at once. The first text that was kept stays."""
        with self._turn():
            if self.drafts()[number].reply is None:
                self._append(event="draft", number=number, reply=reply)
                if not reply:
                    self._append(event="discarded", number=number, reason="empty")
            return self.drafts()[number]

    def post(self, number: int, link: str) -> Draft:
        """Record what was posted. Raises UserError for a link that cannot be this draft's post."""
        post_id = post_in(link)[1]
        if post_id is None:
            raise UserError(f"{link[:100]!r} is no address of a post: https://x.com/<you>/status/<number>.")
        with self._turn():
            drafts = self.drafts()
            draft = self._open(number, drafts)
            if used := [other.number for other in drafts.values() if other.post_id == post_id]:
                raise UserError(f"This post is recorded already, for draft {used[0]}.")
            if post_id in {other.tweet_id for other in drafts.values()}:
                raise UserError("This is the address of the tweet. Copy that of your reply.")
            if not draft.drawn_at - SKEW <= time_of(post_id) <= datetime.now(UTC) + SKEW:
                raise UserError(
                    f"This post is of {time_of(post_id):%Y-%m-%d %H:%M} UTC, and draft {number} was drawn "
                    f"at {draft.drawn_at:%Y-%m-%d %H:%M}: it cannot be its reply. Copy your reply's address."
                )
            self._append(
                event="posted", number=number, post_id=post_id, link=f"https://x.com/i/status/{post_id}"
            )
            return self.drafts()[number]

    def discard(self, number: int, reason: str) -> Draft:
        """Record that a draft will not be posted."""
        with self._turn():
            self._open(number, self.drafts())
            self._append(event="discarded", number=number, reason=reason[:200] or "not said")
            return self.drafts()[number]

    def _open(self, number: int, drafts: dict[int, Draft]) -> Draft:
        draft = drafts.get(number)
        if draft is None:
            raise UserError(
                f"There is no draft {number}. `make field RUN={self.plan.run}` lists those that wait."
            )
        if not draft.is_open:
            what = "posted" if draft.post_id else "discarded"
            raise UserError(f"Draft {number} was {what} before, and what is recorded stays.")
        return draft

    def _lines(self) -> list[Line]:
        return read_jsonl(self.path, Line, torn_tail=True) if self.path.exists() else []

    def _append(self, **fields: Any) -> None:
        append_line(self.path, Line(at=datetime.now(UTC).replace(microsecond=0), **fields))

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """One command at a time reads and writes; the others wait for their turn."""
        with ExitStack() as stack:
            for attempt in range(ATTEMPTS):
                try:
                    stack.enter_context(lock(self._lock))
                    break
                except UserError:
                    if attempt + 1 == ATTEMPTS:
                        raise
                    time.sleep(WAIT_S)
            yield


def post_in(text: str) -> tuple[str, str | None]:
    """(the text without addresses of posts, the id of the last one). No address: None."""
    ids = _POST.findall(text)
    return _POST.sub("", text).strip(), ids[-1] if ids else None


def time_of(post_id: str) -> datetime:
    """The second in which X made an id of a post."""
    return datetime.fromtimestamp(((int(post_id) >> 22) + 1_288_834_974_657) // 1000, UTC)
