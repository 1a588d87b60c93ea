"""Which checkpoints a run goes on from, which it keeps, and that being killed changes nothing."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lib.base.config import load_config
from lib.base.errors import UserError
from lib.base.files import lock, read_dicts, read_json
from lib.base.settings import TrainConfig
from lib.train.callbacks import KeepBest
from lib.train.checkpoints import (
    STATE_FILE,
    newest,
    whole_checkpoints,
)
from lib.train.manifest import read_manifest
from lib.train.run import train

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RUN = Path("adapters/tiny")
CONFIG = Path("configs/train-tiny.yaml")


def start(folder):
    command = [sys.executable, "-m", "scripts.train", "--config", "configs/train-tiny.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for_step(process, step, folder=RUN):
    """Until metrics.jsonl holds step: the process is then somewhere in the steps after it."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(process.communicate())
        text = (folder / "metrics.jsonl").read_text() if (folder / "metrics.jsonl").exists() else ""
        if any(int(found) >= step for found in re.findall(r'"step": (\d+), .*"loss"', text)):
            return
        time.sleep(0.01)
    raise AssertionError(f"step {step} never came")


def test_a_killed_run_ends_in_the_same_weights_as_an_uninterrupted_one(tiny_run, capsys):
    whole, whole_lines = read_manifest(RUN / "manifest.json"), read_dicts(RUN / "metrics.jsonl")
    shutil.rmtree(RUN)
    process = start(tiny_run)
    wait_for_step(process, 13)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (RUN / "manifest.json").exists()
    resumed = train("tiny", load_config(CONFIG, TrainConfig))
    assert "resuming tiny from step" in capsys.readouterr().err
    assert read_manifest(RUN / "manifest.json") == resumed
    assert resumed.adapter_sha256 == whole.adapter_sha256  # tolerance: none, the bytes are the same
    assert resumed.eval_losses == whole.eval_losses
    assert [sample.epoch for sample in resumed.samples] == [sample.epoch for sample in whole.samples]
    lines = read_dicts(RUN / "metrics.jsonl")
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 19))
    assert [line["step"] for line in lines if "eval_loss" in line] == [0, 4, 8, 12, 16, 18]
    for name in ("loss", "grad_norm", "learning_rate", "num_tokens", "entropy", "eval_entropy"):
        assert [line[name] for line in lines if name in line] == [
            line[name] for line in whole_lines if name in line
        ], name
    seconds = [line["seconds"] for line in lines]
    assert seconds == sorted(seconds)


def test_sigterm_finishes_the_step_saves_and_says_how_to_go_on(tiny_run):
    whole = read_manifest(RUN / "manifest.json")
    shutil.rmtree(RUN)
    process = start(tiny_run)
    wait_for_step(process, 5)
    process.terminate()
    output, _ = process.communicate()
    assert process.returncode == 143
    assert "Run the same command to go on" in output
    step = read_json(newest(RUN / "checkpoints") / STATE_FILE)["global_step"]
    assert 5 < step < 18
    assert train("tiny", load_config(CONFIG, TrainConfig)).adapter_sha256 == whole.adapter_sha256


def test_a_second_trainer_on_the_same_run_gets_a_sentence(tiny_run):
    shutil.rmtree(RUN)
    with lock(RUN / ".lock"):
        process = start(tiny_run)
        _, errors = process.communicate()
    assert process.returncode == 1
    assert errors.strip().startswith("error: adapters/tiny is in use by another run")
    assert "Traceback" not in errors


def test_unfinished_training_of_another_config_is_not_continued(tiny_run):
    (RUN / "manifest.json").unlink()
    CONFIG.write_text(CONFIG.read_text().replace("rank: 4", "rank: 8"))
    process = start(tiny_run)
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "adapters/tiny was begun with lora" in errors


def damage_sentinel(folder):
    (folder / "checkpoint-is-incomplete.txt").write_text("")


def damage_state(folder):
    (folder / STATE_FILE).write_text((folder / STATE_FILE).read_text()[:-20])


def damage_step(folder):
    (folder / STATE_FILE).write_text(
        (folder / STATE_FILE).read_text().replace('"global_step": 18', '"global_step": 17')
    )


def damage_missing_state(folder):
    (folder / STATE_FILE).unlink()


def damage_optimizer(folder):
    path = folder / "optimizer.pt"
    path.write_bytes(path.read_bytes()[:1000])


def damage_weights(folder):
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])


def damage_empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize(
    "damage",
    [
        damage_sentinel,
        damage_state,
        damage_step,
        damage_missing_state,
        damage_optimizer,
        damage_weights,
        damage_empty,
    ],
)
def test_a_checkpoint_that_is_not_whole_is_not_gone_on_from(tiny_run, damage):
    folder = RUN / "checkpoints"
    last = folder / "checkpoint-18"
    if not last.exists():
        shutil.copytree(whole_checkpoints(folder)[-1], last)
        (last / STATE_FILE).write_text(
            re.sub(r'"global_step": \d+', '"global_step": 18', (last / STATE_FILE).read_text())
        )
    assert newest(folder) == last
    damage(last)
    assert newest(folder) != last
    assert not last.exists()


def as_mlx_writes_it(checkpoint):
    import numpy as np

    for path in [*checkpoint.glob("*.pt"), *checkpoint.glob("*.pth")]:
        path.unlink()
    np.savez(checkpoint / "optimizer.npz", step=np.uint64(3))


def test_a_checkpoint_of_mlx_is_whole_with_its_optimizer_alone(tiny_run):
    checkpoint = whole_checkpoints(RUN / "checkpoints")[-1]
    as_mlx_writes_it(checkpoint)
    assert whole_checkpoints(RUN / "checkpoints")[-1] == checkpoint
    path = checkpoint / "optimizer.npz"
    path.write_bytes(path.read_bytes()[:-30])
    assert checkpoint not in whole_checkpoints(RUN / "checkpoints")


def test_what_mlx_began_is_not_gone_on_with_by_another_backend(tiny_run):
    as_mlx_writes_it(whole_checkpoints(RUN / "checkpoints")[-1])
    (RUN / "manifest.json").unlink()
    with pytest.raises(UserError, match="was written by backend: mlx, and peft cannot go on from it"):
        train("tiny", load_config(Path("configs/train-tiny.yaml"), TrainConfig))


def test_a_full_disk_is_a_sentence_and_leaves_the_last_checkpoint_intact(tiny_run, monkeypatch):
    shutil.rmtree(RUN)

    def shrink(self, args, state, control, **_):  # after the first checkpoint no file may grow beyond 10 kB
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))

    monkeypatch.setattr(KeepBest, "on_save", shrink)
    try:
        with pytest.raises(UserError, match=r"the disk is full.*checkpoint-4 is intact"):
            train("tiny", load_config(CONFIG, TrainConfig))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert newest(RUN / "checkpoints").name == "checkpoint-4"
