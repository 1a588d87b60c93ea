"""The memory of a training step: the sum of the plan, each part of it by itself, and what a card holds."""

from dataclasses import replace

import pytest

from lib.base.settings import ALL_LINEAR, TrainConfig
from lib.model.activations import layer_bytes
from lib.model.memory import (
    FILLED,
    full_batch,
    least_gb,
    lora_parameters,
    quantization_on,
    vram_gb,
    weights_gb,
)
from lib.model.shapes import KNOWN

QWEN, ALL = KNOWN["Qwen/Qwen3-8B"], tuple(ALL_LINEAR)


def step_gb(tokens=128, shape=QWEN, rank=16, nf4=True, checkpointing=False, path="peft"):
    return vram_gb(shape, 1, tokens, rank, ALL, nf4, checkpointing, path)


@pytest.mark.parametrize(
    "micro_batch, tokens, nf4, checkpointing, path, gb",
    [
        (1, 128, True, True, "peft", 8.20),
        (4, 128, True, False, "peft", 13.58),
        (16, 128, True, False, "peft", 30.39),
        (4, 128, False, False, "peft", 23.68),
        (4, 512, True, False, "unsloth", 21.48),
        (1, 1024, True, True, "peft", 9.80),
    ],
)
def test_the_estimate_of_qwen3_8b_is_pinned(micro_batch, tokens, nf4, checkpointing, path, gb):
    found = vram_gb(QWEN, micro_batch, tokens, 16, ALL, nf4, checkpointing, path)
    assert found == pytest.approx(gb, rel=0.005)


def test_weights_are_4_bits_and_their_constants_and_embeddings_16():
    assert weights_gb(QWEN, nf4=False) == pytest.approx(2 * 8.19e9 / 1e9, rel=0.001)  # its published size
    embedding = 2 * 2 * 151_936 * 4096 / 1e9
    assert weights_gb(QWEN, nf4=True) - embedding == pytest.approx(
        (16.381 - embedding) * 4.127 / 16, rel=0.001
    )
    tied = replace(QWEN, tied=True)
    assert weights_gb(QWEN, True) - weights_gb(tied, True) == pytest.approx(embedding / 2)


def test_a_trained_parameter_takes_16_bytes_weight_gradient_and_two_moments():
    assert lora_parameters(QWEN, 16, ALL) == 43_646_976
    assert step_gb(rank=32) - step_gb(rank=16) == pytest.approx(43_646_976 * 16 / 1e9)


def test_a_token_takes_its_logits_and_their_gradient_in_float32():
    larger = replace(QWEN, vocab=QWEN.vocab + 100_000)
    grown = step_gb(1000, larger) - step_gb(1000) - (weights_gb(larger, True) - weights_gb(QWEN, True))
    assert grown == pytest.approx(1000 * 100_000 * (4 + 4) / 1e9)


def test_a_token_takes_what_every_layer_keeps_or_its_inputs_and_one_layer():
    logits, layer = QWEN.vocab * 8, layer_bytes(QWEN, "peft")
    whole, checkpointed = (
        (step_gb(2, checkpointing=on) - step_gb(1, checkpointing=on)) * 1e9 for on in (False, True)
    )
    assert whole == pytest.approx(logits + 36 * layer)
    assert checkpointed == pytest.approx(logits + layer + 36 * 4096 * 2)


def test_the_largest_matrix_is_unpacked_with_its_copy_where_weights_are_4_bits():
    unpacked = step_gb() - step_gb(nf4=False) - (weights_gb(QWEN, True) - weights_gb(QWEN, False))
    assert unpacked == pytest.approx(4096 * 12_288 * 2 * 2 / 1e9)


def test_beside_the_sum_stand_the_context_and_the_answers_under_way():
    parts = weights_gb(QWEN, True) + (43_646_976 * 16 + 4096 * 12_288 * 4) / 1e9
    assert step_gb(0) - parts == pytest.approx(1.0)
    config = TrainConfig(data="x", model="Qwen/Qwen3-8B")
    assert least_gb(config, QWEN, to_train=False) - weights_gb(QWEN, True) == pytest.approx(2.0)
    assert least_gb(config, QWEN, to_train=True) == step_gb(1024, checkpointing=True)
    assert FILLED == 0.9


AUTO = TrainConfig(data="x", model="Qwen/Qwen3-8B", quantization="auto", gradient_checkpointing=False)


@pytest.mark.parametrize(
    ("memory_gb", "longest", "held"),
    [
        (None, 128, "none"),  # no NVIDIA GPU: nothing is saved by four bits
        (24, 128, "nf4"),
        (0.95 * 48 - 0.1, 128, "nf4"),
        (0.95 * 48, 128, "none"),  # what a card of 48 GB owns up to
        (80, 128, "none"),
        (80, 1400, "nf4"),  # its longest rows would not fit in bf16
    ],
)
def test_a_card_holds_the_base_in_bf16_where_it_is_large_and_the_longest_rows_fit(memory_gb, longest, held):
    assert quantization_on(AUTO, QWEN, longest, memory_gb)[0] == held
    for said in ("nf4", "none"):
        own = AUTO.model_copy(update={"quantization": said})
        assert quantization_on(own, QWEN, longest, memory_gb) == (said, "the config says so")


def test_bf16_has_to_fit_with_a_tenth_of_the_card_to_spare():
    need = vram_gb(QWEN, 4, 900, 16, ALL, False, False)
    assert need > 48
    assert quantization_on(AUTO, QWEN, 900, need / FILLED * 1.001)[0] == "none"
    assert quantization_on(AUTO, QWEN, 900, need / FILLED * 0.999)[0] == "nf4"


@pytest.mark.parametrize(
    ("micro", "effective", "rows"), [("auto", 16, 4), ("auto", 2, 2), (8, 16, 8), (1, 16, 1), (8, 8, 8)]
)
def test_a_card_should_hold_the_configs_micro_batch_or_four_rows(micro, effective, rows):
    config = AUTO.model_copy(update={"micro_batch": micro, "effective_batch": effective})
    assert full_batch(config) == rows
