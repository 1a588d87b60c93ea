"""Every target in the five states of a project, with valid tokens and YES=1: who buys, trains, says what.

The states follow each other in one project: nothing; data that nobody has reviewed; data that are ready; a
trained run; the same run after a review, a `forget` and newer configs. The providers are loopback servers.
Not run here: what installs, tests or measures (setup, setup-runpod, quickstart, test, lint, bench), and
sweep, which trains by itself, where there is something to train on.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stubs.anthropic_server import AnthropicStub
from tests.stubs.apify_server import TOKEN, ApifyStub
from tests.stubs.hub_server import hub_server
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
SWEEP = "{base: r, grid: {epochs: [1, 2]}}"
# Of a bare project: it must stay as it was.
NOTHING = r"error: data/x holds nothing to train on yet: run `make data DATA=x` first\."
NO_RUN = r"error: .*[Rr]un `make train RUN=r`( first)?\."
WAITING = r"error: \d+ of \d+ pairs of data/x are unreviewed: run `make review DATA=x` first\."
TO_TRAIN = "next: make train RUN=r"
OF_A_RUN = ("eval", "replies", "human-eval", "field", "publish REPO=a/b", "demo")
ANYWHERE = {
    "help": " +demo .*",
    "runs": "next: make .*|wrote (adapters|data)/index.html",
    "compare": "next: make .*",
    "costs": "next: make .*|total .*",
}

# state -> target -> (exit code of make, last line). In this order.
STATES = {
    "nothing": {
        **{target: (0, line) for target, line in ANYWHERE.items()},
        "plan": (0, "next: make data DATA=x"),
        "train": (2, NOTHING),
        "sweep SWEEP=s": (2, NOTHING),
        "eval-plan": (2, NOTHING),
        "review": (2, "error: .*there is nothing to review yet. Run `make data DATA=x` first."),
        **dict.fromkeys(OF_A_RUN, (2, NO_RUN)),
        "plan RUN=rr": (2, ".*error: configs/train-rr.yaml does not exist. Did you mean r.*"),
        "forget": (2, "error: Name one thing to forget.*"),
        "forget HANDLE=nobody": (0, "next: .*"),
    },
    "unreviewed": {
        **{target: (0, line) for target, line in ANYWHERE.items()},
        "data": (0, "next: make review DATA=x"),
        "collect": (0, "next: make data DATA=x"),
        "plan": (0, "next: make review DATA=x"),
        "train": (2, WAITING),
        "sweep SWEEP=s": (2, WAITING),
        "eval-plan": (2, WAITING),
        "review": (2, "error: The review needs a terminal.*"),
        **dict.fromkeys(OF_A_RUN, (2, NO_RUN)),
    },
    "ready": {
        **{target: (0, line) for target, line in ANYWHERE.items()},
        "data": (0, "next: make plan RUN=r"),
        "plan": (0, TO_TRAIN),
        "eval-plan": (0, "next: .*"),
        "review": (0, "next: make data DATA=x"),
        **dict.fromkeys(OF_A_RUN, (2, NO_RUN)),
    },
    "trained": {
        "data": (0, "next: make plan RUN=r"),
        "plan": (0, TO_TRAIN),
        "train": (0, "next: make eval RUN=r"),
        "human-eval": (2, "error: .*holds no replies yet: run `make replies RUN=r` first."),
        "eval-plan": (0, "next: .*"),
        "replies": (0, "next: make eval RUN=r EVAL=e"),
        "eval": (0, "next: make demo RUN=r.*"),
        "human-eval LIMIT=2": (0, "next: make human-eval RUN=r .*"),
        "field": (0, "next: make field RUN=r POSTS=200"),
        "field POSTS=20": (0, "next: make field RUN=r"),
        "publish REPO=a/b": (0, "wrote adapters/r/publish.json"),
        "demo": (0, "open http.*"),
        **{target: (0, line) for target, line in ANYWHERE.items()},
    },
    "changed": {
        "eval": (0, "next: make demo RUN=r.*"),  # writes the page again that `forget` took away
        "replies": (0, "next: make eval RUN=r EVAL=e"),
        "human-eval": (0, "next: make human-eval RUN=r .*"),
        "field": (0, "next: make field RUN=r"),
        "publish REPO=a/b": (0, "wrote adapters/r/publish.json"),
        "demo": (0, "open http.*"),
        "plan": (0, TO_TRAIN),
        "eval-plan": (0, "next: .*"),
        "train": (
            2,
            "error: adapters/r was trained with learning_rate .* different from now. .*",
        ),
        "review": (0, "next: make data DATA=x"),
        **{target: (0, line) for target, line in ANYWHERE.items()},
    },
}
BUYS_DATA, BUYS_JUDGMENTS = ("data", "collect"), ("eval",)
SAYS_WHAT_CHANGED = ("eval", "human-eval", "field", "publish", "demo")


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

    def __init__(self, folder, apify, claude, hub):
        self.folder, self.apify, self.claude, self.hub = folder, apify, claude, hub
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
            "OMP_NUM_THREADS": "1",
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
            for line in child.stdout:
                said.append(line.rstrip("\n"))
                if line.startswith("open http"):  # the demo serves until it is stopped
                    os.killpg(child.pid, 9)
                    child.wait()
                    return 0, "\n".join(said), said[-1]
        own = [line for line in said if line.strip() and not re.match(r"make(\[\d+\])?: \*\*\* \[", line)]
        return child.returncode, "\n".join(said), own[-1] if own else ""

    def paid(self):
        """Counts that only a purchase raises: runs of the data provider, requests to the judge."""
        return sum(self.apify.starts().values()), self.claude.n_requests()

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
def project(_built, tmp_path_factory):
    folder = tmp_path_factory.mktemp("matrix")
    for name in ("Makefile", "scripts", "lib", "demo", "requirements.txt"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "LICENSE", folder)
    shutil.copytree(_built / "data/sample/raw", folder / "data/sample/raw")
    (folder / "data/cache").symlink_to((_built / "data/cache").resolve())
    (folder / "configs").mkdir()
    train = CONFIG.replace("data: sample", "data: x").replace("eval: offline", "eval: e")
    texts = {"data-x": DATA, "train-r": train, "eval-e": EVAL, "sweep-s": SWEEP}
    for name, text in texts.items():
        (folder / f"configs/{name}.yaml").write_text(text)
    (folder / ".venv").mkdir()
    (folder / ".venv/setup.stamp").touch()
    with ApifyStub(world) as apify, AnthropicStub() as claude, hub_server() as hub:
        yield Project(folder, apify, claude, hub)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("state", STATES)
def test_every_target_says_what_it_should_and_only_those_that_may_buy_or_train(state, project):
    project.reach(state)
    wrong = []
    for target, (code, line) in STATES[state].items():
        name, paid, trained, files = target.split()[0], project.paid(), project.trained(), project.files()
        found, said, last = project.make(target)
        if found != code or not re.fullmatch(line, last):
            wrong.append(f"{target}: exit {found}, not {code}; last line, not {line!r}:\n{said}")
        if "Traceback" in said:
            wrong.append(f"{target}: a traceback")
        now = project.paid()
        if (now[0] > paid[0] and name not in BUYS_DATA) or (now[1] > paid[1] and name not in BUYS_JUDGMENTS):
            wrong.append(f"{target}: bought something, {paid} -> {now}")
        if project.trained() != trained:
            wrong.append(f"{target}: trained")
        if code and (new := project.files() - files):
            wrong.append(f"{target}: refused, and left {sorted(map(str, new))}")
        if state == "changed" and name in SAYS_WHAT_CHANGED and "changed since then: " not in said:
            wrong.append(f"{target}: does not say what has changed since the training:\n{said}")
        if (
            last.startswith("next: make demo")
            and not (project.folder / "adapters/r/eval/e/report.html").is_file()
        ):
            wrong.append(f"{target}: names a report that is not there")
    assert not wrong, "\n\n".join(wrong)


def test_money_is_spent_once_although_every_command_ran_again(project):
    project.reach("changed")
    before = project.paid()
    assert project.done("eval").startswith("next: make demo RUN=r")
    assert project.paid() == before
