"""Distinct fake keys in the environment and in .env, every command, friendly and hostile servers: no output
ever holds one.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lib.base.credentials import MASK
from tests.judge.test_claude import set_up
from tests.stubs import apify_server
from tests.stubs.anthropic_server import AnthropicStub
from tests.stubs.apify_server import ApifyStub
from tests.stubs.hub_server import hub_server
from tests.stubs.openai_server import OpenAIStub
from tests.stubs.tweets_world import config_text, world

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PREFIXES = {
    "APIFY_API_TOKEN": "apify_api_",
    "ANTHROPIC_API_KEY": "sk-ant-",
    "OPENAI_API_KEY": "sk-proj-",
    "HF_TOKEN": "hf_",
    "WANDB_API_KEY": "",
    "RUNPOD_API_KEY": "rpa_",
}
N_TELLING = 10  # hexadecimal digits: a key that was cut off is found too
# The clients' pauses between their attempts take no time.
RUN_MODULE = """import runpy, sys, time
time.sleep = lambda s: None
runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"""
TINY = ["--config", "configs/train-tiny.yaml"]
MINE = ["--config", "configs/train-mine.yaml", "--eval", "configs/eval-quick.yaml"]
DATA = ["--config", "configs/data-main.yaml"]
PUBLISH = ["scripts.publish", *TINY, "--repo", "ann/reply-tiny"]
SECOND = ["--config", "configs/train-mine.yaml", "--eval", "configs/eval-second.yaml"]
PAID = [["scripts.collect", *DATA], ["scripts.judge", *SECOND], ["scripts.generate", *MINE]]
PAID += [["scripts.judge", *MINE], PUBLISH]


def digits(name, variant):
    return hashlib.sha256(f"{name} {variant}".encode()).hexdigest()[:40]


def keys(variant):
    return {name: prefix + digits(name, variant) for name, prefix in PREFIXES.items()}


TELLING = [
    digits(name, variant)[:N_TELLING].encode() for name in PREFIXES for variant in ("environment", ".env")
]


def planted_in(content):
    return [mark.decode() for mark in TELLING if mark in content]


class ProcessList:
    """Looks at every process's command line, again and again, and keeps those that hold a planted key."""

    def __enter__(self):
        self.found, self.n_looks, self._end = [], 0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()

    def _look(self):
        while not self._end.wait(0.02):
            self.n_looks += 1
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = path.read_bytes()
                except OSError:
                    continue
                if planted_in(line):
                    self.found.append(line)


class _Echo(BaseHTTPRequestHandler):
    """Answers everything with one status, and the caller's key in the body, the reason and the headers."""

    status = 401

    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        key = self.headers.get("Authorization") or self.headers.get("x-api-key") or ""
        said = f"no entry for {key}"
        body = json.dumps(
            {"error": {"type": "stub", "message": said}, "message": said, "detail": said, "errors": [said]}
        ).encode()
        self.send_response(self.status, said)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "X-Error-Message": said,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_POST = do_PUT = do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_):
        pass


@pytest.fixture
def echo():
    """status -> address of a server that says it to everything."""
    servers = []

    def start(status):
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), type("Echo", (_Echo,), {"status": status})))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


class Project:
    """A folder with a run of every kind, its keys, and all that its commands said."""

    def __init__(self, folder, where, urls):
        self.folder, self.said, self.codes = folder, [], {}
        shutil.copy(ROOT / "LICENSE", folder / "LICENSE")
        shutil.copy(ROOT / "configs/eval-offline.yaml", folder / "configs/eval-offline.yaml")
        set_up(folder)
        (folder / "adapters/mine/manifest.json").write_text(json.dumps({"adapter_sha256": "f" * 64}))
        bounds = {"toxicity_model": "none", "language": "en"}
        (folder / "data/small/processed/manifest.json").write_text(
            json.dumps(
                {"embedding_model": "char-ngrams", "toxicity_model": "none", "config": {"filter": bounds}}
            )
        )
        arm = {"base_url": urls["OPENAI"] + "/v1", "api_key_env": "OPENAI_API_KEY"}
        arms = {"base": {**arm, "model": "base-model"}, "tuned": {**arm, "model": "tuned-model"}}
        quick = {"engine": {"openai": arms}, "judge": {"kind": "claude"}, "sampling": {"max_new_tokens": 12}}
        (folder / "configs/eval-quick.yaml").write_text(json.dumps(quick))
        second = {"kind": "openai", **arm, "model": "base-model", "prices": {"input": 1, "output": 5}}
        (folder / "configs/eval-second.yaml").write_text(json.dumps({"extends": "quick", "judge": second}))
        shutil.copytree(folder / "adapters/mine/eval/quick", folder / "adapters/mine/eval/second")
        text = (
            config_text("cats", max_usd=1)
            + "filter: {toxicity_model: none}\nclean: {embedding_model: char-ngrams}\n"
        )
        (folder / "configs/data-main.yaml").write_text(text)
        others = {
            name: value
            for name, value in os.environ.items()
            if name not in PREFIXES and not name.startswith("WANDB_")
        }
        self.environment = {
            **others, "PYTHONPATH": str(ROOT), "YES": "1", "FORCE": "1", "OMP_NUM_THREADS": "1",
            "HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_XET": "1",
            "WANDB_MODE": "offline", "HOME": str(folder / "home"), "APIFY_API_BASE_URL": urls["APIFY"],
            "ANTHROPIC_BASE_URL": urls["ANTHROPIC"],
            "HF_ENDPOINT": urls["HF"], "RUNPOD_API_BASE_URL": urls["HF"],
        }  # fmt: skip
        (folder / ".env").touch(0o600)
        (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in keys(".env").items()))
        if where == "environment":
            self.environment |= keys("environment")

    def run(self, module, *arguments):
        line = [sys.executable, "-c", RUN_MODULE, module, *arguments]
        done = subprocess.run(
            line,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )
        self.said.append(done.stdout + done.stderr)
        self.codes[module] = done.returncode
        return (done.stdout + done.stderr).decode()

    def pages(self, module, *arguments, ask=("", "config", "gradio_api/info", "nothing/here")):
        """Start a page, read what it serves, end it."""
        line = [sys.executable, "-m", module, *arguments]
        process = subprocess.Popen(
            line, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        try:
            lines = iter(process.stdout.readline, b"")
            read = []
            for text in lines:
                read.append(text)
                if address := re.search(rb"http://127\.0\.0\.1:\d+", text):
                    break
            assert address, b"".join(read).decode()
            for path in ask:
                try:
                    with urllib.request.urlopen(f"{address[0].decode()}/{path}", timeout=20) as answer:
                        self.said += [answer.read(), str(answer.headers).encode()]
                except OSError as error:
                    self.said.append(str(error).encode())
        finally:
            process.send_signal(signal.SIGINT)
            self.said.append(b"".join(read) + process.communicate(timeout=30)[0])

    def check(self):
        """Nothing that was said or written holds a key; .env is where they belong."""
        assert [text.decode() for text in self.said if planted_in(text)] == []
        files = [path for path in self.folder.rglob("*") if path.is_file() and path != self.folder / ".env"]
        assert [str(path) for path in files if planted_in(path.read_bytes())] == []
        assert len(files) > 20


@pytest.fixture
def servers(monkeypatch):
    """The friendly ones, which let in who has the key of the environment."""
    given = keys("environment")
    monkeypatch.setattr(apify_server, "TOKEN", given["APIFY_API_TOKEN"])
    monkeypatch.setattr(AnthropicStub, "KEY", given["ANTHROPIC_API_KEY"])
    with (
        AnthropicStub() as claude,
        ApifyStub(world) as apify,
        hub_server() as hub,
        OpenAIStub(key=given["OPENAI_API_KEY"]) as openai,
    ):
        hub.token = given["HF_TOKEN"]
        yield {
            "ANTHROPIC": claude.url,
            "APIFY": apify.url,
            "HF": hub.url,
            "OPENAI": openai.url.removesuffix("/v1"),
        }


@pytest.mark.timeout(600)
def test_no_command_says_or_writes_a_key_when_all_goes_well(tiny_run, servers):
    project = Project(tiny_run, "environment", servers)
    (tiny_run / "configs/train-tracked.yaml").write_text(
        json.dumps({"extends": "tiny", "track": "wandb", "epochs": 2})
    )
    commands = [
        ["scripts.collect", *DATA], ["scripts.pair", *DATA], ["scripts.filter", *DATA],
        ["scripts.clean", *DATA], ["scripts.split", *DATA],
        ["scripts.data_report", *DATA], ["scripts.plan", *TINY], ["scripts.eval_plan", *MINE],
        ["scripts.train", "--config", "configs/train-tracked.yaml"], ["scripts.generate", *MINE],
        ["scripts.judge", *SECOND], ["scripts.judge", *MINE], ["scripts.report", *MINE],
        ["scripts.human_eval", *MINE], PUBLISH,
        ["scripts.runs"], ["scripts.costs"], ["scripts.compare", "--runs", "tiny", "tracked"],
        ["scripts.forget", "--handle", "author0"],
    ]  # fmt: skip
    with ProcessList() as processes:
        for command in commands:
            said = project.run(*command)
            print(command, project.codes[command[0]], said[-2000:])
        project.pages("demo.app", *TINY)
        project.pages("demo.review_app", *DATA)
        project.pages("demo.human_app", *MINE)
    assert b"Traceback" not in b"".join(project.said)
    worked = (
        "collect",
        "pair",
        "filter",
        "clean",
        "train",
        "generate",
        "judge",
        "human_eval",
        "publish",
        "compare",
    )
    assert {name: project.codes[f"scripts.{name}"] for name in worked} == dict.fromkeys(worked, 0)
    assert (tiny_run / "adapters/tracked/wandb").is_dir()
    assert processes.n_looks > 20
    assert processes.found == []
    project.check()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("where", ["environment", ".env"])
def test_no_command_says_or_writes_a_key_when_a_server_repeats_it(tiny_run, tmp_path, echo, where):
    addresses = {"401": echo(401), "500": echo(500), "400": echo(400), "refused": "http://127.0.0.1:9"}

    def attempt(name):
        folder = shutil.copytree(
            tiny_run, tmp_path / "each" / name, symlinks=True, ignore=lambda *_: ["each"]
        )
        project = Project(
            Path(folder), where, dict.fromkeys(("APIFY", "ANTHROPIC", "HF", "OPENAI"), addresses[name])
        )
        for command in PAID:
            (project.folder / "adapters/mine/eval/quick/judgments.jsonl").unlink(missing_ok=True)
            print(name, command[0], project.run(*command)[-600:], project.codes[command[0]])
        return project

    with ProcessList() as processes, ThreadPoolExecutor(2) as pool:
        projects = list(pool.map(attempt, addresses))
    assert processes.found == []
    for project in projects:
        assert b"Traceback" not in b"".join(project.said)
        assert (
            project.codes["scripts.publish"]
            == project.codes["scripts.collect"]
            == project.codes["scripts.generate"]
            == 1
        )
        project.check()


def test_a_bug_that_holds_a_key_shows_its_traceback_without_it(tmp_path):
    key = keys("environment")["HF_TOKEN"]
    code = """import logging, os
from lib.base.console import run
def main():
    logging.warning("uses %s", os.environ["HF_TOKEN"])
    {}[os.environ["HF_TOKEN"]]
run(main)"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "HF_TOKEN": key},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert f"KeyError: '{MASK}'" in done.stderr
    assert f"uses {MASK}" in done.stderr
    assert key not in done.stderr + done.stdout
