"""The shell blocks of docs/runpod-by-hand.md: each stands alone, and none costs money unnoticed."""

import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "runpod-by-hand.md").read_text(encoding="utf-8")
FENCED = re.findall(r"(?ms)^( *)```\w*\n(.*?)^ *```", PAGE)
BLOCKS = [re.sub(f"(?m)^{indent}", "", code) for indent, code in FENCED]
LOADS_THE_MODEL = re.compile(r"make (train|replies|eval|bench)\b|scripts\.(train|generate)\b")
TIMER = next(block for block in BLOCKS if "setsid" in block)
RUNPODCTL_2 = """case "$1 $2" in "pod get") echo "{id: $3}" ;; "pod stop") echo "stopped $3" >> stopped ;;
*) exit 1 ;; esac"""
RUNPODCTL_1 = """case "$1 $2" in "get pod") echo "ID $3" ;; "stop pod") echo "stopped $3" >> stopped ;;
*) echo "unknown command $1" >&2; exit 1 ;; esac"""
TOOLS = ("bash", "tr", "sed", "grep", "cat", "setsid", "touch")
on_a_pod = pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason="a Linux shell's tools are not here")


class Pod:
    """A pod's shell: PATH holds these tools, a given runpodctl, and a sleep whose six hours the test ends."""

    def __init__(self, folder, environ, runpodctl):
        self.folder, self.bin = folder, folder / "bin"
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        self.program("ssh", 'shift; eval "$*"')
        self.program("sleep", f'[ "$1" != 6h ] || while [ ! -e over ]; do {shutil.which("sleep")} 0.02; done')
        if runpodctl:
            self.program("runpodctl", f'cat > stdin; echo "${{RUNPOD_API_KEY:-}}" >> keys; {runpodctl}')
        self.environ = folder / "environ"
        self.environ.write_bytes(
            b"".join(f"{name}={value}".encode() + b"\0" for name, value in environ.items())
        )

    def program(self, name, text):
        (self.bin / name).unlink(missing_ok=True)  # through a link this machine's own program would change
        (self.bin / name).write_text(f"#!{shutil.which('bash')}\n{text}\n")
        (self.bin / name).chmod(0o755)

    def run(self, block):
        """Not the shell that a login gives: an ssh shell, without a single variable of the pod."""
        block = block.replace("/proc/1/environ", str(self.environ)).replace("cd /workspace/replies", "cd .")
        block = block.replace("/dev/shm", str(self.folder))
        environment = {"PATH": str(self.bin), "HOME": str(self.folder)}
        shell = [self.bin / "bash", "-c", block]
        return subprocess.run(
            shell, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=30
        )

    def read(self, name):
        path = self.folder / name
        return path.read_text() if path.exists() else ""

    def end(self):
        (self.folder / "over").touch()


@pytest.fixture
def pod(tmp_path):
    started = []

    def start(environ=None, runpodctl=RUNPODCTL_2):
        default = {"RUNPOD_POD_ID": "abc123", "RUNPOD_API_KEY": "pod-key=1", "NOT_RUNPOD_POD_ID": "other"}
        started.append(Pod(tmp_path, default if environ is None else environ, runpodctl))
        return started[0]

    yield start
    for one in started:
        one.end()


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_is_shell_and_uses_no_variable_of_another_block(block):
    done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    for name in set(re.findall(r"\$\{?([A-Za-z_]\w*)", block)):
        assert re.search(rf"\b{name}=", block), f"{name} is not set in this block"


@pytest.mark.parametrize("block", [block for block in BLOCKS if LOADS_THE_MODEL.search(block)])
def test_every_block_that_loads_the_model_keeps_it_on_the_volume(block):
    before = block[: LOADS_THE_MODEL.search(block).start()]
    assert "export HF_HOME=/workspace/" in before
    assert "cd /workspace/replies &&" in before


def test_there_are_blocks_that_load_the_model_and_none_hides_an_error_of_the_timer():
    assert sum(bool(LOADS_THE_MODEL.search(block)) for block in BLOCKS) >= 3
    assert not LOADS_THE_MODEL.search(" ".join(re.findall(r"ssh [^\n]*'([^'\n]*)'", PAGE)))
    assert "$RUNPOD_POD_ID" not in " ".join(re.findall(r"ssh [^\n]*'([^'\n]*)'", PAGE))


@on_a_pod
@pytest.mark.parametrize("runpodctl", [RUNPODCTL_2, RUNPODCTL_1])
def test_the_timer_stops_the_pod_that_the_first_process_names_with_the_pods_own_key(pod, runpodctl):
    one = pod(runpodctl=runpodctl)
    done = one.run(TIMER)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "timer: pod abc123 is stopped in six hours\n"
    assert one.read("stopped") == ""
    assert one.run(next(block for block in BLOCKS if "the timer runs" in block)).stdout == "the timer runs\n"
    one.end()
    wait_until(lambda: one.read("stopped") == "stopped abc123\n")
    assert set(one.read("keys").split()) == {"pod-key=1"}


@on_a_pod
def test_a_refused_stop_is_tried_again_and_its_error_is_kept(pod):
    refuse_once = '[ -e refused ] || { touch refused; echo "busy" >&2; exit 1; };'
    one = pod(runpodctl=RUNPODCTL_2.replace('"pod stop")', f'"pod stop") {refuse_once}'))
    assert one.run(TIMER).returncode == 0
    one.end()
    wait_until(lambda: one.read("stopped") == "stopped abc123\n")
    assert "busy" in one.read("timer.log")


@on_a_pod
def test_run_again_the_six_hours_begin_anew(pod):
    one = pod()
    assert one.run(TIMER).returncode == 0
    first = int(one.read("timer.pid"))
    assert one.run(TIMER).returncode == 0
    wait_until(lambda: not is_alive(first))
    assert is_alive(int(one.read("timer.pid")))


@on_a_pod
@pytest.mark.parametrize(
    ("environ", "runpodctl", "says"),
    [
        ({"RUNPOD_API_KEY": "k"}, RUNPODCTL_2, "no RUNPOD_POD_ID"),
        ({"RUNPOD_POD_ID": "", "RUNPOD_API_KEY": "k"}, RUNPODCTL_2, "no RUNPOD_POD_ID"),
        ({"RUNPOD_POD_ID": "abc123"}, RUNPODCTL_2, "no RUNPOD_API_KEY"),
        ({}, RUNPODCTL_2, "no RUNPOD_POD_ID"),
        (None, None, "no runpodctl"),
        (None, 'echo \'{"error": "410 gone: pod abc123"}\'; exit 1', "does not reach pod abc123"),
        (None, "echo 'ID NAME'", "does not reach pod abc123"),
        (None, "echo 'unauthorized: abc123' >&2", "unauthorized: abc123"),
    ],
)
def test_a_timer_that_cannot_work_says_so_loudly_and_starts_nothing(pod, environ, runpodctl, says):
    one = pod(environ, runpodctl)
    done = one.run(TIMER)
    assert done.returncode == 1
    assert "NO TIMER, so do not train" in done.stderr
    assert says in done.stderr
    assert "timer:" not in done.stdout
    assert one.read("timer.pid") == ""


@on_a_pod
def test_a_timer_that_ends_at_once_is_no_timer(pod):
    one = pod()
    one.program("setsid", 'echo "no such session" >&2; exit 1')
    one.program("sleep", shutil.which("sleep") + " 0.2")
    done = one.run(TIMER)
    assert done.returncode == 1
    assert "it ended at once: no such session" in done.stderr


@on_a_pod
def test_training_does_not_start_without_a_timer_and_sees_the_pods_variables(pod):
    train = next(block for block in BLOCKS if "make setup-runpod" in block)
    one = pod({"RUNPOD_POD_ID": "abc123", "RUNPOD_API_KEY": "k", "HF_TOKEN": "hf=1"})
    one.program("make", 'echo "$* $HF_HOME $HF_TOKEN" >> made')
    done = one.run(train)
    assert done.returncode != 0
    assert "NO TIMER, so no training" in done.stderr
    assert one.read("made") == ""
    assert one.run(TIMER).returncode == 0
    assert one.run(train).returncode == 0
    assert one.read("made") == "setup-runpod /workspace/hf hf=1\ntrain RUN=qwen3-8b /workspace/hf hf=1\n"


def test_a_broken_copy_of_the_adapter_is_noticed_before_the_pod_is_terminated(tmp_path):
    fetch = next(block for block in BLOCKS if "sha256sum" in block)
    if not shutil.which("shasum"):
        pytest.skip("shasum is not installed")
    (tmp_path / "bin").mkdir()
    remote = tmp_path / "pod" / "adapters" / "qwen3-8b"
    remote.mkdir(parents=True)
    for name in ("manifest.json", "adapter_model.safetensors"):
        (remote / name).write_text(name)
    ssh = f'cd {tmp_path}/pod && eval "${{2/"/workspace/replies"/.}}"'
    for name, text in (("ssh", ssh), ("rsync", f"cp -r {remote} adapters/; $AFTER")):
        (tmp_path / "bin" / name).write_text(f"#!{shutil.which('bash')}\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    cut = "cp /dev/null adapters/qwen3-8b/adapter_model.safetensors"
    for after, whole in (("true", True), (cut, False)):
        environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "AFTER": after}
        done = subprocess.run(
            ["bash", "-c", fetch], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert (done.returncode == 0) == whole, done
        assert done.stdout.count(": OK") == (2 if whole else 1)


def is_alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"  # a zombie has ended


def wait_until(is_so):
    for _ in range(500):
        if is_so():
            return
        threading.Event().wait(0.02)
    raise AssertionError("it did not happen in ten seconds")
