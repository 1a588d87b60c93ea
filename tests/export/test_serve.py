"""A run is served by a real llama.cpp or MLX, proven to act, evaluated and shown through it, and ended again,
also by a kill -9."""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

import lib.model.openai_server
import scripts.generate
import scripts.judge
import scripts.report
import scripts.serve
from lib.base.config import load_config
from lib.base.console import run
from lib.base.errors import UserError
from lib.base.files import read_jsonl, write_json, write_jsonl
from lib.base.schema import Reply
from lib.base.settings import EvalConfig, SamplingConfig, TrainConfig
from lib.evaluate.answers import make_replies
from lib.evaluate.evaluation import Evaluation
from lib.evaluate.replies import Stored
from lib.evaluate.report import read_report
from lib.export.engines import llamacpp, mlx, ollama, vllm
from lib.export.gguf_file import write_adapter
from lib.export.lora import Lora, read_lora
from lib.export.proof import prove, reference_of
from lib.export.servers import answers, running, until_one_ends
from lib.export.serving import eval_config, plan, write_eval_config
from lib.model.adapters import sha256_of
from lib.model.openai_engine import openai_engine
from lib.model.served_pair import stream_served_pair
from tests.engines import ROOT, SITE, environment, free_port, needs_engines, no_question
from tests.eval_data import prompt
from tests.stubs.openai_server import OpenAIStub

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # on a busy machine, the run trained first

RUN = Path("adapters/tiny")
CONFIG = Path("configs/train-tiny.yaml")
SERVED = Path("configs/eval-served.yaml")
GREEDY = SamplingConfig(temperature=0.0, max_new_tokens=24)
TWEET = "What should I cook tonight?"
TURNS = [{"role": "user", "content": f"Generate an engaging Twitter reply to:\n\n{TWEET}"}]


@pytest.fixture
def run_folder(tiny_run, monkeypatch):
    """A project with a finished run, in which this process and its children find the engines."""
    (tiny_run / "configs/eval-offline.yaml").write_text((ROOT / "configs/eval-offline.yaml").read_text())
    processed = tiny_run / "data/sample/processed"
    write_jsonl(processed / "test_prompts.jsonl", [prompt(n) for n in range(6)])
    filters = {"toxicity_model": "none", "language": "en"}
    write_json(processed / "manifest.json", {"embedding_model": "char-ngrams", "config": {"filter": filters}})
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(SITE)
    monkeypatch.delenv("MAKELEVEL", raising=False)  # nothing here is a child of make, to end with it
    before = signal.getsignal(signal.SIGTERM)
    yield tiny_run
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def says(run_folder, monkeypatch, capsys):
    """(script, arguments) -> (its exit status, all that it said), in this process."""

    def said(script, *arguments):
        monkeypatch.setattr(sys, "argv", ["script", "--config", str(CONFIG), *arguments])
        with pytest.raises(SystemExit) as left:
            run(script.main)
        return left.value.code, "".join(capsys.readouterr())

    return said


def tiny_lora():
    return read_lora(RUN, load_config(CONFIG, TrainConfig))


def planned(engine, port=None):
    return plan(tiny_lora(), engine, None, port or free_port(), SamplingConfig(), no_question)


def served():
    return Evaluation.of(CONFIG, SERVED)


def written_adapter(factor):
    """The run's weights, times factor, as its own: manifest and all."""
    from safetensors.torch import load_file, save_file

    path = RUN / "adapter_model.safetensors"
    save_file(
        {name: factor * value for name, value in load_file(path).items()}, path, metadata={"format": "pt"}
    )
    manifest = json.loads((RUN / "manifest.json").read_text())
    (RUN / "manifest.json").write_text(json.dumps({**manifest, "adapter_sha256": sha256_of(path)}))


@pytest.fixture
def serving_process(run_folder):
    """A `make serve` at this port, and all that it said until it serves."""
    started = []

    def serve(port):
        command = [sys.executable, "-m", "scripts.serve", "--config", CONFIG, "--port", str(port)]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        started.append(subprocess.Popen(command, text=True, **streams))
        lines = []
        for line in started[0].stdout:
            lines.append(line)
            if "Ctrl-C ends it" in line:
                return started[0], "".join(lines)
        raise AssertionError("".join(lines))

    yield serve
    for process in started:
        process.kill()
        process.communicate()


def until(true):
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def listens(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@needs_engines
def test_a_run_is_served_evaluated_and_shown_and_what_a_kill_9_leaves_is_gone_on_with(
    says, serving_process, monkeypatch
):
    """One server after the other on one port, so that none is started in vain."""
    port = free_port()
    process, said = serving_process(port)
    assert "adapter active: " in said and "off torch's logprobs" in said and f"wrote {SERVED}" in said

    arms = served().eval.engine.openai
    stream, write = shown_by_the_demo()
    *_, shown = stream(TURNS, GREEDY)
    assert shown == as_answered(arms)
    assert shown == (write("base", TURNS, GREEDY), write("tuned", TURNS, GREEDY))
    foreign = httpx.get(f"{arms['base'].base_url}/models", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in foreign.headers  # no page of another site reads answers

    monkeypatch.setattr(lib.model.openai_server, "ATTEMPTS", 1)  # nobody comes back meanwhile

    def kill_after_base(line):
        if "generate: base 6 of 6" in line:
            process.kill()
            until(lambda: not listens(port))  # the server went with it

    with pytest.raises(UserError, match="Is the server up"):
        make_replies(served(), kill_after_base)
    kept = log_of(served())
    assert [line.reply.system for line in kept[:6]] == ["base"] * 6

    lora = tiny_lora()
    other = dataclasses.replace(lora, alpha=2 * lora.alpha)
    write_adapter(other, Path("other.gguf"), "f16")
    twice = planned("llamacpp", port)
    ours = str(RUN / "export/gguf/adapter-f16.gguf")
    command = [part.replace(ours, "other.gguf") for part in twice.servers[0]]
    with running([command], twice.urls, Path("logs")):
        with pytest.raises(UserError, match=r"tuned: .* another model or adapter is there now"):
            make_replies(served(), print)
        with pytest.raises(UserError, match="adapter does not answer as torch does"):
            prove(twice.arms, SamplingConfig(), reference_of(lora))
    assert log_of(served()) == kept

    again = planned("llamacpp", port)
    with running(again.servers, again.urls, Path("logs")):
        for script in (scripts.generate, scripts.judge, scripts.report):
            status, said = says(script, "--eval", str(SERVED))
            assert status == 0, said
    assert log_of(served())[: len(kept)] == kept  # nothing lost, nothing asked twice
    assert len(log_of(served())) == 6 * 3
    replies = read_jsonl(served().folder / "replies.jsonl", Reply)
    assert {(reply.engine, reply.quantization) for reply in replies if reply.system != "human"} == {
        ("openai", "f32")
    }
    assert read_report(served().folder / "report.json").engine["name"] == "openai"


def as_answered(arms):
    """(base, tuned) as an evaluation asks for them."""
    answer = openai_engine(arms, GREEDY).answer
    return tuple(dict(answer(arm, [TURNS]))[0].text for arm in ("base", "tuned"))


def log_of(evaluation):
    return read_jsonl(evaluation.work / "replies.jsonl", Stored)


def shown_by_the_demo():
    from demo.app import _served

    evaluation = load_config(SERVED, EvalConfig)
    return _served(RUN, evaluation.sampling, evaluation.engine)


def test_what_is_served_is_held_against_the_run_that_is_evaluated(run_folder):
    lora, arms = tiny_lora(), llamacpp(tiny_lora(), Path("a.gguf"), Path("b.gguf"), "f16", 1).arms
    write_eval_config(SERVED, eval_config(lora, arms, "offline"))
    written_adapter(0.5)  # trained again since
    for use in (lambda: make_replies(served(), print), shown_by_the_demo):
        with pytest.raises(UserError, match=r"another adapter than adapters/tiny holds.*make serve RUN=tiny"):
            use()


def test_a_config_of_the_persons_own_is_not_written_over(tmp_path):
    path = tmp_path / "eval-served.yaml"
    path.write_text("extends: offline\n")
    with pytest.raises(UserError, match="Rename it"):
        write_eval_config(path, "# other")
    assert path.read_text() == "extends: offline\n"


@needs_engines
def test_mlx_is_proven_active_and_with_an_adapter_of_zeros_it_is_not(run_folder):
    port = free_port()
    serving, reference = planned("mlx", port), reference_of(tiny_lora())
    base, tuned = serving.servers
    zeros = zeroed_mlx(RUN / "export/mlx", free_port())
    at_zeros = [part.replace(str(RUN / "export/mlx"), str(zeros[0])) for part in tuned]
    at_zeros[at_zeros.index("--port") + 1] = str(zeros[1])
    url = f"http://127.0.0.1:{zeros[1]}/v1"
    with running([base, tuned, at_zeros], [*serving.urls, url], Path("logs")):
        proof = prove(serving.arms, SamplingConfig(), reference)
        assert "adapter active" in proof.line and "off torch's logprobs" in proof.line
        *_, shown = stream_served_pair(proof.arms, TURNS, GREEDY)
        assert shown == as_answered(proof.arms)
        off = {**serving.arms, "tuned": serving.arms["tuned"].model_copy(update={"base_url": url})}
        with pytest.raises(UserError, match="the adapter is not active"):
            prove(off, SamplingConfig(), reference)
        foreign = httpx.get(f"{url}/models", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in foreign.headers


def zeroed_mlx(folder, port):
    import shutil

    from safetensors.numpy import load_file, save_file

    zeros = Path("zeros")
    shutil.copytree(folder, zeros)
    path = zeros / "adapters.safetensors"
    save_file({name: 0 * value for name, value in load_file(path).items()}, path, metadata={"format": "mlx"})
    return zeros, port


@needs_engines
def test_an_adapter_of_zeros_is_not_active_and_the_server_is_ended(says):
    written_adapter(0)
    port = free_port()
    status, said = says(scripts.serve, "--port", str(port))
    assert status == 1 and "not active" in said
    assert not answers(f"http://127.0.0.1:{port}/v1") and not SERVED.exists()


@needs_engines
def test_a_server_that_thinks_asks_otherwise_than_training_and_is_found_out(run_folder):
    serving = planned("llamacpp")
    thinking = {
        name: arm.model_copy(
            update={"extra_body": {**arm.extra_body, "chat_template_kwargs": {"enable_thinking": True}}}
        )
        for name, arm in serving.arms.items()
    }
    reference = dataclasses.replace(reference_of(tiny_lora()), arms=None)  # no weights of the base here
    silent = {
        name: arm.model_copy(update={"extra_body": {**arm.extra_body, "chat_template_kwargs": None}})
        for name, arm in serving.arms.items()
    }
    with running(serving.servers, serving.urls, Path("logs")):
        assert "not compared with torch" in prove(silent, SamplingConfig(), reference).line
        assert "not compared with torch" in prove(serving.arms, SamplingConfig(), reference).line
        with pytest.raises(UserError, match=r"Arm base: .* another chat template, or it thinks"):
            prove(thinking, SamplingConfig(), reference)


SERVER = """
import http.server, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in sys.argv else signal.SIG_DFL)
subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"])
class Models(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Models).serve_forever()
"""
STARTER = """
import json, os, signal, sys, time
from pathlib import Path
from lib.export import servers as ours
ours.END_S = 0.2
servers, urls = json.loads(sys.argv[1])
with ours.running(servers, urls, Path("logs")) as watchers:
    print(json.dumps([process.pid for process in watchers]), flush=True)
    time.sleep(600)
"""


def group_is_gone(leader):
    try:
        os.killpg(leader, 0)
    except (ProcessLookupError, PermissionError):
        return True
    return False


@pytest.mark.parametrize("manner", ["", "stubborn"])
def test_no_server_outlives_a_kill_9_of_what_started_it(tmp_path, monkeypatch, manner):
    monkeypatch.chdir(tmp_path)
    port = free_port()
    command = [sys.executable, "-c", SERVER, str(port), manner]
    asked = json.dumps([[command], [f"http://127.0.0.1:{port}/v1"]])
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, asked], env=environment(), stdout=subprocess.PIPE, text=True
    )
    (watcher,) = json.loads(starter.stdout.readline())
    starter.kill()
    starter.communicate()
    until(lambda: group_is_gone(watcher))


def test_a_killed_watcher_takes_its_server_along_and_the_starter_is_told(tmp_path):
    port = free_port()
    url = f"http://127.0.0.1:{port}/v1"
    with running([[sys.executable, "-c", SERVER, str(port)]], [url], tmp_path) as (watcher,):
        watcher.kill()
        with pytest.raises(UserError, match="ended by itself"):
            until_one_ends([watcher], tmp_path)
    until(lambda: group_is_gone(watcher.pid))


def test_a_process_that_make_started_ends_with_a_make_that_was_killed():
    child = "import time, lib.export.servers as s; s.end_with_make(); print(1); time.sleep(600)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-u', '-c', {child!r}])"
    make = subprocess.Popen(
        [sys.executable, "-c", parent], env={**environment(), "MAKELEVEL": "1"}, stdout=subprocess.PIPE
    )
    assert make.stdout.readline() == b"1\n"
    make.kill()
    assert make.stdout.read() == b""  # the child holds the other end as long as it lives


def test_without_the_engine_the_commands_are_printed_with_what_to_install(says):
    status, said = says(scripts.serve, "--engine", "vllm")
    assert status == 0
    assert (
        "vllm serve" in said and "--lora-modules tuned=adapters/tiny" in said and "--max-lora-rank 8" in said
    )
    assert "not started: vllm is not installed" in said and "pip install vllm" in said
    assert "extends: offline" in said and not SERVED.exists()


@needs_engines
def test_a_port_in_use_is_a_sentence_and_nothing_is_started(says):
    with OpenAIStub() as stub:
        status, said = says(scripts.serve, "--port", str(stub.server_address[1]))
    assert status == 1 and "in use" in said and not stub.bodies


def test_a_server_that_ends_by_itself_is_quoted(tmp_path):
    command = [sys.executable, "-c", "raise SystemExit('no such model')"]
    said = r"ended by itself \(status 1\), .*server-1.log says: no such model"
    with pytest.raises(UserError, match=said), running([command], ["http://127.0.0.1:1/v1"], tmp_path):
        pass


def test_half_a_gguf_is_a_sentence(says):
    Path("broken.gguf").write_bytes(b"GGUF")
    status, said = says(scripts.serve, "--model", "broken.gguf")
    assert status == 1 and "broken.gguf is not a whole GGUF file" in said


def eight_b(run=RUN):
    config = TrainConfig(data="main", model="Qwen/Qwen3-8B", revision="abc123")
    return Lora(run, config, "0" * 64, 24, 24.0, SimpleNamespace(model_type="qwen3"), ())


def listens_here_only(command):
    return command[command.index("--host") + 1] == "127.0.0.1"


def test_llama_cpp_gets_the_scale_of_the_adapter_with_every_request():
    plan = llamacpp(eight_b(), Path("adapter.gguf"), None, "", 8080)
    command = plan.servers[0]
    assert command[command.index("-hf") + 1] == "Qwen/Qwen3-8B-GGUF:Q4_K_M" and listens_here_only(command)
    assert "--lora-init-without-apply" in command and "5 GB" in plan.download
    scales = {name: arm.extra_body for name, arm in plan.arms.items()}
    assert scales["base"] == {"lora": [{"id": 0, "scale": 0}], "cache_prompt": False}
    assert scales["tuned"] == {"lora": [{"id": 0, "scale": 1}], "cache_prompt": False}


def test_mlx_gets_a_server_for_each_arm():
    plan = mlx(eight_b(), Path("mlx"), None, 9000)
    base, tuned = plan.servers
    assert all(listens_here_only(command) for command in plan.servers)
    assert "--adapter-path" not in base and tuned[tuned.index("--adapter-path") + 1] == "mlx"
    assert [arm.base_url for arm in plan.arms.values()] == [
        "http://127.0.0.1:9000/v1",
        "http://127.0.0.1:9001/v1",
    ]


def test_every_server_answers_this_machine_alone_without_thinking_and_no_page_of_another_site():
    lora = eight_b()
    llama = llamacpp(lora, Path("a.gguf"), None, "", 8080)
    plans = [
        (llama, "--chat-template-kwargs", "--cors-origins", "localhost"),
        (
            mlx(lora, Path("mlx"), None, 9000),
            "--chat-template-args",
            "--allowed-origins",
            "http://127.0.0.1:",
        ),
        (
            vllm(lora, None, 8000),
            "--default-chat-template-kwargs",
            "--allowed-origins",
            '["http://127.0.0.1:',
        ),
    ]
    for planned_for, thinking, origins, own in plans:
        for command in planned_for.servers:
            assert listens_here_only(command)
            assert json.loads(command[command.index(thinking) + 1]) == {"enable_thinking": False}
            assert command[command.index(origins) + 1].startswith(own)


def test_vllm_gets_a_rank_that_it_knows_and_the_commit_of_the_base():
    command = vllm(eight_b(), None, 8000).servers[0]
    assert command[command.index("--max-lora-rank") + 1] == "32"  # 24 is none of its ranks
    assert command[command.index("--revision") + 1] == "abc123" and listens_here_only(command)


def test_ollama_makes_both_arms_from_modelfiles_of_one_template(tmp_path):
    for name, text in (("Modelfile", "FROM x\nADAPTER ./a.gguf\nT"), ("Modelfile.base", "FROM x\nT")):
        (tmp_path / name).write_text(text)
    base = tmp_path / "base.gguf"
    plan = ollama(eight_b(tmp_path / "run"), tmp_path, base, "q4_k_m", 11434)
    assert plan.servers == [["env", "OLLAMA_HOST=127.0.0.1:11434", "ollama", "serve"]]
    written = {step[-3]: Path(step[-1]).read_text() for step in plan.steps}
    assert written["reply-run"] == f"FROM {base}\nADAPTER {tmp_path / 'a.gguf'}\nT"
    assert written["reply-run-base"] == f"FROM {base}\nT"


def test_a_base_model_that_no_engine_knows_has_to_be_named():
    lora = eight_b()
    other = Lora(RUN, lora.config.model_copy(update={"model": "me/other"}), *list(vars(lora).values())[2:])
    with pytest.raises(UserError, match="MODEL="):
        llamacpp(other, Path("a.gguf"), None, "", 8080)


def test_a_served_pair_streams_both_arms_and_a_dead_server_is_a_sentence():
    with OpenAIStub() as stub:
        config = EvalConfig.model_validate(
            {
                "engine": {
                    "openai": {
                        "base": {"base_url": stub.url, "model": "base-model"},
                        "tuned": {"base_url": stub.url, "model": "no-such-model"},
                    }
                }
            }
        )
        with pytest.raises(UserError, match=r"Arm tuned.*404.*no-such-model"):
            list(stream_served_pair(config.engine.openai, TURNS, GREEDY))
    with pytest.raises(UserError, match=r"Arm (base|tuned)"):
        list(stream_served_pair(config.engine.openai, TURNS, GREEDY))
