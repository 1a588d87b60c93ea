"""The page: one tweet in, two replies side by side.

It knows nothing of models, only of a function that streams pairs.
"""

import threading
from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from demo.drafts import WriteDrafts, drafter
from demo.events import (
    GeneratePair,
    on_again,
    on_next,
    streamer,
    voter,
)
from demo.look import calm
from demo.own_host import bracketed, guarded_app
from demo.views import N_BUTTONS, emptied, labels, settled
from demo.votes import CHOICES, KEYS_JS, LEAVE_BOX_JS, Session, Votes
from demo.widgets import EXAMPLES, widgets
from lib.base.errors import UserError
from lib.base.settings import SamplingConfig

if TYPE_CHECKING:
    import gradio as gr

LOCAL = "127.0.0.1"
TITLE = "Two replies to one tweet"
NONE: Mapping[str, Path] = {}
OFF_JS = f"() => Array({N_BUTTONS}).fill({{__type__: 'update', interactive: false}})"
# The boxes follow the direction of what is written in them; what is said in these lines is read out. Enter
# sends nothing while "Reply" is off.
PAGE_JS = """() => {
  for (const box of document.querySelectorAll('textarea')) box.dir = 'auto';
  for (const id of ['status', 'announced', 'tally']) {
    document.getElementById(id)?.setAttribute('role', 'status');
    document.getElementById(id)?.setAttribute('aria-live', 'polite');
  }
  document.addEventListener('click', (event) => {
    const draft = event.target.closest('#draft-list .copy')?.closest('li');
    if (draft) navigator.clipboard.writeText(draft.querySelector('p').textContent);
  });
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.shiftKey || !event.target.closest('#tweet')) return;
    if (document.querySelector('#send').disabled) { event.preventDefault(); event.stopPropagation(); }
  }, true);
}"""


def build_app(
    generate_pair: GeneratePair,
    base: str,
    tuned: str,
    sampling: SamplingConfig,
    title: str = TITLE,
    votes: Votes | None = None,
    tweets: Sequence[str] = EXAMPLES,
    reports: Container[str] = (),
    is_live: bool = True,
    drafts: WriteDrafts | None = None,
    has_third: bool = False,
) -> "gr.Blocks":
    """The Gradio app, not yet launched.

    base, tuned: what stands above the two boxes. Only an event brings it to the page, so that nothing there
    holds it during a blind round. votes: where the blind votes go; without it there is no switch for them.
    drafts: writes several tuned replies to one tweet; without it there is no button for them. has_third:
    generate_pair gives a few-shot reply too, which stands in a third column unless a round is blind.
    tweets: what "Next tweet" goes through. reports: the pages that launch() is given, to link to. is_live: a
    model answers whatever is written; else generate_pair knows these tweets only, and the first is there.
    """
    import gradio as gr

    with gr.Blocks(title=title, analytics_enabled=False) as app:
        page = widgets(title, sampling, votes is not None, drafts is not None, has_third, reports, is_live)
        page.names, page.has_third = {"base": base, "tuned": tuned}, has_third
        _listen(app, page, streamer(generate_pair, sampling, is_live), votes, tweets or EXAMPLES)
        if drafts:
            listed = [page.draft_list, page.status, page.clear, page.blind, page.stop]
            _answer(page, page.drafts.click, drafter(drafts, sampling, is_live), outputs=listed, **page.job)
        if not is_live:
            _answer(page, app.load, **page.go_on)
    return app


def _listen(
    app: "gr.Blocks",
    page: SimpleNamespace,
    stream: Callable[..., Any],
    votes: Votes | None,
    tweets: Sequence[str],
) -> None:
    """What each event of the page does."""
    import gradio as gr

    session, blind, names = page.session, page.blind, page.names
    said = [page.status, page.announced, page.tally, page.draft_list]
    shown = [*page.replies, *page.times, *said, *page.buttons, page.clear, blind, page.stop]
    shown += [page.third_reply, page.third_time]
    asked = [page.tweet, page.temperature, page.seed, blind, session]
    page.job = job = {"inputs": asked, "concurrency_id": "model", "concurrency_limit": 1}
    page.tweet.submit(None, js=LEAVE_BOX_JS, api_visibility="private")
    _answer(page, page.tweet.submit, stream, outputs=shown, api_visibility="public", api_name="reply", **job)
    _answer(page, page.send.click, stream, outputs=shown, **job)
    _answer(page, page.again.click, on_again(stream), outputs=[page.seed, *shown], **job)
    page.go_on = {"fn": on_next(stream, tweets), "outputs": [page.tweet, *shown], **job}
    _answer(page, page.next.click, **page.go_on)
    quick: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    page.stop.click(lambda session: setattr(session, "end", "stop"), session, None, queue=False, **quick)
    app.load(lambda blind: labels(blind, names), blind, page.replies, **quick)
    app.load(None, js=KEYS_JS, api_visibility="private")
    app.load(None, js=PAGE_JS, api_visibility="private")

    def cleared(session: Session) -> tuple[Any, ...]:
        return "", *emptied(session)

    def switched(blind: bool, session: Session) -> tuple[Any, ...]:
        seen = gr.update(visible=blind), gr.update(visible=page.has_third and not blind)
        return *labels(blind, names, value=""), *emptied(session)[2:], *seen

    _answer(page, page.clear.click, cleared, inputs=session, outputs=[page.tweet, *shown])
    _answer(page, blind.change, switched, inputs=[blind, session], outputs=[*shown, page.ballot, page.third])
    told = [*page.replies, page.status, page.tally, *page.buttons]
    for button, (choice, _) in zip(page.buttons, CHOICES.values(), strict=True):
        vote = voter(votes, choice, names)
        _answer(page, button.click, vote, inputs=session, outputs=told, concurrency_id="vote")


def _answer(page: SimpleNamespace, event: Callable[..., Any], fn: Callable[..., Any], **how: Any) -> None:
    """Answer an event. From the click on every button is off; `settled` turns on what can be clicked next.

    So no click is lost, and none falls on a page that the answer to another one is about to change. Not left
    to the last view of fn: Gradio sends that a second time, and drops a click that comes before.
    """
    buttons = [*page.controls, *page.buttons]
    quick: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    event(None, None, buttons, js=OFF_JS, **quick)  # at once: what listens to one event runs in turn
    job = event(fn, **{**quick, **how})
    for over in (job.then, job.failure):
        on_now = [*buttons, page.earlier, page.history]
        over(partial(settled, page.names), [page.blind, page.session], on_now, queue=False, **quick)


def serve(
    app: "gr.Blocks",
    host: str,
    port: int | None,
    auth: tuple[str, str] | None,
    reports: Mapping[str, Path] = NONE,
) -> None:
    """Launch, print the address, wait for Ctrl-C. Raises UserError if the port is taken."""
    url = launch(app.queue(max_size=16), port, host, reports=reports, auth=auth)
    try:
        print(f"open {url}   (Ctrl-C ends it)", flush=True)
        threading.Event().wait()
    except KeyboardInterrupt:
        print("\ndemo: ended")
    finally:
        app.close(verbose=False)


def launch(
    blocks: "gr.Blocks",
    port: int | None,
    host: str = LOCAL,
    share: bool = False,
    reports: Mapping[str, Path] = NONE,
    **options: Any,
) -> str:
    """The address of a page, served until blocks.close(). Raises UserError if the port is taken.

    reports: the HTML files that stand beside the page, each under its name, without a password. options: what
    differs from launch_options, in gradio's words.
    """
    here = {"server_name": bracketed(host), "server_port": port}
    options = {**launch_options(host, share, reports), **here, **options}
    try:
        _, url, public = blocks.launch(prevent_thread_lock=True, **options)
    except OSError as error:
        what = "is taken" if host == LOCAL else f"is taken, or {host} is no address of this machine"
        raise UserError(f"Port {port or '7860 to 7959'} {what}. Choose another one: PORT=7999.") from error
    return public or url


def launch_options(
    host: str = LOCAL, share: bool = False, reports: Mapping[str, Path] = NONE
) -> dict[str, Any]:
    """What gradio's launch() needs for a page to look right and to keep to itself.

    Nothing is counted, recorded or fetched, and no name but these is answered: host, what the page listens
    at, and the public link where share says that one was asked for.
    """
    private = {
        "_app": guarded_app(host, share, reports),
        "share": share,
        "num_workers": 0,  # further processes, on ports of their own, would stand outside the guard
        "mcp_server": False,
        "run_history": False,
        "enable_monitoring": False,
        "show_error": False,
        "ssr_mode": False,
        "max_file_size": "1kb",
    }
    return {
        "theme": calm(),
        "css_paths": Path(__file__).with_name("style.css"),
        "footer_links": [],
        "quiet": True,
        **private,
    }
