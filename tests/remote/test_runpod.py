"""From the question to the last dollar on RunPod: a loopback server that bills, pods with a real sshd."""

import json
import subprocess

import pytest

from lib.errors import UserError
from tests.remote.world import Desk, assert_books_equal_the_bill, environment, ledger_of, order_of, rent, write_project
from tests.stubs.pod import MISSING
from tests.stubs.runpod_server import KEY, Fault, runpod_server

needs_pod = pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}: apt-get install openssh-server tmux")


@pytest.fixture
def project(tmp_path, monkeypatch):
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MAX_USD", raising=False)
    return write_project(folder)


@pytest.fixture
def stub(tmp_path, monkeypatch):
    with runpod_server(tmp_path / "pods") as server:
        for name, value in environment(server.url).items():
            monkeypatch.setenv(name, value)
        yield server


@needs_pod
def test_one_command_rents_trains_fetches_and_ends(project, stub):
    desk = Desk()
    files = rent(project, stub, desk)
    run = project / "adapters/tiny"
    assert sorted(files) == ["adapter.bin", "eval/offline/replies.jsonl", "manifest.json", "seen.jsonl"]
    assert (run / "seen.jsonl").read_text() == (project / "data/sample/processed/train.jsonl").read_text()
    assert (run / "eval/offline/replies.jsonl").read_text() == "reply\n"
    assert not (run / "remote").exists()
    assert "the pod's own watchdog works" in desk.text
    assert "  | training" in desk.text and "  | replying" in desk.text
    assert len(desk.asked) == 1
    assert_books_equal_the_bill(project, stub, 1)
    assert [entry.state for entry in ledger_of(project).entries()] == ["intent", "started", "done"]
