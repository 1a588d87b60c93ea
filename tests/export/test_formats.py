"""What an export writes, when it writes it again, and what it refuses."""

import json
import re
from pathlib import Path

import pytest

from lib.base.config import load_config
from lib.base.errors import UserError
from lib.base.settings import SamplingConfig, TrainConfig
from lib.export import exporting
from lib.export.exporting import Exported, export
from lib.export.lora import read_lora
from lib.export.merged import write_merged
from lib.model.adapters import sha256_of
from lib.model.base_model import load_tokenizer, source_of
from tests.engines import exported, no_question, run_of

RUN = Path("adapters/tiny")
WEIGHTS = RUN / "adapter_model.safetensors"
TURNS = [
    {"role": "user", "content": "one"},
    {"role": "assistant", "content": "two"},
    {"role": "user", "content": "three"},
]


def tiny_config():
    return load_config(Path("configs/train-tiny.yaml"), TrainConfig)


def again(kind="gguf", dtype=None):
    return export(read_lora(RUN, tiny_config()), kind, dtype, SamplingConfig(), no_question)


def sealed():
    """The manifest names the weights as they are now."""
    manifest = json.loads((RUN / "manifest.json").read_text())
    (RUN / "manifest.json").write_text(json.dumps({**manifest, "adapter_sha256": sha256_of(WEIGHTS)}))


def test_merged_weights_are_those_of_pefts_merge_in_16_bit(tiny_run):
    import torch
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    config = tiny_config()
    _, folder = exported(RUN, config, "merged")
    base = AutoModelForCausalLM.from_pretrained(source_of(config), dtype=torch.float32)
    theirs = PeftModel.from_pretrained(base, str(RUN)).merge_and_unload().to(torch.bfloat16).state_dict()
    ours = load_file(folder / "model.safetensors")
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    assert loaded.dtype == torch.bfloat16 and loaded.generation_config.top_k == SamplingConfig().top_k


def test_a_base_model_in_several_files_is_merged_file_by_file(tiny_run, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    config = tiny_config()
    _, whole = exported(RUN, config, "merged", "f16")
    base, folder = tmp_path / "base", tmp_path / "merged"
    AutoModelForCausalLM.from_pretrained(source_of(config)).save_pretrained(base, max_shard_size="1MB")
    folder.mkdir()
    write_merged(read_lora(RUN, config), base, folder, "f16", SamplingConfig())
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    ours, theirs = (AutoModelForCausalLM.from_pretrained(path).state_dict() for path in (folder, whole))
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_a_merged_model_never_thinks_whatever_it_is_asked_for(tiny_run):
    from transformers import AutoTokenizer

    _, folder = exported(RUN, tiny_config(), "merged")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    wanted = load_tokenizer(tiny_config()).apply_chat_template(
        TURNS, tokenize=False, add_generation_prompt=True, enable_thinking=False
    )
    for options in ({}, {"enable_thinking": True}, {"enable_thinking": False}):
        text = tokenizer.apply_chat_template(TURNS, tokenize=False, add_generation_prompt=True, **options)
        assert text == wanted and text.endswith("<think>\n\n</think>\n\n")


def test_a_modelfile_says_to_ollama_what_the_chat_template_says_without_thinking(tiny_run):
    _, folder = exported(RUN, tiny_config(), "gguf")
    text = (folder / "Modelfile").read_text()
    assert text.startswith("FROM ./base.gguf\nADAPTER ./adapter-f16.gguf\n")
    template = re.search(r'TEMPLATE """(.*?)"""', text, re.DOTALL)[1]
    loop, answer = re.fullmatch(
        r"\{\{- range \.Messages \}\}(.*)\{\{ end \}\}(.*)", template, re.DOTALL
    ).groups()
    turns = [loop.replace("{{ .Role }}", t["role"]).replace("{{ .Content }}", t["content"]) for t in TURNS]
    assert "".join(turns) + answer == load_tokenizer(tiny_config()).apply_chat_template(
        TURNS, tokenize=False, add_generation_prompt=True, enable_thinking=False
    )
    assert "ADAPTER" not in (folder / "Modelfile.base").read_text()


def test_an_export_is_written_once_and_again_when_it_is_another_or_damaged(tiny_run):
    assert again()[1] is True and again()[1] is False
    assert again(dtype="f32")[1] is True
    adapter = RUN / "export/gguf/adapter-f32.gguf"
    whole = adapter.read_bytes()
    adapter.write_bytes(whole[:-1])
    assert again(dtype="f32")[1] is True and adapter.read_bytes() == whole
    (RUN / "export/gguf/manifest.json").unlink()
    assert again(dtype="f32")[1] is True
    assert Exported.read(RUN / "export/gguf/manifest.json").adapter_sha256 == sha256_of(WEIGHTS)


def test_an_export_that_fails_half_way_leaves_the_one_before(tiny_run, monkeypatch):
    before, _ = again()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting, "modelfile", full)
    with pytest.raises(OSError, match="No space"):
        again(dtype="f32")
    assert Exported.read(RUN / "export/gguf/manifest.json") == before
    assert {path.name for path in (RUN / "export").iterdir()} == {"gguf", "gguf.lock"}


@pytest.mark.parametrize(
    "settings",
    [
        {"use_dora": True},
        {"use_rslora": True},
        {"modules_to_save": ["lm_head"]},
        {"bias": "all"},
        {"lora_bias": True},
        {"rank_pattern": {"q_proj": 8}},
        {"alpha_pattern": {"q_proj": 8}},
        {"layers_to_transform": [0]},
        {"init_lora_weights": "pissa"},
        {"target_parameters": ["x"]},
        {"peft_type": "LOHA"},
        {"r": 8},
        {"r": None},
        {"lora_alpha": "4"},
        {"base_model_name_or_path": "another/model"},
    ],
)
def test_what_other_engines_read_differently_is_refused_by_name(tiny_run, settings):
    path = RUN / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    with pytest.raises(UserError, match=r"adapter_config\.json|adapter_model\.safetensors"):
        again()
    assert not (RUN / "export").exists()


def renamed(name):
    return name.replace("layers.0.self_attn.q_proj", "layers.0.self_attn.q_norm")


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda tensors: {renamed(name): value for name, value in tensors.items()}, "q_norm"),
        (
            lambda tensors: {n: v for n, v in tensors.items() if "layers.1.mlp.up_proj.lora_B" not in n},
            "every layer",
        ),
        (lambda tensors: {n: v for n, v in tensors.items() if ".layers.3." not in n}, "every layer"),
        (
            lambda tensors: {
                **tensors,
                "base_model.model.lm_head.weight": next(iter(tensors.values())).clone(),
            },
            "lm_head",
        ),
        (
            lambda tensors: {name: value[:, :-1].contiguous() for name, value in tensors.items()},
            "does not fit",
        ),
        (lambda tensors: {name: value * float("nan") for name, value in tensors.items()}, "NaN"),
        (lambda tensors: {name: value * 1e9 for name, value in tensors.items()}, "too large"),
    ],
)
def test_an_adapter_of_other_or_missing_matrices_is_refused(tiny_run, change, said):
    from safetensors.torch import load_file, save_file

    save_file(change(load_file(WEIGHTS)), WEIGHTS, metadata={"format": "pt"})
    sealed()
    with pytest.raises(UserError, match=said):
        again()
    assert not (RUN / "export/gguf").exists()


def test_weights_that_the_manifest_does_not_know_are_refused(tiny_run):
    WEIGHTS.write_bytes(WEIGHTS.read_bytes()[:-1] + b"\1")
    with pytest.raises(UserError, match="another sha256"):
        again()


def test_a_run_that_has_not_finished_is_refused_with_the_command_that_makes_it(tiny_run):
    (RUN / "manifest.json").unlink()
    with pytest.raises(UserError, match="make train RUN=tiny"):
        again()


def test_an_architecture_that_is_arranged_differently_is_refused(tmp_path):
    from transformers import AutoConfig

    base = tmp_path / "base"
    AutoConfig.for_model("gemma2", num_hidden_layers=1).save_pretrained(base)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (base / name).write_text("{}")
    config = run_of(base, tmp_path / "run")
    with pytest.raises(UserError, match="gemma2"):
        read_lora(tmp_path / "run", config)


def test_a_dtype_that_the_format_has_not_is_a_sentence(tiny_run):
    with pytest.raises(UserError, match="f16 or f32"):
        again("mlx", "bf16")
    with pytest.raises(UserError, match="bf16 or f16"):
        again("merged", "f32")
