"""Machines that are not this one against models, for `make train` and `make doctor` alike."""

from dataclasses import replace

import pytest

from lib.base.errors import UserError
from lib.base.hardware import Card
from lib.base.settings import TrainConfig
from lib.model import machine
from lib.model.machine import refuse_small_machine, shortfall
from lib.model.shapes import KNOWN
from lib.train import checkup
from lib.train.assumed import assumed_tokens
from tests.base.test_hardware import LINUX, MAC

QWEN = TrainConfig(data="x", model="Qwen/Qwen3-8B", quantization="nf4")
SHAPE = KNOWN["Qwen/Qwen3-8B"]


def refusal(monkeypatch, here, config=QWEN, to_train=True):
    monkeypatch.delenv("FORCE", raising=False)
    monkeypatch.setattr(machine, "device_of", lambda config: "mps" if here.is_apple else "cpu")
    monkeypatch.setattr(machine, "this_machine", lambda folder: here)
    with pytest.raises(UserError) as refused:
        refuse_small_machine("q", config, to_train)
    return str(refused.value)


@pytest.mark.parametrize("card_gb, fits", [(8.6, False), (12.9, True), (25.8, True)])
def test_training_and_the_checkup_draw_the_same_line(card_gb, fits):
    here = replace(LINUX, cards=(Card("card", card_gb),))
    assert (shortfall(QWEN, SHAPE, True, card_gb, None) is None) is fits
    assert checkup.training("q", QWEN, here, assumed_tokens(QWEN), None).here is fits


def test_answering_takes_less_than_training():
    assert shortfall(QWEN, SHAPE, True, 9.5, None)
    assert shortfall(QWEN, SHAPE, False, 9.5, None) is None


def test_the_refusal_names_where_the_run_can_be_trained(monkeypatch):
    said = refusal(monkeypatch, LINUX)
    assert "`make train RUN=q ON=runpod` or ON=hf (`make plan RUN=q` shows the price)" in said


def test_the_refusal_names_the_smallest_mac_that_trains_it(monkeypatch):
    assert "or use a Mac with Apple silicon and 16 GB or more" in refusal(monkeypatch, LINUX)
    for other in ({"backend": "peft"}, {"method": "dpo"}):  # MLX knows supervised training alone
        assert "Apple" not in refusal(monkeypatch, LINUX, QWEN.model_copy(update=other))
    whole = QWEN.model_copy(update={"quantization": "none"})
    assert "Apple silicon and 32 GB or more" in refusal(monkeypatch, LINUX, whole)


def test_a_mac_with_enough_memory_trains(monkeypatch):
    monkeypatch.setattr(machine, "device_of", lambda config: "mps")
    monkeypatch.setattr(machine, "this_machine", lambda folder: replace(MAC, memory_gb=17.2))
    refuse_small_machine("q", QWEN, to_train=True)
    assert checkup.training("q", QWEN, replace(MAC, memory_gb=17.2), assumed_tokens(QWEN), None).here
    assert "this Mac has 9 GB, 12 GB" in refusal(monkeypatch, replace(MAC, memory_gb=8.6))
