"""What the page's events do: stream two replies, end them early, take a vote.

Each returns a value for every component it changes.
"""

import html
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from pydantic import ValidationError

from demo.votes import CHOICES, Choice, Round, Session, Votes, drawn_side
from lib.base.errors import UserError
from lib.base.settings import SamplingConfig
from lib.data.x_length import MAX_POST, x_length

GeneratePair = Callable[
    [str, SamplingConfig], Iterator[tuple[str, str]]
]  # tweet -> (base so far, tuned so far), again and again

MAX_TWEET_CHARS = 1000
SEEDS = 2**32
log = logging.getLogger(__name__)


def problem_with(tweet: str) -> str | None:
    """A sentence that says why tweet cannot be replied to; None if it can."""
    if not tweet.strip():
        return "Write or paste a tweet first."
    if len(tweet) > MAX_TWEET_CHARS:
        n, most = len(tweet), MAX_TWEET_CHARS
        return f"That is {n:,} characters. A tweet of at most {most:,} fits here; shorten it."
    return None


def streamer(generate_pair: GeneratePair, sampling: SamplingConfig) -> Callable[..., Iterator[tuple]]:
    def reply(tweet: str, temperature: float, seed: float, blind: bool, session: Session) -> Iterator[tuple]:
        session.round, session.end, session.is_writing = None, "", True
        try:
            yield from written(tweet, temperature, seed, blind, session)
        finally:
            session.is_writing = False

    def written(
        tweet: str, temperature: float, seed: float, blind: bool, session: Session
    ) -> Iterator[tuple]:
        problem, chosen = problem_with(tweet or ""), _chosen(sampling, temperature, seed)
        sides = {"base": _Side(), "tuned": _Side()}
        left = drawn_side() if blind else "base"
        view = partial(_view, [sides[left], sides["tuned" if left == "base" else "base"]])
        if problem or chosen is None:
            yield view(
                problem
                or "Temperature goes from 0 to 2, the seed from 0 to 4,294,967,295. "
                "Change them under Sampling.",
                problem=True,
            )
            return
        first = view("Writing…", busy=True)
        yield (*labels(True, value=""), *first[2:]) if blind else first
        # A browser can send half of a surrogate pair; no tokenizer takes it.
        asked = tweet.strip().encode("utf-8", "replace").decode("utf-8")
        try:
            for texts in generate_pair(asked, chosen):
                for side, text in zip(sides.values(), texts, strict=True):
                    side.show(text)
                yield view("Writing…", busy=True)
                if session.end:
                    break
            base, tuned = (side.text for side in sides.values())
            yield _ended(session, blind, Round(asked, base, tuned, left, chosen.seed), view)
        except UserError as error:
            yield view(str(error), problem=True, over=True)
        except Exception:  # the page gets a sentence, the console the traceback
            log.exception("generation failed")
            yield view(
                "The reply could not be written. The console where the demo runs says why.",
                problem=True,
                over=True,
            )

    return reply


def _ended(session: Session, blind: bool, written: Round, view: Callable[..., tuple]) -> tuple:
    """The page when no more words come.

    Opens the vote if both replies are whole, and new to whoever looks at them.
    """
    pair = (written.base, written.tuned)
    if session.end == "clear":
        return emptied(session)
    if session.end == "stop":
        return view("Stopped.")
    if not all(pair):
        return view("A reply came back empty. “Again” tries another seed.", over=True)
    if not blind:
        session.seen.add(pair)
    elif pair in session.seen:
        return view(
            "You have seen whose replies these are. “Again” writes new ones to vote on.",
            over=True,
        )
    else:
        session.round = written
    return view(over=True)


def voter(votes: Votes | None, choice: Choice, names: dict[str, str]) -> Callable[[Session], tuple]:
    import gradio as gr

    def vote(session: Session) -> tuple[Any, ...]:
        voted, session.round = session.round, None  # taken: a second click finds nothing to vote on
        if voted is None or votes is None:
            return gr.skip(), gr.skip(), gr.skip(), gr.skip(), *_ballot()
        try:
            votes.add(voted, choice)
        except (UserError, OSError):
            log.exception("vote not kept")
            session.round = voted
            said = status_line(
                "The vote could not be kept. The console where the demo runs says why.", problem=True
            )
            return gr.skip(), gr.skip(), said, gr.skip(), *_ballot()
        session.seen.add((voted.base, voted.tuned))
        labels = [
            gr.update(label=f"{letter} · {names[voted.name(where)]}")
            for letter, where in (("A", "left"), ("B", "right"))
        ]
        try:
            tally = status_line(votes.tally())
        except UserError as error:  # the vote is kept; somebody else's line in the file is no vote
            tally = status_line(str(error), problem=True)
        return *labels, status_line(""), tally, *_ballot(choice)

    return vote


def _view(
    sides: Sequence["_Side"],
    said: str = "",
    problem: bool = False,
    busy: bool = False,
    over: bool = False,
) -> tuple:
    """A value for every component that a reply changes, in the order of `shown`."""
    import gradio as gr

    texts, times = [side.text for side in sides], [side.line(over) for side in sides]
    whole = f"Left reply: {texts[0]} Right reply: {texts[1]}" if over and not said else ""
    lines = status_line(said, problem), status_line(whole), status_line("")
    to_end_it = [gr.update(interactive=True) if busy else gr.skip()] * 3
    return *texts, *times, *lines, *_ballot(), *to_end_it


def settled(session: Session) -> tuple[Any, ...]:
    """Which buttons are on when an answer is on the page: all but Stop, and the ballot for an open round.

    While a reply is written nothing changes: the end of its job comes here too.
    """
    import gradio as gr

    if session.is_writing:
        return (gr.skip(),) * 10
    is_open = session.round is not None
    return tuple(gr.update(interactive=is_on) for is_on in [True] * 5 + [False] + [is_open] * 4)


def emptied(session: Session) -> tuple:
    session.round, session.end = None, "clear"
    return _view([_Side(), _Side()])


def on_next(reply: Callable[..., Iterator[tuple]], tweets: Sequence[str]) -> Callable[..., Iterator[tuple]]:
    """Replies to the held-out tweet after the last one that this tab was shown, which goes into the box."""

    def following(
        tweet: str, temperature: float, seed: float, blind: bool, session: Session
    ) -> Iterator[tuple]:
        session.at = (session.at + 1) % len(tweets)
        shown = tweets[session.at]
        yield from _beside(shown, reply(shown, temperature, seed, blind, session))

    return following


def on_again(reply: Callable[..., Iterator[tuple]]) -> Callable[..., Iterator[tuple]]:
    """Other replies to the same tweet: by the next seed, which goes into its box."""

    def again(tweet: str, temperature: float, seed: float, blind: bool, session: Session) -> Iterator[tuple]:
        other = (int(seed or 0) + 1) % SEEDS
        yield from _beside(other, reply(tweet, temperature, other, blind, session))

    return again


def _beside(value: Any, views: Iterator[tuple]) -> Iterator[tuple]:
    """The views, the first with the value of one more box: afterwards somebody may be typing there."""
    import gradio as gr

    for view in views:
        yield value, *view
        value = gr.skip()


def _ballot(chosen: Choice | None = None) -> list[Any]:
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


class _Side:
    """One reply while it is being written, with the seconds to its first and to its last change."""

    def __init__(self) -> None:
        self.text = ""
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
        return time_line(times, f"{n:,} of {MAX_POST}", n > MAX_POST)


def _chosen(sampling: SamplingConfig, temperature: float, seed: float) -> SamplingConfig | None:
    try:
        return SamplingConfig.model_validate(
            {**sampling.model_dump(), "temperature": temperature, "seed": seed}
        )
    except ValidationError:
        return None


def status_line(text: str, problem: bool = False) -> str:
    shown = f'<span class="problem">{html.escape(text)}</span>' if problem else html.escape(text)
    return f'<div class="quiet">{shown}</div>'


def time_line(text: str = "", length: str = "", too_long: bool = False) -> str:
    kind = "count problem" if too_long else "count"
    said = f"{length}: too long for a post" if too_long else length
    return f'<div class="quiet line"><span>{html.escape(text)}</span><span class="{kind}">{said}</span></div>'
