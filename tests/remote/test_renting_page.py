"""The manual way of docs/renting.md: every command as it stands there, against a pod with a real sshd."""

import os
import re
import shutil
import subprocess
import time

import pytest

from tests.remote.world import ROOT, write_project
from tests.stubs.pod import MISSING, LoopbackPod

MAKEFILE = """\
setup-runpod:
\techo set up
train:
\tmkdir -p adapters/$(RUN)/checkpoints
\ttouch adapters/$(RUN)/checkpoints/x && echo '{}' > adapters/$(RUN)/manifest.json
replies:
\tmkdir -p adapters/$(RUN)/eval/$(EVAL)
\tcp data/$(DATA)/processed/test.jsonl adapters/$(RUN)/eval/$(EVAL)/replies.jsonl
"""


def commands(page: str) -> str:
    """The shell blocks below "By hand", but for the values that the console would show."""
    blocks = re.findall(r"```sh\n(.*?)```", page.partition("## By hand")[2], re.DOTALL)
    return "".join(block for block in blocks if not block.startswith("export "))


@pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}: apt-get install openssh-server tmux")
def test_every_command_of_the_manual_way_works_as_it_stands(tmp_path):
    home, keys = tmp_path / "home", tmp_path / "keys"
    home.mkdir(), keys.mkdir()
    write_project(home)
    (home / "Makefile").write_text(MAKEFILE)
    for name in ("lib", "scripts"):
        (home / name).unlink()
    subprocess.run("git init -q && git add Makefile configs", shell=True, cwd=home, check=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", keys / "id"], check=True)
    pod = LoopbackPod(tmp_path / "pod", {"PUBLIC_KEY": (keys / "id.pub").read_text()}, "", "good")
    # A person's own ssh set-up: the key it uses, and nothing that would make a host trusted.
    (keys / "ssh").write_text(
        f'#!/bin/sh\nexec {shutil.which("ssh")} -F none -i {keys}/id -o BatchMode=yes "$@"\n'
    )
    (keys / "ssh").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{keys}:{os.environ['PATH']}",
        "HOST": "127.0.0.1",
        "PORT": str(pod.port),
        "POD": f"{pod.user}@127.0.0.1",
        "AT": f"{tmp_path}/pod/workspace/replies",
        "RUN": "tiny",
        "DATA": "sample",
        "EVAL": "offline",
    }
    text = commands((ROOT / "docs/renting.md").read_text())
    assert text.count("ssh -o") >= 7
    text = text.replace(
        'tr "\\0" "\\n" < /proc/1/environ | grep ^RUNPOD_POD_ID= > ~/.pod; ', ""
    )  # not in my own home
    text = text.replace(
        ". ~/.pod; sleep 6h; runpodctl remove pod", f"sleep 0.1; echo removed > {tmp_path}/removed;: "
    )
    try:
        limit = time.monotonic() + 30
        while not pod.is_up() and time.monotonic() < limit:
            time.sleep(0.02)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=home,
            env=environment,
            capture_output=True,
            text=True,
        )
    finally:
        pod.kill()
    assert done.returncode == 0, done.stdout + done.stderr
    assert (home / "adapters/tiny/eval/offline/replies.jsonl").exists()
    assert not (home / "adapters/tiny/checkpoints").exists()
    assert (tmp_path / "removed").exists()
    sent = {path.name for path in (tmp_path / "pod/workspace/replies").glob("data/sample/*")}
    assert sent == {"processed"}
