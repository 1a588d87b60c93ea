"""A rented machine has NVIDIA GPUs: what cannot train there is refused before one is paid for."""

import pytest

from lib.base.errors import UserError
from lib.base.settings import TrainConfig
from lib.remote.need import need_of, need_of_replies


def test_a_run_that_only_a_mac_trains_is_not_rented_for_but_its_replies_are():
    config = TrainConfig(data="x", backend="mlx")
    with pytest.raises(UserError, match=r"backend: mlx trains on a Mac alone.*backend: auto"):
        need_of(config, None)
    assert need_of_replies(config, None).gpus
