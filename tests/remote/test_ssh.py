"""ssh to a pod: what ssh itself makes of the options, the keys, and what its exit status means."""

import shutil
import stat
import subprocess

import pytest

from lib.base.errors import UserError
from lib.remote.ssh import CommandError, LostError, Shell, has_keys, host_key, make_keys, public_key

pytestmark = pytest.mark.skipif(
    shutil.which("ssh") is None, reason="needs ssh: apt-get install openssh-client"
)


@pytest.fixture
def shell(tmp_path):
    (tmp_path / "a folder").mkdir()
    return Shell(tmp_path / "a folder", "replies-1", "203.0.113.7", 22022, "root")


def test_ssh_takes_this_pods_key_alone_asks_nobody_and_brings_nothing_of_the_persons_own(shell):
    command = ["ssh", "-G", "-F", str(shell.config), "pod"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    options = dict(line.split(" ", 1) for line in said.splitlines())
    folder = shell.config.parent
    assert {name: options[name] for name in WANTED} == WANTED
    assert options["identityfile"].strip('"') == str(folder / "id")
    assert options["userknownhostsfile"].strip('"') == str(folder / "known_hosts")


WANTED = {
    "hostname": "203.0.113.7", "port": "22022", "user": "root",
    "hostkeyalias": "replies-1", "hostkeyalgorithms": "ssh-ed25519", "globalknownhostsfile": "/dev/null",
    "stricthostkeychecking": "true", "updatehostkeys": "false", "checkhostip": "no",
    "identitiesonly": "yes", "identityagent": "none", "forwardagent": "no", "batchmode": "yes",
    "connecttimeout": "10", "serveraliveinterval": "10", "serveralivecountmax": "3",
}  # fmt: skip


@pytest.mark.parametrize("word", ["", "-oProxyCommand=x", "a b", "a\nProxyCommand x", "a;b", '"', "ä$"])
def test_an_address_that_could_be_an_option_is_none(tmp_path, word):
    for host, user in ((word, "root"), ("host", word)):
        with pytest.raises(LostError, match="as an address"):
            Shell(tmp_path, "n", host, 22, user)
    assert not (tmp_path / "ssh_config").exists()


@pytest.mark.parametrize(
    "script, error, words",
    [
        ("echo out; echo err >&2", None, b"out\n"),
        ("echo one >&2; echo two >&2; exit 3", CommandError, "exit 3: two"),
        ("exit 254", CommandError, "exit 254: "),
        ("echo refused >&2; exit 255", LostError, "refused"),
        ("exit 255", LostError, "the connection broke"),
        ("kill -9 $$", LostError, "the connection broke"),
    ],
)
def test_sshs_own_failure_is_a_lost_connection_and_a_commands_is_not(
    shell, tmp_path, monkeypatch, script, error, words
):
    (tmp_path / "ssh").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    if error is None:
        assert shell.run("c") == words
    else:
        with pytest.raises(error) as caught:
            shell.run("c")
        assert str(caught.value) == words


def test_a_command_is_one_word_for_ssh_and_reads_its_parcel(shell, tmp_path, monkeypatch):
    (tmp_path / "ssh").write_text('#!/bin/sh\nprintf "%s|" "$@"; cat\n')
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    (tmp_path / "parcel").write_bytes(b"bytes")
    said = shell.run("echo 'a b'; x", stdin=tmp_path / "parcel").decode()
    assert said == f"-F|{shell.config}|pod|bash -c 'echo '\"'\"'a b'\"'\"'; x'|bytes"
    (tmp_path / "ssh").write_text("#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(LostError, match=r"within 0 s"):
        shell.run("c", timeout_s=0.05)


def test_keys_are_made_once_for_their_owner_alone_and_the_hosts_is_known_beforehand(tmp_path):
    folder = tmp_path / "keys"
    assert not has_keys(folder)
    make_keys(folder, "replies-1")
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(content) == {"id", "id.pub", "host", "host.pub", "known_hosts"} and has_keys(folder)
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "id", folder / "host")
    }
    assert modes == {"keys": 0o700, "id": 0o600, "host": 0o600}
    assert content["known_hosts"] == b"replies-1 " + content["host.pub"]
    assert public_key(folder).encode() + b"\n" == content["id.pub"] != content["host.pub"]
    make_keys(folder, "replies-1")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == content
    (folder / "host.pub").unlink()
    assert not has_keys(folder)
    make_keys(folder, "replies-1")
    assert (folder / "id").read_bytes() == content["id"] and host_key(folder) and has_keys(folder)
    assert (folder / "host").read_bytes() != content["host"]


def test_without_openssh_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="Install OpenSSH"):
        make_keys(tmp_path / "keys", "n")
