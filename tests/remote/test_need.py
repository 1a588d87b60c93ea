"""A rented machine has NVIDIA GPUs: what cannot train there is refused before one is paid for."""

from types import SimpleNamespace as Of

import pytest

from lib.base.errors import UserError
from lib.base.settings import TrainConfig
from lib.remote.flavors import fitting
from lib.remote.need import need_of, need_of_replies
from lib.remote.orders import Limits, limits_of
from lib.remote.seam import Candidate, Need
from lib.train.gpus import SETUP_MINUTES
from lib.train.needs import GpuNeeds


def test_a_run_that_only_a_mac_trains_is_not_rented_for_but_its_replies_are():
    config = TrainConfig(data="x", backend="mlx")
    with pytest.raises(UserError, match=r"backend: mlx trains on a Mac alone.*backend: auto"):
        need_of(config, None)
    assert need_of_replies(config, None).gpus


def test_a_rental_lasts_as_long_as_the_plan_says_and_the_replies_or_as_the_slowest_card():
    config = TrainConfig(data="x", remote={"gpus": ["A40", "NEW"]})
    plan = GpuNeeds(18.0, {"A40": (20.0, 40.0), "L4": (60.0, 90.0), "H100": (10.0, 95.0)})
    need = need_of(config, plan)
    assert [(gpu.name, gpu.minutes) for gpu in need.gpus] == [("A40", (23.0, 55.0)), ("NEW", (13.0, 110.0))]
    assert (need.memory_gb, need.disk_gb) == (20.0, 60)  # a tenth of a card is not the run's
    replies = need_of_replies(config, plan)
    assert {gpu.minutes for gpu in replies.gpus} == {(SETUP_MINUTES[0] + 3, SETUP_MINUTES[1] + 15)}
    assert replies.memory_gb == need.memory_gb


@pytest.mark.parametrize(
    ("max_usd", "allowed"), [("", 5), ("2", 2), (" 2.5 ", 2.5), ("100", 5), ("0", None), ("-1", None)]
)
def test_max_usd_lowers_what_a_job_may_cost_and_never_raises_it(monkeypatch, max_usd, allowed):
    monkeypatch.setenv("MAX_USD", max_usd)
    config = TrainConfig(data="x", remote={"max_usd": 5, "max_minutes": 90})
    if allowed is None:
        with pytest.raises(UserError, match="must be above 0"):
            limits_of(config)
    else:
        assert limits_of(config) == Limits(allowed, 90)
    for odd in ("nan", "inf", "five"):
        monkeypatch.setenv("MAX_USD", odd)
        with pytest.raises(UserError, match="MAX_USD="):
            limits_of(config)


def flavor(name="l4x1", gpu="L4", vram="24 GB", disk="400 GB", quantity=1, cost=0.8, unit="hour"):
    card = None if gpu is None else Of(quantity=quantity, vram=vram, model=gpu)
    return Of(
        name=name, pretty_name=f"Nvidia {gpu}", accelerator=card, ephemeral_storage=disk,
        unit_cost_usd=cost, unit_label=unit,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({}, True),
        ({"vram": "20 GB"}, True),
        ({"vram": "19 GB"}, False),
        ({"disk": "60 GB"}, True),
        ({"disk": "59 GB"}, False),
        ({"disk": "N/A"}, True),  # not said
        ({"disk": "1 TB"}, True),
        ({"quantity": 2}, False),
        ({"gpu": None}, False),
        ({"gpu": "T4"}, False),  # not one that the config allows
        ({"unit": "year"}, False),  # a price that nobody can reckon with
    ],
)
def test_a_machine_is_an_offer_where_memory_disk_card_and_price_fit(changes, fits):
    need = Need(20.0, 60, (Candidate("L4", (10.0, 20.0)),), "image")
    assert bool(fitting([flavor(**changes)], need, "hf")) == fits


def test_a_price_by_the_minute_is_sixty_times_by_the_hour():
    need = Need(20.0, 60, (Candidate("L4", (10.0, 20.0)),), "image")
    (offer,) = fitting([flavor(cost=0.01, unit="Minute")], need, "hf")
    assert (offer.usd_per_hour, offer.minutes, offer.id) == (pytest.approx(0.6), (10.0, 20.0), "l4x1")
