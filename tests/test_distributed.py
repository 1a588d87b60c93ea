"""One run on two processes: the same losses and the same adapter as on one, one writer, and an end that all take together."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lib.config import load_config
from lib.files import lock, read_dicts, read_json
from lib.settings import TrainConfig
from lib.training import train
from tests.conftest import copied

ROOT = Path(__file__).parent.parent
CONFIG = Path("configs/train-tiny.yaml")
RUN = Path("adapters/tiny")
# Rows and effective batch divide evenly, so that both runs see the same batches. No dropout: each process draws its own.
# The threshold that no evaluation reaches lets early stopping end both after the third.
CHANGES = {"dropout: 0.1": "dropout: 0.0", "patience: 3, threshold: 0.0": "patience: 2, threshold: 9.0", "epochs: 3": "epochs: 4"}

pytestmark = pytest.mark.xdist_group("two_processes")


def write_config(folder):
    text = (folder / CONFIG).read_text()
    for old, new in CHANGES.items():
        text = text.replace(old, new)
    (folder / CONFIG).write_text(text)
    for name, n_rows in (("train", 40), ("val", 8)):
        path = folder / f"data/sample/processed/{name}.jsonl"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:n_rows]))


def environment(**more):
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


def start(folder, command=("-m", "scripts.train", "--config", str(CONFIG))):
    """Two processes, as a launcher starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    ranks = [{**meeting, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in (0, 1)]
    return [subprocess.Popen([sys.executable, *command], cwd=folder, env=environment(**rank), **pipes) for rank in ranks]


def ends(processes, timeout_s=90):
    """(exit code, output, errors) of each; a deadlock is an error."""
    try:
        return [(process.returncode, *said) for process in processes for said in [process.communicate(timeout=timeout_s)]]
    finally:
        for process in processes:
            process.kill()


def wait_for_step(folder, processes, step):
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        lines = (folder / RUN / "metrics.jsonl").read_text().splitlines() if (folder / RUN / "metrics.jsonl").exists() else []
        if any(f'"step": {number},' in line for line in lines for number in range(step, step + 9)):
            return
        assert all(process.poll() is None for process in processes), ends(processes)
        time.sleep(0.01)
    raise AssertionError(f"step {step} never came")


def losses(folder, name):
    return [line[name] for line in read_dicts(folder / RUN / "metrics.jsonl") if name in line]


def weights(folder):
    from safetensors.numpy import load_file

    return load_file(folder / RUN / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def alone(_built, tmp_path_factory):
    """A workspace with the run of one process."""
    folder = copied(_built, tmp_path_factory.mktemp("alone"))
    write_config(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train("tiny", load_config(CONFIG, TrainConfig))
    return folder


@pytest.fixture(scope="module")
def pair(_built, tmp_path_factory):
    """A workspace with the same run, trained by two processes that `accelerate launch` started; and what they said."""
    folder = copied(_built, tmp_path_factory.mktemp("pair"))
    write_config(folder)
    launch = "-m accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, *launch.split(), "--main_process_port", port, "-m", "scripts.train", "--config", str(CONFIG)]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder, done


def test_two_processes_have_the_loss_curve_of_one_at_the_same_effective_batch(alone, pair):
    folder, _ = pair
    assert len(losses(alone, "loss")) == len(losses(folder, "loss")) == 12  # early stopping ended both after the third evaluation
    # Tolerance: sums of the same numbers in another order, in float32, after 12 steps of Adam.
    assert losses(folder, "loss") == pytest.approx(losses(alone, "loss"), rel=1e-4)
    assert losses(folder, "eval_loss") == pytest.approx(losses(alone, "eval_loss"), rel=1e-4)
    assert losses(folder, "num_tokens") == losses(alone, "num_tokens")


def test_two_processes_end_in_the_adapter_of_one(alone, pair):
    import numpy as np

    one, two = weights(alone), weights(pair[0])
    assert one.keys() == two.keys()
    moved = max(np.abs(one[name]).max() for name in one if "lora_B" in name)  # starts at 0: what training did
    assert max(np.abs(one[name] - two[name]).max() for name in one) < 0.01 * moved


def test_only_the_first_process_writes_and_talks(pair):
    folder, done = pair
    lines = read_dicts(folder / RUN / "metrics.jsonl")
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 13))
    assert [line["step"] for line in lines if "eval_loss" in line] == [0, 4, 8, 12]
    samples = read_dicts(folder / RUN / "samples.jsonl")
    assert len({(sample["step"], sample["tweet_id"]) for sample in samples}) == len(samples) == 3 * 3
    assert done.stdout.count("train: 40 rows") == 1
    assert done.stderr.count("step 4/20") == 1
    assert "transformers" not in done.stderr
    manifest = read_json(folder / RUN / "manifest.json")
    assert (manifest["processes"], manifest["micro_batch"], manifest["steps"]) == (2, 4, 12)


@pytest.fixture
def untrained(pair, tmp_path, monkeypatch):
    folder = copied(pair[0], tmp_path)
    shutil.rmtree(folder / "adapters")
    monkeypatch.chdir(folder)
    return folder


def test_a_killed_process_stops_the_other_and_the_same_command_ends_in_the_same_weights(pair, untrained):
    processes = start(untrained)
    wait_for_step(untrained, processes, 5)
    processes[1].send_signal(signal.SIGKILL)
    (first, _, _), _ = ends(processes)
    assert first != 0
    assert not (RUN / "manifest.json").exists()

    (first, _, said), (second, _, silence) = ends(start(untrained))
    assert (first, second) == (0, 0)
    assert "resuming tiny from step 4" in said and "resuming" not in silence
    whole, resumed = read_json(pair[0] / RUN / "manifest.json"), read_json(RUN / "manifest.json")
    assert resumed["adapter_sha256"] == whole["adapter_sha256"]  # tolerance: none, the bytes are the same
    assert resumed["eval_losses"] == whole["eval_losses"]


def test_what_is_impossible_is_said_once_and_ends_both(untrained):
    with lock(RUN / ".lock"):
        (first, _, sentence), (second, _, silence) = ends(start(untrained))
    assert (first, second) == (1, 1)
    assert sentence.strip().splitlines()[-1].startswith("error: adapters/tiny is in use by another run")
    assert "error:" not in silence


DECISIONS = """
import os
from pathlib import Path
from types import SimpleNamespace
from lib.callbacks import StopOnSignal
from lib.distributed import first_decides, first_then_all, smallest, then_wait, together

rank = int(os.environ["RANK"])
with together():
    assert first_decides(lambda: f"from {rank}") == "from 0"
    assert first_then_all(lambda: rank) == rank
    assert smallest(8 - 4 * rank, key=int) == 4  # the GPU with the least free memory decides the micro-batch of both
    then_wait(Path(f"part-{rank}").touch)()
    assert Path("part-0").exists() and Path("part-1").exists()  # a checkpoint's parts, before the file that makes it whole
    signals, control = StopOnSignal(), SimpleNamespace(should_save=False, should_training_stop=False)
    signals.on_step_end(None, None, control)
    assert not control.should_training_stop
    if rank == 1:
        signals.stopped = True  # what the handler of SIGTERM does
    signals.on_step_end(None, None, control)
    assert control.should_save and control.should_training_stop
"""


def test_decisions_are_the_same_in_all_processes(tmp_path):
    assert [(code, errors) for code, _, errors in ends(start(tmp_path, ["-c", DECISIONS]))] == [(0, ""), (0, "")]
