"""What each engine is started with, how a run is then used, and the proof that its adapter acts."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from lib.base.config import load_config
from lib.base.errors import UserError
from lib.base.settings import ArmConfig, EvalConfig, SamplingConfig, TrainConfig
from lib.export import engines, serving
from lib.export.engines import is_here, llamacpp, mlx, ollama, vllm
from lib.export.lora import Lora
from lib.export.proof import Reference, _as_torch, distance, prove
from lib.export.serving import eval_config, plan, write_eval_config
from lib.model.served_pair import stream_served_pair
from tests.engines import no_question
from tests.stubs.openai_server import OpenAIStub

RUN = Path("adapters/tiny")
GREEDY = SamplingConfig(temperature=0.0, max_new_tokens=24)
TURNS = [{"role": "user", "content": "What should I cook tonight?"}]


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


def test_a_config_of_the_persons_own_is_not_written_over(tmp_path):
    path = tmp_path / "eval-served.yaml"
    path.write_text("extends: offline\n")
    with pytest.raises(UserError, match="Rename it"):
        write_eval_config(path, "# other")
    assert path.read_text() == "extends: offline\n"


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


def of_rank(rank):
    lora = eight_b()
    return Lora(RUN, lora.config, "0" * 64, rank, 24.0, lora.shape, ())


@pytest.mark.parametrize("rank, named", [(1, "1"), (8, "8"), (9, "16"), (512, "512")])
def test_vllm_is_given_the_smallest_of_its_ranks_that_holds_the_adapter(rank, named):
    command = vllm(of_rank(rank), None, 8000).servers[0]
    assert command[command.index("--max-lora-rank") + 1] == named
    with pytest.raises(UserError, match="up to rank 512, this one has 513"):
        vllm(of_rank(513), None, 8000)


def test_a_base_that_is_a_file_here_is_no_download_and_of_its_own_precision():
    lora, here = eight_b(), Path("/models/base")
    for one, kind in (
        (llamacpp(lora, Path("a.gguf"), here, "f16", 8080), "f16"),
        (mlx(lora, Path("mlx"), str(here), 9000), "unknown"),
        (vllm(lora, here, 8000), "bf16"),
    ):
        assert one.download is None and {arm.quantization for arm in one.arms.values()} == {kind}
        assert str(here) in one.servers[0] and "--revision" not in one.servers[0]
    for one, kind in (
        (llamacpp(lora, Path("a.gguf"), None, "", 8080), "q4_k_m"),
        (mlx(lora, Path("mlx"), None, 9000), "4bit"),
        (vllm(lora, None, 8000), "bf16"),
    ):
        assert one.download and {arm.quantization for arm in one.arms.values()} == {kind}


@pytest.mark.parametrize(
    "config, kind",
    [
        ({"quantization": {"bits": 8}}, "8bit"),
        ({"dtype": "bfloat16"}, "bf16"),
        ({"torch_dtype": "float16"}, "f16"),
        ({"dtype": "float32", "torch_dtype": "float16"}, "f32"),
        ({}, "unknown"),
    ],
)
def test_the_precision_of_an_mlx_model_is_that_of_its_config(tmp_path, config, kind):
    (tmp_path / "config.json").write_text(json.dumps(config))
    arms = mlx(eight_b(), Path("mlx"), str(tmp_path), 9000).arms
    assert {arm.quantization for arm in arms.values()} == {kind}


def test_ollama_runs_at_its_port_beside_one_that_runs_already(tmp_path):
    for name in ("Modelfile", "Modelfile.base"):
        (tmp_path / name).write_text("FROM qwen3:8b")
    one = ollama(eight_b(), tmp_path, None, "", 11999)
    assert one.shares_port and one.urls == ["http://127.0.0.1:11999/v1"] and "qwen3:8b" in one.download
    assert {"OLLAMA_HOST=127.0.0.1:11999"} == {step[1] for step in (*one.steps, *one.servers)}
    models = {arm: config.model for arm, config in one.arms.items()}
    assert models == {"base": "reply-tiny-base", "tuned": "reply-tiny"}
    files = {step[-3]: Path(step[-1]).name for step in one.steps}
    assert files == {"reply-tiny-base": "Modelfile.base", "reply-tiny": "Modelfile"}
    (tmp_path / "Modelfile").unlink()
    with pytest.raises(UserError, match="ENGINE=llamacpp"):
        ollama(eight_b(), tmp_path, None, "", 11999)


@pytest.mark.parametrize(
    "engine, programs, packages, found",
    [
        ("llamacpp", {"llama-server"}, set(), True),
        ("llamacpp", set(), {"xllamacpp"}, True),
        ("mlx", {"mlx_lm.server"}, set(), True),
        ("mlx", set(), {"mlx", "mlx_lm"}, True),
        ("mlx", set(), {"mlx_lm"}, False),
        ("ollama", {"ollama"}, set(), True),
        ("vllm", {"ollama"}, {"vllm"}, False),
        ("llamacpp", {"ollama"}, {"mlx"}, False),
    ],
)
def test_an_engine_is_here_as_a_program_or_as_the_package_that_holds_it(
    monkeypatch, engine, programs, packages, found
):
    monkeypatch.setattr(engines.shutil, "which", lambda name: name if name in programs else None)
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: name if name in packages else None)
    assert is_here(engine) is found


# --- from the run to the plan ------------------------------------------------------------------------


@pytest.fixture
def weights(monkeypatch):
    """(size or None): the base model's weights are here, so large; exports are noted and not written."""
    made = []

    def exported(lora, kind, dtype, sampling, confirm):
        made.append(kind)
        return SimpleNamespace(dtype="f16", files={"base-f32.gguf": None}), True

    monkeypatch.setattr(serving, "export", exported)
    monkeypatch.setattr(serving, "gguf_quantization", lambda path: f"of {path.name}")

    def are(n_bytes):
        monkeypatch.setattr(serving, "weights_here", lambda config: None if n_bytes is None else Path("here"))
        monkeypatch.setattr(serving, "n_bytes", lambda folder: n_bytes)
        return made

    return are


def planned(engine, base=None, port=None):
    return plan(eight_b(), engine, base, port, GREEDY, no_question)


@pytest.mark.parametrize(
    "n_bytes, source, exports",
    [
        (None, "Qwen/Qwen3-8B-GGUF:Q4_K_M", ["gguf"]),
        (1_000_000_001, "Qwen/Qwen3-8B-GGUF:Q4_K_M", ["gguf"]),
        (1_000_000_000, "adapters/tiny/export/base/base-f32.gguf", ["gguf", "base"]),
    ],
)
def test_a_small_base_model_is_converted_here_and_a_large_one_is_not(weights, n_bytes, source, exports):
    made = weights(n_bytes)
    command = planned("llamacpp").servers[0]
    assert source in command and made == exports
    assert command[command.index("--lora") + 1] == "adapters/tiny/export/gguf/adapter-f16.gguf"


def test_the_port_and_the_model_that_a_person_names_win(weights, tmp_path):
    weights(10)
    assert planned("llamacpp").urls == ["http://127.0.0.1:8080/v1"]
    assert planned("vllm").urls == ["http://127.0.0.1:8000/v1"]
    assert planned("vllm", port=9123).urls == ["http://127.0.0.1:9123/v1"]
    for engine in ("mlx", "vllm"):
        assert "own" in planned(engine, base="own").servers[0] and "here" in planned(engine).servers[0]
    own = tmp_path / "own.gguf"
    with pytest.raises(UserError, match=r"own\.gguf does not exist"):
        planned("llamacpp", base=str(own))
    own.touch()
    one = planned("llamacpp", base=str(own))
    assert str(own) in one.servers[0] and one.arms["base"].quantization == "of own.gguf"


def test_what_is_served_is_a_config_that_names_the_adapter_and_both_arms(tmp_path):
    lora, arms = eight_b(), llamacpp(eight_b(), Path("a.gguf"), Path("b.gguf"), "f16", 1).arms
    (tmp_path / "eval-quick.yaml").write_text("sampling: {max_new_tokens: 7}\n")
    path, text = tmp_path / "eval-served.yaml", eval_config(lora, arms, "quick")
    write_eval_config(path, text)
    config = load_config(path, EvalConfig)
    assert config.engine.adapter_sha256 == lora.sha256 and config.engine.openai == arms
    assert config.sampling.max_new_tokens == 7
    write_eval_config(path, other := eval_config(lora, arms, "other"))
    assert path.read_text() == other


# --- the proof ---------------------------------------------------------------------------------------

TORCH = {
    "base": [(1, "I", -0.1), (2, "You", -1.1), (3, "We", -2.1), (4, "rare", -9.0)],
    "tuned": [(1, "I", -0.4), (2, "You", -1.4), (3, "We", -2.4), (4, "rare", -9.0)],
}


def proven(reference, kind="f32", **stub):
    """What the proof says of a stub, whose tokens are TORCH's."""
    with OpenAIStub(**stub) as server:
        arms = {
            name: ArmConfig(base_url=server.url, model=f"{name}-model", quantization=kind)
            for name in ("base", "tuned")
        }
        return prove(arms, GREEDY, reference)


def test_a_proof_says_how_near_to_torch_and_keeps_what_the_servers_are_known_by():
    proof = proven(Reference(10, "f32", TORCH))
    assert "adapter active" in proof.line
    assert "tuned is 0.0000 off torch's logprobs (0.02 is rounding), 0.3000 off the base's" in proof.line
    assert proof.arms["base"].first_logprobs == [-0.1, -1.1, -2.1]
    assert proof.arms["tuned"].first_logprobs == [-0.4, -1.4, -2.4]


def test_where_there_is_nothing_to_compare_with_the_proof_says_why():
    assert "weights are not here" in proven(Reference(10)).line
    assert "gives no logprobs" in proven(Reference(10, "f32", TORCH), logprobs=False).line


def test_a_server_that_is_asked_otherwise_than_in_training_is_found_out():
    with pytest.raises(UserError, match="writes the fixed prompt in 10 tokens, training wrote it in 11"):
        proven(Reference(11))
    with pytest.raises(UserError, match="alike: the adapter is not active"):
        proven(Reference(10), same=True)


def test_arms_that_are_changed_over_or_off_do_not_answer_as_torch_does():
    changed = {"base": TORCH["tuned"], "tuned": TORCH["base"]}
    with pytest.raises(UserError, match="base does not answer as torch does"):
        proven(Reference(10, "f32", changed), "q4_k_m")  # 0.3 off, which would be rounding
    half = [(token, text, logprob - 0.05) for token, text, logprob in TORCH["tuned"]]
    with pytest.raises(UserError, match=r"adapter does not answer .* 0\.050 off \(0\.02 is rounding\)"):
        proven(Reference(10, "f32", {**TORCH, "tuned": half}))
    assert "0.0500 off" in proven(Reference(10, "f32", {**TORCH, "tuned": half}), "f16").line


def served(shift):
    return {
        arm: [{"token": text, "logprob": logprob + shift} for _, text, logprob in known[:3]]
        for arm, known in TORCH.items()
    }


@pytest.mark.parametrize(
    "kinds, largest",
    [
        ({"f32"}, 0.02),
        ({"f32", "bf16"}, 0.1),
        ({"f16", "bf16"}, 0.1),
        ({"q4_k_m", "f32"}, 0.6),
        ({"4bit"}, 0.6),
    ],
)
def test_the_coarser_of_two_precisions_says_what_is_rounding(kinds, largest):
    far = {**TORCH, "base": [(1, "I", -5.0), (2, "You", -6.0), (3, "We", -7.0)]}
    moved = {**served(0.99 * largest), "base": [{"token": "I", "logprob": -5.0}]}
    assert f"({largest} is rounding)" in _as_torch(moved, far, kinds)
    with pytest.raises(UserError, match="adapter does not answer"):
        _as_torch({**moved, "tuned": served(1.01 * largest)["tuned"]}, far, kinds)


def test_the_distance_is_the_largest_over_what_is_not_rare_by_id_where_there_is_one():
    known = [(1, "a", -0.5), (2, "b", -1.0), (3, "a", -4.0)]
    near = {"token": "a", "logprob": -0.6}
    assert distance([near], known) == pytest.approx(0.1)  # the likelier of two tokens of one text
    assert distance([{**near, "id": 3, "logprob": -3.0}], known) == pytest.approx(1.0)
    unknown = {"token": "c", "logprob": -2.0}
    assert distance([near, unknown], known) == pytest.approx(2.0)  # at most as likely as the last one
    rare = {"token": "b", "logprob": -0.6 - math.log(100) - 0.01}
    assert distance([near, rare], known) == pytest.approx(0.1)
