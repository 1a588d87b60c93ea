"""Loading a model: which backend, what is trainable, what the adapter is called, and what is refused."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lib.base.config import load_config
from lib.base.errors import UserError
from lib.base.files import read_json, write_json
from lib.base.settings import ALL_LINEAR, LoraConfig, TrainConfig
from lib.model.base_model import load_tokenizer, precision_of
from lib.model.loading import load_for_inference, load_model_for_training, resolve_backend

ROOT = Path(__file__).parents[2]
RUN = Path("adapters/tiny")
TINY = TrainConfig(data="sample", model="tiny", quantization="none", backend="peft")


@pytest.fixture
def machine(monkeypatch):
    """Pretend that there is, or is not, a GPU and the package unsloth."""

    def pretend(gpu, unsloth):
        import torch

        find = importlib.util.find_spec
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name, *rest: unsloth or None if name == "unsloth" else find(name, *rest),
        )

    return pretend


@pytest.mark.parametrize(
    "wanted, gpu, unsloth, chosen, why",
    [
        ("auto", True, True, "unsloth", "a CUDA GPU and the package unsloth are here"),
        ("auto", True, False, "peft", "no package unsloth"),
        ("auto", False, True, "peft", "no CUDA GPU"),
        ("peft", True, True, "peft", "the config says so"),
        ("unsloth", True, True, "unsloth", "the config says so"),
    ],
)
def test_the_backend_follows_the_config_and_the_machine_and_says_why(
    machine, wanted, gpu, unsloth, chosen, why
):
    machine(gpu, unsloth)
    backend, reason = resolve_backend(TrainConfig(data="sample", backend=wanted))
    assert backend == chosen
    assert why in reason


def test_unsloth_where_it_cannot_run_is_a_sentence_with_the_fix(machine):
    machine(False, False)
    with pytest.raises(
        UserError, match=r"no CUDA GPU and no package unsloth \(make setup-runpod\).*backend: auto"
    ):
        resolve_backend(TrainConfig(data="sample", backend="unsloth"))


@pytest.fixture
def mac(machine, monkeypatch):
    """Pretend to be a Mac with Apple silicon, with the package mlx-lm or without."""

    def pretend(has_mlx):
        import platform

        machine(False, False)
        find = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name, *rest: has_mlx or None if name == "mlx_lm" else find(name, *rest),
        )
        monkeypatch.setattr(platform, "system", lambda: "Darwin")
        monkeypatch.setattr(platform, "machine", lambda: "arm64")

    return pretend


def test_a_mac_trains_large_models_by_mlx_and_the_tiny_one_and_preferences_by_peft(mac):
    mac(True)
    qwen = TrainConfig(data="sample")
    assert resolve_backend(qwen) == ("mlx", "Apple silicon and the package mlx-lm are here")
    assert resolve_backend(qwen.model_copy(update={"backend": "mlx"})) == ("mlx", "the config says so")
    for other in ({"model": "tiny"}, {"method": "dpo", "init_adapter": "x"}, {"backend": "peft"}):
        assert resolve_backend(qwen.model_copy(update=other))[0] == "peft"


def test_mlx_where_it_is_not_installed_is_a_sentence_with_the_fix(mac):
    mac(False)
    assert resolve_backend(TrainConfig(data="sample"))[0] == "peft"
    with pytest.raises(UserError, match=r"no package mlx-lm.*make setup.*backend: auto"):
        resolve_backend(TrainConfig(data="sample", backend="mlx"))


def test_mlx_knows_no_preference_tuning_and_says_so_when_the_config_is_read():
    with pytest.raises(ValueError, match="backend: mlx does not know method: kto"):
        TrainConfig(data="sample", backend="mlx", method="kto", init_adapter="x")


FAKE_UNSLOTH = """
import sys
assert not {"transformers", "trl", "peft"} & set(sys.modules), "unsloth has to be imported first"
calls = []
class FastLanguageModel:
    @staticmethod
    def from_pretrained(model_name, **options):
        calls.append({"model_name": model_name, **options})
        from transformers import AutoModelForCausalLM, AutoTokenizer
        model = AutoModelForCausalLM.from_pretrained(model_name)
        model.config._name_or_path = "unsloth/another-name"
        return model, AutoTokenizer.from_pretrained(model_name)
    @staticmethod
    def get_peft_model(
        model, random_state, use_gradient_checkpointing, max_seq_length, loftq_config, **options
    ):
        own = {"random_state": random_state, "use_gradient_checkpointing": use_gradient_checkpointing}
        calls.append(own | options)
        from peft import LoraConfig, get_peft_model
        return get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **options))
"""
USE_UNSLOTH = """
import json, lib.model.loading
from lib.base.settings import LoraConfig, TrainConfig
lib.model.loading.resolve_backend = lambda config: ("unsloth", "for this test")
config = TrainConfig(data="sample", model="tiny", quantization="none")
model, _ = lib.model.loading.load_model_for_training(config)
import unsloth
loaded, adapter = unsloth.calls
named = model.peft_config["default"].base_model_name_or_path
print(json.dumps([loaded | {"dtype": str(loaded["dtype"])}, adapter, named]))
"""


def test_unsloth_is_imported_first_and_given_every_setting(workspace):
    """With a stand-in for the package, which itself needs an NVIDIA GPU."""
    (workspace / "fake" / "unsloth").mkdir(parents=True)
    (workspace / "fake" / "unsloth" / "__init__.py").write_text(FAKE_UNSLOTH)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{workspace / 'fake'}"}
    done = subprocess.run(
        [sys.executable, "-c", USE_UNSLOTH], cwd=workspace, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    loaded, adapter, base = json.loads(done.stdout.splitlines()[-1])
    assert (loaded["use_exact_model_name"], loaded["load_in_4bit"], loaded["dtype"]) == (
        True,
        False,
        "torch.bfloat16",
    )
    assert (
        adapter["r"],
        adapter["lora_alpha"],
        adapter["lora_dropout"],
        adapter["bias"],
        adapter["random_state"],
    ) == (
        16,
        16,
        0.1,
        "none",
        17,
    )
    assert sorted(adapter["target_modules"]) == sorted(ALL_LINEAR)
    assert base == "tiny"


def test_a_broken_unsloth_fails_loudly(workspace):
    (workspace / "fake" / "unsloth").mkdir(parents=True)
    (workspace / "fake" / "unsloth" / "__init__.py").write_text("raise ImportError('torchvision is broken')")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{workspace / 'fake'}"}
    done = subprocess.run(
        [sys.executable, "-c", USE_UNSLOTH], cwd=workspace, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "torchvision is broken" in done.stderr


def test_nothing_but_the_adapter_trains_on_all_seven_projections_of_every_layer(workspace):
    model, _ = load_model_for_training(TINY)
    trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert len(trainable) == 2 * 7 * 4
    assert all(".lora_A." in name or ".lora_B." in name for name in trainable)
    assert {str(parameter.dtype) for parameter in trainable.values()} == {"torch.float32"}
    model.base_model.model.model.norm.weight.requires_grad_(True)
    from lib.model.adapters import assert_only_adapter_trains

    with pytest.raises(RuntimeError, match="57 tensors are trainable, 56 belong to the adapter"):
        assert_only_adapter_trains(model, TINY)


def test_the_adapter_is_seeded(workspace):
    first, second = (
        {
            name: parameter.sum().item()
            for name, parameter in load_model_for_training(TINY)[0].named_parameters()
            if "lora_A" in name
        }
        for _ in range(2)
    )
    assert first == second


def test_nf4_holds_the_base_in_four_bits_on_a_cpu(workspace):
    import bitsandbytes

    config = TINY.model_copy(update={"quantization": "nf4"})
    model, _ = load_model_for_training(config)
    layer = model.base_model.model.model.layers[0].mlp.up_proj.base_layer
    assert isinstance(layer, bitsandbytes.nn.Linear4bit)
    assert layer.weight.quant_state.quant_type == "nf4"
    assert layer.weight.quant_state.nested  # double quantised
    assert str(layer.compute_dtype) == "torch.bfloat16"
    assert {str(parameter.dtype) for parameter in model.parameters() if parameter.requires_grad} == {
        "torch.float32"
    }


@pytest.mark.parametrize(
    "changes, device, precision",
    [
        ({}, "cpu", "fp32"),
        ({}, "cuda:0", "bf16"),
        ({"quantization": "nf4"}, "cuda:0", "nf4"),
        ({"model": "Qwen/Qwen3-8B"}, "mps", "bf16"),
    ],
)
def test_the_precision_follows_config_and_device(changes, device, precision):
    assert precision_of(TINY.model_copy(update=changes), device) == precision


def test_base_and_tuned_answer_from_one_copy_of_the_weights(tiny_run):
    import torch

    loaded = load_for_inference(RUN, load_config(Path("configs/train-tiny.yaml"), TrainConfig))
    assert (loaded.engine, loaded.quantization, loaded.device, loaded.base_model) == (
        "transformers",
        "fp32",
        "cpu",
        "tiny",
    )
    ids = loaded.tokenizer("hello there", return_tensors="pt")
    with torch.no_grad():
        tuned = loaded.model(**ids).logits
        with loaded.model.disable_adapter():
            base = loaded.model(**ids).logits
        again = loaded.model(**ids).logits
    assert not torch.allclose(tuned, base)
    assert torch.equal(tuned, again)
    assert (
        sum(parameter.numel() for parameter in loaded.model.parameters()) < 1_200_000
    )  # one base, one adapter


def cut_weights():
    path = RUN / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def scrambled_header():
    path = RUN / "adapter_model.safetensors"
    path.write_bytes(b"\xff" * 100 + path.read_bytes()[100:])


def changed_weights():
    path = RUN / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"abcd")


def no_weights():
    (RUN / "adapter_model.safetensors").unlink()


def no_manifest():
    (RUN / "manifest.json").unlink()


def torn_config():
    (RUN / "adapter_config.json").write_text("{")


def unsealed(damage):
    """The same in a run of before, whose manifest has no hash of the file."""

    def make():
        damage()
        path = RUN / "manifest.json"
        write_json(path, {key: value for key, value in read_json(path).items() if key != "files"})

    return make


def other_base():
    write_json(
        RUN / "adapter_config.json",
        {**read_json(RUN / "adapter_config.json"), "base_model_name_or_path": "Qwen/Qwen3-8B"},
    )


def narrower():
    import torch
    from safetensors.torch import load_file, save_file

    from lib.model.adapters import sha256_of

    path = RUN / "adapter_model.safetensors"
    weights = {
        name: torch.zeros(tensor.shape[0], 64) if "lora_A" in name else tensor
        for name, tensor in load_file(path).items()
    }
    save_file(weights, path)
    write_json(RUN / "manifest.json", {**read_json(RUN / "manifest.json"), "adapter_sha256": sha256_of(path)})


@pytest.mark.parametrize(
    "damage, sentence",
    [
        (cut_weights, r"adapter_model.safetensors is damaged \(cut short\)"),
        (scrambled_header, r"adapter_model.safetensors is damaged \(no header\)"),
        (changed_weights, "adapter_model.safetensors is not the file"),
        (no_weights, r"adapter_model.safetensors does not exist"),
        (no_manifest, r"adapters/tiny holds no finished run"),
        (torn_config, r"adapter_config.json was changed after it was written"),
        (unsealed(torn_config), r"adapter_config.json: not valid JSON"),
        (other_base, r"adapter_config.json was changed after it was written"),
        (unsealed(other_base), r"was trained on Qwen/Qwen3-8B, and the config says model: tiny"),
        (narrower, r"does not fit tiny: it was trained on a model of width \[64\]"),
    ],
)
def test_an_adapter_that_does_not_belong_is_refused_before_weights_are_loaded(
    tiny_run, monkeypatch, damage, sentence
):
    damage()
    monkeypatch.setattr("lib.model.loading._base_model", None)
    with pytest.raises(UserError, match=sentence):
        load_for_inference(RUN, TINY)


def test_a_model_that_is_not_there_is_a_sentence(workspace, monkeypatch):
    monkeypatch.setattr(
        "huggingface_hub.constants.HF_HUB_OFFLINE", True
    )  # or it tries the network five times
    for name in ("adapters/nowhere", "./no-such-folder"):
        with pytest.raises(UserError, match=f"model: {name} could not be loaded"):
            load_tokenizer(TINY.model_copy(update={"model": name}))


def test_an_evaluation_leaves_the_gradient_of_a_four_bit_base_as_it_was(workspace):
    """bitsandbytes repacks the weights of some CPUs in evaluation mode, and then lets no gradient through
    them.
    """
    import torch

    model, _ = load_model_for_training(
        TINY.model_copy(update={"quantization": "nf4", "lora": LoraConfig(dropout=0)})
    )
    ids = torch.arange(5, 60)[None]

    def gradient():
        model.zero_grad()
        model.train()(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        return {
            name: parameter.grad.clone()
            for name, parameter in model.named_parameters()
            if parameter.grad is not None
        }

    before = gradient()
    with torch.no_grad():
        model.eval()(input_ids=ids, use_cache=False)
    after = gradient()
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert torch.equal(value, after[name]), name


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub_cache(tiny_run):
    """acme/small, a model in the Hub's cache on this machine at COMMIT, which `main` names."""
    source = next(Path("data/cache").resolve().glob("tiny-*"))
    folder = tiny_run / "hf" / "hub" / "models--acme--small"
    shutil.copytree(source, folder / "snapshots" / COMMIT)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    return folder


def python(code, folder):
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_OFFLINE": "1",
    }
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_the_commit_of_the_base_model_is_recorded_and_loaded_again_when_main_has_moved_on(
    hub_cache, tiny_run
):
    text = (
        Path("configs/train-tiny.yaml")
        .read_text()
        .replace("model: tiny", "model: acme/small")
        .replace("epochs: 3", "epochs: 1")
    )
    Path("configs/train-small.yaml").write_text(
        text.replace("early_stopping: {patience: 3, threshold: 0.0}", "early_stopping: null")
    )
    start = (
        "import sys; from lib.base.config import load_config; from lib.base.settings import TrainConfig; "
        "from pathlib import Path; "
    )
    start += "config = load_config(Path('configs/train-small.yaml'), TrainConfig); "
    done = python(start + "from lib.train.run import train; train('small', config)", tiny_run)
    assert done.returncode == 0, done.stderr
    run = Path("adapters/small")
    assert [
        read_json(run / name)["revision"] for name in ("started.json", "manifest.json", "adapter_config.json")
    ] == [COMMIT] * 3
    assert (
        read_json(run / "manifest.json")["config"]["revision"] is None
    )  # what the file says: the run stays the same run

    (hub_cache / "refs" / "main").write_text("f" * 40)  # a commit that is not on this machine
    load = (
        "from lib.model.loading import load_for_inference; print(load_for_inference(Path('adapters/small'), "
        "config).model.config._commit_hash)"
    )
    done = python(start + load, tiny_run)
    assert done.stdout.strip() == COMMIT, done.stderr
