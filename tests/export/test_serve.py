"""A run is served by a real llama.cpp or MLX, proven to act, evaluated and shown through it, and ended again,
also by a kill -9."""

import dataclasses
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

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
from lib.export.engines import llamacpp
from lib.export.gguf_file import write_adapter
from lib.export.lora import read_lora
from lib.export.proof import prove, reference_of
from lib.export.servers import answers, running
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


def test_half_a_gguf_is_a_sentence(says):
    Path("broken.gguf").write_bytes(b"GGUF")
    status, said = says(scripts.serve, "--model", "broken.gguf")
    assert status == 1 and "broken.gguf is not a whole GGUF file" in said
