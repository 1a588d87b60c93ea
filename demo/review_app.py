"""The review in a browser: the same core, the same keys as in the terminal.

    python -m demo.review_app --config configs/data-main.yaml [--port 7860]

For this machine only: 127.0.0.1, nothing is sent anywhere. What counts lives in lib.data.review, on disk; the
page only shows it, so reloading it, or opening it twice, loses nothing: a click names the pair that was on
the page, and another one is refused.
"""

import os
import threading
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo.page import launch
from lib.base.characters import visible
from lib.base.console import parser, run
from lib.base.errors import UserError
from lib.data.doubts import Doubtful
from lib.data.review import HELP, SHORT, Progress, Review, numbers, pace, shown
from lib.data.sitting import sitting

if TYPE_CHECKING:
    import gradio as gr

# What is on the page is read out. Its keys: not while somebody types, not with Ctrl or Cmd, and not while a
# key is held down.
KEYS_JS = """() => {
document.getElementById('page')?.setAttribute('aria-live', 'polite');
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing) return;
  const press = (id) => {
    const button = document.getElementById('key-' + id);
    if (button && button.offsetParent) button.click();
  };
  if (event.target.closest('textarea, input, [contenteditable=true]')) {
    const id = event.key === 'Escape' ? 'back' : event.key === 'Enter' && !event.shiftKey ? 'save' : null;
    if (id) { event.preventDefault(); event.stopPropagation(); press(id); }
    return;
  }
  const key = event.key === '?' ? 'help' : event.key.toLowerCase();
  if (/^([kdeuq1-8]|help)$/.test(key)) { event.preventDefault(); press(key); }
}, true);
}"""
# The pair that is on the page at the moment of the click, so that none falls on a pair that nobody has seen.
SHOWN_JS = "(_, ...rest) => [document.querySelector('#page [data-id]')?.dataset.id ?? '', ...rest]"
QUICK: dict[str, Any] = {
    "concurrency_id": "review",
    "concurrency_limit": 1,
    "show_progress": "hidden",
    "trigger_mode": "once",
    "api_visibility": "private",
}
FOCUS_JS = "() => setTimeout(() => document.querySelector('#editor textarea')?.focus(), 50)"


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True, help="configs/data-<set>.yaml")
    arguments.add_argument("--port", type=int, help="default: the first free one from 7860 on")
    args = arguments.parse_args()
    print(sitting(args.config, lambda review, name: serve(review, name, args.port)))


def page(review: Review, set_name: str, said: str = "", error: bool = False) -> str:
    """The pair as HTML. Every text of a post is escaped."""
    progress, item = review.progress(), review.current
    share = 100 * progress.n / max(1, progress.n_total)
    status = f'<p class="said{" bad" if error else ""}">{escape(said)}</p>'
    return (
        f'<div class="soft top"><span>review · {escape(set_name)}</span><span>{progress.n:,} of '
        f"{progress.n_total:,}</span></div>"
        f'<div class="bar" aria-hidden="true"><div style="width:{share:.2f}%"></div></div>'
        f"{_pair(item) if item else '<p>Every pair is reviewed. Thank you.</p>'}{status}<p "
        f"class='soft'>{_counts(progress)}</p>"
    )


def _counts(progress: Progress) -> str:
    counts = f"{progress.kept:,} kept · {progress.dropped:,} dropped · {progress.edited:,} edited"
    return " · ".join(part for part in (counts, pace(progress)) if part)


def _pair(item: Doubtful) -> str:
    pair, known = item.pair, numbers(item.pair)
    why = "".join(f"<li>{escape(shown(reason))}</li>" for reason in item.why[:3])
    return (
        f'<div class="soft">@{escape(shown(pair.tweet_author))} · {pair.tweet_likes:,} likes · '
        f"{pair.tweet_retweets:,} retweets</div>"
        f'<div class="text tweet" dir="auto">{escape(shown(pair.tweet))}</div>'
        f'<div class="soft">@{escape(shown(pair.reply_author))} · {known["likes"]} likes · '
        f"{known['followers']} followers"
        f" · after {known['after']}</div>"
        f'<div class="text reply" dir="auto" data-id="{escape(pair.id)}">{escape(shown(pair.reply))}</div>'
        f'<div class="soft">{known["characters"]} characters · language {escape(known["language"])} · '
        f"toxicity {known['toxicity']} · quality {known['quality']}</div>"
        f"<ul>{why}</ul>"
    )


class _Page:
    """The widgets, and what each key does to them.

    One click at a time: the core is not made for two at once.
    """

    def __init__(self, review: Review, set_name: str, left: threading.Event) -> None:
        self.review, self.set_name, self.left, self._turn = review, set_name, left, threading.Lock()

    def build(self) -> "gr.Blocks":
        import gradio as gr

        with gr.Blocks(title=f"review · {self.set_name}", analytics_enabled=False) as blocks:
            self.html = gr.HTML(elem_id="page")
            self.shown = gr.Textbox(visible=False)  # filled by SHOWN_JS at each click
            with gr.Column(visible=False) as self.editing:
                self.editor = gr.Textbox(
                    elem_id="editor",
                    label="Reply (Enter saves, Shift+Enter breaks the line)",
                    lines=3,
                    max_lines=10,
                )
                with gr.Row(elem_classes="keys"):
                    save, back = (
                        gr.Button("Save", elem_id="key-save"),
                        gr.Button("Back (Esc)", elem_id="key-back"),
                    )
            with gr.Column(elem_id="bar") as self.bar:
                with gr.Row(elem_classes="keys"):
                    names = {"k": "Keep", "d": "Drop", "e": "Edit", "u": "Undo", "help": "Help", "q": "Quit"}
                    keys = {
                        key: gr.Button(f"{name} ({'?' if key == 'help' else key})", elem_id=f"key-{key}")
                        for key, name in names.items()
                    }
                with gr.Row(elem_classes=["keys", "why"], visible=False) as self.reasons:
                    digits = [
                        gr.Button(f"{digit} {word}", elem_id=f"key-{digit}", size="sm")
                        for digit, word in enumerate(SHORT, 1)
                    ]
            self._wire(blocks, save, back, digits, keys)
        return blocks

    def _wire(self, blocks: Any, save: Any, back: Any, digits: list[Any], keys: dict[str, Any]) -> None:
        review = self.review
        self._on(keys["k"], lambda pair_id: review.keep(pair_id) or "Kept.")
        self._on(keys["d"], lambda pair_id: review.drop(pair_id) or "Dropped. A digit says why.")
        self._on(keys["u"], lambda _: review.undo())
        for digit, button in enumerate(digits, 1):
            self._on(button, lambda _, digit=digit: review.why(digit))
        self._on(
            save, lambda pair_id, text: review.edit(pair_id, text) or "Kept with your edit.", self.editor
        )
        self._on(back, lambda _: "Not edited.")
        self._on(keys["q"], lambda _: self.left.set() or "Everything is saved. This page can be closed.")
        keys["e"].click(self._edit, None, self._outputs(), **QUICK).then(None, js=FOCUS_JS)
        keys["help"].click(self._help, None, self.html, **QUICK)
        blocks.load(lambda: self._view(review.greeting), None, self._outputs(), **QUICK)

    def _on(self, button: Any, act: Callable[..., str], *inputs: Any) -> None:
        def clicked(*values: str) -> tuple[Any, ...]:
            with self._turn:
                try:
                    return self._view(act(*values))
                except UserError as error:
                    return self._view(str(error), error=True, text=values[1] if inputs else None)

        button.click(clicked, [self.shown, *inputs], self._outputs(), js=SHOWN_JS, **QUICK)

    def _outputs(self) -> list[Any]:
        return [self.html, self.editing, self.editor, self.reasons, self.bar]

    def _view(self, said: str, error: bool = False, text: str | None = None) -> tuple[Any, ...]:
        """Everything on the page as it is now. text: what is in the editor, if it is open."""
        import gradio as gr

        is_open = text is not None
        return (
            page(self.review, self.set_name, said, error),
            gr.update(visible=is_open),
            text or "",
            gr.update(visible=self.review.can_say_why and not is_open),
            gr.update(visible=not is_open),
        )

    def _edit(self) -> tuple[Any, ...]:
        item = self.review.current
        return self._view("", text=visible(item.pair.reply) if item else None)

    def _help(self) -> str:
        return f"{page(self.review, self.set_name)}<pre>{escape(HELP)}</pre>"


def serve(review: Review, set_name: str, port: int | None) -> None:
    """Show the page until q or Ctrl-C. Raises UserError if the port is taken."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    left = threading.Event()
    blocks = _Page(review, set_name, left).build()
    url = launch(blocks, port, css_paths=Path(__file__).with_name("review.css"), js=KEYS_JS)
    try:
        print(f"review: open {url} in a browser. Ctrl-C, or q on the page, ends it.", flush=True)
        left.wait()
        left.clear()
        left.wait(0.5)  # the answer to q is still on its way
    except KeyboardInterrupt:
        print()
    finally:
        blocks.close(verbose=False)


if __name__ == "__main__":
    run(main)
