"""The page: one tweet in, two replies side by side. It knows nothing of models, only of a function that streams pairs."""

import html
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from lib.errors import UserError
from lib.settings import SamplingConfig

if TYPE_CHECKING:
    import gradio as gr

GeneratePair = Callable[[str, SamplingConfig], Iterator[tuple[str, str]]]  # tweet -> (left so far, right so far), again and again

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


def build_app(generate_pair: GeneratePair, left: str, right: str, sampling: SamplingConfig, title: str = TITLE) -> "gr.Blocks":
    """The Gradio app, not yet launched.

    left, right: what stands above the two boxes. Whoever wants a blind comparison passes neutral names and a function that
    swaps the sides: nothing else on the page tells them apart.
    """
    import gradio as gr

    with gr.Blocks(title=title, analytics_enabled=False) as app:
        gr.HTML(
            f"<h1>{html.escape(title)}</h1><p>Written on this machine, by one model: without and with what it has learned.</p>",
            elem_id="heading",
        )
        tweet = gr.Textbox(label="Tweet", placeholder=PLACEHOLDER, lines=1, max_lines=8, autofocus=True, elem_id="tweet")
        with gr.Row(elem_id="actions"):
            send = gr.Button("Reply", variant="primary", elem_id="send")
            stop = gr.Button("Stop", interactive=False, elem_id="stop")
            clear = gr.Button("Clear", elem_id="clear")
        status = gr.HTML(_status(""), elem_id="status")
        with gr.Row(elem_id="replies", equal_height=True):
            left_reply, left_time = _box(left, "left")
            right_reply, right_time = _box(right, "right")
        with gr.Accordion("Sampling", open=False, elem_id="sampling"):
            temperature = gr.Slider(0, 2, sampling.temperature, step=0.05, label="Temperature", info="0 always takes the likeliest word.")
            seed = gr.Number(sampling.seed, precision=0, label="Seed", info="The same seed gives the same two replies.")
        gr.Examples(EXAMPLES, tweet, label="Examples", elem_id="examples", api_visibility="private")

        shown = [left_reply, right_reply, left_time, right_time, status, send, stop]
        job: dict[str, Any] = {"fn": _streamer(generate_pair, sampling), "inputs": [tweet, temperature, seed], "outputs": shown}
        job |= {"show_progress": "hidden", "concurrency_id": "model", "concurrency_limit": 1}
        running = [tweet.submit(**job, api_name="reply"), send.click(**job, api_visibility="private")]
        end: dict[str, Any] = {"cancels": running, "api_visibility": "private", "show_progress": "hidden"}
        stop.click(lambda: (_status("Stopped."), *_buttons(busy=False)), None, [status, send, stop], **end)
        clear.click(lambda: ("", "", "", _time(), _time(), _status(""), *_buttons(busy=False)), None, [tweet, *shown], **end)
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
    def reply(tweet: str, temperature: float, seed: float) -> Iterator[tuple]:
        problem, chosen = problem_with(tweet or ""), _chosen(sampling, temperature, seed)
        if problem or chosen is None:
            said = problem or "Temperature goes from 0 to 2, the seed from 0 to 4,294,967,295. Change them under Sampling."
            yield "", "", _time(), _time(), _status(said, problem=True), *_buttons(busy=False)
            return
        yield "", "", _time(), _time(), _status("Writing…"), *_buttons(busy=True)
        sides = (_Side(), _Side())
        try:
            # A browser can send half of a surrogate pair; no tokenizer takes it.
            for texts in generate_pair(tweet.strip().encode("utf-8", "replace").decode("utf-8"), chosen):
                for side, text in zip(sides, texts, strict=True):
                    side.show(text)
                yield *(side.text for side in sides), *(side.timing() for side in sides), _status("Writing…"), *_buttons(busy=True)
            end = _status("" if all(side.text for side in sides) else "A reply came back empty. Another seed may help.")
        except UserError as error:
            end = _status(str(error), problem=True)
        except Exception:  # the page gets a sentence, the console the traceback
            log.exception("generation failed")
            end = _status("The reply could not be written. The console where the demo runs says why.", problem=True)
        yield *(side.text for side in sides), *(side.timing(over=True) for side in sides), end, *_buttons(busy=False)

    return reply


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


def _box(name: str, where: str) -> tuple[Any, Any]:
    import gradio as gr

    with gr.Column(elem_classes=["side", where], min_width=280):
        # A Textbox, not Markdown: whatever a model writes is shown as the characters it consists of.
        reply = gr.Textbox(
            label=name, lines=5, max_lines=14, interactive=False, buttons=["copy"], elem_classes=["reply"], elem_id=f"{where}-reply"
        )
        return reply, gr.HTML(_time(), elem_id=f"{where}-time")


def _buttons(busy: bool) -> tuple[Any, Any]:
    import gradio as gr

    return gr.update(interactive=not busy), gr.update(interactive=busy)


def _status(text: str, problem: bool = False) -> str:
    shown = f'<span class="problem">{html.escape(text)}</span>' if problem else html.escape(text)
    return f'<div class="quiet" role="status" aria-live="polite">{shown}</div>'


def _time(text: str = "") -> str:
    return f'<div class="quiet">{html.escape(text)}</div>'
