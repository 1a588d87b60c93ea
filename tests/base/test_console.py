import os
import subprocess
import sys
from pathlib import Path

import pytest

from lib.base.console import confirm, load_env, parser, printable, run, summary
from lib.base.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, with\na line and\ta tab", "plain, with\na line and\ta tab"),
        ("\x1b[2Jcleared", "?[2Jcleared"),
        ("left \u202eright", "left ?right"),
        (
            "family \U0001f468\u200d\U0001f469\u200d\U0001f467 ok",
            "family \U0001f468\u200d\U0001f469\u200d\U0001f467 ok",
        ),
        ("bell\x07 return\r null\x00 half \ud83d", "bell? return? null? half ?"),
        ("日本語 é", "日本語 é"),
    ],
)
def test_a_terminal_shows_a_text_and_never_obeys_it(text, shown):
    assert printable(text) == shown


def test_a_summary_accounts_for_everything_most_frequent_reason_first():
    text = summary("filter", 1012, ["b"] + ["wrong_language"] * 465 + ["reply_too_short"] + ["a"])
    assert text.splitlines() == [
        "filter: kept 1,012 of 1,480 pairs (68%)",
        "  wrong_language      465",
        "  a                     1",
        "  b                     1",
        "  reply_too_short       1",
    ]


def test_nothing_in_nothing_out_is_no_division_by_zero():
    assert summary("clean", 0, []) == "clean: kept 0 of 0 pairs"


def test_yes_1_answers_and_without_a_terminal_nobody_does(monkeypatch):
    monkeypatch.setenv("YES", "1")
    confirm("Spend $3?")
    monkeypatch.setenv("YES", "0")
    with pytest.raises(UserError, match=r"Spend \$3\? Nobody is here to answer"):
        confirm("Spend $3?")


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [(UserError("do this"), 1, "error: do this"), (KeyboardInterrupt(), 130, "Run the same command")],
)
def test_a_users_mistake_is_one_sentence_and_an_interruption_says_how_to_go_on(error, code, says, capsys):
    def main():
        raise error

    with pytest.raises(SystemExit) as stopped:
        run(main)
    assert stopped.value.code == code
    assert says in capsys.readouterr().err


def test_a_bug_keeps_its_traceback():
    done = subprocess.run(
        [sys.executable, "-c", "from lib.base.console import run; run(lambda: 1 / 0)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert "ZeroDivisionError" in done.stderr


def test_help_names_the_command_of_the_docstring():
    assert parser("Do it.\n\npython -m scripts.plan --config X").prog == "python -m scripts.plan"


def ran(code, command="{python} -c '{code}'", **environment):
    """Run code under lib.base.console.run in a shell command, and return what became of it."""
    line = command.format(
        python=sys.executable,
        code=f"import sys; from lib.base.console import *\ndef main():\n {code}\nrun(main)",
    )
    return subprocess.run(
        ["bash", "-c", line],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        errors="replace",
    )


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (
            'open("/nonexistent/x")',
            "error: /nonexistent/x: No such file or directory. Look what lies at this path",
        ),
        ('open("/")', "error: /: Is a directory."),
        ('os.rename("/none1", "/none2")', "error: /none1 -> /none2: No such file"),
        (
            'raise PermissionError(errno.EACCES, "Permission denied", "a/b")',
            "error: a/b: Permission denied. Fix the permissions",
        ),
        (
            'raise OSError(errno.EROFS, "Read-only file system", "a")',
            "error: a: Read-only file system. Move the project",
        ),
        (
            'raise RuntimeError("I/O error: No space left on device (os error 28)")',
            "error: No space left on device. Free disk space",
        ),
        (
            'raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")',
            "error: No space left on device.",
        ),
        (
            'raise OSError(errno.ENOSPC, "No space left on device")',
            "error: No space left on device. Free disk space",
        ),
    ],
)
def test_what_the_system_refuses_is_a_sentence_with_its_path(code, says):
    done = ran(code)
    assert done.returncode == 1
    assert done.stderr.startswith(says)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "code",
    ['raise ConnectionRefusedError(111, "refused")', 'import ssl; raise ssl.SSLError(1, "bad")', "{}[1]"],
)
def test_an_error_that_names_no_path_is_a_bug_and_keeps_its_traceback(code):
    assert "Traceback" in ran(code).stderr


@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
)
def test_a_terminal_that_knows_only_ascii_shows_question_marks(environment):
    done = ran('print("a\\u2013b \\U0001f600"); print("\\u2026", file=sys.stderr)', **environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "a?b ?\n", "?\n")


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("{python} -c '{code}' | head -1; exit ${{PIPESTATUS[0]}}", 141, ""),
        (
            "{python} -c '{code}' >/dev/full",
            1,
            "error: No space left on device. Free disk space, then run it again.\n",
        ),
        ("{python} -c '{code}' >&-", 0, ""),
    ],
)
def test_output_that_nobody_takes_ends_without_a_traceback(command, code, says):
    done = ran("for i in range(50_000): print(i)", command)
    assert (done.returncode, done.stderr) == (code, says)


@pytest.mark.parametrize("closed", ["<&-", "</dev/null", "<&- >&- "])
def test_a_question_that_nobody_can_answer_spends_nothing(closed):
    done = ran('confirm("Spend?"); print("spent")', "{python} -c '{code}' " + closed, YES="")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: Spend? Nobody is here to answer: run it in a terminal, or set YES=1.\n"


def test_ctrl_d_at_a_question_is_a_no(monkeypatch):
    def end_of_input(question):
        raise EOFError

    monkeypatch.setenv("YES", "")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", end_of_input)
    with pytest.raises(UserError, match="not confirmed"):
        confirm("Spend?")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("X_TOKEN=secret".encode("utf-16"), ".env:1: the file is UTF-16"),
        ("X_TOKEN=secret".encode("utf-16-le"), ".env:1: the file is UTF-16"),
        (b"A=1\nX_TOKEN=secret\xe9", ".env:2: the file is not UTF-8"),
        ("A=1\nX_TOKEN=“secret”".encode(), ".env:2: X_TOKEN holds a character that no key has"),
        (b'X_KEY="sec\nret"', ".env:1: X_KEY holds a character that no key has"),
        (b"A=1\nX_TOKEN='secret\n", ".env:2: not a line NAME=value"),
        (b"X_TOKEN: secret\n", ".env:1: not a line NAME=value"),
    ],
)
def test_an_env_file_that_cannot_be_read_is_a_sentence_without_its_secret(
    tmp_path, monkeypatch, content, says
):
    monkeypatch.chdir(tmp_path)
    Path(".env").write_bytes(content)
    with pytest.raises(UserError) as error:
        load_env()
    assert says in str(error.value)
    assert "secret" not in str(error.value)
    assert "X_TOKEN" not in os.environ


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfX_TOKEN=a\n",
        b"export X_TOKEN='a' # mine\r\n",
        b'N=Jos\xc3\xa9\rX_TOKEN="a"\r',
        b"X_TOKEN = a",
    ],
)
def test_an_env_file_of_any_editor_is_read(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", {})
    Path(".env").write_bytes(content)
    load_env()
    assert os.environ["X_TOKEN"] == "a"


def test_an_env_that_is_no_file_is_a_sentence_and_none_is_fine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    load_env()
    os.mkfifo(".env")
    with pytest.raises(UserError, match=r"\.env is not a file"):
        load_env()
