"""The review of pairs by hand: queue, decisions, undo, progress. The terminal and the page show this core.

data/<set>/review/decisions.jsonl is the whole state. It is only ever appended to, one durable line per key,
so that a review can be stopped or killed at any moment; reading it again gives the same place.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from lib.base.characters import EMOJI
from lib.base.console import printable
from lib.base.errors import UserError
from lib.base.files import append_line, content_hash, read_jsonl
from lib.base.schema import Pair
from lib.base.settings import FilterConfig
from lib.data.decisions import Decision, holds_for, standing
from lib.data.doubts import Doubtful, duration, most_doubtful_first
from lib.data.text import clean_text, hidden_control_tokens, reply_length

Reason = Literal[
    "off_topic", "bland", "spam", "toxic", "needs_context", "unclear_language", "personal_data", "other"
]
REASONS: tuple[Reason, ...] = (
    "off_topic",
    "bland",
    "spam",
    "toxic",
    "needs_context",
    "unclear_language",
    "personal_data",
    "other",
)
SHORT = (
    "off topic",
    "bland",
    "spam",
    "toxic",
    "context",
    "language",
    "personal",
    "other",
)  # on the screen, in the same order
HELP = """\
k  keep the pair
d  drop the pair; a digit right after it says why
   1 off topic        5 needs context
   2 bland            6 unclear language
   3 spam, promotion  7 personal data
   4 toxic            8 other
e  edit the reply; the original stays on file
u  undo, also a decision of an earlier sitting
q  quit; everything is saved already
?  this help"""
LONG_PAUSE_S = 120  # a longer one was not spent on a pair


class Line(Decision):
    """A line as it is written here: an edit keeps the text that was there before."""

    original: str | None = None


@dataclass(frozen=True)
class Progress:
    """Pace of a sitting: per_minute and minutes_left are None until there is something to go by."""

    n: int
    n_total: int
    kept: int
    dropped: int
    edited: int
    per_minute: float | None
    minutes_left: float | None


class Review:
    """One sitting.

    Every decision names the pair that was on the screen, so that a key meant for another pair is refused.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        bounds: FilterConfig,
        path: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path, self.bounds, self._clock = path, bounds, clock
        self.queue = most_doubtful_first(pairs, bounds)
        self._items = {item.pair.id: item for item in self.queue}
        lines = read_jsonl(path, Decision, torn_tail=True) if os.path.lexists(path) else []
        decisions = standing(lines)
        # In the order of deciding: the last one is what undo takes back. One about a text that is another one
        # now counts no longer.
        self._decided = {
            one: line
            for one, line in decisions.items()
            if one in self._items and holds_for(line, self._items[one].pair)
        }
        self._again: str | None = None  # the pair that an undo came back to
        # Of an earlier sitting too: one that was killed between d and the digit still gets its reason.
        last = lines[-1].id if lines and lines[-1].decision == "drop" else None
        self._just_dropped = last if last in self._decided else None
        self._n_timed, self._busy_s, self._last_at = 0, 0.0, clock()

    @property
    def current(self) -> Doubtful | None:
        """The pair to decide on: the one undone last, else the most doubtful undecided one, else None."""
        if self._again is not None:
            return self._items[self._again]
        return next((item for item in self.queue if item.pair.id not in self._decided), None)

    @property
    def can_say_why(self) -> bool:
        """True after a drop, so that a digit gives its reason."""
        return self._just_dropped is not None

    @property
    def greeting(self) -> str:
        """The words before the first key of a sitting, and when the page is loaded again."""
        if self._just_dropped is not None and self._decided[self._just_dropped].reason is None:
            return "The last pair was dropped without a reason; a digit still gives it one."
        return "The most doubtful pairs come first." if self.current and not self._n_timed else ""

    def keep(self, shown: str) -> None:
        self._decide(shown, "keep")

    def drop(self, shown: str) -> None:
        """Drop at once: a question for the reason would cost a key on each of hundreds. `why` adds it."""
        self._decide(shown, "drop")
        self._just_dropped = shown

    def why(self, digit: int) -> str:
        """Give the drop just made its reason. Returns a sentence.

        Raises UserError where there is none, or no such digit.
        """
        if self._just_dropped is None:
            raise UserError("A digit says why a pair was dropped: press d first.")
        if not 1 <= digit <= len(REASONS):
            raise UserError(f"There are the digits 1 to {len(REASONS)}.")
        reason = REASONS[digit - 1]
        self._record(self._just_dropped, "drop", reason=reason)
        return f"Dropped: {reason.replace('_', ' ')}."

    def edit(self, shown: str, text: str) -> None:
        """Keep the pair with text as its reply.

        Raises UserError, a sentence, for a text that could not be trained on.
        """
        item = self._shown(shown)
        if tokens := hidden_control_tokens(text):
            raise UserError(f"{tokens[0]} is a control token of a language model. Take it out.")
        text = clean_text(
            text
        )  # the rules that every reply went through: what is on file is what is trained on
        if text == item.pair.reply:
            raise UserError("Nothing was changed. Esc closes the editor, then k keeps the reply as it is.")
        low, high = self.bounds.reply_chars
        length = reply_length(text)
        if not low <= length <= high:
            raise UserError(f"The reply has {length} characters; between {low} and {high} are allowed.")
        self._decide(shown, "edit", reply=text, original=item.pair.reply)

    def undo(self) -> str:
        """Take back the last decision, of whatever sitting, and come back to its pair.

        Returns a sentence; UserError if none is left.
        """
        if not self._decided:
            raise UserError("There is nothing to undo.")
        last = next(reversed(self._decided.values()))
        self._record(last.id, "undo")
        self._again, self._just_dropped = last.id, None
        self._tick(-1)
        return {
            "keep": "Undone: it was kept.",
            "drop": "Undone: it was dropped.",
            "edit": "Undone: it was edited.",
        }[last.decision]

    def progress(self) -> Progress:
        counts = Counter(decision.decision for decision in self._decided.values())
        n, n_total = len(self._decided), len(self.queue)
        per_minute = 60 * self._n_timed / self._busy_s if self._n_timed >= 3 and self._busy_s > 0 else None
        left = (n_total - n) / per_minute if per_minute else None
        return Progress(n, n_total, counts["keep"], counts["drop"], counts["edit"], per_minute, left)

    def reasons(self) -> Counter[str]:
        """Reasons of the drops, those without one as `no reason given`."""
        return Counter(
            line.reason or "no reason given" for line in self._decided.values() if line.decision == "drop"
        )

    def _shown(self, shown: str) -> Doubtful:
        item = self.current
        if item is None or item.pair.id != shown:
            raise UserError("That pair is not the current one any more; nothing was decided. This one is.")
        return item

    def _decide(self, shown: str, decision: Literal["keep", "drop", "edit"], **fields: str) -> None:
        self._shown(shown)
        self._record(shown, decision, **fields)
        self._again = self._just_dropped = None
        self._tick(1)

    def _record(self, pair_id: str, decision: Literal["keep", "drop", "edit", "undo"], **fields: str) -> None:
        sha = content_hash(self._items[pair_id].pair.reply)
        line = Line(id=pair_id, text_sha=sha, decision=decision, at=datetime.now(UTC), **fields)
        append_line(self.path, line)  # on disk first: what the screen says was decided is decided
        self._decided.pop(pair_id, None)
        if decision != "undo":
            self._decided[pair_id] = line

    def _tick(self, n: int) -> None:
        now = self._clock()
        pause, self._last_at = now - self._last_at, now
        if pause <= LONG_PAUSE_S:
            self._busy_s += pause
            self._n_timed = max(0, self._n_timed + n)


def shown(text: str) -> str:
    """A text to look at: what could act becomes `?`; emoji stay whole, their unprintable joiners too."""
    pieces, end = [], 0
    for emoji in EMOJI.finditer(text):
        pieces += [printable(text[end : emoji.start()]), emoji.group()]
        end = emoji.end()
    return "".join([*pieces, printable(text[end:])])


def numbers(pair: Pair) -> dict[str, str]:
    """The known facts about the reply, as a person reads them."""
    seen = pair.validation
    sure = "(X)" if seen is None or seen.language_confidence is None else f"{seen.language_confidence:.2f}"
    return {
        "likes": f"{pair.reply_likes:,}",
        "followers": f"{pair.reply_author_followers:,}",
        "after": duration(pair.reply_time_diff_seconds),
        "characters": f"{reply_length(pair.reply)}",
        "quality": "–" if pair.quality is None else f"{pair.quality:.2f}",
        "language": f"{seen.language} {sure}" if seen and seen.language else "–",
        "toxicity": f"{seen.toxicity:.2f}" if seen and seen.toxicity is not None else "–",
    }


def pace(progress: Progress) -> str:
    """`14 a minute, 52 min left`, or nothing yet."""
    if progress.per_minute is None or progress.minutes_left is None:
        return ""
    left = f", {duration(60 * progress.minutes_left)} left" if progress.n < progress.n_total else ""
    return f"{progress.per_minute:.0f} a minute{left}"
