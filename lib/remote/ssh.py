"""ssh to one rented pod: keys for it alone, its host key known beforehand, nothing of the user's own."""

import base64
import os
import shlex
import shutil
import subprocess
from pathlib import Path

from lib.base.errors import UserError
from lib.base.files import write_text

LOST = 255  # ssh's own exit status; a command's is below


class LostError(Exception):
    """The connection could not be had or broke: nobody knows whether the command ran."""


class CommandError(Exception):
    """The command ran on the pod and failed."""


def make_keys(folder: Path, name: str) -> None:
    """A key pair for the person (id), one for the pod's sshd (host); what is there is kept.

    The pod's host key is made at home and sent with the request that creates the pod, over the provider's own
    TLS. So the first
    connection is checked like every other: nothing is trusted because it answered first.
    """
    if shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        raise UserError(
            "ssh and ssh-keygen are needed to reach a pod, and are not on this machine. Install OpenSSH."
        )
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    for key in ("id", "host"):
        if not (folder / key).is_file() or not (folder / f"{key}.pub").is_file():
            (folder / key).unlink(missing_ok=True)
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / key)]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    write_text(folder / "known_hosts", f"{name} {(folder / 'host.pub').read_text().strip()}\n")


def has_keys(folder: Path) -> bool:
    """True if make_keys has been there: without them a pod cannot be reached again."""
    return all((folder / name).is_file() for name in ("id", "id.pub", "host", "host.pub", "known_hosts"))


def public_key(folder: Path) -> str:
    """The person's, one line."""
    return (folder / "id.pub").read_text().strip()


def host_key(folder: Path) -> str:
    """The pod's private host key, base64."""
    return base64.b64encode((folder / "host").read_bytes()).decode()


class Shell:
    """Commands on one pod. name: the host as known_hosts calls it, whatever address it has today."""

    def __init__(self, folder: Path, name: str, host: str, port: int, user: str) -> None:
        for word in (host, user):  # they come from the network and go into a file of options
            if not word or not all(c.isalnum() or c in ".-_:" for c in word) or word.startswith("-"):
                raise LostError(f"the provider gave {word!r} as an address")
        self.config = folder / "ssh_config"
        options = {
            "HostName": host,
            "Port": str(int(port)),
            "User": user,
            "HostKeyAlias": name,
            "HostKeyAlgorithms": "ssh-ed25519",
            "UserKnownHostsFile": _quoted(folder / "known_hosts"),
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "UpdateHostKeys": "no",
            "IdentityFile": _quoted(folder / "id"),
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "ForwardAgent": "no",
            "BatchMode": "yes",
            "ConnectTimeout": "10",
            "ServerAliveInterval": "10",
            "ServerAliveCountMax": "3",
            "LogLevel": "ERROR",
        }
        write_text(
            self.config, "Host pod\n" + "".join(f"  {key} {value}\n" for key, value in options.items())
        )

    def run(self, command: str, stdin: Path | None = None, timeout_s: float = 120) -> bytes:
        """The output of command. Raises LostError or CommandError."""
        call = ["ssh", "-F", str(self.config), "pod", "bash -c " + shlex.quote(command)]
        with (stdin or Path(os.devnull)).open("rb") as handle:
            try:
                done = subprocess.run(
                    call, stdin=handle, capture_output=True, timeout=timeout_s, start_new_session=True
                )
            except subprocess.TimeoutExpired as error:
                raise LostError(f"no answer to a command within {timeout_s:.0f} s") from error
        if done.returncode == LOST or done.returncode < 0:
            raise LostError(_last_line(done.stderr) or "the connection broke")
        if done.returncode:
            raise CommandError(f"exit {done.returncode}: {_last_line(done.stderr)}")
        return done.stdout


def _quoted(path: Path) -> str:
    return f'"{path.absolute()}"'


def _last_line(text: bytes) -> str:
    lines = text.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:300] if lines else ""
