"""One run on two processes: the losses and the adapter of one, one writer, an end that all take together."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lib.base.config import load_config
from lib.base.errors import UserError
from lib.base.files import lock, read_dicts, read_json
from lib.base.settings import TrainConfig
from lib.train.distributed import together
from lib.train.run import train
from tests.conftest import copied

ROOT = Path(__file__).parents[2]
CONFIG = Path("configs/train-tiny.yaml")
RUN = Path("adapters/tiny")
# Rows and effective batch divide evenly, so that both runs see the same batches. No dropout: each process
# draws its own.
# The threshold that no evaluation reaches lets early stopping end both after the third.
CHANGES = {
    "dropout: 0.1": "dropout: 0.0",
    "patience: 3, threshold: 0.0": "patience: 2, threshold: 9.0",
    "epochs: 3": "epochs: 4",
}

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("two_processes")]


def write_config(folder):
    text = (folder / CONFIG).read_text()
    for old, new in CHANGES.items():
        text = text.replace(old, new)
    (folder / CONFIG).write_text(text)
    for name, n_rows in (("train", 40), ("val", 8)):
        path = folder / f"data/sample/processed/{name}.jsonl"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:n_rows]))


# Imports what training needs (most of the time of a short run), then forks two processes for each line it
# reads, as a launcher would.
FORKS = """
import json, os, runpy, signal, sys
import peft, trl
from trl import SFTTrainer

for line in sys.stdin:
    order, children = json.loads(line), []
    for rank in "01":
        child = os.fork()
        if child == 0:
            os.chdir(order["folder"])
            os.environ |= {"RANK": rank, "LOCAL_RANK": rank, "MASTER_PORT": order["port"]}
            said = os.open(f"rank-{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(said, 1), os.dup2(said, 2)
            sys.argv = ["train", "--config", "configs/train-tiny.yaml"]
            runpy.run_module("scripts.train", run_name="__main__")
        children.append(child)
    print(json.dumps(children), flush=True)
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]), flush=True)
"""


def environment():
    meeting = {"MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        **meeting,
    }


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@pytest.fixture(scope="module")
def forks():
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", FORKS], env=environment(), **pipes) as process:
        yield process
        process.stdin.close()


class Two:
    """Two processes of one run in folder."""

    def __init__(self, forks, folder):
        self.forks, self.folder = forks, folder
        print(json.dumps({"folder": str(folder), "port": free_port()}), file=forks.stdin, flush=True)
        self.pids = json.loads(forks.stdout.readline())

    def ends(self):
        """Their exit codes, and what each said. A deadlock is an error."""
        killer = threading.Timer(100, lambda: [os.kill(pid, signal.SIGKILL) for pid in self.pids])
        killer.start()
        codes = json.loads(self.forks.stdout.readline())
        killer.cancel()
        return codes, [(self.folder / f"rank-{rank}.txt").read_text() for rank in (0, 1)]

    def wait_for_step(self, step):
        deadline, metrics = time.monotonic() + 90, self.folder / RUN / "metrics.jsonl"
        while time.monotonic() < deadline:
            if metrics.exists() and f'"step": {step},' in metrics.read_text():
                return
            time.sleep(0.01)
        raise AssertionError(f"step {step} never came: {self.ends()}")


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
def pair(_built, forks, tmp_path_factory):
    """A workspace with the same run, trained by two processes; and what they said."""
    folder = copied(_built, tmp_path_factory.mktemp("pair"))
    write_config(folder)
    codes, said = Two(forks, folder).ends()
    assert codes == [0, 0], said
    return folder, said


def test_two_processes_have_the_loss_curve_of_one_at_the_same_effective_batch(alone, pair):
    folder, _ = pair
    assert (
        len(losses(alone, "loss")) == len(losses(folder, "loss")) == 12
    )  # early stopping ended both after the third evaluation
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
    folder, (said, silence) = pair
    lines = read_dicts(folder / RUN / "metrics.jsonl")
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 13))
    assert [line["step"] for line in lines if "eval_loss" in line] == [0, 4, 8, 12]
    samples = read_dicts(folder / RUN / "samples.jsonl")
    assert len({(sample["step"], sample["tweet_id"]) for sample in samples}) == len(samples) == 3 * 3
    assert said.count("train: 40 rows") == said.count("step 4/20") == 1
    assert silence == ""
    manifest = read_json(folder / RUN / "manifest.json")
    assert (manifest["processes"], manifest["micro_batch"], manifest["steps"]) == (2, 4, 12)


@pytest.fixture
def untrained(pair, tmp_path, monkeypatch):
    folder = copied(pair[0], tmp_path)
    shutil.rmtree(folder / "adapters")
    monkeypatch.chdir(folder)
    return folder


def test_a_killed_process_stops_the_other_and_the_same_command_ends_in_the_same_weights(
    pair, forks, untrained
):
    two = Two(forks, untrained)
    two.wait_for_step(5)
    os.kill(two.pids[1], signal.SIGKILL)
    codes, _ = two.ends()
    assert codes[0] != 0 and codes[1] == -signal.SIGKILL
    assert not (RUN / "manifest.json").exists()

    codes, (said, silence) = Two(forks, untrained).ends()
    assert codes == [0, 0], said
    assert "resuming tiny from step 4" in said and silence == ""
    whole, resumed = read_json(pair[0] / RUN / "manifest.json"), read_json(RUN / "manifest.json")
    assert resumed["adapter_sha256"] == whole["adapter_sha256"]  # tolerance: none, the bytes are the same
    assert resumed["eval_losses"] == whole["eval_losses"]


def test_what_is_impossible_is_said_once_and_ends_both(forks, untrained):
    with lock(RUN / ".lock"):
        codes, (sentence, silence) = Two(forks, untrained).ends()
    assert codes == [1, 1]
    assert sentence.startswith("error: adapters/tiny is in use by another run")
    assert silence == ""


def test_the_shipped_accelerate_file_is_one_and_training_under_it_is_refused(monkeypatch):
    from accelerate.commands.config.config_args import load_config_from_file

    shipped = load_config_from_file(str(ROOT / "configs" / "accelerate" / "fsdp-qlora.yaml"))
    assert (
        shipped.distributed_type == "FSDP" and shipped.fsdp_config["fsdp_cpu_ram_efficient_loading"] is True
    )
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UserError, match="a whole one on each"), together():
        pass


DECISIONS = """
import os
from pathlib import Path
from types import SimpleNamespace
from lib.train.callbacks import StopOnSignal
from lib.train.distributed import first_decides, first_then_all, smallest, then_wait, together

rank = int(os.environ["RANK"])
with together():
    assert first_decides(lambda: f"from {rank}") == "from 0"
    assert first_then_all(lambda: rank) == rank
    # The GPU with the least free memory decides the micro-batch of both.
    assert smallest(8 - 4 * rank, key=int) == 4
    then_wait(Path(f"part-{rank}").touch)()
    # A checkpoint's parts, before the file that makes it whole.
    assert Path("part-0").exists() and Path("part-1").exists()
    signals, control = StopOnSignal(), SimpleNamespace(should_save=False, should_training_stop=False)
    signals.on_step_end(None, None, control)
    assert not control.should_training_stop
    if rank == 1:
        signals.stopped = True  # what the handler of SIGTERM does
    signals.on_step_end(None, None, control)
    assert control.should_save and control.should_training_stop
"""


def test_decisions_are_the_same_in_all_processes_that_accelerate_launches(tmp_path):
    (tmp_path / "decisions.py").write_text(DECISIONS)
    launch = (
        "-m accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no "
        "--dynamo_backend no"
    )
    command = [sys.executable, *launch.split(), "--main_process_port", free_port(), "decisions.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=100
    )
    assert (done.returncode, done.stderr) == (0, "")
