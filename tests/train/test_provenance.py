"""With what a run was made: the commit of the code, wherever it is called from, or as it was told."""

import subprocess
from pathlib import Path

import pytest

from lib.train.provenance import git_commit, versions

ROOT = Path(__file__).parents[2]


def head(folder):
    asked = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    return subprocess.run(asked, capture_output=True, text=True).stdout.strip() or None


def test_the_commit_is_that_of_the_code_and_not_of_the_folder_it_is_called_from(tmp_path, monkeypatch):
    monkeypatch.delenv("REPLIES_COMMIT", raising=False)
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q", "."], check=True)
    assert git_commit() == head(ROOT)


def test_a_copy_without_git_says_the_commit_that_it_was_told(monkeypatch):
    monkeypatch.setenv("REPLIES_COMMIT", "f" * 40)
    assert git_commit() == "f" * 40
    monkeypatch.setenv("REPLIES_COMMIT", "")
    assert git_commit() == head(ROOT)


def test_without_git_the_commit_is_not_known(monkeypatch):
    monkeypatch.delenv("REPLIES_COMMIT", raising=False)
    monkeypatch.setenv("PATH", "")
    assert git_commit() is None


@pytest.mark.parametrize("package", ["torch", "transformers", "trl", "peft"])
def test_a_run_names_the_versions_of_what_is_installed_and_nothing_of_what_is_not(package):
    import importlib.metadata

    found = versions()
    assert found[package] == importlib.metadata.version(package)
    assert None not in found.values()
