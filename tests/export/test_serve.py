"""A run is served by a real llama.cpp or MLX, proven to act, used by eval and demo, and ended again."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lib.base.config import load_config
from lib.base.errors import UserError
from lib.base.settings import EvalConfig, SamplingConfig, TrainConfig
from lib.export.engines import llamacpp, mlx, ollama, vllm
from lib.export.lora import Lora
from lib.export.servers import answers
from lib.model.adapters import sha256_of
from lib.model.openai_engine import openai_engine
from lib.model.served_pair import stream_served_pair
from tests.engines import ROOT, environment, free_port, needs_engines
from tests.stubs.openai_server import OpenAIStub

pytestmark = pytest.mark.slow

RUN = Path("adapters/tiny")
GREEDY = SamplingConfig(temperature=0.0, max_new_tokens=24)
TURNS = [[{"role": "user", "content": f"Reply to this tweet: day {n} of my bike"}] for n in range(3)]


@pytest.fixture
def run_folder(tiny_run):
    (tiny_run / "configs/eval-offline.yaml").write_text((ROOT / "configs/eval-offline.yaml").read_text())
    return tiny_run


def serve(*arguments, **more):
    command = [sys.executable, "-m", "scripts.serve", "--config", "configs/train-tiny.yaml", *arguments]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, env={**environment(), **more}, text=True, **streams)


def ended(*arguments, **more):
    """(status, all that it said) of a serve that ends by itself."""
    process = serve(*arguments, **more)
    said, _ = process.communicate(timeout=200)
    return process.returncode, said


def until(process, words):
    lines = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return "".join(lines)
    raise AssertionError("".join(lines))


def change_weights(factor):
    from safetensors.torch import load_file, save_file

    path = RUN / "adapter_model.safetensors"
    save_file(
        {name: factor * value for name, value in load_file(path).items()}, path, metadata={"format": "pt"}
    )
    manifest = json.loads((RUN / "manifest.json").read_text())
    (RUN / "manifest.json").write_text(json.dumps({**manifest, "adapter_sha256": sha256_of(path)}))


@needs_engines
@pytest.mark.timeout(300)
@pytest.mark.parametrize("engine", ["llamacpp", "mlx"])
def test_a_served_run_is_proven_active_and_what_it_prints_is_a_config_for_eval_and_demo(run_folder, engine):
    process = serve("--engine", engine, "--port", str(free_port()))
    try:
        said = until(process, "Ctrl-C")
        assert re.search(r"adapter active: .* off torch's logprobs", said)
        Path("configs/eval-served.yaml").write_text(
            said.partition("EVAL=served\n")[2].partition("serving")[0]
        )
        arms = load_config(Path("configs/eval-served.yaml"), EvalConfig).engine.openai
        written = {arm: dict(openai_engine(arms, GREEDY).answer(arm, TURNS)) for arm in ("base", "tuned")}
        assert len(written["base"]) == len(written["tuned"]) == len(TURNS)
        *_, last = stream_served_pair(arms, TURNS[0], GREEDY)
        assert last == (written["base"][0].text, written["tuned"][0].text)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 143
    assert not any(answers(arm.base_url) for arm in arms.values())


@needs_engines
@pytest.mark.timeout(300)
def test_an_adapter_of_zeros_is_not_active_and_the_server_is_ended(run_folder):
    change_weights(0)
    port = free_port()
    status, said = ended("--port", str(port))
    assert status == 1 and "not active" in said
    assert not answers(f"http://127.0.0.1:{port}/v1")


@needs_engines
@pytest.mark.timeout(300)
def test_an_adapter_that_the_engine_scales_otherwise_than_torch_is_found_out(run_folder):
    port = str(free_port())
    wrong = Path(__file__).with_name("wrongly_scaled.py")
    done = subprocess.run(
        [sys.executable, str(wrong), port], env=environment(), capture_output=True, text=True, timeout=200
    )
    assert "does not answer as torch does" in done.stderr


def test_without_the_engine_the_commands_are_printed_with_what_to_install(run_folder):
    status, said = ended("--engine", "vllm")
    assert status == 0
    assert (
        "vllm serve" in said and "--lora-modules tuned=adapters/tiny" in said and "--max-lora-rank 8" in said
    )
    assert "not started: vllm is not installed" in said and "pip install vllm" in said


@needs_engines
def test_a_port_in_use_is_a_sentence_and_nothing_is_started(run_folder):
    with OpenAIStub() as stub:
        status, said = ended("--port", str(stub.server_address[1]))
    assert status == 1 and "in use" in said and not stub.bodies


@needs_engines
def test_a_server_that_ends_by_itself_is_quoted(run_folder):
    Path("broken.gguf").write_bytes(b"GGUF")
    status, said = ended("--port", str(free_port()), "--model", "broken.gguf")
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
            list(stream_served_pair(config.engine.openai, TURNS[0], GREEDY))
    with pytest.raises(UserError, match=r"Arm (base|tuned)"):
        list(stream_served_pair(config.engine.openai, TURNS[0], GREEDY))
