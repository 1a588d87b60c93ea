"""A model's sizes come from its own config; what this project cannot train is refused before weights are
loaded.
"""

import json

import pytest

from lib.base.errors import UserError
from lib.base.settings import TrainConfig
from lib.model.shapes import (
    KNOWN,
    Shape,
    local_config,
    refuse_missing_targets,
    shape_of,
    with_rope_theta,
)
from tests.model.families import model_config


def config(model):
    return TrainConfig(data="x", model=str(model))


def written(folder, kind, **sizes):
    import transformers

    getattr(transformers, kind)(**sizes).save_pretrained(folder)
    return config(folder)


def test_the_sizes_are_those_of_the_config_in_the_folder(tmp_path):
    folder = model_config(tmp_path, tie_word_embeddings=True, head_dim=24)
    assert shape_of(config(folder)) == Shape(2, 64, 96, 4, 2, 24, 512, tied=True)


def test_what_a_config_leaves_out_is_what_transformers_takes(tmp_path):
    sizes = {
        "model_type": "llama",
        "num_hidden_layers": 3,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_attention_heads": 4,
        "vocab_size": 500,
    }
    (tmp_path / "config.json").write_text(json.dumps(sizes))
    assert shape_of(config(tmp_path)) == Shape(3, 64, 128, 4, 4, 16, 500, tied=False)


def test_the_known_sizes_make_a_plan_possible_where_no_file_of_the_model_is(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert shape_of(TrainConfig(data="x", model="Qwen/Qwen3-14B")) == KNOWN["Qwen/Qwen3-14B"]
    assert shape_of(TrainConfig(data="x", model="nobody/has-it")) is None


@pytest.mark.parametrize(
    ("name", "billions"),
    [("0.6B", 0.596), ("1.7B", 1.72), ("4B", 4.02), ("8B", 8.19), ("14B", 14.77), ("32B", 32.76)],
)  # fmt: skip
def test_the_known_sizes_add_up_to_the_published_number_of_parameters(name, billions):
    shape = KNOWN[f"Qwen/Qwen3-{name}"]
    assert (shape.linear_params + shape.embedding_params) / 1e9 == pytest.approx(billions, rel=2e-3)


@pytest.mark.parametrize("tied", [False, True])
def test_the_parameters_are_those_of_the_real_model(tmp_path, tied):
    import torch
    from transformers import AutoModelForCausalLM

    folder = model_config(tmp_path, tie_word_embeddings=tied)
    shape = shape_of(config(folder))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(local_config(config(folder)))
    model.tie_weights()
    matrices = {id(weight): weight.numel() for weight in model.parameters() if weight.dim() == 2}
    assert shape.linear_params + shape.embedding_params == sum(matrices.values())
    sides = {
        name.rpartition(".")[2]: (part.in_features, part.out_features)
        for name, part in model.named_modules()
        if ".layers.0." in name and isinstance(part, torch.nn.Linear)
    }
    assert sides == shape.projections


SMALL = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}


@pytest.mark.parametrize("kind", ["MixtralConfig", "Qwen3MoeConfig"])
def test_a_mixture_of_experts_is_refused_with_a_sentence(tmp_path, kind):
    with pytest.raises(UserError, match="is a mixture of experts"):
        shape_of(written(tmp_path, kind, **SMALL, num_key_value_heads=2))


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        ("Phi3Config", "q_proj, k_proj, v_proj, gate_proj, up_proj"),
        ("GPTNeoXConfig", "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"),
        ("Starcoder2Config", "gate_proj, up_proj, down_proj"),
    ],
)
def test_a_model_whose_layers_are_built_otherwise_is_refused_with_a_sentence(tmp_path, kind, missing):
    found = written(tmp_path, kind, **SMALL, vocab_size=100, pad_token_id=0)
    with pytest.raises(UserError, match=f"have no {missing} "):
        refuse_missing_targets(local_config(found), found)


def test_a_model_that_attends_in_some_layers_only_is_refused_with_a_sentence(tmp_path):
    found = written(tmp_path, "RecurrentGemmaConfig", **SMALL | {"num_hidden_layers": 3}, vocab_size=100)
    with pytest.raises(UserError, match="have no q_proj, k_proj, v_proj, o_proj "):
        refuse_missing_targets(local_config(found), found)


def test_a_config_without_these_sizes_is_refused_with_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"has no intermediate_size\. Choose a text-only chat model"):
        shape_of(written(tmp_path, "GPT2Config", n_layer=2, n_embd=64, n_head=4))


def test_a_damaged_config_is_a_sentence(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "no-such-family"}')
    with pytest.raises(UserError, match="could not be loaded"):
        shape_of(config(tmp_path))


@pytest.mark.parametrize(
    "kind", ["Qwen3Config", "Qwen2Config", "LlamaConfig", "MistralConfig", "Gemma2Config"]
)
def test_the_usual_families_have_the_seven_projections(tmp_path, kind):
    found = written(tmp_path, kind, **SMALL, num_key_value_heads=2, vocab_size=100, pad_token_id=0)
    refuse_missing_targets(local_config(found), found)


LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LLAMA3 |= {"original_max_position_embeddings": 256}


@pytest.mark.parametrize("scaling", [{"rope_type": "default"}, LLAMA3])
def test_the_rotary_base_stands_where_other_engines_look_and_transformers_reads_the_same(tmp_path, scaling):
    from transformers import AutoConfig, LlamaConfig

    LlamaConfig(rope_parameters={"rope_theta": 123_000.0, **scaling}).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    before, rope = json.loads(path.read_text()), AutoConfig.from_pretrained(tmp_path).rope_parameters
    after = with_rope_theta(before)
    assert after["rope_theta"] == 123_000
    assert after.get("rope_scaling") == (scaling if scaling == LLAMA3 else None)
    path.write_text(json.dumps(after))
    assert AutoConfig.from_pretrained(tmp_path).rope_parameters == rope


def test_a_config_that_has_the_rotary_base_in_its_old_place_alone_stays_as_it_is():
    old = {"model_type": "qwen3", "rope_theta": 1_000_000}
    assert with_rope_theta(old) == old
