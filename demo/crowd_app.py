"""The page of a paid crowd: consent, pairs in an order of one's own, a code at the end.

    python -m demo.crowd_app --config configs/train-qwen3-8b.yaml --eval configs/eval-claude.yaml --share

It asks only people whose address carries the study's key and Prolific's three ids. Which side is whose never
leaves this process, and neither does an id. On this machine only, for a trial; --share makes a public
gradio.live link, which lives as long as this command, a week at most.
"""

import os
import threading
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo.human_app import SHOWN_JS, shown_pair
from demo.page import launch
from demo.votes import KEYS_JS
from lib.base.console import load_env, parser, run
from lib.base.errors import UserError
from lib.evaluate.asking import named
from lib.evaluate.crowd_log import Crowd, visitor
from lib.evaluate.crowd_study import (
    MAX_FAILED,
    N_CHECKS,
    address,
    read_study,
    refuse_other_items,
    write_texts,
)
from lib.evaluate.evaluation import Evaluation
from lib.evaluate.people_page import BALLOT, make_items

if TYPE_CHECKING:
    import gradio as gr

QUICK: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "once", "api_visibility": "private"}
ADDRESS_JS = "(_) => [window.location.search]"
TRIAL = "&PROLIFIC_PID=trial{n}&STUDY_ID=trial&SESSION_ID=trial"
NOT_ASKED = (
    '<p class="bad" role="alert">This page needs the whole address from your study on Prolific. Please open '
    "it from there again.</p>"
)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True, help="configs/train-<run>.yaml")
    arguments.add_argument("--eval", type=Path, required=True, help="configs/eval-<name>.yaml")
    arguments.add_argument("--share", action="store_true", help="open it to everyone who has its address")
    arguments.add_argument("--port", type=int, help="default: the first free one from 7860 on")
    args = arguments.parse_args()
    load_env()
    evaluation = Evaluation.of(args.config, args.eval)
    human = evaluation.folder / "human"
    study = read_study(human)
    if study is None:
        raise UserError(f"No study is planned: run `make human-eval RUN={named(evaluation)} CROWD=50` first.")
    items = make_items(evaluation)
    refuse_other_items(human, study, items)
    crowd = Crowd(study, items, human / "crowd" / "log.jsonl")
    serve(crowd, args.port, args.share, human)
    n_done = sum(work.is_done for work in crowd.work.values())
    print(f"human-eval: {len(crowd.work)} people began, {n_done} finished")
    print(f"next: make human-eval RUN={named(evaluation)} CROWD={study.n_people} IMPORT=<Prolific's export>")


def welcome(crowd: Crowd) -> str:
    """Instructions, pay and consent, as HTML."""
    study = crowd.study
    return f"""<h1>Which reply is better?</h1>
<p>You will see {study.n_items + N_CHECKS} posts from social media, each with two replies. For each, choose
the reply that you would rather like, answer or share. Some replies were written by computer programs; the
sides are drawn at random. There is no right answer, except in a few questions that check that you read: who
fails more than {MAX_FAILED} of them may not be counted.</p>
<p>It takes about {study.minutes} minutes and pays ${study.reward_usd:.2f} through Prolific. At the end you
get a code: enter it there.</p>
<p class="soft">Posts and replies are shown as they are and may be odd or rude. You may stop at any time by
closing this page, and come back to where you were. Kept are your Prolific ID, your choices and when you made
them, to compare programs that write replies and to pay you; nothing else, and nobody else gets your ID. By
pressing “I agree” you confirm that you are 18 or older, have read this and take part of your own will.</p>"""


def page(crowd: Crowd, person: str) -> str:
    """The pair that a person sees next, or the end with the code, as HTML: every text escaped."""
    work, pair = crowd.work[person], crowd.open_pair(person)
    n, n_all = len(work.answers), len(work.items)
    top = f'<div class="soft top"><span>{n} of {n_all}</span><span></span></div>'
    bar = f'<div class="bar" aria-hidden="true"><div style="width:{100 * n / n_all:.2f}%"></div></div>'
    if pair is None:
        return (
            f"{top}{bar}<p>That was all. Thank you. Your completion code for Prolific:</p>"
            f'<p id="code"><strong>{escape(crowd.study.code)}</strong></p>'
        )
    return f"{top}{bar}{shown_pair(pair['item'], pair)}"


def build(crowd: Crowd) -> "gr.Blocks":
    import gradio as gr

    def view(person: str) -> tuple[Any, ...]:
        is_open = crowd.open_pair(person) is not None
        return page(crowd, person), gr.update(visible=False), gr.update(visible=is_open)

    def arrive(query: str) -> tuple[Any, ...]:
        who = visitor(query, crowd.study)
        return welcome(crowd) if who else NOT_ASKED, gr.update(visible=who is not None)

    def begin(query: str) -> tuple[Any, ...]:
        who = visitor(query, crowd.study)
        if who is None:
            return "", NOT_ASKED, gr.update(visible=False), gr.update()
        crowd.begin(who)
        return who.person, *view(who.person)

    with gr.Blocks(title="Which reply is better?", analytics_enabled=False) as blocks:
        person = gr.State("")
        html = gr.HTML("", elem_id="page")
        shown = gr.Textbox(visible=False)  # filled by the browser: the address, then the pair on the page
        with gr.Column(visible=False, elem_id="start") as start:
            agree = gr.Button("I agree, begin", variant="primary", elem_id="begin")
        with gr.Row(visible=False, elem_id="keys") as keys:
            buttons = {
                key: gr.Button(f"{label} ({key})", elem_id=f"key-{key}") for key, (_, label) in BALLOT.items()
            }
        blocks.load(arrive, shown, [html, start], js=ADDRESS_JS, **QUICK)
        agree.click(begin, shown, [person, html, start, keys], js=ADDRESS_JS, **QUICK)
        for key, button in buttons.items():

            def clicked(item: str, who: str, choice: str = BALLOT[key][0]) -> tuple[Any, ...]:
                if not who:
                    return gr.update(), gr.update(), gr.update()
                crowd.give(who, item, choice)
                return view(who)

            button.click(clicked, [shown, person], [html, start, keys], js=SHOWN_JS, **QUICK)
    return blocks


def serve(crowd: Crowd, port: int | None, share: bool, human: Path) -> None:
    """Show the page until Ctrl-C, its address in study.txt. Raises UserError if the port is taken."""
    # Before gradio is imported: it reads this once.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    blocks = build(crowd)
    look = {"css_paths": Path(__file__).with_name("human.css"), "js": KEYS_JS}
    url = launch(blocks.queue(max_size=256), port, share=share, **look)
    if share:
        write_texts(human, crowd.study, url)
        print(f"study URL for Prolific: {address(crowd.study, url)}", flush=True)
    trial = address(crowd.study, url, TRIAL.format(n=len(crowd.work)))
    print(f"try it yourself: {trial}   (Ctrl-C ends the page)", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print()
    finally:
        blocks.close(verbose=False)


if __name__ == "__main__":
    run(main)
