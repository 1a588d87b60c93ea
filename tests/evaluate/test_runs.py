"""`make runs`: every run of adapters/, whatever state it is in."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from lib.base.errors import UserError
from lib.base.files import write_json
from lib.evaluate.runs import read_runs, registry, table
from scripts.runs import steps_of

ROOT = Path(__file__).parents[2]
CONFIG = {
    "data": "main",
    "model": "Qwen/Qwen3-8B",
    "method": "sft",
    "learning_rate": 2e-4,
    "epochs": 2.0,
    "lora": {"rank": 16},
}


def finished(root, name, **changes):
    values = {
        "run": name,
        "config": CONFIG,
        "n_train": 900,
        "eval_loss": 2.345,
        "train_eval_gap": 0.12,
        "seconds": 90,
        "usd": 0.4,
    }
    write_json(root / "adapters" / name / "manifest.json", {**values, **changes})
    report = {
        "net_win": 18.5,
        "ci95": [3.0, 33.0],
        "n_prompts": 200,
        "gate": {"verdict": "pass"},
        "judge": {"model": "claude-sonnet-5-5"},
    }
    write_json(root / "adapters" / name / "eval" / "claude" / "report.json", report)


def test_a_finished_run_is_a_row_with_its_evaluations(tmp_path):
    finished(tmp_path, "v1", alerts=["step 16: too wide"])
    shown = table(registry(tmp_path, steps_of)).splitlines()
    assert (
        " ".join(shown[0].split()) == "run data model method rank lr epochs rows eval loss gap min usd state"
    )
    assert shown[1].split() == [
        "v1",
        "main",
        "Qwen/Qwen3-8B",
        "sft",
        "16",
        "0.0002",
        "2",
        "900",
        "2.345",
        "0.120",
        "1.5",
        "0.40",
        "finished",
    ]
    assert shown[2] == "  claude: pass, net win +18.5 (95% CI +3.0 to +33.0) on 200 tweets, claude-sonnet-5-5"
    assert shown[3] == "  alert: step 16: too wide"


def test_runs_that_are_not_finished_say_how_far_they_are(tmp_path):
    write_json(tmp_path / "adapters" / "begun" / "started.json", {"config": CONFIG})
    (tmp_path / "adapters" / "served" / "eval").mkdir(parents=True)
    (tmp_path / "adapters" / "compare-a-b.html").write_text("a page, not a run")
    states = {row["run"]: row["state"] for row in registry(tmp_path, steps_of)}
    assert states == {"begun": "unfinished, no checkpoint yet", "served": "not trained here"}
    assert "main" in table(registry(tmp_path, steps_of))


def test_one_broken_run_does_not_hide_the_others(tmp_path):
    finished(tmp_path, "good")
    finished(tmp_path, "torn")
    (tmp_path / "adapters" / "torn" / "manifest.json").write_text('{"run": "to')
    shown = table(registry(tmp_path, steps_of))
    assert "good" in shown
    assert "broken: " in shown
    assert "torn/manifest.json: not valid JSON" in shown


def test_a_checkpoint_that_can_be_gone_on_from_is_named(tmp_path):
    folder = tmp_path / "adapters" / "stopped"
    write_json(folder / "started.json", {"config": CONFIG})
    for step in (16, 32):
        checkpoint = folder / "checkpoints" / f"checkpoint-{step}"
        write_json(checkpoint / "trainer_state.json", {"global_step": step})
        for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
            with zipfile.ZipFile(checkpoint / name, "w") as archive:
                archive.writestr("data", "")
        save_file({"weight": np.zeros((2, 2), dtype=np.float32)}, checkpoint / "adapter_model.safetensors")
    (folder / "checkpoints" / "checkpoint-32" / "optimizer.pt").write_bytes(b"PK cut short")
    assert registry(tmp_path, steps_of)[0]["state"] == "unfinished, checkpoint at step 16"


def test_the_newest_checkpoint_is_the_one_to_go_on_from_and_a_hidden_folder_is_no_run(tmp_path):
    write_json(tmp_path / "adapters" / "stopped" / "started.json", {"config": CONFIG})
    (tmp_path / "adapters" / ".trash").mkdir()
    states = {row["run"]: row["state"] for row in registry(tmp_path, lambda folder: [16, 32])}
    assert states == {"stopped": "unfinished, checkpoint at step 32"}


def test_columns_of_numbers_stand_to_the_right(tmp_path):
    finished(tmp_path, "a", n_train=9, config={**CONFIG, "lora": {"rank": 8}})
    finished(tmp_path, "b", n_train=1000, config={**CONFIG, "lora": {"rank": 128}})
    head, a, _, b, _ = table(registry(tmp_path, steps_of)).splitlines()
    for name, of_a, of_b in (("rank", "8", "128"), ("rows", "9", "1000")):
        end = head.index(name) + len(name)
        assert a[:end].endswith(" " + of_a) and b[:end].endswith(" " + of_b)


def test_two_to_four_runs_are_compared(tmp_path):
    for name in "abcde":
        finished(tmp_path, name)
    assert [run.name for run in read_runs(["d", "b", "a", "c"], tmp_path)] == ["d", "b", "a", "c"]
    with pytest.raises(UserError, match="Name two to 4 different runs"):
        read_runs([*"abcde"], tmp_path)


def test_no_run_gets_a_sentence(tmp_path):
    assert table(registry(tmp_path, steps_of)) == "There is no run in adapters/ yet."


def test_the_command_prints_the_table(tmp_path):
    finished(tmp_path, "v1\u202e", config={**CONFIG, "model": "evil\x1b[31m"})
    done = subprocess.run(
        [sys.executable, "-m", "scripts.runs"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "evil?[31m" in done.stdout
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout
    assert json.loads((tmp_path / "adapters" / "v1\u202e" / "manifest.json").read_text())["usd"] == 0.4
