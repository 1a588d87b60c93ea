"""The review in a browser: the real command, the real page, driven by keys in Chromium."""

import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

from lib.base.files import read_dicts
from tests.data.test_review import ROOT, folder_of_a_set, pair, pairs


class Server:
    """`python -m demo.review_app` in a folder of its own; `requests` are the addresses that its pages
    asked for.
    """

    def __init__(self, folder, browser, items):
        self.folder, self.browser, self.requests = folder_of_a_set(folder, items), browser, []
        self.start()

    def start(self):
        command = [sys.executable, "-m", "demo.review_app", "--config", "configs/data-main.yaml"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.url = re.search(r"http://127\.0\.0\.1:\d+/", self.process.stdout.readline())[0]

    def page(self, width=1000, height=800, dark=False):
        context = self.browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("dialog", lambda dialog: pytest.fail(f"the page opened a dialog: {dialog.message}"))
        page.goto(self.url)
        page.wait_for_selector("#page .top")
        return page

    def decisions(self):
        path = self.folder / "data/main/review/decisions.jsonl"
        return [(row["id"], row["decision"]) for row in read_dicts(path)] if path.exists() else []

    def check_and_end(self):
        self.end(signal.SIGKILL)
        assert [
            url for url in self.requests if not re.match(r"(http://127\.0\.0\.1:|data:|blob:)", url)
        ] == []

    def end(self, signal_number):
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        out, err = self.process.communicate(timeout=30)
        return out, err


@pytest.fixture
def serve(tmp_path, browser):
    started = []

    def start(items):
        started.append(Server(tmp_path, browser, items))
        return started[0]

    yield start
    for server in started:
        server.check_and_end()


HOSTILE = (
    "<script>alert(1)</script> <img src=x onerror=alert(2)> **md** [link](http://example.com) "
    "{{ 7*7 }} ${value} &amp; \x1b[31m\u202eback"
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory, browser):
    """One server for the tests that start from whatever pair is on: first a hostile one, then a long one,
    then ordinary ones.
    """
    hostile = pair(
        1,
        tweet=HOSTILE,
        reply=HOSTILE,
        tweet_author="<b>a</b>",
        reply_author='"><i>',
        reply_likes=5,
        seen={"toxicity": 0.3},
    )
    long = pair(2, reply="x" * 280, tweet="y" * 600, reply_likes=5)
    server = Server(
        tmp_path_factory.mktemp("shared"), browser, [hostile, long, *(pair(n) for n in range(3, 40))]
    )
    yield server
    server.check_and_end()


BUTTONS = {"Enter": "save", "Escape": "back", "Shift+D": "d"}


def press(page, key, says):
    """Press a key when its button is there, which may be after the last sentence; wait for the answer's."""
    page.wait_for_selector(f"#key-{BUTTONS.get(key, key)}")
    page.keyboard.press(key)
    page.wait_for_function(
        "says => document.querySelector('#page .said')?.innerText.includes(says)", arg=says
    )


def test_the_keys_do_what_they_do_in_the_terminal_and_the_command_ends_with_a_summary(serve):
    server = serve(pairs(6))
    page = server.page()
    assert page.title() == "review · main"
    assert pair(0).reply in page.inner_text("#page")
    press(page, "k", "Kept.")
    assert pair(1).reply in page.inner_text("#page")
    press(page, "d", "Dropped. A digit says why.")
    press(page, "2", "Dropped: bland.")
    press(page, "u", "Undone: it was dropped.")
    assert pair(1).reply in page.inner_text("#page")
    press(page, "Shift+D", "Dropped")
    page.keyboard.press("?")
    page.wait_for_selector("#page pre")
    assert "undo, also a decision of an earlier sitting" in page.inner_text("#page pre")
    page.keyboard.press("Control+k")  # the browser's own
    press(page, "q", "This page can be closed")
    out, err = server.end(0)
    assert server.process.returncode == 0, err
    assert out.endswith(
        "review: kept 1 of 2 pairs (50%)\n  no reason given       1\n  4 pairs left\n"
        "next: make review DATA=main\n"
    )
    assert server.decisions() == [
        ("r0000", "keep"),
        ("r0001", "drop"),
        ("r0001", "drop"),
        ("r0001", "undo"),
        ("r0001", "drop"),
    ]


def test_while_a_reply_is_edited_the_keys_are_letters(serve):
    server = serve(pairs(3))
    page = server.page()
    page.keyboard.press("e")
    page.wait_for_selector("#editor textarea:focus")
    page.keyboard.press("End")
    page.keyboard.type(" kduq?1")
    assert page.input_value("#editor textarea") == pair(0).reply + " kduq?1"
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#page .said').innerText == 'Kept with your edit.'")
    page.keyboard.press("e")
    page.wait_for_selector("#editor textarea:focus")
    page.fill("#editor textarea", "too short")
    press(page, "Enter", "The reply has 9 characters; between 30 and 280 are allowed.")
    assert page.input_value("#editor textarea") == "too short"
    page.focus("#editor textarea")
    press(page, "Escape", "Not edited.")
    press(page, "k", "Kept.")
    assert server.decisions() == [("r0000", "edit"), ("r0001", "keep")]
    row = read_dicts(server.folder / "data/main/review/decisions.jsonl")[0]
    assert (row["original"], row["reply"]) == (pair(0).reply, pair(0).reply + " kduq?1")


def test_a_reload_a_kill_and_a_second_tab_lose_and_double_nothing(serve):
    server = serve(pairs(8))
    page = server.page()
    press(page, "k", "Kept.")
    page.reload()
    page.wait_for_selector("#page .reply")
    assert pair(1).reply in page.inner_text("#page")
    other = server.page()
    press(other, "d", "Dropped")
    press(page, "k", "nothing was decided")  # the first tab still showed the pair that the second one dropped
    assert pair(2).reply in page.inner_text("#page")
    press(page, "k", "Kept.")
    server.end(signal.SIGKILL)
    server.start()
    page = server.page()
    assert "3 of 8" in page.inner_text("#page")
    press(page, "u", "Undone: it was kept.")
    assert pair(2).reply in page.inner_text("#page")
    assert server.decisions() == [("r0000", "keep"), ("r0001", "drop"), ("r0002", "keep"), ("r0002", "undo")]


def test_markup_in_posts_is_text(shared):
    page = shared.page()
    assert page.inner_text("#page .reply") == HOSTILE.replace("\x1b", "?").replace("\u202e", "?")
    assert "@<b>a</b>" in page.inner_text("#page")
    assert page.locator("#page img, #page script, #page a, #page b, #page i, #page strong").count() == 0
    press(page, "k", "Kept.")


def test_on_a_phone_and_in_the_dark_everything_fits_and_is_readable(shared):
    for dark in (False, True):
        page = shared.page(360, 740, dark)
        assert "x" * 280 in page.inner_text("#page .reply")
        press(page, "d", "Dropped")
        page.wait_for_selector("#key-8")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        for key in ("k", "d", "e", "u", "help", "q", *"12345678"):
            box = page.locator(f"#key-{key}").bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 360
            assert box["y"] + box["height"] <= 740
        ink, paper = brightness(page, "#page .reply", "color"), brightness(page, "body", "backgroundColor")
        assert (ink - paper > 450) if dark else (paper - ink > 450)
        page.click("#key-2")
        page.wait_for_function("document.querySelector('#page .said').innerText == 'Dropped: bland.'")
        press(page, "u", "Undone: it was dropped.")
    press(page, "k", "Kept.")


def brightness(page, of, what):
    """0 (black) to 765 (white)"""
    colour = page.evaluate("([of, what]) => getComputedStyle(document.querySelector(of))[what]", [of, what])
    return sum(int(number) for number in re.findall(r"\d+", colour)[:3])


def test_keys_faster_than_the_page_never_decide_on_a_pair_that_was_not_shown(shared):
    page = shared.page()
    before = shared.decisions()
    on_screen = page.get_attribute("#page .reply", "data-id")
    page.evaluate(
        "for (const key of 'kdkdkdkd') document.body.dispatchEvent(new KeyboardEvent('keydown', {key, "
        "bubbles: true}))"
    )
    page.wait_for_function("old => document.querySelector('#page .reply').dataset.id != old", arg=on_screen)
    page.reload()  # every answer is in by now
    page.wait_for_selector("#page .reply")
    assert [one for one, _ in shared.decisions()[len(before) :]] == [on_screen]


def test_a_port_that_is_taken_gets_a_sentence(shared):
    port = re.search(r":(\d+)/", shared.url)[1]
    command = [
        sys.executable,
        "-m",
        "demo.review_app",
        "--config",
        "configs/data-other.yaml",
        "--port",
        port,
    ]
    (shared.folder / "configs/data-other.yaml").write_text("collect: {source: files}\n")
    shutil.copytree(shared.folder / "data/main/interim", shared.folder / "data/other/interim")
    done = subprocess.run(
        command,
        cwd=shared.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.strip().endswith(f"error: Port {port} is taken. Choose another one: PORT=7999.")
    assert "Traceback" not in done.stderr


def test_the_end_is_a_sentence_and_undo_still_works(serve):
    server = serve(pairs(1))
    page = server.page()
    press(page, "k", "Kept.")
    assert "Every pair is reviewed." in page.inner_text("#page")
    press(page, "k", "nothing was decided")
    press(page, "u", "Undone")
    assert pair(0).reply in page.inner_text("#page")
