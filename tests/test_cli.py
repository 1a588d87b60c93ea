import subprocess
import sys
from pathlib import Path

import pytest

from lib.cli import confirm, parser, printable, run, summary
from lib.errors import UserError

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, with\na line and\ta tab", "plain, with\na line and\ta tab"),
        ("\x1b[2Jcleared", "?[2Jcleared"),
        ("left \u202eright", "left ?right"),
        ("family \U0001f468\u200d\U0001f469\u200d\U0001f467 ok", "family \U0001f468\u200d\U0001f469\u200d\U0001f467 ok"),
        ("bell\x07 return\r null\x00 half \ud83d", "bell? return? null? half ?"),
        ("日本語 é", "日本語 é"),
    ],
)
def test_a_terminal_shows_a_text_and_never_obeys_it(text, shown):
    assert printable(text) == shown


def test_a_summary_accounts_for_everything_most_frequent_reason_first():
    text = summary("filter", 1012, ["wrong_language"] * 2 + ["reply_too_short"] * 466)
    assert text.splitlines() == [
        "filter: kept 1,012 of 1,480 pairs (68%)",
        "  reply_too_short     466",
        "  wrong_language        2",
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
    ("error", "code", "says"), [(UserError("do this"), 1, "error: do this"), (KeyboardInterrupt(), 130, "Run the same command")]
)
def test_a_users_mistake_is_one_sentence_and_an_interruption_says_how_to_go_on(error, code, says, capsys):
    def main():
        raise error

    with pytest.raises(SystemExit) as stopped:
        run(main)
    assert stopped.value.code == code
    assert says in capsys.readouterr().err


def test_a_bug_keeps_its_traceback():
    done = subprocess.run([sys.executable, "-c", "from lib.cli import run; run(lambda: 1 / 0)"], cwd=ROOT, capture_output=True, text=True)
    assert "ZeroDivisionError" in done.stderr


def test_help_names_the_command_of_the_docstring():
    assert parser("Do it.\n\npython -m scripts.plan --config X").prog == "python -m scripts.plan"
