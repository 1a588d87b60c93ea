"""Which adapters mean alpha / rank * B A and nothing else: all others are refused, each by its setting."""

import json

import pytest

from lib.base.errors import UserError
from lib.export.lora import OTHER_SETTINGS, _settings

PLAIN = {
    **dict.fromkeys(OTHER_SETTINGS, False),
    "peft_type": "LORA",
    "r": 4,
    "lora_alpha": 8,
    "bias": "none",
    "init_lora_weights": True,
    "base_model_name_or_path": "Qwen/Qwen3-8B",
}


def read(folder, **changes):
    (folder / "adapter_config.json").write_text(json.dumps(PLAIN | changes))
    return _settings(folder / "adapter_config.json", "Qwen/Qwen3-8B")


@pytest.mark.parametrize("beginning", [None, True, False, "gaussian", "eva", "orthogonal"])
def test_a_plain_adapter_is_read_however_it_began(tmp_path, beginning):
    assert read(tmp_path, init_lora_weights=beginning)["r"] == 4


@pytest.mark.parametrize(
    "name, value",
    [
        *(
            ("use_dora", True),
            ("use_rslora", True),
            ("use_qalora", True),
            ("lora_bias", True),
            ("bias", "all"),
        ),
        *(("bias", "lora_only"), ("modules_to_save", ["lm_head"]), ("rank_pattern", {"q_proj": 8})),
        *(("alpha_pattern", {"q_proj": 8}), ("layers_to_transform", [0]), ("target_parameters", ["x"])),
        *(("fan_in_fan_out", True), ("trainable_token_indices", [1]), ("init_lora_weights", "pissa")),
        *(("init_lora_weights", "olora"), ("layer_replication", [[0, 1]]), ("megatron_config", {"a": 1})),
        *(("peft_type", "LOHA"), ("base_model_name_or_path", "another/model")),
    ],
)
def test_a_setting_that_other_engines_read_differently_is_refused_by_its_name(tmp_path, name, value):
    with pytest.raises(UserError) as refused:
        read(tmp_path, **{name: value})
    assert (name if name != "base_model_name_or_path" else "another/model") in str(refused.value)


@pytest.mark.parametrize("name", ["r", "lora_alpha"])
@pytest.mark.parametrize("value", [None, 0, -4, "4", True, float("nan")])
def test_a_rank_or_alpha_that_is_no_number_above_0_is_refused(tmp_path, name, value):
    with pytest.raises(UserError, match=f"r and lora_alpha are not|{name}|not valid JSON"):
        read(tmp_path, **{name: value})
