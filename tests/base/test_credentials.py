"""Keys of the environment: which names mean one, how they are kept out of what is shown."""

import os

import pytest

from lib.base.console import load_env
from lib.base.credentials import MASK, known_secrets, masked, shared_warning
from lib.base.errors import UserError

KEY = "sk-ant-api03-0123456789abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def environment(monkeypatch):
    """The environment: empty but for what a test puts there."""
    monkeypatch.setattr("os.environ", {})
    return os.environ


@pytest.mark.parametrize(
    "name",
    [
        *(
            "ANTHROPIC_API_KEY",
            "HF_TOKEN",
            "DEMO_PASSWORD",
            "hf_token",
            "Wandb_Api_Key",
            "apikey",
            "MY_SECRET_1",
        ),
        *("DB_PASS", "AWS_CREDENTIALS", "SESSION_COOKIE", "passphrase"),
    ],
)
def test_a_secret_is_known_by_its_name_in_any_case(environment, name):
    environment[name] = KEY
    assert masked(f"it is {KEY}.") == f"it is {MASK}."


@pytest.mark.parametrize(
    "name, value", [("HOME", KEY), ("KEYBOARD", KEY), ("HF_TOKEN", "short"), ("HF_TOKEN", " " * 20)]
)
def test_what_is_no_secret_is_shown(environment, name, value):
    environment[name] = value
    assert masked(f"it is {value}.") == f"it is {value}."


def test_a_key_in_an_error_or_in_its_beginning_is_masked(environment):
    environment["ANTHROPIC_API_KEY"] = KEY
    said = str(UserError(f"The server said: {KEY}, {KEY[:20]}... go away"))
    assert said == f"The server said: {MASK}, {MASK}... go away"
    assert masked("sk-ant-stub and words") == "sk-ant-stub and words"


def test_every_beginning_of_a_third_or_more_is_masked_and_what_follows_stays(environment):
    environment["HF_TOKEN"] = KEY
    for n in range(len(KEY) // 3, len(KEY) + 1):
        assert masked(f"{KEY[:n]}, {KEY[:n]}!") == f"{MASK}, {MASK}!"


def test_of_two_keys_that_begin_alike_both_are_masked_whole(environment):
    environment |= {"A_KEY": KEY[:24], "B_KEY": KEY}
    assert masked(f"{KEY} {KEY[:24]}") == f"{MASK} {MASK}"


def test_the_secrets_of_env_count_beside_those_of_the_environment(environment, tmp_path):
    environment["HF_TOKEN"] = KEY
    (tmp_path / ".env").write_text(f"HF_TOKEN={KEY[::-1]}\nOTHER=nothing of that kind\n")
    assert known_secrets(tmp_path / ".env") == {KEY, KEY[::-1]}
    assert known_secrets(tmp_path / "none") == {KEY}


@pytest.mark.parametrize(
    "mode, warned", [(0o600, False), (0o400, False), (0o644, True), (0o640, True), (0o604, True)]
)
def test_an_env_file_that_others_can_read_is_said(tmp_path, monkeypatch, capsys, mode, warned):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("# nothing yet\n")
    (tmp_path / ".env").chmod(mode)
    load_env()
    assert ("chmod 600 .env" in capsys.readouterr().err) == warned
    assert shared_warning(tmp_path / "none") is None


def test_what_is_set_already_wins_over_env(tmp_path, monkeypatch, environment):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("A_TOKEN=of-the-file\nB_TOKEN=of-the-file\n")
    (tmp_path / ".env").chmod(0o600)
    environment["A_TOKEN"] = "set-already"
    load_env()
    assert (environment["A_TOKEN"], environment["B_TOKEN"]) == ("set-already", "of-the-file")
