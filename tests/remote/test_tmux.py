"""The scripts of a pod, run by bash in a folder that stands for it."""

import base64
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from lib.remote.seam import Work
from lib.remote.tmux import (
    BOOT,
    Place,
    install,
    poll_command,
    start_command,
    steps,
    unpack_command,
    work_script,
)

# In place of tmux: a session is a file; what it was told to run is written down.
TMUX = """#!/bin/sh
case "$*" in
  *has-session*) [ -f session ];;
  *) for last; do :; done; echo "$last" >> started; touch session;;
esac
"""


@pytest.fixture
def pod(tmp_path, monkeypatch):
    place = Place(str(tmp_path / "a pod"))
    Path(place.project).mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/tmux").write_text(TMUX)
    (tmp_path / "bin/tmux").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    return place


def bash(command: str, **options) -> str:
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "failing, did, code",
    [
        ("", "setup train replies pack", 0),
        ("setup", "setup pack", 3),
        ("train", "setup train pack", 3),
        ("replies", "setup train replies pack", 3),
    ],
)
def test_after_a_step_that_failed_only_the_packing_is_done_with_the_steps_status(
    tmp_path, failing, did, code
):
    def step(name: str) -> str:
        return f"echo {name} >> did" + ("; (exit 3)" if name == failing else "")

    work = Work(step("setup"), step("train"), step("replies"), "echo pack >> did; :")
    done = subprocess.run(["bash", "-c", f"{steps(work, 'results')}; exit $code"], cwd=tmp_path)
    assert (tmp_path / "did").read_text().split() == did.split() and done.returncode == code


def test_the_packing_is_told_where_results_go_and_how_the_work_ended(tmp_path):
    work = Work("true", "exit 7", "true", "printf '%s|'")
    assert bash(steps(work, "a b/results"), cwd=tmp_path) == "--out|a b/results.tar|--exit-code|7|"


@pytest.mark.parametrize("token, seen", [("hf_x", "hf_x"), ("", "unset")])
def test_the_job_knows_the_token_of_the_create_and_nothing_else_of_it(pod, token, seen):
    (Path(pod.root) / "proc/1").mkdir(parents=True)
    environ = b"RUNPOD_API_KEY=pod-key\0" + (f"HF_TOKEN={token}\0".encode() if token else b"") + b"X=1\0"
    (Path(pod.root) / "proc/1/environ").write_bytes(environ)
    work = Work(
        'echo "${HF_TOKEN-unset} ${RUNPOD_API_KEY-none} $ON $HF_HOME"; pwd', "(exit 4)", "echo no", "true"
    )
    done = subprocess.run(["bash", "-c", work_script(pod, work)], capture_output=True, text=True)
    assert done.stdout == f"{seen} none here {pod.workspace}/hf\n{pod.project}\n" and done.returncode == 4


@pytest.mark.parametrize(
    "there, status",
    [({}, "new"), ({"work.log": "x"}, "gone"), ({"work.log": "x", "session": ""}, "running"),
     ({"work.log": "x", "work.exit": "3\n"}, "3"), ({"work.exit": "0\n", "session": ""}, "0")],
)  # fmt: skip
def test_a_look_says_how_far_the_job_is_and_then_the_log_from_a_byte_on(pod, there, status):
    for name, text in there.items():
        (Path(pod.workspace) / name).write_text(text)
    assert bash(poll_command(pod, 0)).split("\n")[0] == status
    (Path(pod.workspace) / "work.log").write_text("one\ntwo\nthree\n")
    assert [bash(poll_command(pod, at)).split("\n", 1)[1] for at in (0, 1, 4, 14)] == [
        "one\ntwo\nthree\n", "ne\ntwo\nthree\n", "two\nthree\n", "",
    ]  # fmt: skip
    assert bash(poll_command(pod, 4, limit=5)).split("\n", 1)[1] == "two\nt"


def test_a_second_start_starts_no_second_job(pod):
    for _ in range(2):
        bash(start_command(pod), input="echo at work; exit 5")
    (session,) = (Path(pod.workspace) / "started").read_text().splitlines()
    assert (Path(pod.workspace) / "work.sh").read_text() == "echo at work; exit 5"
    bash(session)
    assert (Path(pod.workspace) / "work.log").read_text() == "at work\n"
    assert (Path(pod.workspace) / "work.exit").read_text() == "5\n"
    assert not list(Path(pod.workspace).glob("*.partial"))


def test_a_parcel_is_unpacked_where_the_job_works(pod, tmp_path):
    (tmp_path / "Makefile").write_text("x")
    subprocess.run(["tar", "-czf", "p.tar.gz", "Makefile"], cwd=tmp_path, check=True)
    shutil.rmtree(pod.project)
    with (tmp_path / "p.tar.gz").open("rb") as parcel:
        bash(unpack_command(pod), stdin=parcel)
    assert (Path(pod.project) / "Makefile").read_text() == "x"


@pytest.mark.parametrize("name, is_installed", [("tmux", False), ("no-such-program", True)])
def test_only_what_is_missing_is_installed(pod, tmp_path, name, is_installed):
    (tmp_path / "bin/apt-get").write_text(f'#!/bin/sh\necho "$*" >> "{tmp_path}/installed"\n')
    (tmp_path / "bin/apt-get").chmod(0o755)
    bash(install("tmux", name))
    log = tmp_path / "installed"
    assert (log.read_text().splitlines()[-1:] if log.exists() else []) == (
        [f"install -y -qq tmux {name}"] if is_installed else []
    )


def test_the_age_of_the_watchdogs_state_stands_before_it(pod):
    state = Path(pod.workspace) / ".watchdog/state.json"
    state.parent.mkdir()
    state.write_text("{}")
    os.utime(state, (time.time() - 100, time.time() - 100))
    age, text = bash(pod.watchdog_command).split("\n")
    assert 99 <= int(age) <= 160 and text == "{}"


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")
def test_a_pods_first_script_lays_out_host_key_and_watchdog_and_ends_in_the_images_own(tmp_path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "k")], check=True)
    (tmp_path / "start.sh").write_text("#!/bin/sh\necho started; umask\n")
    (tmp_path / "start.sh").chmod(0o755)
    watchdog = b"import os, pathlib; pathlib.Path(os.environ['REPLIES_ROOT'], 'ran').touch()"
    given = {
        "REPLIES_ROOT": str(tmp_path),
        "REPLIES_HOST_KEY": base64.b64encode((tmp_path / "k").read_bytes()).decode(),
        "REPLIES_WATCHDOG": base64.b64encode(watchdog).decode(),
    }
    assert bash(BOOT, env={**os.environ, **given}).split() == ["started", "0022"]
    key = tmp_path / "etc/ssh/ssh_host_ed25519_key"
    assert key.read_bytes() == (tmp_path / "k").read_bytes() and key.stat().st_mode & 0o077 == 0
    assert key.with_suffix(".pub").read_text().split()[:2] == (tmp_path / "k.pub").read_text().split()[:2]
    assert (tmp_path / "workspace/.watchdog/watchdog.py").read_bytes() == watchdog
    limit = time.monotonic() + 60
    while not (tmp_path / "ran").exists() and time.monotonic() < limit:
        time.sleep(0.01)
    assert (tmp_path / "ran").exists()
