"""Several drafts of the tuned model to one tweet, the best by a ranker of likes first, and what moves each
score. So a person uses the model: it writes five, they post one.
"""

import html
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from demo.events import as_asked, problem_with, sampling_chosen, sentence_of
from demo.views import status_line, time_line
from demo.votes import Session
from lib.base.settings import SamplingConfig
from lib.data.x_length import MAX_POST, x_length

N_DRAFTS = 5
LEAST = 0.1  # of the score's 1 to 10: a smaller effect is not worth a word


@dataclass(frozen=True)
class Draft:
    """score: the ranker's, 1 to 10; None where there is no ranker, or no text. effects: (word, how much lower
    the score is without it), the strongest first.
    """

    text: str
    score: float | None = None
    effects: tuple[tuple[str, float], ...] = ()


WriteDrafts = Callable[[str, SamplingConfig], Iterator[Sequence[Draft]]]  # those that are there, in any order


def drafter(
    write: WriteDrafts, sampling: SamplingConfig, is_live: bool
) -> Callable[..., Iterator[tuple[Any, ...]]]:
    """What a click on the button answers: the list and the status, again and again. Nothing in blind mode:
    whoever knows drafts of the tuned model knows its reply.
    """

    def drafts(
        tweet: str, temperature: float, seed: float, blind: bool, session: Session
    ) -> Iterator[tuple[Any, ...]]:
        session.end, session.is_writing = "", True
        try:
            yield from listed(tweet, sampling_chosen(sampling, temperature, seed), session, blind)
        finally:
            session.is_writing = False

    def listed(
        tweet: str, chosen: SamplingConfig | None, session: Session, blind: bool
    ) -> Iterator[tuple[Any, ...]]:
        problem = problem_with(tweet or "") if is_live else None
        if problem or chosen is None or blind:
            said = problem or "Drafts need a seed and a temperature that fit, and Blind off."
            yield _view((), said, problem=True)
            return
        writing: Sequence[Draft] = ()
        yield _view(writing, "Writing…", busy=True)
        try:
            for writing in write(as_asked(tweet), chosen):
                session.drafts.update(draft.text for draft in writing)
                yield _view(writing, "Writing…" if is_live else "", busy=True)
                if session.end:
                    break
        except Exception as error:
            yield _view(writing, sentence_of(error), problem=True)
            return
        cleared = session.end == "clear"
        yield _view(() if cleared else writing, "Stopped." if session.end == "stop" else "")

    return drafts


def _view(drafts: Sequence[Draft], said: str, busy: bool = False, problem: bool = False) -> tuple[Any, ...]:
    """The list, the status, and Clear, Blind and Stop."""
    import gradio as gr

    to_end_it = [gr.update(interactive=True) if busy else gr.skip()] * 3
    return drafts_list(drafts), status_line(said, problem), *to_end_it


def drafts_list(drafts: Sequence[Draft] = ()) -> str:
    """The drafts as HTML, the best first; every text escaped."""
    if not drafts:
        return ""
    ranked = sorted(drafts, key=lambda draft: -(draft.score or 0))
    items = "".join(f'<li><p dir="auto">{html.escape(draft.text)}</p>{_foot(draft)}</li>' for draft in ranked)
    how = (
        "Best first, by a ranker of the likes that replies in the training data got. It reads the words "
        "alone; its score is the place among those replies, 1 to 10."
    )
    return f'<h2>Drafts</h2><p class="quiet">{how if ranked[0].score else ""}</p><ol>{items}</ol>'


def _foot(draft: Draft) -> str:
    n = x_length(draft.text)
    score = "" if draft.score is None else f"{draft.score:.1f}"
    up, down = (_words([one for one in draft.effects if sign * one[1] >= LEAST]) for sign in (1, -1))
    parts = [score, f"lifted by {up}" if up else "", f"lowered by {down}" if down else ""]
    line = time_line(" · ".join(filter(None, parts)), f"{n:,} of {MAX_POST}", n > MAX_POST)
    return f'{line}<button type="button" class="copy">Copy</button>'


def _words(effects: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"“{word}” {'−+'[effect > 0]}{abs(effect):.1f}" for word, effect in effects[:3])
