"""The Makefile: its commands, and which stages it runs when something that they read has changed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_the_makefile_keeps_to_make_3_81():
    text = (ROOT / "Makefile").read_text()
    for newer in (
        r"&:",
        r"::=",
        r"!=\s*\S+.*\$\(shell",
        r"\$\(file ",
        r"^\.ONESHELL",
        r"^\.SHELLFLAGS",
        r"\$\(let ",
    ):
        assert not re.search(newer, text, re.MULTILINE), newer


def test_make_help_lists_every_documented_target():
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True)
    targets = set(re.findall(r"^([a-z][a-z-]*):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert targets <= {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert {
        "help",
        "setup",
        "quickstart",
        "test",
        "lint",
        "data",
        "train",
        "eval",
        "publish",
        "demo",
    } <= targets


@pytest.mark.parametrize(
    "command", ["train RUN=nope", "plan RUN=nope", "eval RUN=tiny EVAL=nope", "data DATA=nope"]
)
def test_an_unknown_name_gets_a_sentence_before_anything_is_done(command, tmp_path):
    for name in ("Makefile", "configs", "scripts", "lib"):
        (tmp_path / name).symlink_to(ROOT / name)
    processed = (
        tmp_path / "data/main/processed/manifest.json"
    )  # older than its config: without the check make would collect first
    for path in (processed, tmp_path / "data/main/raw/manifest.json"):
        path.parent.mkdir(parents=True)
        path.write_text("{}")
        os.utime(path, (0, 0))
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")
    }  # of `make test`
    done = subprocess.run(
        ["make", *command.split()], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode != 0
    kind = {"RUN": "train", "EVAL": "eval", "DATA": "data"}[command.split()[-1].split("=")[0]]
    assert f"error: configs/{kind}-nope.yaml does not exist. There are: " in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / ".venv").exists()


# Steps are only noted, not taken; what make asks for itself is answered by the real script.
PYTHON = f"""#!/bin/sh
case $2 in
  scripts.prerequisites) exec {sys.executable} "$@" ;;
  *) echo "${{2#scripts.}}" >> steps; echo "$* YES=$YES" >> commands ;;
esac
"""
PAID = {"collect", "train", "generate", "judge"}
FILES = {
    "collect": "data/sample/raw/manifest.json",
    "pair": "data/sample/interim/pairs.jsonl",
    "filter": "data/sample/interim/filtered.jsonl",
    "clean": "data/sample/interim/clean.jsonl",
    "split": "data/sample/processed/manifest.json",
    "data_report": "data/sample/report.html",
    "train": "adapters/tiny/manifest.json",
    "generate": "adapters/tiny/eval/offline/replies.jsonl",
    "judge": "adapters/tiny/eval/offline/judgments.jsonl",
    "report": "adapters/tiny/eval/offline/report.json",
}


class Checkout:
    """A copy of the project in which every step is done, each a second after the one that it reads from."""

    def __init__(self, folder):
        self.folder, self.now = folder, 1_700_000_000
        for name in ("scripts", "lib", "configs"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("Makefile", "requirements.txt"):
            shutil.copy(ROOT / name, folder)
        for path in folder.rglob("*"):
            os.utime(path, (self.now, self.now))
        (folder / "python").write_text(PYTHON)
        (folder / "python").chmod(0o755)
        self.touch(".venv/setup.stamp", "adapters/tiny/eval/offline/report.html", *FILES.values())

    def touch(self, *names):
        for name in names:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            self.now += 1
            os.utime(path, (self.now, self.now))

    def make(self, *arguments):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        return subprocess.run(
            ["make", "PYTHON=./python", "RUN=tiny", *arguments],
            cwd=self.folder,
            env=environment | {"PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def outdated(self):
        """The steps that are older than what they are made of. None writes, so none follows another."""
        (self.folder / "steps").write_text("")
        done = self.make("data", "eval")
        assert done.returncode == 0, done.stderr
        return set((self.folder / "steps").read_text().split()) - {"next_step"}


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return Checkout(tmp_path_factory.mktemp("checkout"))


@pytest.mark.parametrize(
    "path, outdated",
    [
        ("lib/evidence/stats.py", {"report"}),
        ("lib/base/files.py", FILES.keys() - PAID),
        ("lib/base/templates/data.html", {"data_report"}),
        ("lib/base/templates/page.html", {"data_report", "report"}),
        ("lib/data/raw.py", {"pair"}),
        ("scripts/clean.py", {"clean"}),
        ("lib/train/sft.py", set()),
        ("lib/collect/apify.py", set()),
        ("data/sample/raw/tweets (1).csv", {"pair"}),
        ("data/sample/review/decisions.jsonl", {"split"}),
        ("data/sample/raw/manifest.json", {"pair"}),
        ("configs/data-sample.yaml", {"collect", "pair", "filter", "clean", "split"}),
        ("configs/eval-offline.yaml", {"generate", "judge", "report"}),
        ("adapters/tiny/manifest.json", {"generate"}),
        ("adapters/tiny/eval/offline/human/report.json", {"report"}),
    ],
)
def test_a_touched_file_rebuilds_what_is_made_of_it_and_no_module_a_paid_step(path, outdated, shared):
    shared.touch(*FILES.values())
    assert shared.outdated() == set()
    shared.touch(path)
    assert shared.outdated() == outdated


def test_a_module_deep_below_a_step_counts_although_no_rule_names_it(shared):
    shared.touch(*FILES.values(), "lib/base/characters.py")
    outdated = shared.outdated()
    assert {"filter", "clean", "split"} <= outdated
    assert not outdated & PAID


def test_missing_tweets_are_bought_by_data_alone_and_only_when_that_is_asked(checkout):
    for goals, is_bought in (
        (["data"], False),
        (["data", "PARENTS=1"], True),
        (["plan", "PARENTS=1"], False),
    ):
        (checkout.folder / "steps").write_text("")
        assert checkout.make(*goals).returncode == 0
        assert ("collect" in (checkout.folder / "steps").read_text().split()) == is_bought, goals


def test_prerequisites_follow_a_new_import_inside_a_function_and_forget_a_deleted_module(checkout):
    assert checkout.outdated() == set()
    script = checkout.folder / "scripts" / "pair.py"
    text = script.read_text()
    script.write_text(f"{text}\n\ndef later():\n    from lib.data.later import something\n")
    checkout.touch("lib/data/later.py")
    assert checkout.outdated() == {"pair"}
    (checkout.folder / "lib/data/later.py").unlink()
    os.utime(script, (0, 0))
    assert checkout.outdated() == set()


def test_make_starts_again_at_most_once_even_where_a_clock_is_ahead(checkout):
    os.utime(checkout.folder / "lib/base/files.py", (4e9, 4e9))
    written = set()
    for _ in range(2):
        done = checkout.make("help")
        assert done.returncode == 0, done.stderr
        written.add((checkout.folder / ".venv/deps.mk").stat().st_mtime_ns)
    assert len(written) == 1


def test_a_module_that_does_not_parse_makes_every_free_step_outdated_and_no_command_unusable(checkout):
    path = checkout.folder / "lib" / "train" / "sft.py"
    path.write_text("def (")
    assert checkout.make("help").returncode == 0
    assert checkout.outdated() == FILES.keys() - PAID


def test_without_a_virtual_environment_nothing_is_made_only_to_list_or_to_ask(checkout):
    shutil.rmtree(checkout.folder / ".venv")
    for command in (["help"], ["-n", "data"], ["-n", "quickstart"], ["-n", "test"], ["-q", "eval"]):
        assert checkout.make(*command).returncode in (0, 1)
        assert not (checkout.folder / ".venv").exists(), command
    for path in FILES.values():
        (checkout.folder / path).unlink()
    said = checkout.make("-n", "data").stdout
    assert said.index("-m venv .venv") < said.index("scripts.pair") < said.index("scripts.data_report")


# --- machines ----------------------------------------------------------------------------------------

TOOLS = ("make", "sh", "sed", "tr", "head", "cat", "awk", "grep", "env", "ls", "touch", "mkdir")


def elsewhere(target, folder, system, processor, macos="", apple_chip=False):
    """`make target` in folder, as on another machine: uname, sw_vers and sysctl answer so, no Python fits."""
    for name in ("Makefile", "configs", "scripts", "lib", "requirements.txt"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "bin").mkdir()
    for tool in TOOLS:
        (folder / "bin" / tool).symlink_to(shutil.which(tool))
    both = f"{system} {processor}"
    answers = {
        "uname": f'case "$1" in -s) echo {system} ;; -m) echo {processor} ;; *) echo {both} ;; esac',
        "sw_vers": f"echo {macos}",
        "sysctl": f"echo {int(apple_chip)}",
        "python3": "echo used > python-was-used; exit 1",
    }
    for name, shell in answers.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{shell}\n")
        (folder / "bin" / name).chmod(0o755)
    environment = {"PATH": str(folder / "bin")}
    return subprocess.run(
        ["make", target], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(
    "machine, said",
    [
        (("Darwin", "x86_64", "15.1"), "torch has no build for Intel Macs"),
        (("Darwin", "x86_64", "15.1", True), "under Rosetta"),
        (("Darwin", "arm64", "13.6.9"), "macOS 13.6.9 is too old: torch needs macOS 14"),
        (("Linux", "armv7l"), "torch has no build for Linux armv7l"),
        (("Linux", "i686"), "torch has no build for Linux i686"),
        (("FreeBSD", "amd64"), "torch has no build for FreeBSD amd64"),
    ],
)
@pytest.mark.parametrize("target", ["setup", "quickstart"])
def test_setup_refuses_in_one_sentence_where_torch_has_no_wheel(machine, said, target, tmp_path):
    done = elsewhere(target, tmp_path, *machine)
    assert done.returncode != 0
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and said in errors[0]
    assert not (tmp_path / ".venv").exists()
    assert not (tmp_path / "python-was-used").exists()


@pytest.mark.parametrize(
    "machine",
    [("Darwin", "arm64", "14.0"), ("Darwin", "arm64", "26.1"), ("Linux", "x86_64"), ("Linux", "aarch64")],
)
@pytest.mark.parametrize("target", ["setup", "doctor"])
def test_a_machine_with_a_wheel_is_asked_for_its_python(machine, target, tmp_path):
    done = elsewhere(target, tmp_path, *machine)
    assert done.returncode != 0
    assert "error: Python 3.11, 3.12 or 3.13 is needed" in done.stderr


def test_the_doctor_is_seen_before_anything_is_installed(checkout):
    shutil.rmtree(checkout.folder / ".venv")
    shutil.copy(ROOT / "requirements-runpod.txt", checkout.folder)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    offline = dict.fromkeys(
        ("APIFY_API_BASE_URL", "ANTHROPIC_BASE_URL", "HF_ENDPOINT", "RUNPOD_API_BASE_URL"),
        "http://127.0.0.1:9",
    )
    venv = checkout.folder / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True, timeout=60)
    done = subprocess.run(
        ["make", "doctor", "RUN=tiny"],
        cwd=checkout.folder,
        env={**environment, **offline, "PATH": f"{venv / 'bin'}{os.pathsep}{environment['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "no  packages" in done.stdout and "make setup" in done.stdout
    assert not (checkout.folder / ".venv").exists()
