"""How `make test` comes by a browser, and what a run without one says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tests.browser
from tests.browser import NoBrowserError, bring, installed, trouble, ways

ROOT = Path(__file__).parent.parent


def program(folder, name, body="exit 0"):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def path(tmp_path, monkeypatch):
    """The only folder of programs on this machine; no browser is an app, and Playwright has none."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "none"))
    monkeypatch.setattr(tests.browser, "APPS", ())
    monkeypatch.setattr(tests.browser, "PLAYWRIGHT", ["playwright"])
    return folder


def test_an_installed_browser_comes_before_playwrights_own(path):
    chrome = program(path, "google-chrome")
    chromium = program(path, "chromium")
    assert list(installed()) == [str(chromium), str(chrome), None]


def test_a_package_manager_is_asked_only_where_that_needs_no_password(path):
    for name in ("apt-get", "brew"):
        program(path, name)
    assert [name for name, _ in ways(None)] == ["Playwright's download", "brew"]
    commands = dict(ways(["sudo", "-n"]))
    assert list(commands) == ["Playwright's download", "apt-get", "brew"]
    assert (
        commands["apt-get"][1][:4] == ["sudo", "-n", "apt-get", "install"]
        and "chromium" in commands["apt-get"][1]
    )
    assert commands["brew"][0][0] == "brew"
    assert dict(ways([]))["apt-get"][0] == ["apt-get", "update", "-qq"]


def test_every_way_is_tried_in_turn_and_each_failure_is_named(path, playwright_api, capsys, monkeypatch):
    program(path, "chromium", "exit 1")  # a stub on PATH without a browser behind it
    program(path, "playwright", "echo looking; echo 'Error: getaddrinfo ENOTFOUND example.org' >&2; exit 1")
    apt = f'echo "$@" >> {path}/asked; echo "E: Unable to locate package chromium"; [ "$1" = update ]'
    program(path, "apt-get", apt)
    monkeypatch.setattr(tests.browser, "root", list)
    with pytest.raises(NoBrowserError) as none:
        bring(playwright_api)
    assert str(none.value) == (
        f"{path}/chromium does not start; Playwright's download: Error: getaddrinfo ENOTFOUND example.org; "
        "apt-get: E: Unable to locate package chromium"
    )
    assert (path / "asked").read_text().splitlines() == [
        "update -qq",
        "install -y -qq chromium fonts-noto-color-emoji",
    ]
    assert re.findall("trying (.*?) \\(", capsys.readouterr().err) == ["Playwright's download", "apt-get"]


@pytest.fixture
def playwright_api():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as api:
        yield api


def test_a_command_that_hangs_or_asks_is_ended(tmp_path):
    hanging = program(tmp_path, "hanging", "sleep 600 & sleep 600")
    assert trouble([str(hanging)], 0.2) == "not done after 0.2 s"
    asking = program(tmp_path, "asking", "read answer < /dev/tty || exit 7")
    assert "/dev/tty" in trouble([str(asking)], 60)


WITHOUT = """
import pytest, tests.browser

def none(api):
    raise tests.browser.NoBrowserError("none is installed")

tests.browser.start = none

@pytest.mark.parametrize("n", range(3))
def test_a_page(browser, n): ...

def test_something(): ...
"""


@pytest.mark.parametrize("skips, code", [([], 0), (["--skips", "none"], 1), (["--skips", "no Chromium"], 0)])
def test_skipped_browser_tests_are_one_loud_line_and_a_failure_where_none_may_be(tmp_path, skips, code):
    (tmp_path / "test_pages.py").write_text(WITHOUT)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-n", "2", *skips, "."]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "WHY_NO_BROWSER": "none is installed; apt-get: E: no network",
    }
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    loud = [line for line in done.stdout.splitlines() if line.startswith("NOT TESTED")]
    why = "no Chromium here: none is installed; apt-get: E: no network"
    assert loud == [f"NOT TESTED: 3 tests in a browser were skipped: {why}"]
    assert done.returncode == code, done.stdout + done.stderr
    assert (
        "FAILED: 3 tests were skipped, which --skips does not allow: no Chromium here" in done.stdout
    ) == bool(code)
