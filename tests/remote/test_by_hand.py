"""docs/runpod-by-hand.md from its first block to its last on a pod with a real sshd, with the tiny model."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lib.base.config import load_config
from lib.base.files import read_jsonl
from lib.base.schema import Reply
from lib.base.settings import TrainConfig
from lib.train.fingerprint import up_to_date
from tests.remote.test_whole_path import repository  # noqa: F401  a fixture
from tests.remote.world import QUICK
from tests.stubs.pod import MISSING, LoopbackPod
from tests.test_runpod_page import BLOCKS, PAGE, RUNPODCTL_2, TIMER, wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(MISSING) or not all(map(shutil.which, ("rsync", "shasum", "setsid"))),
        reason="needs openssh-server, tmux and rsync",
    ),
]
ENTER = next(line for line in PAGE.splitlines() if line.startswith("ssh -t replies-pod tmux"))


class ByHand:
    """A person at home with the page, and a pod. What cannot be had here (six hours, a GPU's image) is said
    in `read_as`; everything else runs as it is written.
    """

    def __init__(self, home: Path, folder: Path) -> None:
        self.home, self.bin = home, folder / "bin"
        self.bin.mkdir()
        key = folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        given = {"RUNPOD_POD_ID": "abc123", "RUNPOD_API_KEY": "pod-key", "HF_TOKEN": "hf_x"}
        public = key.with_suffix(".pub").read_text().strip()
        self.pod = LoopbackPod(folder / "pod", {"PUBLIC_KEY": public, **given}, "", "good")
        wait_until(self.pod.is_up)
        (self.pod.root / "shm").mkdir()
        self.program("runpodctl", f'cat > /dev/null; cd "{folder}"; {RUNPODCTL_2}')
        self.program("apt-get", f'echo "$*" >> {folder}/installed')
        self.program("nvidia-smi", "echo NVIDIA A40")
        options = f"-F {folder}/.ssh/config -i {key} -o StrictHostKeyChecking=no"
        self.program(
            "ssh", f'exec {shutil.which("ssh")} {options} -o UserKnownHostsFile={folder}/known_hosts "$@"'
        )
        (folder / ".ssh").mkdir()
        root, setup = self.pod.root, f"{QUICK.setup} && touch .venv/setup.stamp"
        cache = (home / "data/cache").resolve()
        self.read_as = {
            "HostName 203.0.113.7": "HostName 127.0.0.1",
            "Port 12345": f"Port {self.pod.port}",
            "User root": f"User {self.pod.user}",
            "~/.ssh/config": f"{folder}/.ssh/config",
            "~/timer.log": f"{root}/timer.log",
            "/proc/1/environ": f"{root}/proc/1/environ",
            "/dev/shm": f"{root}/shm",
            "/workspace": f"{root}/workspace",
            "apt-get": f"{self.bin}/apt-get",
            " nvidia-smi": f" {self.bin}/nvidia-smi",
            "runpodctl pod": f"{self.bin}/runpodctl pod",
            "command -v runpodctl": f"command -v {self.bin}/runpodctl",
            "make setup-runpod": f"{setup} && ln -sfn {cache} data/cache",
            "tmux new": f"tmux -f /dev/null -S {root}/tmux new",
            "qwen3-8b": "tiny",
            "data/main": "data/sample",
            "eval-claude": "eval-offline",
        }

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(f"#!{shutil.which('bash')}\n{text}\n")
        (self.bin / name).chmod(0o755)

    def block(self, words: str) -> str:
        return next(block for block in BLOCKS if words in block)

    def run(self, block: str, typed: str = "") -> str:
        for written, here in self.read_as.items():
            block, typed = block.replace(written, here), typed.replace(written, here)
        environment = {**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}", "TERM": "xterm"}
        done = subprocess.run(
            ["bash", "-c", block],
            cwd=self.home,
            env=environment,
            input=typed,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, (block, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout

    def in_tmux(self, block: str) -> None:
        """The page's terminal on the pod, a block pasted into it, and its end waited for."""
        enter = ENTER.replace("ssh -t", "ssh -tt")  # no terminal here: the pod makes one all the same
        self.run(enter, f"{{ {block.strip()} ; }} && touch {self.pod.root}/went-well; exit\n")
        assert (self.pod.root / "went-well").exists(), list(self.pod.root.rglob("*.log"))
        (self.pod.root / "went-well").unlink()


@pytest.fixture
def by_hand(repository, tmp_path):  # noqa: F811
    found = ByHand(repository, tmp_path)
    yield found
    found.pod.kill()


def test_the_page_brings_an_adapter_and_its_replies_home(by_hand, tmp_path):
    by_hand.run(by_hand.block("Host replies-pod"))
    assert "An earlier pod" in by_hand.run(by_hand.block("Host replies-pod"))
    assert "A40" in by_hand.run(re.search(r"`(ssh replies-pod nvidia-smi)`", PAGE)[1])
    assert "timer: pod abc123 is stopped in six hours" in by_hand.run(TIMER)
    assert by_hand.run(by_hand.block("the timer runs")) == "the timer runs\n"
    by_hand.run(by_hand.block("--exclude .git"))
    assert "rsync" in (tmp_path / "installed").read_text()
    there = by_hand.pod.root / "workspace/replies"
    assert (there / "data/sample/processed/train.jsonl").is_file() and not (
        there / "data/sample/raw"
    ).exists()
    # The tiny model is made from the raw sample; Qwen3-8B is downloaded.
    shutil.copytree(by_hand.home / "data/sample/raw", there / "data/sample/raw")
    by_hand.in_tmux(by_hand.block("make setup-runpod"))
    by_hand.in_tmux(by_hand.block("scripts.generate"))
    said = by_hand.run(by_hand.block("sha256sum"))
    assert said.count(": OK") == 2
    run = by_hand.home / "adapters/tiny"
    assert up_to_date(run, load_config(by_hand.home / "configs/train-tiny.yaml", TrainConfig))
    replies = read_jsonl(run / "eval/offline/replies.jsonl", Reply)
    assert {reply.system for reply in replies} >= {"base", "tuned"}
    assert not (run / "checkpoints").exists()
