"""A home with a run to rent for, and a RunPod on the loopback, address and key in the environment."""

import pytest

from tests.remote.shop import Shop
from tests.remote.world import environment, write_project
from tests.stubs.pod import MISSING
from tests.stubs.runpod_server import runpod_server


def pytest_collection_modifyitems(items):
    """Tests of pods say what they lack: a real sshd is their door."""
    lacking = pytest.mark.skip(reason=f"needs {', '.join(MISSING)}: apt-get install openssh-server tmux")
    for item in items:
        if MISSING and "stub" in getattr(item, "fixturenames", ()):
            item.add_marker(lacking)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The current directory: a workspace whose run `tiny` is not trained."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("MAX_USD", "FORCE"):
        monkeypatch.delenv(name, raising=False)
    return write_project(folder)


@pytest.fixture
def stub(tmp_path, monkeypatch):
    with runpod_server(tmp_path / "pods") as server:
        for name, value in environment(server.url).items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def shop():
    return Shop()


@pytest.fixture
def ending(tmp_path, shop):
    """Of the run `tiny` below tmp_path."""
    return shop.ending(tmp_path)
