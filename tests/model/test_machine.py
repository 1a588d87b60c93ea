"""Machines that are not this one against models, for `make train` and `make doctor` alike."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from lib.base.errors import UserError
from lib.base.hardware import Card
from lib.base.settings import TrainConfig
from lib.model import machine
from lib.model.machine import refuse_small_machine, shortfall
from lib.model.memory import least_gb
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


@pytest.mark.parametrize(
    "model, fits",
    [
        ("someone/chat-135M", True),
        ("someone/chat-1B", True),
        ("someone/chat-1.1B", False),
        ("someone/chat-1500m", False),
        ("someone/2B-of-500M", False),  # the larger number
        ("someone/chat", False),
        ("someone/v135Mx", False),
    ],
)
def test_a_model_of_unknown_sizes_is_as_large_as_its_name_says_or_too_large_for_a_cpu(model, fits):
    config = TrainConfig(data="x", model=model)
    assert (shortfall(config, None, True, None, None) is None) is fits
    assert shortfall(config, None, True, 4.0, None) is None  # a GPU may try it


def test_a_card_keeps_a_tenth_for_its_driver():
    need = least_gb(QWEN, SHAPE, to_train=True)
    assert shortfall(QWEN, SHAPE, True, need / 0.9 + 0.01, None) is None
    said = shortfall(QWEN, SHAPE, True, need, None)
    assert said == f"its GPU has {need:.0f} GB, {need / 0.9:.0f} GB are needed at least"


def test_force_tries_it_and_the_tiny_model_runs_anywhere(monkeypatch):
    assert "FORCE=1 tries it here" in refusal(monkeypatch, LINUX)
    refuse_small_machine("tiny", TrainConfig(data="x", model="tiny"), to_train=True)
    monkeypatch.setenv("FORCE", "1")
    refuse_small_machine("q", QWEN, to_train=True)
    monkeypatch.setenv("FORCE", "")
    with pytest.raises(UserError, match="cannot train on this machine"):
        refuse_small_machine("q", QWEN, to_train=True)


def test_who_cannot_answer_is_sent_to_where_replies_are_written(monkeypatch):
    said = refusal(monkeypatch, LINUX, to_train=False)
    assert "cannot answer on this machine" in said and "`make replies RUN=q ON=runpod`" in said
    assert "make train" not in said


def test_of_several_cards_the_one_that_would_be_used_is_looked_at(monkeypatch):
    import torch

    sizes = [4e9, 80e9]
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda number: SimpleNamespace(total_memory=sizes[number])
    )
    monkeypatch.delenv("FORCE", raising=False)
    for device, fits in (("cuda:1", True), ("cuda:0", False), ("cuda", False)):
        monkeypatch.setattr(machine, "device_of", lambda config, device=device: device)
        if fits:
            refuse_small_machine("q", QWEN, to_train=True)
        else:
            with pytest.raises(UserError, match="its GPU has 4 GB"):
                refuse_small_machine("q", QWEN, to_train=True)
