"""What the page's events do: stream two replies, end them early, take a vote."""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from pydantic import ValidationError

from demo.views import Side, ballot, emptied, labels, status_line, view_of
from demo.votes import Choice, Round, Session, Votes, drawn_side
from lib.base.errors import UserError
from lib.base.settings import SamplingConfig

GeneratePair = Callable[
    [str, SamplingConfig], Iterator[tuple[str, ...]]
]  # tweet -> (base so far, tuned so far), again and again; then, where it has one, with the few-shot reply

MAX_TWEET_CHARS = 1000
SEEDS = 2**32
OTHERS = {True: "“Again” writes others.", False: "“Next tweet” has others."}  # by is_live
log = logging.getLogger(__name__)


def problem_with(tweet: str) -> str | None:
    """A sentence that says why tweet cannot be replied to; None if it can."""
    if not tweet.strip():
        return "Write or paste a tweet first."
    if len(tweet) > MAX_TWEET_CHARS:
        n, most = len(tweet), MAX_TWEET_CHARS
        return f"That is {n:,} characters. A tweet of at most {most:,} fits here; shorten it."
    return None


def as_asked(tweet: str) -> str:
    """A tweet as a model gets it: a browser can send half of a surrogate pair, which no tokenizer takes."""
    return tweet.strip().encode("utf-8", "replace").decode("utf-8")


def streamer(
    generate_pair: GeneratePair, sampling: SamplingConfig, is_live: bool = True
) -> Callable[..., Iterator[tuple]]:
    """What answers a tweet: the page, again and again. is_live: the replies are written now, word by word."""

    def reply(tweet: str, temperature: float, seed: float, blind: bool, session: Session) -> Iterator[tuple]:
        session.round, session.end, session.is_writing = None, "", True
        try:
            yield from written(tweet, temperature, seed, blind, session)
        finally:
            session.is_writing = False

    def written(
        tweet: str, temperature: float, seed: float, blind: bool, session: Session
    ) -> Iterator[tuple]:
        problem = problem_with(tweet or "") if is_live else None
        chosen = sampling_chosen(sampling, temperature, seed)
        sides = {name: Side(is_live) for name in ("base", "tuned", "fewshot")}
        left = drawn_side() if blind else "base"
        right = "tuned" if left == "base" else "base"
        view = partial(view_of, [sides[left], sides[right], sides["fewshot"]])
        if problem or chosen is None:
            yield view(
                problem
                or "Temperature goes from 0 to 2, the seed from 0 to 4,294,967,295. "
                "Change them under Sampling.",
                problem=True,
            )
            return
        writing = "Writing…" if is_live else ""
        first = view(writing, busy=True)
        yield (*labels(True, value=""), *first[2:]) if blind else first
        asked = as_asked(tweet)
        try:
            for texts in generate_pair(asked, chosen):
                if blind and len(texts) > 2:  # it would tell the base model's hand
                    break
                for side, text in zip(sides.values(), texts, strict=False):
                    side.show(text)
                yield view(writing, busy=True)
                if session.end:
                    break
            pair = Round(asked, sides["base"].text, sides["tuned"].text, left, chosen.seed)
            yield _ended(session, blind, pair, view, is_live)
        except Exception as error:
            yield view(sentence_of(error), problem=True, over=True)

    return reply


def sentence_of(error: Exception) -> str:
    """What the page says of an error; the console gets the traceback of what is not the user's."""
    if isinstance(error, UserError):
        return str(error)
    log.error("generation failed", exc_info=error)
    return "The reply could not be written. The console where the demo runs says why."


def _ended(session: Session, blind: bool, written: Round, view: Callable[..., tuple], is_live: bool) -> tuple:
    """The page when no more words come.

    Opens the vote if both replies are whole, and new to whoever looks at them.
    """
    pair = (written.base, written.tuned)
    if session.end == "clear":
        return emptied(session)
    if session.end == "stop":
        return view("Stopped.")
    session.history.append(written)
    if not all(pair):
        return view(f"A reply came back empty. {OTHERS[is_live]}", over=True)
    if not blind:
        session.seen.add(pair)
    elif pair in session.seen or written.tuned in session.drafts:
        return view(
            f"You have seen whose replies these are. {OTHERS[is_live]}",
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
            return gr.skip(), gr.skip(), gr.skip(), gr.skip(), *ballot()
        try:
            votes.add(voted, choice)
        except (UserError, OSError):
            log.exception("vote not kept")
            session.round = voted
            said = status_line(
                "The vote could not be kept. The console where the demo runs says why.", problem=True
            )
            return gr.skip(), gr.skip(), said, gr.skip(), *ballot()
        session.seen.add((voted.base, voted.tuned))
        labels = [
            gr.update(label=f"{letter} · {names[voted.name(where)]}")
            for letter, where in (("A", "left"), ("B", "right"))
        ]
        try:
            tally = status_line(votes.tally())
        except UserError as error:  # the vote is kept; somebody else's line in the file is no vote
            tally = status_line(str(error), problem=True)
        return *labels, status_line(""), tally, *ballot(choice)

    return vote


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


def sampling_chosen(sampling: SamplingConfig, temperature: float, seed: float) -> SamplingConfig | None:
    try:
        return SamplingConfig.model_validate(
            {**sampling.model_dump(), "temperature": temperature, "seed": seed}
        )
    except ValidationError:
        return None
