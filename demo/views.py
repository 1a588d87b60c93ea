"""What the page shows: both sides while they are written, the lines around them, and which buttons are on.

Each view is a value for every component that a reply changes.
"""

import html
import time
from collections.abc import Mapping, Sequence
from typing import Any

from demo.votes import CHOICES, Choice, Session
from lib.data.x_length import MAX_POST, x_length

N_BUTTONS = 11  # of the actions and the ballot
MAX_HISTORY = 50
LEFT: Choice = "left"
RIGHT: Choice = "right"


def view_of(
    sides: Sequence["Side"],
    said: str = "",
    problem: bool = False,
    busy: bool = False,
    over: bool = False,
) -> tuple:
    """A value for every component that a reply changes, as `shown` has them. sides: left, right, few-shot."""
    import gradio as gr

    texts, times = [side.text for side in sides], [side.line(over) for side in sides]
    third = f" Few-shot reply: {texts[2]}" if texts[2] else ""
    whole = f"Left reply: {texts[0]} Right reply: {texts[1]}{third}" if over and not said else ""
    lines = status_line(said, problem), status_line(whole), status_line(""), ""
    to_end_it = [gr.update(interactive=True) if busy else gr.skip()] * 3
    return *texts[:2], *times[:2], *lines, *ballot(), *to_end_it, texts[2], times[2]


def emptied(session: Session) -> tuple:
    session.round, session.end = None, "clear"
    return view_of([Side(), Side(), Side()])


def settled(names: dict[str, str], blind: bool, session: Session) -> tuple[Any, ...]:
    """What can be clicked when an answer is on the page: all but Stop, and the ballot for an open round; and
    what was written so far.

    While a reply is written nothing changes: the end of its job comes here too.
    """
    import gradio as gr

    if session.is_writing:
        return (gr.skip(),) * (N_BUTTONS + 2)
    is_open = session.round is not None
    is_on = [True] * 5 + [False, not blind] + [is_open] * 4
    past = gr.update(visible=bool(session.history)), history_list(session, {} if blind else names)
    return *(gr.update(interactive=one) for one in is_on), *past


def history_list(session: Session, names: Mapping[str, str]) -> str:
    """Every tweet of this tab with its two replies, the last first, as HTML; every text escaped.

    names: {} in blind mode. A pair that nobody has told the names of keeps its letters.
    """
    rows = ""
    for one in reversed(session.history[-MAX_HISTORY:]):
        known = names if (one.base, one.tuned) in session.seen else {}
        sides = "".join(
            f"<dt>{html.escape(known.get(one.name(where), letter))}</dt>"
            f'<dd dir="auto">{html.escape(one.base if one.name(where) == "base" else one.tuned)}</dd>'
            for letter, where in (("A", LEFT), ("B", RIGHT))
        )
        rows += f'<li><p dir="auto">{html.escape(one.tweet)}</p><dl>{sides}</dl></li>'
    return f"<ol reversed>{rows}</ol>"


def ballot(chosen: Choice | None = None) -> list[Any]:
    """The four buttons. chosen: the one that was pressed, marked until the next reply."""
    import gradio as gr

    return [
        gr.update(
            value=f"✓ {said}" if choice == chosen else said,
            variant="primary" if choice == chosen else "secondary",
        )
        for choice, said in CHOICES.values()
    ]


def labels(blind: bool, names: dict[str, str] | None = None, **more: Any) -> list[Any]:
    """What stands above the boxes until a vote says more. names: needed unless blind."""
    import gradio as gr

    return [
        gr.update(label=label, **more)
        for label in (("A", "B") if blind or names is None else (names["base"], names["tuned"]))
    ]


class Side:
    """One reply while it is being written, with the seconds to its first and to its last change."""

    def __init__(self, is_live: bool = True) -> None:
        self.text, self.is_live = "", is_live
        self.start = time.monotonic()
        self.first_s: float | None = None
        self.last_s = 0.0

    def show(self, text: str) -> None:
        if text != self.text:
            self.last_s = time.monotonic() - self.start
            self.first_s = self.last_s if self.first_s is None else self.first_s
            self.text = text

    def line(self, over: bool = False) -> str:
        """The seconds, and the length as X will count it."""
        if self.first_s is None:
            return time_line()
        n = x_length(self.text)
        times = f"first word {self.first_s:.1f} s" + (f" · all {self.last_s:.1f} s" if over else "")
        times = times if self.is_live else ""
        return time_line(times, f"{n:,} of {MAX_POST}", n > MAX_POST)


def status_line(text: str, problem: bool = False) -> str:
    shown = f'<span class="problem">{html.escape(text)}</span>' if problem else html.escape(text)
    return f'<div class="quiet">{shown}</div>'


def time_line(text: str = "", length: str = "", too_long: bool = False) -> str:
    kind = "count problem" if too_long else "count"
    said = f"{length}: too long for a post" if too_long else length
    return f'<div class="quiet line"><span>{html.escape(text)}</span><span class="{kind}">{said}</span></div>'
