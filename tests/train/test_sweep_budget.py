"""The money of a sweep and its end: what a variant may cost, what an attempt has cost, what stops it all."""

import json
from types import SimpleNamespace

import pytest

from lib.base.config import load_config
from lib.base.errors import UserError
from lib.base.files import write_json
from lib.base.settings import TrainConfig
from lib.train import sweep as module
from lib.train.sweep import expected_usd, plan, sweep, train_apart
from lib.train.variants import SweepConfig
from tests.training_data import CONFIG, write_workspace

TWO = SweepConfig.model_validate({"base": "tiny", "grid": {"learning_rate": [1e-3, 5e-3]}, "max_usd": 50})


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A workspace whose runs cost 3 dollars an hour, and a tiny model that nobody builds."""
    write_workspace(tmp_path, CONFIG.replace("usd_per_hour: 0", "usd_per_hour: 3"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lib.train.fingerprint.tiny_hash", lambda: "tiny")
    return tmp_path


def test_a_variant_may_cost_what_the_slowest_finished_one_took_a_step_and_the_loading():
    one, other = plan("lr", TWO)
    without = expected_usd(one, [one, other])
    for run, seconds in ((one, 180.0), (other, 360.0)):
        write_json(run.folder / "manifest.json", {"seconds": seconds, "steps": 10})
    # 18 steps of 36 s, and four minutes
    assert expected_usd(one, [one, other]) == pytest.approx((18 * 36 / 60 + 4) / 60 * 3)
    assert without > 4 / 60 * 3


def test_a_budget_that_just_covers_a_variant_is_enough(monkeypatch):
    monkeypatch.setattr(module, "expected_usd", lambda one, planned: 1.5)
    for max_usd, n_trained in ((1.5, 2), (1.49, 0)):
        trained = []

        def train(run, trained=trained):
            trained.append(run)
            return 1, "no reason"

        sweep("lr", TWO.model_copy(update={"max_usd": max_usd}), train)
        assert len(trained) == n_trained


def test_what_each_attempt_has_cost_stays_in_the_account_and_a_failure_keeps_its_reason(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def half_an_hour(run):
        now[0] += 1800
        return 1, f"no luck with {run}"

    first, again = (sweep("lr", TWO, half_an_hour) for _ in range(2))
    assert ([one["usd"] for one in first["variants"]], first["usd"]) == ([1.5, 1.5], 3.0)
    assert ([one["usd"] for one in again["variants"]], again["usd"]) == ([3.0, 3.0], 6.0)
    assert {one["reason"] for one in again["variants"]} == {
        f"no luck with sweep-lr-lr{rate}" for rate in ("0.001", "0.005")
    }
    assert (first["best"], first["note"]) == (None, None)


def test_a_stopped_training_stops_the_sweep_and_its_file_says_how_far_it_is(here):
    trained = []

    def stopped(run):
        trained.append(run)
        return 143, "stopped after a checkpoint"

    with pytest.raises(UserError, match=r"stopped after a checkpoint. Run the same command"):
        sweep("lr", TWO, stopped)
    assert len(trained) == 1
    kept = json.loads((here / "adapters/sweep-lr.json").read_text())
    assert {one["state"] for one in kept["variants"]} == {"failed", "open"}


def test_a_config_that_has_not_changed_stays_as_old_as_it_is(here):
    planned = plan("lr", TWO)
    path = here / f"configs/train-{planned[0].run}.yaml"
    before = path.stat().st_mtime_ns
    plan("lr", TWO)
    assert path.stat().st_mtime_ns == before
    assert load_config(path, TrainConfig).learning_rate == 1e-3


@pytest.mark.parametrize(
    "program, code, said",
    [
        ("print('all is well', file=sys.stderr)", 0, "all is well"),
        ("print('step 1', file=sys.stderr); sys.exit('error: no disk\\n')", 1, "no disk"),
        ("os.kill(os.getpid(), 9)", -9, ""),
        ("sys.exit(143)", 143, ""),
    ],
)
def test_the_exit_code_and_the_last_line_of_a_training_are_handed_on(here, monkeypatch, program, code, said):
    (here / "scripts").mkdir()
    (here / "scripts/__init__.py").touch()
    (here / "scripts/train.py").write_text(f"import os, sys\n{program}\n")
    monkeypatch.setenv("PYTHONPATH", str(here))
    assert train_apart("v") == (code, said)
