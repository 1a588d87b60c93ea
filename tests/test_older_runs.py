"""A run, a data set and an evaluation made before manifests and reports had a version: every command still
reads them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lib.base.config import load_config
from lib.base.files import read_json
from lib.base.settings import TrainConfig
from lib.evaluate.report import read_report
from tests.older_run import EVALUATION, ROOT, RUN, unpack

TRAIN = ["--config", "configs/train-tiny.yaml"]
EVAL = [*TRAIN, "--eval", "configs/eval-offline.yaml"]


@pytest.fixture
def older(tmp_path, monkeypatch):
    """The current directory: a project that holds the older run."""
    monkeypatch.chdir(unpack(tmp_path))
    return tmp_path


def says(script, *arguments, **environment):
    """What a script prints. It must not fail."""
    done = subprocess.run(
        [sys.executable, "-m", f"scripts.{script}", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_list_of_runs_shows_its_numbers_and_its_evaluation(older):
    shown = says("runs")
    assert " ".join(shown.splitlines()[1].split()) == (
        "tiny sample tiny sft 16 0.002 6 249 6.324 0.107 0.5 0.00 finished"
    )
    assert "offline: fail, net win +66.0 (95% CI +40.4 to +83.7) on 47 tweets" in shown


def test_its_training_is_in_the_account(older):
    assert "train  tiny            1  0.0000" in says("costs")


def test_it_is_compared_with_a_copy_of_itself(older):
    shutil.copytree(RUN, "adapters/again")
    assert "nothing tells them apart" in says("compare", "--runs", "tiny", "again")


def test_its_training_is_planned_from_the_same_rows(older):
    shown = says("plan", *TRAIN)
    assert "249" in shown and "ok    no author or tweet in two splits" in shown


def test_training_it_again_finds_nothing_to_do(older):
    before = contents(RUN)
    said = "train: adapters/tiny is up to date: same config, data and base model\n"
    assert says("train", *TRAIN) == said
    assert contents(RUN) == before


def test_its_evaluation_is_reported_anew_without_a_reply_or_a_verdict_more(older):
    kept = {path: path.read_bytes() for path in EVALUATION.rglob("*.jsonl")}
    before = read_report(EVALUATION / "report.json")
    assert says("generate", *EVAL).startswith("generate: nothing to do")
    assert says("judge", *EVAL).startswith("judge: nothing to do")
    says("report", *EVAL)
    assert {path: path.read_bytes() for path in EVALUATION.rglob("*.jsonl")} == kept
    after = read_report(EVALUATION / "report.json")
    for name in ("n_prompts", "win_rate", "net_win", "wilcoxon_p", "cohens_d", "mde"):
        assert getattr(after, name) == getattr(before, name), name
    assert after.ci95 == pytest.approx(before.ci95, abs=4)  # intervals are made anew, another way
    for system, metrics in before.metrics.items():
        for name in ("n", "empty", "median_chars", "distinct_2", "leaks", "perplexity"):
            assert getattr(after.metrics[system], name) == getattr(metrics, name), (system, name)
    assert "| tweets | 47 |" in card()


def test_its_card_says_what_was_measured(older):
    text = card()
    assert "| pairs (train / validation) | 249 / 51 |" in text
    assert "65.96 [40.43, 83.67]" in text
    assert "0.66 [0.51, 0.78] on 41 pairs (not calibrated); baselines: longer 0.57" in text
    assert read_json(RUN / "dist/eval/summary.json")["n_prompts"] == 47


def card():
    said = says("publish", *TRAIN, "--repo", "ann/reply-tiny", "--dry-run", FORCE="1")  # a stand-in judged
    assert "no leak found" in said
    return (RUN / "dist/README.md").read_text()


def test_its_replies_are_shown_to_people(older):
    assert "47 tweets" in says("human_eval", *EVAL)
    assert (EVALUATION / "human/page.html").is_file()


@pytest.mark.slow
def test_the_demo_loads_its_adapter(older):
    from demo.app import _load

    loaded = _load(RUN, load_config(Path("configs/train-tiny.yaml"), TrainConfig))
    assert "default" in loaded.model.peft_config
