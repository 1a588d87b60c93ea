"""DATA= and EVAL= on the command line of make: they win over the config's keys, for every target."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lib.base.files import read_dicts

ROOT = Path(__file__).parents[1]
SHORT = "{systems: [base, tuned], max_prompts: 1, sampling: {max_new_tokens: %d}, judge: {kind: offline}}"


@pytest.fixture
def project(tiny_run):
    for name in ("Makefile", "scripts", "lib", "demo", "requirements.txt"):
        (tiny_run / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "LICENSE", tiny_run)
    (tiny_run / ".venv").mkdir()
    (tiny_run / ".venv/setup.stamp").touch()
    for name in ("sample", "other"):
        (tiny_run / f"configs/data-{name}.yaml").write_text("{collect: {source: files}}")
    for name, tokens in (("offline", 9), ("other", 7)):
        (tiny_run / f"configs/eval-{name}.yaml").write_text(SHORT % tokens)
    return tiny_run


def make(*arguments):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", f"PYTHON={sys.executable}", "RUN=tiny", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("target", ["plan", "train", "eval-plan", "replies", "eval", "publish REPO=a/b"])
def test_data_on_the_command_line_is_the_set_that_is_read(project, target, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "T" * 34)
    monkeypatch.setenv("FORCE", "1")  # it was never evaluated
    said = make(*target.split(), "DATA=other")[1]
    assert "data/other" in said, said
    assert "data/sample" not in said, said


def test_an_evaluation_on_the_command_line_is_the_one_that_is_planned_written_and_shown(project):
    assert make("replies", "EVAL=other")[0] == 0
    assert max(row["tokens"] for row in read_dicts(Path("adapters/tiny/eval/other/replies.jsonl"))) <= 7
    assert not Path("adapters/tiny/eval/offline").exists()
    said = make("human-eval", "EVAL=other")[1]
    assert "adapters/tiny/eval/other/" in said and "eval/offline" not in said
    assert "adapters/tiny/eval/offline holds no replies" in make("human-eval")[1]
    code, said = make("eval-plan", "EVAL=other")
    assert code == 0 and said.splitlines()[-1] == "next: make eval RUN=tiny EVAL=other"


def test_the_people_s_page_is_about_the_given_set(project):
    assert make("replies")[0] == 0
    assert "data/other" in make("human-eval", "DATA=other")[1]
