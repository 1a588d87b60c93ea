"""The review in a terminal: one pair a screen, one key a decision.

A front of lib.data.review, which holds everything that counts.
No text of a post is ever read as markup: it goes into widgets with markup off, control characters as `?`.
Textual is imported when a screen is opened, so the behaviour stands in plain classes and `review_app` mixes
them into Textual's.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.base.characters import visible
from lib.base.errors import UserError
from lib.data.doubts import Doubtful
from lib.data.review import HELP, SHORT, Review, numbers, pace, shown
from lib.data.text import reply_length

if TYPE_CHECKING:
    from textual.app import App

COLOURS = {  # those of the reports, in the dark
    "primary": "#6ea8e8", "success": "#74c795", "error": "#f08a80", "warning": "#e0b350",
    "foreground": "#e6e8ea", "background": "#14181c", "surface": "#1c2227", "panel": "#2e353c",
}  # fmt: skip
DIGITS = [f"{digit} {word}" for digit, word in enumerate(SHORT, 1)]
WHY = f"Dropped. Why?  {'  '.join(DIGITS[:4])}\n{'  '.join(DIGITS[4:])}"
LETTERS = {"k": "keep", "d": "drop", "e": "edit", "u": "undo", "q": "leave"}
BINDINGS = [  # k and K alike: caps lock is no reason to lose a key
    *((f"{key},{key.upper()}", action) for key, action in LETTERS.items()),
    *((str(digit), f"why({digit})") for digit in range(1, 10)),
    ("question_mark,f1", "help"),
    ("ctrl+c", "leave"),
    ("down", "scroll(1)"),
    ("up", "scroll(-1)"),
    ("pagedown,space", "scroll(5)"),
    ("pageup", "scroll(-5)"),
]
EDITOR_KEYS = {"enter": "save", "escape": "cancel", "ctrl+j": "new_line"}


class _Screen:
    """The program's own part; `review` and `set_name` come from review_app, all else is Textual's App."""

    review: Review
    set_name: str

    def compose(self) -> Any:
        from textual.containers import Container, Horizontal, VerticalScroll
        from textual.widgets import ProgressBar, Static

        def text(name: str, classes: str = "") -> Static:
            return Static("", markup=False, id=name, classes=classes)

        yield Horizontal(text("name"), text("count"), id="head")
        yield ProgressBar(total=max(1, len(self.review.queue)), show_percentage=False, show_eta=False)
        with Container(id="pair"):
            with VerticalScroll(id="tweet_box", can_focus=False):
                yield text("tweet_by", "by")
                yield text("tweet", "text")
            with VerticalScroll(id="reply_box", can_focus=False):
                yield text("reply_by", "by")
                yield text("reply", "text")
                yield self.editor_type(
                    "", id="editor", soft_wrap=True, highlight_cursor_line=False, tab_behavior="focus"
                )
                yield text("numbers")
                yield text("why")
        yield text("status")
        yield text("keys")
        yield text("pace")

    def on_mount(self) -> None:
        self.show(self.review.greeting)

    @property
    def editing(self) -> bool:
        return self.screen_stack[0].query_one("#editor").display

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool:
        return not self.editing  # what the editor leaves of the keys decides nothing

    # --- keys ---

    def action_keep(self) -> None:
        self._decide(self.review.keep, "Kept.")

    def action_drop(self) -> None:
        self._decide(self.review.drop, WHY)

    def action_why(self, digit: int) -> None:
        self._try(lambda: self.review.why(digit))

    def action_undo(self) -> None:
        self._try(self.review.undo)

    def action_edit(self) -> None:
        if (item := self.review.current) is not None:
            editor = self.query_one("#editor")
            editor.load_text(visible(item.pair.reply))
            editor.move_cursor(editor.document.end)
            self._open_editor(True)
            self.screen.set_focus(
                editor
            )  # at once, not at the next idle moment: the next key is text already
            self._keys("Enter save", "Esc back", "Ctrl+J new line")

    def on_text_area_changed(self) -> None:
        low, high = self.review.bounds.reply_chars
        if self.editing:
            self._say(
                f"{reply_length(self.query_one('#editor').text)} characters; {low} to {high} are allowed."
            )

    def action_save(self) -> None:
        text = self.query_one("#editor").text
        self._decide(lambda shown_id: self.review.edit(shown_id, text), "Kept with your edit.")

    def action_cancel(self) -> None:
        self.show("Not edited.")

    def action_new_line(self) -> None:
        self.query_one("#editor").insert("\n")

    def action_scroll(self, n_lines: int) -> None:
        for box in ("#tweet_box", "#reply_box"):
            self.query_one(box).scroll_relative(y=n_lines, animate=False)

    def action_help(self) -> None:
        self.push_screen(self.help_screen())

    def action_leave(self) -> None:
        self.exit()

    # --- what is seen ---

    def _decide(self, decide: Any, said: str) -> None:
        item = self.review.current
        if item is not None:
            self._try(lambda: decide(item.pair.id) or said)

    def _try(self, action: Any) -> None:
        try:
            said = action()
        except UserError as error:
            self._say(str(error), error=True)
        else:
            self.show(said)

    def show(self, said: str) -> None:
        """Bring every widget up to what the review says now."""
        progress, item = self.review.progress(), self.review.current
        self.screen.set_class(item is None, "done")
        self._open_editor(False)
        self.screen.set_focus(None)
        self._set("name", f"review · {self.set_name}")
        self._set("count", f"{progress.n:,} of {progress.n_total:,}")
        self.query_one("ProgressBar").update(progress=progress.n if self.review.queue else 1)
        counts = f"{progress.kept:,} kept  {progress.dropped:,} dropped  {progress.edited:,} edited"
        self._set("pace", "   ".join(part for part in (counts, pace(progress)) if part))
        self._keys(*(["k keep", "d drop", "e edit"] if item else []), "u undo", "q quit", "? help")
        self._say(said)
        if item is None:
            self._set(
                "reply", "Every pair is reviewed. Thank you.\n\nq leaves, u goes back to the last pair."
            )
        else:
            self._show_pair(item)

    def _show_pair(self, item: Doubtful) -> None:
        pair, known = item.pair, numbers(item.pair)
        self._set(
            "tweet_by",
            f"@{shown(pair.tweet_author)}  {pair.tweet_likes:,} likes  {pair.tweet_retweets:,} retweets",
        )
        self._set("tweet", shown(pair.tweet))
        heard = f"{known['likes']} likes  {known['followers']} followers  after {known['after']}"
        self._set("reply_by", f"@{shown(pair.reply_author)}  {heard}")
        self._set("reply", shown(pair.reply))
        self._set(
            "numbers",
            f"{known['characters']} characters   language {known['language']}   toxicity {known['toxicity']}"
            f"   quality {known['quality']}",
        )
        self._set("why", shown("\n".join(f"· {why}" for why in item.why[:3])))
        for box in ("#tweet_box", "#reply_box"):
            self.query_one(box).scroll_home(animate=False)

    def _open_editor(self, is_open: bool) -> None:
        self.query_one("#editor").display = is_open
        self.query_one("#reply").display = not is_open

    def _set(self, name: str, text: str) -> None:
        self.query_one(f"#{name}").update(text)

    def _say(self, text: str, error: bool = False) -> None:
        self.query_one("#status").set_class(error, "error").update(text)

    def _keys(self, *keys: str) -> None:
        from textual.content import Content

        parts = [
            part
            for key, _, word in (key.partition(" ") for key in keys)
            for part in ((key, "bold $foreground"), f" {word}   ")
        ]
        self.query_one("#keys").update(Content.assemble(*parts))


def review_app(review: Review, set_name: str) -> "App[None]":
    """The program, ready to run() or to be driven by a test's pilot."""
    from textual.app import App
    from textual.binding import Binding
    from textual.screen import ModalScreen
    from textual.theme import Theme
    from textual.widgets import Static, TextArea

    class Help(ModalScreen[None]):
        def compose(self) -> Any:
            yield Static(HELP, markup=False)

        def on_key(self, event: Any) -> None:
            event.stop()
            self.dismiss()

    class Editor(TextArea):
        def on_key(self, event: Any) -> None:
            # Here and not as a binding of the program, which would see Enter before the letters typed just
            # before it.
            if event.key in EDITOR_KEYS:
                event.stop().prevent_default()
                getattr(self.app, f"action_{EDITOR_KEYS[event.key]}")()

    class ReviewApp(_Screen, App[None]):
        CSS_PATH = Path(__file__).with_suffix(".tcss")
        ENABLE_COMMAND_PALETTE = False
        AUTO_FOCUS = None  # else the editor takes the keys while nobody sees it
        VERTICAL_BREAKPOINTS = [(0, "-small"), (22, "-middle"), (28, "-roomy")]  # noqa: RUF012
        BINDINGS = [Binding(key, action, show=False) for key, action in BINDINGS]  # noqa: RUF012
        help_screen, editor_type = Help, Editor

    app = ReviewApp()
    app.review, app.set_name = review, set_name
    app.register_theme(Theme(name="review", dark=True, **COLOURS))
    app.theme = "review"
    return app
