"""Memory that the plan counts on is what a forward pass keeps, on the models' real widths."""

import pytest

from lib.model.activations import layer_bytes, measured_layer_bytes
from lib.model.memory import vram_gb
from lib.model.shapes import KNOWN

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.mark.parametrize(
    "model",
    [
        "Qwen/Qwen3-0.6B",
        pytest.param("Qwen/Qwen3-4B", marks=pytest.mark.slow),
        pytest.param("Qwen/Qwen3-8B", marks=pytest.mark.slow),
    ],
)
def test_the_plans_activations_are_those_measured_within_a_tenth(model):
    shape = KNOWN[model]
    assert layer_bytes(shape, "peft") == pytest.approx(measured_layer_bytes(shape), rel=0.1)


def test_a_token_of_qwen3_8b_keeps_ten_megabytes_on_the_plain_path_and_less_under_unsloth():
    shape = KNOWN["Qwen/Qwen3-8B"]
    plain, unsloth = (shape.layers * layer_bytes(shape, path) / 1e6 for path in ("peft", "unsloth"))
    assert plain == pytest.approx(9.75, abs=0.1)
    assert 5 < unsloth < 6.5
    one, other = (vram_gb(shape, 16, 100, 16, LINEAR, True, False, path) for path in ("peft", "unsloth"))
    assert one - other == pytest.approx(1600 * (plain - unsloth) / 1e3, rel=1e-6)
