"""The blind comparison as a served page: one pair at a time, one durable line per answer; then the import.

    python -m demo.human_app --config configs/train-tiny.yaml --eval configs/eval-offline.yaml

Which side is whose never leaves this process. On this machine only; --share makes a public gradio.live link
and needs a password in HUMAN_EVAL_PASSWORD (user name: rater).
"""

import os
import re
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo.page import launch
from demo.votes import KEYS_JS
from lib.base.config import load_config
from lib.base.console import load_env, parser, run
from lib.base.errors import UserError
from lib.base.files import append_line, read_dicts
from lib.base.settings import TrainConfig
from lib.evaluate.asking import named, taken_in, written
from lib.evaluate.evaluation import Evaluation
from lib.evaluate.people_page import BALLOT, Item
from lib.train.fingerprint import changed_since

if TYPE_CHECKING:
    import gradio as gr

# The item that is on the page at the moment of the click: an answer never falls on one that nobody has seen.
SHOWN_JS = "(_, rater) => [document.querySelector('#page [data-item]')?.dataset.item ?? '', rater]"
QUICK: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "once", "api_visibility": "private"}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True, help="configs/train-<run>.yaml")
    arguments.add_argument("--eval", type=Path, required=True, help="configs/eval-<name>.yaml")
    arguments.add_argument("--data", help="another data set than the run's")
    arguments.add_argument("--limit", type=int, help="ask about this many tweets, drawn by hash")
    arguments.add_argument("--share", action="store_true", help="a public link; needs HUMAN_EVAL_PASSWORD")
    arguments.add_argument("--port", type=int, help="default: the first free one from 7860 on")
    args = arguments.parse_args()
    evaluation = Evaluation.of(args.config, args.eval, args.data)
    items, said = written(evaluation, args.limit)
    if line := changed_since(evaluation.run_folder, load_config(args.config, TrainConfig)):
        print(f"human-eval: {line}")
    print(said)
    load_env()
    answers = evaluation.folder / "human" / "answers.web.jsonl"
    serve(items, answers, args.port, args.share)
    if not answers.exists():
        print(f"human-eval: nobody has answered yet\nnext: make human-eval RUN={named(evaluation)} WEB=1")
        return
    said, problem = taken_in(evaluation, [answers])
    print(said)
    if problem:
        raise UserError(problem)


class Answers:
    """The file of answers: what each rater has still to see, and one line per answer.

    Safe for several raters at once.
    """

    def __init__(self, items: Sequence[Item], path: Path) -> None:
        self.items, self.path, self._turn = items, path, threading.Lock()
        rows = read_dicts(path, torn_tail=True) if path.exists() else []
        self._given = {(row.get("rater"), row.get("item")) for row in rows}

    def open_item(self, rater: str) -> Item | None:
        return next((item for item in self.items if (rater, item.id) not in self._given), None)

    def n_given(self, rater: str) -> int:
        return sum((rater, item.id) in self._given for item in self.items)

    def give(self, rater: str, item: str, choice: str) -> None:
        """One answer, once: a double click, or a second tab with the same name, adds nothing."""
        with self._turn:
            if (rater, item) in self._given or item not in {known.id for known in self.items}:
                return
            at = datetime.now(UTC).isoformat(timespec="seconds")
            append_line(self.path, {"rater": rater, "item": item, "choice": choice, "at": at})
            self._given.add((rater, item))


def rater_name(text: str) -> str:
    """Letters, digits, spaces and ._- of what was typed, at most 40 characters."""
    return re.sub(r"[^\w .-]", "", text or "").strip().lstrip("-").strip()[:40]


def page(answers: Answers, rater: str) -> str:
    """The pair that rater sees next, as HTML: every text escaped."""
    item, n = answers.open_item(rater), answers.n_given(rater)
    done = f"{n:,} of {len(answers.items):,}"
    top = f'<div class="soft top"><span>{done}</span><span>{escape(rater)}</span></div>'
    share = 100 * n / len(answers.items)
    bar = f'<div class="bar" aria-hidden="true"><div style="width:{share:.2f}%"></div></div>'
    if item is None:
        return f"{top}{bar}<p>That was all. Thank you. This page can be closed.</p>"
    return f"{top}{bar}{shown_pair(item.id, item.shown)}"


def shown_pair(item_id: str, texts: Mapping[str, str]) -> str:
    """A tweet and its two replies as HTML: every text escaped. texts: tweet, reply_a, reply_b."""
    shown = {name: escape(text) for name, text in texts.items()}
    sides = "".join(
        f'<div class="reply"><span class="soft">{name}</span><p dir="auto">{shown[key]}</p></div>'
        for name, key in (("A", "reply_a"), ("B", "reply_b"))
    )
    tweet = f'<div class="tweet" dir="auto">{shown["tweet"]}</div>'
    return f'<div data-item="{escape(item_id)}">{tweet}<div class="sides">{sides}</div></div>'


def build(answers: Answers) -> "gr.Blocks":
    import gradio as gr

    def view(rater: str) -> tuple[Any, ...]:
        open_item = answers.open_item(rater)
        return page(answers, rater), gr.update(visible=False), gr.update(visible=open_item is not None)

    def begin(typed: str) -> tuple[Any, ...]:
        rater = rater_name(typed)
        if not rater:
            return (
                "",
                '<p class="bad" role="alert">Please give a name: letters and digits.</p>',
                gr.update(),
                gr.update(),
            )
        return rater, *view(rater)

    with gr.Blocks(title="Which reply is better?", analytics_enabled=False) as blocks:
        rater = gr.State("")
        html = gr.HTML(
            f"<h1>Which reply is better?</h1><p>{len(answers.items):,} posts, each with two replies. Choose "
            "the one that you would rather "
            "like, answer or share. The sides are drawn at random. You can stop at any time and go on later "
            "under the same name.</p>",
            elem_id="page",
        )
        shown = gr.Textbox(visible=False)  # filled by SHOWN_JS at each click
        with gr.Column(elem_id="start") as start:
            name = gr.Textbox(
                label="Your name, as it should stand in the answers", max_length=40, elem_id="name"
            )
            go = gr.Button("Begin", variant="primary", elem_id="begin")
        with gr.Row(visible=False, elem_id="keys") as keys:
            buttons = {
                key: gr.Button(f"{label} ({key})", elem_id=f"key-{key}") for key, (_, label) in BALLOT.items()
            }
        outputs = [html, start, keys]
        for event in (go.click, name.submit):
            event(begin, name, [rater, *outputs], **QUICK)
        for key, button in buttons.items():

            def clicked(item: str, who: str, choice: str = BALLOT[key][0]) -> tuple[Any, ...]:
                if who:
                    answers.give(who, item, choice)
                return view(who)

            button.click(clicked, [shown, rater], outputs, js=SHOWN_JS, **QUICK)
    return blocks


def serve(items: Sequence[Item], path: Path, port: int | None, share: bool) -> None:
    """Show the page until Ctrl-C.

    Raises UserError if the port is taken, or a public link is asked for without a password.
    """
    password = os.environ.get("HUMAN_EVAL_PASSWORD")
    if share and not password:
        raise UserError(
            "--share lets everyone who has the link answer. Set HUMAN_EVAL_PASSWORD first, or leave --share "
            "out."
        )
    # Before gradio is imported: it reads this once.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    blocks = build(Answers(items, path))
    look = {"css_paths": Path(__file__).with_name("human.css"), "js": KEYS_JS}
    auth = ("rater", password) if password else None
    url = launch(blocks.queue(max_size=64), port, share=share, auth=auth, **look)
    try:
        print(f"human-eval: open {url} in a browser. Ctrl-C ends it and imports the answers.", flush=True)
        threading.Event().wait()
    except KeyboardInterrupt:
        print()
    finally:
        blocks.close(verbose=False)


if __name__ == "__main__":
    run(main)
