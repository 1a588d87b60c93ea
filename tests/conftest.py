"""Shared fixtures: a workspace with a small data set, and one with a trained run of the model `tiny`.

Both hold configs/train-tiny.yaml and data/sample/ in the layout of the repository, with a tiny model that takes seconds to build.
"""

import fcntl
import os
import shutil

import pytest

from tests.training_data import write_workspace


def pytest_collection_modifyitems(items):
    """The longest file first: as the last one it would keep one of two workers waiting for minutes."""
    items.sort(key=lambda item: item.path.name != "test_unsloth.py")


def once(tmp_path_factory, name, build):
    """A folder that build(folder) filled, shared by all of pytest-xdist's workers: the second one waits for the first."""
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
        from lib.tiny import ensure_tiny

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
        from lib.config import load_config
        from lib.settings import TrainConfig
        from lib.training import train

        train("tiny", load_config(folder / "configs" / "train-tiny.yaml", TrainConfig))

    return once(tmp_path_factory, "trained", build)


@pytest.fixture
def tiny_run(trained, tmp_path, monkeypatch):
    """The current directory: a copy of a workspace with a finished run in adapters/tiny, free to change."""
    monkeypatch.chdir(copied(trained, tmp_path))
    return tmp_path
