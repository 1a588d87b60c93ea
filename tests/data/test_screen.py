"""The review in a terminal: every key through the real Textual program, headless and in a pseudo-terminal."""

import asyncio
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

from lib.base.files import read_dicts
from lib.data.screen import review_app
from tests.data.test_review import ROOT, a_review, folder_of_a_set, n_calls, pair, pairs

pytestmark = pytest.mark.timeout(120)
ENTER, ESCAPE = "\r", "\x1b"


def driven(review, script, size=(80, 24)):
    """Run script(app, pilot) in the program and return the program."""
    app = review_app(review, "main")

    async def go():
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await script(app, pilot)

    asyncio.run(go())
    return app


def press(*keys):
    async def script(app, pilot):
        for key in keys:
            await pilot.press(key)

    return script


def text_of(app, name):
    return str(app.query_one(f"#{name}").content)


def lines(app):
    """What the screen shows, line by line."""
    rows = []
    for y in range(app.size.height):
        strip = app.screen._compositor.render_strips(app.size)[y]
        rows.append("".join(segment.text for segment in strip).rstrip())
    return rows


def decisions(folder):
    return [row["decision"] for row in read_dicts(folder / "decisions.jsonl", torn_tail=True)]


# --- key by key ---


def test_sixty_keys_are_sixty_decisions_and_a_restart_goes_on_at_the_next_pair(tmp_path):
    driven(a_review(tmp_path, pairs(80)), press(*"kd" * 30))
    assert decisions(tmp_path) == ["keep", "drop"] * 30
    review = a_review(tmp_path, pairs(80))
    assert review.current.pair.id == "r0060"
    driven(review, press("k"))
    assert read_dicts(tmp_path / "decisions.jsonl")[-1]["id"] == "r0060"


@pytest.mark.parametrize(
    ("keys", "expected", "said"),
    [
        ("k", ["keep"], "Kept."),
        ("K", ["keep"], "Kept."),
        (
            "d",
            ["drop"],
            "Dropped. Why?  1 off topic  2 bland  3 spam  4 toxic\n"
            "5 context  6 language  7 personal  8 other",
        ),
        ("d2", ["drop", "drop"], "Dropped: bland."),
        ("d9", ["drop"], "There are the digits 1 to 8."),
        ("k2", ["keep"], "A digit says why a pair was dropped: press d first."),
        ("ku", ["keep", "undo"], "Undone: it was kept."),
        ("u", [], "There is nothing to undo."),
        ("x", [], "The most doubtful pairs come first."),
    ],
)
def test_each_key_does_one_thing_and_says_so(tmp_path, keys, expected, said):
    async def script(app, pilot):
        await press(*keys)(app, pilot)
        assert text_of(app, "status") == said

    driven(a_review(tmp_path, pairs(3)), script)
    assert (decisions(tmp_path) if expected else []) == expected
    assert (tmp_path / "decisions.jsonl").exists() == bool(expected)


def test_a_pair_is_shown_with_all_its_numbers_and_why_it_is_doubtful(tmp_path):
    async def script(app, pilot):
        screen = "\n".join(lines(app))
        for part in (
            "review · main", "0 of 1", "@ann  600 likes  70 retweets", "Post 4 about it", ("@bob  70 likes  "
                "510 followers  after 1 h 23 min"),
            "characters   language en 1.00   toxicity 0.01", "· 510 followers (limit 500)",
            "k keep   d drop   e edit   u undo   q quit   ? help",
        ):  # fmt: skip
            assert part in screen

    driven(a_review(tmp_path, [pair(4, reply_author_followers=510)]), script)


def test_an_edit_is_typed_saved_with_enter_and_keeps_the_original(tmp_path):
    async def script(app, pilot):
        await press("e", *"kdu", "space", "question_mark", "1")(
            app, pilot
        )  # all of it text, no key of it a decision
        assert text_of(app, "status").endswith("characters; 30 to 280 are allowed.")
        assert not (tmp_path / "decisions.jsonl").exists()
        await pilot.press("enter")
        assert text_of(app, "status") == "Kept with your edit."
        assert text_of(app, "count") == "1 of 3"

    driven(a_review(tmp_path, pairs(3)), script)
    (row,) = read_dicts(tmp_path / "decisions.jsonl")
    assert (row["decision"], row["reply"], row["original"]) == (
        "edit",
        pair(0).reply + "kdu ?1",
        pair(0).reply,
    )


def test_escape_leaves_the_editor_without_a_decision_and_the_keys_decide_again(tmp_path):
    driven(a_review(tmp_path, pairs(3)), press("e", "x", "escape", "k"))
    assert decisions(tmp_path) == ["keep"]


def test_an_edit_that_is_refused_stays_open_with_its_text(tmp_path):
    async def script(app, pilot):
        await pilot.press("e")
        app.query_one("#editor").load_text("short")
        await pilot.pause()
        await pilot.press("enter")
        assert text_of(app, "status") == "The reply has 5 characters; between 30 and 280 are allowed."
        assert app.query_one("#status").has_class("error")
        assert app.query_one("#editor").text == "short"
        assert app.editing

    driven(a_review(tmp_path, pairs(1)), script)
    assert not (tmp_path / "decisions.jsonl").exists()


def test_a_new_line_is_ctrl_j(tmp_path):
    driven(a_review(tmp_path, pairs(1)), press("e", "ctrl+j", *"end", "enter"))
    assert read_dicts(tmp_path / "decisions.jsonl")[0]["reply"] == pair(0).reply + "\nend"


def test_undo_works_across_a_restart_and_shows_the_pair_again(tmp_path):
    driven(a_review(tmp_path, pairs(5)), press("k", "d", "3"))

    async def script(app, pilot):
        await pilot.press("u")
        assert text_of(app, "reply") == pair(1).reply
        assert text_of(app, "status") == "Undone: it was dropped."
        await pilot.press("u")
        assert text_of(app, "reply") == pair(0).reply
        await press("d", "k")(app, pilot)

    driven(a_review(tmp_path, pairs(5)), script)
    assert decisions(tmp_path) == ["keep", "drop", "drop", "undo", "undo", "drop", "keep"]


def test_help_lists_the_keys_decides_nothing_and_closes_with_any_key(tmp_path):
    async def script(app, pilot):
        await pilot.press("question_mark")
        await pilot.pause()
        assert "undo, also a decision of an earlier sitting" in "\n".join(lines(app))
        await press("k")(app, pilot)
        await pilot.pause()
        assert len(app.screen_stack) == 1
        assert app.review.progress().n == 0
        await press("k")(app, pilot)
        assert app.review.progress().n == 1

    driven(a_review(tmp_path, pairs(2)), script)


def test_after_the_last_pair_the_screen_thanks_and_undo_still_works(tmp_path):
    async def script(app, pilot):
        await press("k", "k", "k", "e")(app, pilot)
        screen = "\n".join(lines(app))
        assert "Every pair is reviewed. Thank you." in screen
        assert "2 of 2" in screen
        assert "@bob" not in screen
        await pilot.press("u")
        assert text_of(app, "reply") == pair(1).reply

    driven(a_review(tmp_path, pairs(2)), script)
    assert decisions(tmp_path) == ["keep", "keep", "undo"]


def test_q_leaves(tmp_path):
    app = driven(a_review(tmp_path, pairs(2)), press("k", "q", "k"))
    assert decisions(tmp_path) == ["keep"]
    assert app.return_code == 0


# --- what is on the screen ---

HOSTILE = (
    "[bold red]x[/] [@click=app.bell]y[/] **md** <script>1</script> \x1b[31mred\x1b]0;t\x07 "
    "\u202eback $HOME [/nope] 🤷‍♂️"
)


def test_markup_and_escapes_in_posts_are_shown_and_never_act(tmp_path):
    hostile = pair(
        1, tweet=HOSTILE, reply=HOSTILE, tweet_author="[b]a", reply_author="\x1b[5mz", reply_likes=5
    )
    twin = pair(2, reply=HOSTILE + " too", reply_likes=5)

    async def script(app, pilot):
        for name in ("tweet", "reply"):
            assert text_of(app, name).startswith(
                "[bold red]x[/] [@click=app.bell]y[/] **md** <script>1</script> ?[31mred?]0;t? ?back $HOME "
                "[/nope] 🤷‍♂️"
            )
        assert "shares 9" in text_of(app, "why")
        screen = "\n".join(lines(app))
        assert "[bold red]x[/]" in screen
        assert not {"\x1b", "\x07", "\u202e", "\x9b"} & set(screen)
        await press("e")(app, pilot)
        assert not {"\x1b", "\x07", "\u202e", "\x9b"} & set("\n".join(lines(app)))

    driven(a_review(tmp_path, [hostile, twin]), script)


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 40)])
def test_on_every_size_of_terminal_reply_numbers_and_keys_are_readable(tmp_path, size):
    long = pair(
        1,
        tweet="A tweet " * 35,
        reply="lovely words " * 21 + "THE END",
        reply_author="a" * 15,
        reply_author_followers=99_999,
    )

    async def script(app, pilot):
        await pilot.press("d")
        await pilot.pause()  # the reasons take two more lines
        rows = lines(app)
        assert len(rows) == size[1]
        screen = "\n".join(rows)
        for part in (
            "1 of 2",
            "THE END",
            "99,999 followers",
            "23 min",
            "8 other",
            "k keep",
            "? help",
            "0 kept  1 dropped  0 edited",
        ):
            assert part in screen, f"{part}\n{screen}"

    driven(a_review(tmp_path, [pair(0, reply_likes=5, seen={"toxicity": 0.3}), long]), script, size)


def test_a_tweet_longer_than_the_screen_leaves_the_reply_in_sight_and_scrolls(tmp_path):
    async def script(app, pilot):
        assert pair(1).reply[:20] in "\n".join(lines(app))
        assert "FINISH" not in "\n".join(lines(app))
        for _ in range(12):
            await pilot.press("space")
        await pilot.pause()
        assert "FINISH" in "\n".join(lines(app))

    driven(a_review(tmp_path, [pair(1, tweet="A very long post. " * 200 + "FINISH")]), script)


def test_a_key_costs_the_same_however_many_pairs_there_are(tmp_path):
    found = {}
    for n in (100, 1200):

        async def script(app, pilot, n=n):
            app.action_keep()
            found[n] = n_calls(app.action_keep)

        driven(a_review(tmp_path / str(n), pairs(n)), script)
    assert found[1200] < 1.5 * found[100], found


# --- the real program in a pseudo-terminal ---


class Terminal:
    """The program as a person runs it: `python -m scripts.review` on a terminal of 80 x 24."""

    def __init__(self, folder):
        self.path = folder / "data/main/review/decisions.jsonl"
        self.screen, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"}
        command = [sys.executable, "-m", "scripts.review", "--config", "configs/data-main.yaml"]
        self.program = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=child,
            stdout=child,
            stderr=child,
            start_new_session=True,
        )
        os.close(child)
        self.seen = b""
        self.until(lambda: b"of 300" in self.seen)

    def until(self, done):
        """Read the screen until done() or the program's end."""
        deadline = time.monotonic() + 30
        while not done() and self._read():
            assert time.monotonic() < deadline, self.seen[-2000:]

    def _read(self):
        if not select.select([self.screen], [], [], 0.02)[0]:
            return self.program.poll() is None
        try:
            self.seen += (read := os.read(self.screen, 65536))
        except OSError:  # Linux: the other end is closed
            return False
        return bool(read)

    def type(self, keys):
        os.write(self.screen, keys.encode())

    def n_lines(self):
        return self.path.read_bytes().count(b"\n") if self.path.exists() else 0

    def end(self, signal_number=None):
        if signal_number:
            self.program.send_signal(signal_number)
        self.until(lambda: False)
        code = self.program.wait()
        os.close(self.screen)
        return code


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"PYTHONIOENCODING": "ascii"}])
def test_a_terminal_that_cannot_show_the_replies_is_a_sentence(tmp_path, environment):
    folder = folder_of_a_set(tmp_path, pairs(2))
    screen, child = pty.openpty()
    command = [sys.executable, "-m", "scripts.review", "--config", "configs/data-main.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **environment}
    program = subprocess.Popen(command, cwd=folder, env=environment, stdin=child, stdout=child, stderr=child)
    os.close(child)
    said = os.read(screen, 65536).decode()
    os.close(screen)
    assert program.wait() == 1
    assert said.startswith("error: This terminal shows no other letters than English ones")


def test_a_drop_killed_on_the_screen_gets_its_reason_at_the_next_start(tmp_path):
    folder = folder_of_a_set(tmp_path, pairs(300))
    terminal = Terminal(folder)
    terminal.type("kd")
    terminal.until(lambda: terminal.n_lines() == 2)
    terminal.end(signal.SIGKILL)
    terminal = Terminal(folder)
    terminal.until(lambda: b"a digit still gives it one" in terminal.seen)
    terminal.type("3")
    terminal.until(lambda: terminal.n_lines() == 3)
    terminal.end(signal.SIGKILL)
    assert read_dicts(terminal.path)[-1] | {"at": 0, "text_sha": 0} == {
        "id": "r0001", "decision": "drop", "reason": "spam", "at": 0, "text_sha": 0
    }  # fmt: skip


def test_300_decisions_by_keyboard_survive_kill_9_again_and_again(tmp_path):
    folder = folder_of_a_set(tmp_path, pairs(300))
    done = 0
    while done < 300:
        terminal = Terminal(folder)
        terminal.type("kd" * 50 if done < 240 else "k" * (300 - done))
        target = min(300, done + 80)
        terminal.until(
            lambda terminal=terminal, target=target: terminal.n_lines() >= target
        )  # killed with keys still under way
        assert terminal.end(signal.SIGKILL) == -signal.SIGKILL
        n_lines = terminal.n_lines()
        assert n_lines >= target
        done = n_lines
    rows = read_dicts(terminal.path)
    assert len({row["id"] for row in rows}) == len(rows) == 300


def test_a_sitting_ends_with_a_summary_and_the_next_command(tmp_path):
    folder = folder_of_a_set(tmp_path, pairs(300))
    terminal = Terminal(folder)
    terminal.type("kkd2e")
    terminal.until(lambda: b"Enter" in terminal.seen)
    terminal.type(" indeed" + ENTER)
    terminal.until(lambda: terminal.n_lines() == 5)
    terminal.type("q")
    assert terminal.end() == 0
    said = terminal.seen.decode().replace("\r\n", "\n")
    assert "review: kept 3 of 4 pairs (75%)\n  bland       1\n  1 of the kept replies were edited\n" in said
    assert "  296 pairs left\nnext: make review DATA=main\n" in said


def test_ctrl_c_leaves_like_q(tmp_path):
    folder = folder_of_a_set(tmp_path, pairs(300))
    terminal = Terminal(folder)
    terminal.type("k")
    terminal.until(lambda: terminal.n_lines() == 1)
    terminal.type("\x03")
    assert terminal.end() == 0
    assert b"299 pairs left" in terminal.seen
