"""A pod on the loopback: a folder as its file system, a real sshd as its door."""

import contextlib
import getpass
import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

SSHD = shutil.which("sshd") or ("/usr/sbin/sshd" if Path("/usr/sbin/sshd").exists() else None)
MISSING = [
    name
    for name, path in {
        "openssh-server": SSHD,
        "tmux": shutil.which("tmux"),
        "ssh": shutil.which("ssh"),
    }.items()
    if not path
]

START = """\
#!/bin/bash
# As RunPod's images: a host key where there is none, the person's key, sshd.
cd {root}
mkdir -p etc/ssh
[ -f etc/ssh/ssh_host_ed25519_key ] || ssh-keygen -q -t ed25519 -N '' -f etc/ssh/ssh_host_ed25519_key
printf '%s\\n' "$PUBLIC_KEY" > authorized_keys
exec {sshd} -D -e -f {root}/sshd_config
"""
CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {root}/{key}
AuthorizedKeysFile {root}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
PidFile none
SetEnv STUB_POD={root}
"""


class LoopbackPod:
    """mode: good; stranger (its sshd has another host key); deaf (ignores what it was told to run first)."""

    def __init__(self, root: Path, env: dict[str, str], args: str, mode: str) -> None:
        self.root, self.user, self.port = root, getpass.getuser(), _free_port()
        (root / "proc/1").mkdir(parents=True)
        (root / "workspace").mkdir()
        key = "etc/ssh/ssh_host_ed25519_key"
        if mode == "stranger":
            key = "stranger"
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(root / key)], check=True)
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where sshd drops its privileges
        (root / "sshd_config").write_text(CONFIG.format(port=self.port, root=root, key=key))
        (root / "start.sh").write_text(START.format(root=root, sshd=SSHD))
        (root / "start.sh").chmod(0o755)
        inside = {"PATH": os.environ["PATH"], "REPLIES_ROOT": str(root), "STUB_POD": str(root), **env}
        (root / "proc/1/environ").write_bytes(
            b"\0".join(f"{name}={value}".encode() for name, value in inside.items())
        )
        command = [str(root / "start.sh")] if mode == "deaf" or not args else shlex.split(args)
        with (root / "container.log").open("w") as log:
            self.process = subprocess.Popen(
                command,
                env=inside,
                cwd=root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def is_up(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=0.5):
            return True
        return False

    def kill(self) -> None:
        """Every process that was started in the pod, by the mark in its environment."""
        mark = f"STUB_POD={self.root}".encode()
        for _ in range(50):
            found = [
                int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if _has(path, mark)
            ]
            if self.process.poll() is None:
                found.append(self.process.pid)
            if not found:
                return
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.poll()
            time.sleep(0.02)


def _has(environ: Path, mark: bytes) -> bool:
    try:
        return (
            mark in environ.read_bytes().split(b"\0") and b") Z" not in environ.with_name("stat").read_bytes()
        )
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
