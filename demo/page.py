"""The page: one tweet in, two replies side by side. It knows nothing of models, only of a function that streams pairs."""

import html
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from demo.votes import CHOICES, KEYS_JS, LEAVE_BOX_JS, Choice, Round, Session, Votes, drawn_side
from lib.errors import UserError
from lib.settings import SamplingConfig

if TYPE_CHECKING:
    import gradio as gr

GeneratePair = Callable[[str, SamplingConfig], Iterator[tuple[str, str]]]  # tweet -> (base so far, tuned so far), again and again

TITLE = "Two replies to one tweet"
MAX_TWEET_CHARS = 1000
PLACEHOLDER = "Write or paste a tweet. Enter sends, Shift + Enter starts a new line."
EXAMPLES = [  # written for this project
    "Half of growing up is learning which emails to ignore.",
    "The best part of a long run is the shower afterwards.",
    "My sourdough has survived two moves and one breakup.",
    "We shipped it on a Friday at 5 pm. What could go wrong?",
]
FONTS = ["system-ui", "-apple-system", "Segoe UI", "sans-serif"]  # the system's own: nothing is fetched
MONO = ["ui-monospace", "Menlo", "Consolas", "monospace"]
COLOURS = {  # light, dark
    "body_background_fill": ("#fdfdfc", "#14181c"),
    "body_text_color": ("#1d232a", "#e6e8ea"),
    "body_text_color_subdued": ("#5c6670", "#9aa4ae"),
    "block_background_fill": ("transparent", "transparent"),
    "block_label_background_fill": ("transparent", "transparent"),
    "input_background_fill": ("#f5f6f7", "#1c2227"),
    "input_border_color": ("#e2e5e9", "#2e353c"),
    "button_secondary_background_fill": ("#eceef1", "#262d34"),
    "button_secondary_background_fill_hover": ("#e2e5e9", "#2e353c"),
    "button_primary_background_fill": ("#2563a8", "#2563a8"),
    "button_primary_background_fill_hover": ("#1d4f87", "#2f74bf"),
    "button_primary_text_color": ("white", "white"),
}
log = logging.getLogger(__name__)


def build_app(
    generate_pair: GeneratePair, base: str, tuned: str, sampling: SamplingConfig, title: str = TITLE, votes: Votes | None = None
) -> "gr.Blocks":
    """The Gradio app, not yet launched.

    base, tuned: what stands above the two boxes. Only an event brings it to the page, so that nothing there holds it during a blind
    round. votes: where the blind votes go; without it there is no switch for them.
    """
    import gradio as gr

    names = {"base": base, "tuned": tuned}
    with gr.Blocks(title=title, analytics_enabled=False) as app:
        session = gr.State(Session())
        gr.HTML(
            f"<h1>{html.escape(title)}</h1><p>Written on this machine, by one model: without and with what it has learned.</p>",
            elem_id="heading",
        )
        tweet = gr.Textbox(label="Tweet", placeholder=PLACEHOLDER, lines=1, max_lines=8, autofocus=True, elem_id="tweet")
        with gr.Row(elem_id="actions"):
            send = gr.Button("Reply", variant="primary", elem_id="send")
            stop = gr.Button("Stop", interactive=False, elem_id="stop")
            clear = gr.Button("Clear", elem_id="clear")
            blind = gr.Checkbox(label="Blind", container=False, min_width=0, visible=votes is not None, elem_id="blind")
        status = gr.HTML(_status(""), elem_id="status")
        with gr.Row(elem_id="replies", equal_height=True):
            (left_reply, left_time), (right_reply, right_time) = _box("left"), _box("right")
        with gr.Row(visible=False, elem_id="votes") as ballot:
            buttons = [gr.Button(label, interactive=False, min_width=0, elem_id=f"vote-{key}") for key, (_, label) in CHOICES.items()]
        tally = gr.HTML(_status(""), elem_id="tally")
        with gr.Accordion("Sampling", open=False, elem_id="sampling"):
            temperature = gr.Slider(0, 2, sampling.temperature, step=0.05, label="Temperature", info="0 always takes the likeliest word.")
            seed = gr.Number(sampling.seed, precision=0, label="Seed", info="The same seed gives the same two replies.")
        gr.Examples(EXAMPLES, tweet, label="Examples", elem_id="examples", api_visibility="private")

        shown = [left_reply, right_reply, left_time, right_time, status, send, stop, tally, *buttons]
        job: dict[str, Any] = {"fn": _streamer(generate_pair, sampling), "inputs": [tweet, temperature, seed, blind, session]}
        job |= {"outputs": shown, "show_progress": "hidden", "concurrency_id": "model", "concurrency_limit": 1}
        tweet.submit(**job, api_name="reply")
        tweet.submit(None, js=LEAVE_BOX_JS, api_visibility="private")
        send.click(**job, api_visibility="private")
        quick: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        stop.click(lambda session: setattr(session, "end", "stop"), session, None, queue=False, **quick)
        clear.click(lambda session: ("", *_emptied(session)), session, [tweet, *shown], **quick)
        app.load(lambda blind: _labels(blind, names), blind, [left_reply, right_reply], **quick)
        app.load(None, js=KEYS_JS, api_visibility="private")

        def switched(blind: bool, session: Session) -> tuple[Any, ...]:
            return *_labels(blind, names, value=""), *_emptied(session)[2:], gr.update(visible=blind)

        blind.change(switched, [blind, session], [*shown, ballot], **quick)
        for button, (choice, _) in zip(buttons, CHOICES.values(), strict=True):
            vote = _voter(votes, choice, names)
            button.click(
                vote, session, [left_reply, right_reply, status, tally, *buttons], trigger_mode="once", concurrency_id="vote", **quick
            )
    return app


def launch_options() -> dict[str, Any]:
    """What launch() needs for the page to look right and to keep to itself: nothing shared, counted, recorded or fetched."""
    import gradio as gr

    theme = gr.themes.Base(primary_hue="blue", neutral_hue="slate", font=FONTS, font_mono=MONO)
    colours = {name: light for name, (light, _) in COLOURS.items()} | {f"{name}_dark": dark for name, (_, dark) in COLOURS.items()}
    theme.set(block_border_width="0px", block_shadow="none", block_padding="0px", **colours)
    private = {
        "share": False,
        "run_history": False,
        "enable_monitoring": False,
        "show_error": False,
        "ssr_mode": False,
        "max_file_size": "1kb",
    }
    return {"theme": theme, "css_paths": Path(__file__).with_name("style.css"), "footer_links": [], "quiet": True, **private}


def problem_with(tweet: str) -> str | None:
    """A sentence that says why tweet cannot be replied to; None if it can."""
    if not tweet.strip():
        return "Write or paste a tweet first."
    if len(tweet) > MAX_TWEET_CHARS:
        return f"That is {len(tweet):,} characters. A tweet of at most {MAX_TWEET_CHARS:,} fits here; shorten it."
    return None


def _streamer(generate_pair: GeneratePair, sampling: SamplingConfig) -> Callable[..., Iterator[tuple]]:
    def reply(tweet: str, temperature: float, seed: float, blind: bool, session: Session) -> Iterator[tuple]:
        session.round, session.end = None, ""
        problem, chosen = problem_with(tweet or ""), _chosen(sampling, temperature, seed)
        sides = {"base": _Side(), "tuned": _Side()}
        left = drawn_side() if blind else "base"
        view = partial(_view, [sides[left], sides["tuned" if left == "base" else "base"]])
        if problem or chosen is None:
            yield view(
                problem or "Temperature goes from 0 to 2, the seed from 0 to 4,294,967,295. Change them under Sampling.", problem=True
            )
            return
        first = view("Writing…", busy=True)
        yield (*_labels(True, value=""), *first[2:]) if blind else first
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
            yield view("The reply could not be written. The console where the demo runs says why.", problem=True, over=True)

    return reply


def _ended(session: Session, blind: bool, written: Round, view: Callable[..., tuple]) -> tuple:
    """The page when no more words come. Opens the vote if both replies are whole, and new to whoever looks at them."""
    pair = (written.base, written.tuned)
    if session.end == "clear":
        return _emptied(session)
    if session.end == "stop":
        return view("Stopped.", over=True)
    if not all(pair):
        return view("A reply came back empty. Another seed may help.", over=True)
    if not blind:
        session.seen.add(pair)
    elif pair in session.seen:
        return view("You have seen whose replies these are. Another seed, under Sampling, writes new ones to vote on.", over=True)
    else:
        session.round = written
    return view(over=True, vote=blind)


def _voter(votes: Votes | None, choice: Choice, names: dict[str, str]) -> Callable[[Session], tuple]:
    import gradio as gr

    def vote(session: Session) -> tuple[Any, ...]:
        voted, session.round = session.round, None  # taken: a second click finds nothing to vote on
        if voted is None or votes is None:
            return gr.skip(), gr.skip(), gr.skip(), gr.skip(), *_ballot(False)
        try:
            votes.add(voted, choice)
        except (UserError, OSError):
            log.exception("vote not kept")
            session.round = voted
            said = _status("The vote could not be kept. The console where the demo runs says why.", problem=True)
            return gr.skip(), gr.skip(), said, gr.skip(), *_ballot(True)
        session.seen.add((voted.base, voted.tuned))
        labels = [gr.update(label=f"{letter} · {names[voted.name(where)]}") for letter, where in (("A", "left"), ("B", "right"))]
        try:
            tally = _status(votes.tally())
        except UserError as error:  # the vote is kept; somebody else's line in the file is no vote
            tally = _status(str(error), problem=True)
        return *labels, _status(""), tally, *_ballot(False)

    return vote


def _view(
    sides: Sequence["_Side"], said: str = "", problem: bool = False, busy: bool = False, over: bool = False, vote: bool = False
) -> tuple:
    """A value for every component that a reply changes, in the order of `shown`."""
    import gradio as gr

    texts, times = [side.text for side in sides], [side.timing(over) for side in sides]
    actions = gr.update(interactive=not busy), gr.update(interactive=busy)
    return *texts, *times, _status(said, problem), *actions, _status(""), *_ballot(vote)


def _emptied(session: Session) -> tuple:
    session.round, session.end = None, "clear"
    return _view([_Side(), _Side()])


def _ballot(active: bool) -> list[Any]:
    import gradio as gr

    return [gr.update(interactive=active) for _ in CHOICES]


def _labels(blind: bool, names: dict[str, str] | None = None, **more: Any) -> list[Any]:
    """What stands above the boxes until a vote says more. names: needed unless blind."""
    import gradio as gr

    return [gr.update(label=label, **more) for label in (("A", "B") if blind or names is None else (names["base"], names["tuned"]))]


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

    def timing(self, over: bool = False) -> str:
        if self.first_s is None:
            return _time()
        return _time(f"first word {self.first_s:.1f} s" + (f" · all {self.last_s:.1f} s" if over else ""))


def _chosen(sampling: SamplingConfig, temperature: float, seed: float) -> SamplingConfig | None:
    try:
        return SamplingConfig.model_validate({**sampling.model_dump(), "temperature": temperature, "seed": seed})
    except ValidationError:
        return None


def _box(where: str) -> tuple[Any, Any]:
    import gradio as gr

    with gr.Column(elem_classes=["side", where], min_width=280):
        # A Textbox, not Markdown: whatever a model writes is shown as the characters it consists of.
        reply = gr.Textbox(
            label="\u00a0", lines=5, max_lines=14, interactive=False, buttons=["copy"], elem_classes=["reply"], elem_id=f"{where}-reply"
        )
        return reply, gr.HTML(_time(), elem_id=f"{where}-time")


def _status(text: str, problem: bool = False) -> str:
    shown = f'<span class="problem">{html.escape(text)}</span>' if problem else html.escape(text)
    return f'<div class="quiet" role="status" aria-live="polite">{shown}</div>'


def _time(text: str = "") -> str:
    return f'<div class="quiet">{html.escape(text)}</div>'
