"""The recorded replies of a run in a real browser: no model, no name before the vote, no text that acts."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from demo.own_host import OwnHost
from demo.replay import Recorded, evaluations_with_replies, recorded, replay, replay_app
from demo.votes import Votes
from lib.base.errors import UserError
from lib.base.files import read_dicts, write_jsonl
from lib.base.schema import Reply
from tests.demo.test_demo import HOSTILE, blind

ROOT = Path(__file__).parents[2]
ROWS = [
    Recorded(HOSTILE, f"plain: {HOSTILE}", f"learned: {HOSTILE}", 17),
    Recorded("two", "plain two", "learned two", 17),
    Recorded("three", "plain three", "learned three", 17),
]


@pytest.fixture(scope="module")
def votes(tmp_path_factory):
    return Votes(tmp_path_factory.mktemp("adapters") / "votes.jsonl", "test", "f" * 64)


class Heard(OwnHost):
    """The guard, which keeps all that the server has sent, the streams of its answers too."""

    said = b""

    async def __call__(self, scope, receive, send):
        async def sending(message):
            Heard.said += message.get("body", b"")
            await send(message)

        if scope["type"] == "http":
            plain = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
            scope = {**scope, "headers": plain}
        await super().__call__(scope, receive, sending)


@pytest.fixture(scope="module")
def url(votes):
    from demo.page import launch

    app = replay_app(ROWS, "Base · small", "Tuned · test", votes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("demo.own_host.OwnHost", Heard)
        yield launch(app.queue(), None)
    app.close()


def shown(page):
    """What both boxes hold when the answer is on the page."""
    page.wait_for_selector("#next:enabled")
    page.wait_for_function("document.querySelector('#right-reply textarea').value")
    return page.input_value("#left-reply textarea"), page.input_value("#right-reply textarea")


def test_the_first_tweet_and_both_replies_are_there_and_the_next_one_is_a_click_away(open_page, url):
    page = open_page(url)
    assert shown(page) == (f"plain: {HOSTILE}", f"learned: {HOSTILE}")
    assert page.title() == "Two replies to one tweet"
    assert page.input_value("#tweet textarea") == HOSTILE
    assert page.query_selector("#replies script, #replies img[src=x], #replies strong") is None
    assert page.inner_text("#left-reply").strip() == "Base · small"
    assert page.inner_text("#right-time").strip() == f"{len('learned: ' + HOSTILE)} of 280"
    assert page.locator("#send, #again, #stop, #clear, #sampling, #examples").count() == 0
    assert page.inner_text("#heading").count("Drafts only") == 1
    page.click("#next")
    assert shown(page) == ("plain two", "learned two")
    assert page.input_value("#tweet textarea") == "two"
    assert page.locator("#tweet textarea").is_disabled()
    assert page.remote == []


def test_blind_votes_by_keys_and_no_name_anywhere_before_them(open_page, url, votes, monkeypatch):
    monkeypatch.setattr("demo.votes.secrets.randbelow", lambda n: 1)  # tuned goes to the left
    page = open_page(url)
    shown(page)
    blind(page, True, "#next")
    Heard.said = b""
    page.keyboard.press("n")
    page.wait_for_selector("#vote-1:enabled")
    assert shown(page) == ("learned two", "plain two")
    page.request.get(url + "config")
    heard = Heard.said.decode().replace("<base href", "")
    assert "learned two" in heard
    assert len(heard) > 10_000  # with /config
    assert not re.search("tuned|base|· small|three", heard + page.inner_text("body"), re.IGNORECASE)
    page.keyboard.press("1")
    page.wait_for_function("document.querySelector('#tally').innerText.includes('1 vote')")
    assert "A · Tuned · test" in page.inner_text("#left-reply")
    (line,) = read_dicts(votes.path)
    assert (line["tweet"], line["choice"], line["left"], line["seed"]) == ("two", "left", "tuned", 17)
    page.wait_for_selector("#next:enabled")
    page.keyboard.press("n")
    page.wait_for_selector("#vote-1:enabled")
    assert shown(page) == ("learned three", "plain three")


def test_no_package_of_a_model_is_needed():
    heavy = ("torch", "transformers", "peft", "sklearn", "sentence_transformers", "unsloth", "anthropic")
    code = (
        "import sys; from demo.replay import Recorded, replay_app; "
        "replay_app([Recorded('a', 'b', 'c', 1)], 'Base', 'Tuned'); "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def reply(tweet_id, system, text="said"):
    words = {"engine": "peft", "quantization": "fp32", "seed": 17, "tokens": 3, "seconds": 0.1}
    return Reply(tweet_id=tweet_id, system=system, reply=text, **words)


def test_what_one_system_did_not_answer_is_not_shown():
    replies = [
        reply("1", "base"),
        reply("2", "tuned"),
        reply("2", "base", "b"),
        reply("2", "human"),
        reply("3", "tuned"),
    ]
    assert recorded(replies, {"1": "one", "2": "two"}) == [Recorded("two", "b", "said", 17)]


def test_the_replies_of_the_run_s_own_evaluation_come_first_and_none_is_a_sentence(tiny_run, monkeypatch):
    served = []
    monkeypatch.setattr("demo.replay.serve", lambda app, *given: served.append(given))
    monkeypatch.setattr("demo.replay.replay_app", lambda rows, *given: served.append((rows, given)))
    config, folder = Path("configs/train-tiny.yaml"), Path("adapters/tiny")
    with pytest.raises(UserError, match="Run `make replies RUN=tiny` first"):
        replay(config, None, None, None)
    tweet_id = read_dicts(Path("data/sample/processed/test_prompts.jsonl"))[0]["tweet_id"]
    for name in ("a", "offline"):
        Path(f"configs/eval-{name}.yaml").write_text("{}")
        write_jsonl(
            folder / f"eval/{name}/replies.jsonl", [reply(tweet_id, "base", name), reply(tweet_id, "tuned")]
        )
    assert evaluations_with_replies(folder) == ["a", "offline"]
    replay(config, None, None, None)
    replay(config, None, "a", None)
    (rows, given), _, (others, _), _ = served
    assert [rows[0].base, others[0].base] == ["offline", "a"]
    assert given[1] == "Tuned · tiny"
    with pytest.raises(UserError, match="evaluation other"):
        replay(config, None, "other", None)
