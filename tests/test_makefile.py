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
    "command",
    ["train RUN=nope", "plan RUN=nope", "publish RUN=nope", "eval RUN=tiny EVAL=nope", "data DATA=nope"],
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

    def commands(self, *arguments):
        """The commands that make would give, with one blank between two words."""
        done = self.make("-n", *arguments)
        assert done.returncode == 0, done.stderr
        said = re.sub(r"\\\n", " ", done.stdout).replace("./python -m scripts.", "\n")
        return [" ".join(line.split()) for line in said.splitlines() if line.strip()]

    def taken(self, *arguments):
        """The commands that make did give, each with what it was told of YES."""
        (self.folder / "commands").write_text("")
        done = self.make(*arguments)
        assert done.returncode == 0, done.stderr
        return (self.folder / "commands").read_text().replace("-m scripts.", "").splitlines()

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


def test_missing_tweets_are_bought_by_data_alone_and_only_when_that_is_asked(shared):
    shared.touch(*FILES.values())
    for goals, is_bought in (
        (["data"], False),
        (["data", "PARENTS=1"], True),
        (["plan", "PARENTS=1"], False),
    ):
        (shared.folder / "steps").write_text("")
        assert shared.make(*goals).returncode == 0
        assert ("collect" in (shared.folder / "steps").read_text().split()) == is_bought, goals


C, E = "--config configs/train-tiny.yaml", "--eval configs/eval-offline.yaml"
OTHER_E = "--eval configs/eval-claude.yaml"
TOLD = {  # variables -> what the goals (the first words of the lines) do with them
    "": f"""
        forget: forget {C}
        rented: rented {C}
        plan: plan {C}
        train: train {C}
        eval-plan: eval_plan {C} {E}
        human-eval: human_eval {C} {E}
        field: field {C} {E}
        publish: publish {C}
        export: export {C}
        serve: serve {C}
        demo: demo.app {C}
        space: space {C} {E}""",
    "DATA=main EVAL=claude ID=7 END=1 JSON=1 REPO=a/b PUBLIC=1 FORMAT=merged DTYPE=f16 ENGINE=mlx MODEL=m "
    "PORT=9 FEWSHOT=1 TWEETS=heldout": f"""
        forget: forget --id "7" {C}
        rented: rented {C} --end
        doctor: scripts.doctor {C} --json
        repair: repair --data data/main --run adapters/tiny --eval adapters/tiny/eval/claude
        plan: plan {C} --data main
        train: train {C} --data main
        eval-plan: eval_plan {C} {OTHER_E} --data main
        publish: publish {C} --data main --eval claude --repo a/b --public
        export: export {C} --format merged --dtype f16
        serve: serve {C} --engine mlx --model "m" --port 9
        demo: demo.app --fewshot {C} --data main --eval claude --port 9
        space: space {C} {OTHER_E} --data main --tweets heldout""",
    "HANDLE=@ann REPLAY=1 LIMIT=9 RUNS=a SWEEP=rank": f"""
        forget: forget --handle "@ann" {C}
        demo: demo.replay {C}
        human-eval: human_eval {C} {E} --limit 9
        compare: compare --runs a
        sweep: sweep --config configs/sweep-rank.yaml""",
    "ON=runpod DATA=main EVAL=claude": f"""
        train: rent {C} --eval claude --on runpod --data main
        replies: rent {C} --eval claude --on runpod --replies --data main""",
    "IMPORT=x.csv GONE=1": f"""
        field: field_counts {C} {E} --import x.csv --gone
        human-eval: human_eval {C} {E} --import x.csv""",
    "IMPORT=x.csv CROWD=50 PAY=15": f"""
        human-eval: crowd_export {C} {E} --import x.csv""",
    "CROWD=50 LIMIT=9 PAY=15 FEE=academic POSTS=200 HOURS=48 LIKES=2 DRAFT=7": f"""
        human-eval: crowd {C} {E} --people 50 --limit 9 --pay 15 --fee academic
        field: field {C} {E} --posts 200 --hours 48 --likes 2 --draft 7""",
    "CROWD=50 SHARE=1 PORT=9": f"""
        human-eval: demo.crowd_app {C} {E} --share --port 9""",
    "WEB=1": f"""
        human-eval: demo.human_app {C} {E}""",
}


@pytest.mark.parametrize("variables", TOLD)
def test_what_a_command_is_told_reaches_its_script_and_nothing_else_does(variables, shared):
    wanted = [line.strip().split(": ", 1) for line in TOLD[variables].splitlines() if line]
    said = shared.commands(*(goal for goal, _ in wanted), *variables.split())
    for _, command in wanted:
        assert any(line.endswith(command) for line in said), command


def test_collecting_runs_for_data_alone(shared):
    shared.touch(*FILES.values(), "configs/data-sample.yaml")
    for goal, is_collected in (("data", True), ("train", False), ("plan", False), ("eval", False)):
        assert any(line.startswith("collect ") for line in shared.taken(goal)) == is_collected, goal


def test_again_asks_the_judge_anew_and_a_page_that_was_taken_away_is_made_again(shared):
    shared.touch(*FILES.values())
    page = "adapters/tiny/eval/offline/report.html"
    for arguments, steps in (((), []), (("AGAIN=1",), ["judge"]), (("DATA=main",), ["generate"])):
        assert steps == [line.split()[0] for line in shared.taken("eval", *arguments)][:-1]
    (shared.folder / page).unlink()
    assert "report" in [line.split()[0] for line in shared.taken("eval")]
    shared.touch(page)


def test_eval_alone_has_its_replies_look_first_whether_the_judge_can_be_asked(shared):
    shared.touch(*FILES.values(), "configs/eval-offline.yaml")
    for goal in ("eval", "replies"):
        [command] = [line for line in shared.taken(goal) if line.startswith("generate ")]
        assert ("--then-judge" in command) == (goal == "eval")


def test_quickstart_answers_no_question_and_rents_nothing(shared):
    for path in FILES.values():
        (shared.folder / path).unlink(missing_ok=True)
    taken = [line for line in shared.taken("quickstart", "YES=1", "ON=runpod") if "next_step" not in line]
    assert [line.split()[0] for line in taken] == list(FILES)
    assert {line.rpartition(" ")[2] for line in taken} == {"YES="}


def test_a_machine_that_holds_processed_data_alone_trains_on_them_as_they_are(shared):
    shared.touch(*FILES.values(), "configs/data-sample.yaml", "data/sample/interim/clean.jsonl")
    shutil.rmtree(shared.folder / "data/sample/raw")
    assert [line.split()[0] for line in shared.taken("train")] == ["train", "next_step"]
    (shared.folder / FILES["data_report"]).unlink()
    assert "holds processed/ only" in shared.make("data").stdout


def test_a_name_of_the_environment_wins_over_the_config(shared, monkeypatch):
    monkeypatch.setenv("DATA", "main")
    assert f"publish {C} --data main" in shared.commands("publish")


def test_no_shell_and_no_make_reads_what_a_tweet_says(shared):
    tweet = "$(shell touch made) `touch made` $(touch made); touch made"
    shared.taken("field", f"TWEET={tweet}", f"POSTED={tweet}", f"DISCARD={tweet}")
    assert not (shared.folder / "made").exists()


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
