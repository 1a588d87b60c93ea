"""What stands on the page, from top to bottom."""

import html
from collections.abc import Container
from types import SimpleNamespace
from typing import Any

from demo.views import status_line, time_line
from demo.votes import CHOICES, Session
from lib.base.settings import SamplingConfig

PLACEHOLDER = "Write or paste a tweet. Enter sends, Shift + Enter starts a new line."
EXAMPLES = [  # written for this project
    "Half of growing up is learning which emails to ignore.",
    "The best part of a long run is the shower afterwards.",
    "My sourdough has survived two moves and one breakup.",
    "We shipped it on a Friday at 5 pm. What could go wrong?",
]
LINKS = {"report": "How it did in its evaluation", "data-report": "What it learned from"}


def widgets(
    title: str,
    sampling: SamplingConfig,
    can_vote: bool,
    can_draft: bool,
    has_third: bool,
    reports: Container[str],
    is_live: bool,
) -> SimpleNamespace:
    """Every component, by name. is_live: a model answers whatever is written; else nothing can be written."""
    import gradio as gr

    page = SimpleNamespace(session=gr.State(Session()))
    gr.HTML(_heading(title, reports, is_live), elem_id="heading")
    page.tweet = gr.Textbox(
        label="Tweet",
        placeholder=PLACEHOLDER if is_live else "",
        lines=1,
        max_lines=8,
        autofocus=is_live,
        interactive=is_live,
        elem_id="tweet",
    )
    with gr.Row(elem_id="actions"):
        page.send = gr.Button("Reply", variant="primary", visible=is_live, elem_id="send")
        page.again = gr.Button("Again", visible=is_live, elem_id="again")
        page.next = gr.Button("Next tweet", variant="secondary" if is_live else "primary", elem_id="next")
        page.stop = gr.Button("Stop", interactive=False, visible=is_live, elem_id="stop")
        page.clear = gr.Button("Clear", visible=is_live, elem_id="clear")
        page.drafts = gr.Button("Drafts", visible=can_draft, elem_id="drafts")
        page.blind = gr.Checkbox(
            label="Blind", container=False, min_width=0, visible=can_vote, elem_id="blind"
        )
    page.controls = [page.send, page.again, page.next, page.clear, page.blind, page.stop, page.drafts]
    page.status = gr.HTML(status_line(""), elem_id="status")
    page.announced = gr.HTML(status_line(""), elem_id="announced")
    with gr.Row(elem_id="replies", equal_height=True):
        (left_reply, left_time, _), (right_reply, right_time, _) = _box("left", "A"), _box("right", "B")
        page.third_reply, page.third_time, page.third = _box("third", "Few-shot", has_third)
    page.replies, page.times = [left_reply, right_reply], [left_time, right_time]
    with gr.Row(visible=False, elem_id="votes") as page.ballot:
        page.buttons = [
            gr.Button(label, interactive=False, min_width=0, elem_id=f"vote-{key}")
            for key, (_, label) in CHOICES.items()
        ]
    page.tally = gr.HTML(status_line(""), elem_id="tally")
    page.draft_list = gr.HTML("", elem_id="draft-list")
    with gr.Accordion("Earlier on this page", open=False, visible=False, elem_id="earlier") as page.earlier:
        page.history = gr.HTML("", elem_id="history")
    with gr.Accordion("Sampling", open=False, visible=is_live, elem_id="sampling"):
        least = "0 always takes the likeliest word."
        page.temperature = gr.Slider(0, 2, sampling.temperature, step=0.05, label="Temperature", info=least)
        same = "The same seed gives the same two replies."
        page.seed = gr.Number(sampling.seed, precision=0, label="Seed", info=same)
    if is_live:
        gr.Examples(EXAMPLES, page.tweet, label="Examples", elem_id="examples", api_visibility="private")
    return page


def _heading(title: str, reports: Container[str], is_live: bool) -> str:
    said = "Written on this machine, by one model" if is_live else "What one model answered in its evaluation"
    links = "".join(
        f'<a href="{path}" target="_blank" rel="noopener">{text}</a>'
        for path, text in LINKS.items()
        if path in reports
    )
    return (
        f"<h1>{html.escape(title)}</h1><p>{said}: without and with what it has learned. Drafts only: "
        f'what is worth posting you post yourself.</p><p class="links">{links}</p>'
    )


def _box(where: str, name: str, is_visible: bool = True) -> tuple[Any, Any, Any]:
    """A reply, the line below it, and the column of both."""
    import gradio as gr

    with gr.Column(elem_classes=["side", where], min_width=220, visible=is_visible) as column:
        # A Textbox, not Markdown: whatever a model writes is shown as the characters it consists of.
        reply = gr.Textbox(
            label=name,
            lines=5,
            max_lines=14,
            interactive=False,
            buttons=["copy"],
            elem_classes=["reply"],
            elem_id=f"{where}-reply",
        )
        return reply, gr.HTML(time_line(), elem_id=f"{where}-time"), column
