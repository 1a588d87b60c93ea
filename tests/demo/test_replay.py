"""The recorded replies of a run in a real browser: no model, no name before the vote, no text that acts."""

import os
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
from tests.demo.test_demo import HOSTILE, blind, shown_text

ROOT = Path(__file__).parents[2]
EFFECTS = (("day", 0.5), ("<b>no-one</b>", -0.2))
DRAFTS = ((HOSTILE, 2.0, EFFECTS), ("best", 9.0))
ROWS = [
    Recorded(HOSTILE, f"plain: {HOSTILE}", f"learned: {HOSTILE}", 17, DRAFTS),
    Recorded("two", "plain two", "learned two", 17, (("learned two", 3.0),), "shown how: three"),
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
    assert page.input_value("#third-reply textarea") == ""
    page.click("#next")
    assert shown(page) == ("plain two", "learned two")
    page.wait_for_selector("#next:enabled")
    assert page.input_value("#third-reply textarea") == "shown how: three"
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
    heard = Heard.said.decode()
    assert "learned two" in heard
    assert len(heard) > 10_000  # with /config
    assert not re.search("tuned|base|· small|three", heard + shown_text(page), re.IGNORECASE)
    assert page.locator("#drafts").is_disabled()
    page.keyboard.press("1")
    page.wait_for_function("document.querySelector('#tally').innerText.includes('1 vote')")
    assert "A · Tuned · test" in page.inner_text("#left-reply")
    (line,) = read_dicts(votes.path)
    assert (line["tweet"], line["choice"], line["left"], line["seed"]) == ("two", "left", "tuned", 17)
    page.wait_for_selector("#next:enabled")
    page.keyboard.press("n")
    page.wait_for_selector("#vote-1:enabled")
    assert shown(page) == ("learned three", "plain three")


def test_drafts_stand_best_first_and_whoever_has_seen_them_has_no_blind_vote_on_their_tweet(open_page, url):
    page = open_page(url)
    shown(page)
    page.click("#drafts")
    page.wait_for_selector("#draft-list li")
    page.wait_for_selector("#next:enabled")
    assert page.locator("#draft-list li > p").all_inner_texts() == ["best", HOSTILE]
    assert page.inner_text("#draft-list li >> nth=0").startswith("best\n\n9.0")
    assert "2.0 · lifted by “day” +0.5 · lowered by “<b>no-one</b>” −0.2" in page.inner_text("#draft-list")
    assert page.locator("#draft-list").locator("script, img, strong, a, b").count() == 0
    page.click("#next")
    assert shown(page) == ("plain two", "learned two")
    assert page.inner_text("#draft-list") == ""
    page.click("#drafts")
    page.wait_for_selector("#draft-list li")
    blind(page, True, "#next")
    assert page.inner_text("#draft-list") == ""
    for _ in ROWS:  # round again to the second tweet
        page.wait_for_selector("#next:enabled")
        page.click("#next")
    shown(page)
    page.wait_for_function("document.querySelector('#status').innerText.includes('You have seen')")
    assert page.locator("#vote-1").is_disabled()


def test_the_history_names_only_what_is_known_and_nothing_while_blind(open_page, url):
    page = open_page(url)
    shown(page)
    blind(page, True, "#next")
    page.click("#next")
    page.wait_for_selector("#vote-1:enabled")
    page.click("#earlier button")
    rows = page.locator("#history li")
    rows.nth(1).wait_for()
    assert rows.locator("> p").all_inner_texts() == ["two", HOSTILE]
    assert not re.search("tuned|base", page.inner_text("#history"), re.IGNORECASE)
    blind(page, False, "#next")
    assert rows.nth(0).locator("dt").all_inner_texts() == ["A", "B"]  # nobody voted
    assert rows.nth(1).locator("dt").all_inner_texts() == ["Base · small", "Tuned · test"]
    assert page.query_selector("#history script, #history img, #history strong, #history a") is None


SERVE = """
import pathlib, demo.page as page, demo.replay as replay
from demo.votes import Votes
rows = [replay.Recorded(f"tweet {n}", f"plain {n}", f"learned {n}", 17) for n in range(25)]
votes = Votes(pathlib.Path("votes.jsonl"), "test", "f" * 64)
page.serve(replay.replay_app(rows, "Base", "Tuned", votes), page.LOCAL, None, None)
"""


@pytest.mark.slow
def test_twenty_votes_by_keys_survive_kill_9(open_page, tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SERVE]
    process = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True)
    try:
        page = open_page(process.stdout.readline().split()[1])
        shown(page)
        blind(page, True, "#next")
        for n in range(1, 21):
            page.keyboard.press("n")
            page.wait_for_selector("#vote-1:enabled")
            page.keyboard.press("120b"[n % 4])
            page.wait_for_function(
                "n => document.querySelector('#tally').innerText.startsWith(`${n} vote`)", arg=n
            )
            page.wait_for_selector("#next:enabled")
    finally:
        process.kill()
        process.communicate()
    assert len(read_dicts(tmp_path / "votes.jsonl")) == 20
    assert Votes(tmp_path / "votes.jsonl", "test", "f" * 64).tally().startswith("20 votes on this run")


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
    assert recorded(replies, {"1": "one", "2": "two", "3": "three"}) == [Recorded("two", "b", "said", 17)]
    drafts = {"2": [("one", 4.0), ("two", None)]}
    (found,) = recorded([*replies, reply("2", "fewshot", "f")], {"2": "two"}, drafts)
    assert (found.fewshot, found.drafts) == ("f", (("one", 4.0), ("two", None)))


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
