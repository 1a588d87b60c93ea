"""Every target in the five states of a project, with valid tokens and YES=1: who buys, trains, says what.

The states follow each other in one project: nothing; data that nobody has reviewed; data that are ready; a
trained run; the same run after a review, a `forget` and newer configs. The providers are loopback servers;
those that rent machines out know the account, which has no credit.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stubs.anthropic_server import AnthropicStub
from tests.stubs.apify_server import TOKEN, ApifyStub
from tests.stubs.hf_jobs_server import jobs_server
from tests.stubs.runpod_server import KEY, Fault, runpod_server
from tests.stubs.tweets_world import reply, tweet
from tests.training_data import ANSWERS, CONFIG, DEEDS, PLACES, THINGS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
DATA = """\
collect: {source: apify, queries: [q0, q1, q2, q3, q4, q5, q6, q7], target_pairs: 999, min_pairs: 1}
filter: {toxicity_model: none, max_hashtags: 2}
clean: {embedding_model: char-ngrams, similarity_threshold: 0.95}
review: required
split: {val: 0.2, test: 0.3, min_test_prompts: 4, seed: 17}
"""
EVAL = """\
systems: [base, tuned]
sampling: {max_new_tokens: 12}
max_prompts: 3
judge: {kind: claude, orders: one, batch: never, max_usd: 5}
"""
OFFLINE = EVAL.replace("{kind: claude, orders: one, batch: never, max_usd: 5}", "{kind: offline}")
SWEEP = "{base: r, grid: {epochs: [1]}}"

# Not run: they install, measure or test for minutes, and read no state of a project. Each with the modules
# and programs that it starts, of which none can buy or train a run.
NOT_RUN = {
    "test": r"pytest",
    "test-long": r"pytest",
    "lint": r"ruff",
    "lock": r"\.ci/lock\.py|pip",
    "mutants": r"tests\.mutants",
    "bench": r"(scripts|tests)\.bench_\w+|pip",
    "bench-train": r"scripts\.bench_train",
    "bench-real": r"scripts\.bench_\w+|pip",
}
# Who may ask which provider, and who may train. `doctor` asks each service one free question.
ASKS = {
    "apify": {"data", "collect", "doctor"},
    "claude": {"eval", "doctor"},
    "runpod": {"train ON=runpod", "rented", "doctor"},
    "hub": {"train ON=hf", "publish REPO=a/b FORCE=1", "rented", "doctor"},
}
TRAINS = {"train", "sweep SWEEP=s", "quickstart"}

# Of a bare project: it must stay as it was.
NOTHING = r"error: data/x holds nothing to train on yet: run `make data DATA=x` first\."
NO_RUN = r"error: adapters/r holds no finished run\. Run `make train RUN=r` first\."
WAITING = r"error: \d+ of \d+ pairs of data/x are unreviewed: run `make review DATA=x` first\."
TO_TRAIN = "next: make train RUN=r"
TO_DEMO = "next: make demo RUN=r"
USES = ("human-eval", "field", "publish REPO=a/b", "demo", "export", "serve ENGINE=ollama", "space")
OF_A_RUN = ("eval", "replies", *USES)
RENTS = ("train ON=runpod", "train ON=hf")
NO_CREDIT = {
    "train ON=runpod": (2, "error: RunPod: .* Add credit at .*"),
    "train ON=hf": (2, "error: Hugging Face: no credit left for Jobs. Add some at .*"),
}
UNPUBLISHED = (2, "error: Not published: its evaluation ended in the verdict .* FORCE=1; .*")
TO_IMPORT = 'next: make human-eval RUN=r IMPORT="answers.json", or WEB=1 to answer here'
DIFFERS = r"learning_rate \(0\.005 -> 0\.004\)"
REFUSED = rf"error: adapters/r was trained with {DIFFERS} different from now\. .*"


def anywhere(following):
    """Targets that work in every state, and the command that they name."""
    said = (0, f"next: make {following}")
    able = ("help", "setup", "runs", "costs", "compare", "repair", "rented", "doctor")
    return dict.fromkeys((*able, "forget HANDLE=nobody"), said) | {
        "forget": (2, "error: Name one thing to forget.*"),
        "setup-runpod": (2, "error: this image's python3 is older than 3.11.*"),
    }


# state -> target -> (exit code of make, last line). In this order.
STATES = {
    "nothing": {
        **anywhere("quickstart"),
        "plan": (0, "next: make data DATA=x"),
        **dict.fromkeys(("train", *RENTS, "sweep SWEEP=s", "eval-plan"), (2, NOTHING)),
        "review": (2, "error: data/x holds nothing to review yet: run `make data DATA=x` first."),
        **dict.fromkeys(OF_A_RUN, (2, NO_RUN)),
        "plan RUN=rr": (2, ".*error: configs/train-rr.yaml does not exist. Did you mean r.*"),
        "quickstart": (0, "next: make demo RUN=tiny"),
        "collect": (0, "next: make data DATA=x"),
        "data": (0, "next: make review DATA=x"),
    },
    "unreviewed": {
        **anywhere("review DATA=x"),
        "data": (0, "next: make review DATA=x"),
        "collect": (0, "next: make data DATA=x"),
        "plan": (0, "next: make review DATA=x"),
        **dict.fromkeys(("train", *RENTS, "sweep SWEEP=s", "eval-plan"), (2, WAITING)),
        "review": (2, "error: The review needs a terminal.*"),
        "review WEB=1": (0, "next: make review DATA=x"),
        **dict.fromkeys(OF_A_RUN, (2, NO_RUN)),
        "quickstart": (0, "next: make demo RUN=tiny"),
    },
    "ready": {
        **anywhere("plan RUN=r"),
        "data": (0, "next: make plan RUN=r"),
        "collect": (0, "next: make data DATA=x"),
        "plan": (0, TO_TRAIN),
        "eval-plan": (0, "next: make plan RUN=r"),
        "review": (0, "next: make data DATA=x"),
        **dict.fromkeys(OF_A_RUN, (2, NO_RUN)),
        "quickstart": (0, "next: make demo RUN=tiny"),
        **NO_CREDIT,
        "sweep SWEEP=s": (0, "next: make eval RUN=sweep-s-.*"),
        "train": (0, "next: make eval RUN=r"),
    },
    "trained": {
        "data": (0, "next: make plan RUN=r"),
        "collect": (0, "next: make data DATA=x"),
        "review": (0, "next: make data DATA=x"),
        "plan": (0, "next: make eval RUN=r"),
        **dict.fromkeys(("train", *RENTS), (0, "next: make eval RUN=r")),
        "sweep SWEEP=s": (0, "next: make eval RUN=sweep-s-.*"),
        "human-eval": (2, "error: .*holds no replies yet: run `make replies RUN=r` first."),
        "eval-plan": (0, "next: make eval RUN=r"),
        "replies": (0, "next: make eval RUN=r"),
        "eval": (0, TO_DEMO),
        "human-eval LIMIT=2": (0, TO_IMPORT),
        "field": (0, "next: make field RUN=r POSTS=200"),
        "field POSTS=20": (0, "next: make field RUN=r"),
        "publish REPO=a/b": UNPUBLISHED,
        "publish REPO=a/b FORCE=1": (0, TO_DEMO),
        "space": (2, r"error: .*replies\.jsonl has no reply that may be shown .* TWEETS=heldout\."),
        "space TWEETS=heldout": (0, TO_DEMO),
        "demo": (0, "next: make human-eval RUN=r"),
        "export": (0, "next: make serve ENGINE=llamacpp RUN=r"),
        "serve ENGINE=ollama": (0, "next: make .*"),
        "quickstart": (0, "next: make demo RUN=tiny"),
        **anywhere("demo RUN=r"),
    },
    "changed": {
        "eval": (0, TO_DEMO),  # writes the page again that `forget` took away
        "replies": (0, "next: make eval RUN=r"),
        "human-eval": (0, TO_IMPORT),
        "field": (0, "next: make field RUN=r"),
        "human-eval WEB=1": (0, "next: make human-eval RUN=r WEB=1"),
        "publish REPO=a/b": UNPUBLISHED,
        "publish REPO=a/b FORCE=1": (0, TO_DEMO),
        "space": (2, r"error: .*replies\.jsonl has no reply that may be shown .* TWEETS=heldout\."),
        "demo": (0, "next: make human-eval RUN=r"),
        "export": (0, "next: make serve ENGINE=llamacpp RUN=r"),
        "serve ENGINE=ollama": (0, "next: make .*"),
        "plan": (0, "next: make plan RUN=<name>"),
        "eval-plan": (0, TO_DEMO),
        **dict.fromkeys(("train", *RENTS), (2, REFUSED)),
        "sweep SWEEP=s": (2, "wrote adapters/sweep-s.json"),  # its variant was trained with another rate
        "data": (0, "next: make plan RUN=r"),
        "collect": (0, "next: make data DATA=x"),
        "review": (0, "next: make data DATA=x"),
        "quickstart": (0, "next: make demo RUN=tiny"),
        **anywhere("demo RUN=r"),
    },
}
SAYS_WHAT_CHANGED = ("eval", *USES)


def world(run_input):
    """Tweets and replies that no filter takes for copies of each other."""
    term = run_input["searchTerms"][0]

    def words(number, lists):
        return [words[number * (7 + n) % len(words)] for n, words in enumerate(lists)]

    if not term.startswith("conversation_id:"):
        numbers = [100 * int(term[1:]) + n for n in range(10_001, 10_004)]
        texts = [words(number, (DEEDS, THINGS, PLACES)) for number in numbers]
        return [
            tweet(str(number), text=f"Today I {a} the {b} in {c}, number {number} of my life.")
            for number, (a, b, c) in zip(numbers, texts, strict=True)
        ]
    post = term.split()[0].partition(":")[2]
    found = []
    for n in range(4):
        number = int(post) * 4 + n
        answer, thing, place, deed = words(number, (ANSWERS, THINGS, PLACES, DEEDS))
        text = f"@author{post} {answer} Mine was {number} times a {thing} that I {deed} in {place}."
        found.append(
            reply(
                post,
                n,
                text=text,
                likeCount=5 + number % 90,
                author={"userName": f"fan{number}", "followers": 700},
            )
        )
    return found


class Project:
    """One project that goes from state to state, and the servers that it may ask."""

    def __init__(self, folder, apify, claude, hub, runpod):
        self.folder, self.apify, self.claude, self.hub, self.runpod = folder, apify, claude, hub, runpod
        self.reached = "nothing"
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
        } | {
            "YES": "1",
            "APIFY_API_TOKEN": TOKEN,
            "APIFY_API_BASE_URL": apify.url,
            "ANTHROPIC_API_KEY": claude.KEY,
            "ANTHROPIC_BASE_URL": claude.url,
            "HF_TOKEN": hub.token,
            "HF_ENDPOINT": hub.url,
            "HF_HUB_DISABLE_XET": "1",
            "RUNPOD_API_KEY": KEY,
            "RUNPOD_API_BASE_URL": runpod.url,
            "OMP_NUM_THREADS": "1",
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        }

    def make(self, target):
        """(exit code, all that was said, its last line but make's own)."""
        command = ["make", f"PYTHON={sys.executable}", *([] if "RUN=" in target else ["RUN=r"])]
        command += ["DATA=x"] if target.split()[0] in ("data", "collect", "review") else []
        with subprocess.Popen(
            [*command, *target.split()],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as child:
            said = []
            served = False
            for line in child.stdout:
                said.append(line.rstrip("\n"))
                if re.search(r"open http|^serving;", line):  # until Ctrl-C, which reaches all of them
                    served = True
                    os.killpg(child.pid, signal.SIGINT)
        own = [line for line in said if line.strip() and not re.match(r"make(\[\d+\])?: \*\*\* \[", line)]
        return 0 if served else child.returncode, "\n".join(said), own[-1] if own else ""

    def requests(self):
        """Provider -> how much it was asked so far."""
        return {
            "apify": sum(self.apify.calls.values()),
            "claude": self.claude.n_requests(),
            "runpod": len(self.runpod.requests),
            "hub": len(self.hub.requests),
        }

    def paid(self):
        """Counts that only a purchase raises: runs of the data provider, answers of the judge, machines."""
        machines = len(self.runpod.pods) + len(self.hub.jobs)
        return sum(self.apify.starts().values()), len(self.claude.paid), machines

    def trained(self):
        return {path: path.read_bytes() for path in self.folder.glob("adapters/*/adapter_model.safetensors")}

    def files(self):
        return {
            path for path in self.folder.rglob("*") if not {".venv", "cache", "__pycache__"} & set(path.parts)
        }

    def reach(self, state):
        """Go on, state by state, by the commands that may."""
        steps = list(STATES)
        for name in steps[steps.index(self.reached) + 1 : steps.index(state) + 1]:
            getattr(self, f"to_{name}")()
            self.reached = name

    def done(self, target):
        code, said, last = self.make(target)
        assert code == 0, said
        return last

    def to_unreviewed(self):
        assert self.done("data") == "next: make review DATA=x"
        assert self.paid()[0] > 0

    def decide(self, decision, n):
        pairs = (self.folder / "data/x/interim/clean.jsonl").read_text().splitlines()
        path = self.folder / "data/x/review/decisions.jsonl"
        path.parent.mkdir(exist_ok=True)
        with path.open("a") as handle:
            for pair in map(json.loads, pairs[:n]):
                handle.write(json.dumps({"id": pair["reply_id"], "decision": decision}) + "\n")

    def to_ready(self):
        self.decide("keep", None)
        assert self.done("data") == "next: make plan RUN=r"

    def to_trained(self):
        assert self.done("train") == "next: make eval RUN=r"

    def to_changed(self):
        for target in ("eval", "human-eval"):
            self.done(target)
        self.decide("drop", 1)
        self.done("forget HANDLE=author10102")
        for name, old, new in (
            ("train-r", "learning_rate: 5e-3", "learning_rate: 4e-3"),
            ("data-x", "max_hashtags: 2", "max_hashtags: 3"),
        ):
            path = self.folder / f"configs/{name}.yaml"
            path.write_text(path.read_text().replace(old, new))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("matrix")
    for name in ("Makefile", "scripts", "lib", "demo", *map(str, ROOT.glob("requirements*.txt"))):
        (folder / Path(name).name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "LICENSE", folder)
    shutil.copytree(ROOT / "data/sample/raw", folder / "data/sample/raw")
    (folder / "configs").mkdir()
    train = CONFIG.replace("data: sample", "data: x").replace("eval: offline", "eval: e")
    train = train.replace("patience: 3", "patience: 1")  # or a sweep over short trainings is refused
    texts = {"data-x": DATA, "train-r": train, "eval-e": EVAL, "sweep-s": SWEEP}
    # The quickstart, but for a shorter training and fewer replies.
    texts |= {"train-tiny": CONFIG.replace("epochs: 3", "epochs: 1"), "eval-offline": OFFLINE}
    texts["data-sample"] = (ROOT / "configs/data-sample.yaml").read_text()
    for name, text in texts.items():
        (folder / f"configs/{name}.yaml").write_text(text)
    (folder / ".venv").mkdir()
    (folder / ".venv/setup.stamp").touch()
    (folder / "bin").mkdir()
    (folder / "bin/python3").write_text("#!/bin/sh\nexit 1\n")  # for setup-runpod: no pod's
    (folder / "bin/python3").chmod(0o755)
    with (
        ApifyStub(world) as apify,
        AnthropicStub() as claude,
        jobs_server(tmp_path_factory.mktemp("jobs")) as hub,
        runpod_server(tmp_path_factory.mktemp("pods")) as runpod,
    ):
        runpod.faults = [Fault("POST /pods", 402, times=99)]
        for _ in range(9):
            hub.fail_once("POST /api/jobs/ann$", 402)
        yield Project(folder, apify, claude, hub, runpod)


def phony():
    """The targets of the Makefile, as it says itself; the two that only rules name."""
    lines = (ROOT / "Makefile").read_text().replace("\\\n", " ").splitlines()
    named = [line.removeprefix(".PHONY:").split() for line in lines if line.startswith(".PHONY:")]
    return set().union(*named) - {"quickstart-files", "again"}


@pytest.mark.parametrize("state", STATES)
def test_no_target_of_the_makefile_is_left_out(state):
    assert {target.split()[0] for target in STATES[state]} == phony() - NOT_RUN.keys()


@pytest.mark.parametrize("target", NOT_RUN)
def test_a_target_that_is_not_run_here_starts_nothing_that_buys_or_trains(target, project):
    _, said, _ = project.make(f"-n {target}")
    started = re.findall(r"(?:-m |(?=\.ci/\w+\.py))([\w./]+)", said.replace("-m tests.browser", ""))
    started = [name for name in started if name not in ("slow", "not")]  # pytest's own -m
    assert started
    assert [name for name in started if not re.fullmatch(NOT_RUN[target], name)] == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("state", STATES)
def test_every_target_says_what_it_should_and_only_those_that_may_buy_or_train(state, project):
    project.reach(state)
    wrong = []
    for target, (code, line) in STATES[state].items():
        asked, paid, trained, files = (
            project.requests(),
            project.paid(),
            project.trained(),
            project.files(),
        )
        found, said, last = project.make(target)
        if found != code or not re.fullmatch(line, last):
            wrong.append(f"{target}: exit {found}, not {code}; last line, not {line!r}:\n{said}")
        if "Traceback" in said:
            wrong.append(f"{target}: a traceback:\n{said}")
        for provider, n in project.requests().items():
            if n != asked[provider] and target not in ASKS[provider]:
                wrong.append(f"{target}: asked {provider}")
        bought = [now - before for now, before in zip(project.paid(), paid, strict=True)]
        if bought[2] or (bought[0] and state != "nothing") or (bought[1] and target != "eval"):
            wrong.append(f"{target}: bought something: {bought} runs, verdicts, machines")
        if project.trained() != trained and (target not in TRAINS or code):
            wrong.append(f"{target}: trained")
        new = project.files() - files
        if target in RENTS:  # a machine was asked for in vain: its books stay
            books = {project.folder / "adapters/r" / name for name in ("", "ledger.jsonl", "remote.lock")}
            new -= books
        if code and new:
            wrong.append(f"{target}: refused, and left {sorted(map(str, new))}")
        if state == "changed" and target in SAYS_WHAT_CHANGED and "changed since then: " not in said:
            wrong.append(f"{target}: does not say what has changed since the training:\n{said}")
        if last == TO_DEMO and not (project.folder / "adapters/r/eval/e/report.html").is_file():
            wrong.append(f"{target}: names a report that is not there")
    assert not wrong, "\n\n".join(wrong)


def test_money_is_spent_once_although_every_command_ran_again(project):
    project.reach("changed")
    before = project.paid()
    assert project.done("eval") == TO_DEMO
    assert project.paid() == before
