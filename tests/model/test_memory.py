"""lib/model/memory.py: the weights that a GPU's memory allows."""

import re

import pytest

from lib.base.settings import TrainConfig
from lib.model.memory import least_gb, quantization_on
from lib.model.shapes import KNOWN

AUTO = TrainConfig(data="x", quantization="auto")


@pytest.mark.parametrize(
    "model, longest, memory_gb, held, why",
    [
        ("Qwen/Qwen3-8B", 150, 24, "nf4", "bf16 is for a GPU of 48 GB or more"),
        ("Qwen/Qwen3-8B", 150, 42.4, "nf4", "bf16 is for a GPU of 48 GB or more"),  # an A100 40GB
        ("Qwen/Qwen3-8B", 150, 48, "none", "bf16 fits: 25 GB with 4 of the longest rows at once"),
        ("Qwen/Qwen3-8B", 150, 47.6, "none", "bf16 fits"),  # what an A40 of 48 GB says of itself
        ("Qwen/Qwen3-8B", 1024, 48, "nf4", "bf16 would take 6. GB"),
        ("Qwen/Qwen3-14B", 150, 48, "none", "bf16 fits"),
        ("Qwen/Qwen3-32B", 150, 48, "nf4", "bf16 would take 8. GB"),
        ("Qwen/Qwen3-32B", 150, 141, "none", "bf16 fits"),
        ("Qwen/Qwen3-8B", 150, None, "none", "the memory of an NVIDIA GPU"),
    ],
)
def test_auto_is_bf16_from_48_gb_on_where_it_fits_and_four_bits_otherwise(
    model, longest, memory_gb, held, why
):
    config = AUTO.model_copy(update={"model": model})
    found, reason = quantization_on(config, KNOWN[model], longest, memory_gb)
    assert found == held
    assert re.search(why, reason)


@pytest.mark.parametrize("said", ["nf4", "none"])
def test_what_the_config_says_is_not_changed_by_the_gpu(said):
    config = AUTO.model_copy(update={"quantization": said})
    for memory_gb in (None, 8, 80):
        assert quantization_on(config, KNOWN[AUTO.model], 150, memory_gb) == (said, "the config says so")


def test_the_least_that_auto_needs_is_what_four_bits_need():
    nf4 = AUTO.model_copy(update={"quantization": "nf4"})
    for to_train in (True, False):
        assert least_gb(AUTO, KNOWN[AUTO.model], to_train) == least_gb(nf4, KNOWN[AUTO.model], to_train)
