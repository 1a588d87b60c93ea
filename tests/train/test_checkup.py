"""`make doctor`: what a run needs against machines that are not this one, and the command as a whole."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lib.base.config import load_config
from lib.base.hardware import Card
from lib.base.settings import TrainConfig
from lib.model.memory import least_gb
from lib.model.shapes import KNOWN
from lib.train.assumed import assumed_tokens
from lib.train.checkup import disk_finding, gpu_finding, training
from lib.train.needs import rented
from tests.base.test_hardware import LINUX, MAC
from tests.stubs import apify_server, hub_server, runpod_server
from tests.stubs.anthropic_server import AnthropicStub

ROOT = Path(__file__).parents[2]
QWEN = load_config(ROOT / "configs" / "train-qwen3-8b.yaml", TrainConfig)
TINY = load_config(ROOT / "configs" / "train-tiny.yaml", TrainConfig)
A40 = replace(LINUX, cards=(Card("NVIDIA A40", 48.3),))


def where(machine, config=QWEN, run="qwen3-8b", torch="2.13.0"):
    return training(run, config, machine, assumed_tokens(config), torch)


def test_the_tiny_model_trains_everywhere():
    for machine in (LINUX, MAC, A40):
        assert where(machine, TINY, "tiny").here
        assert gpu_finding(machine, where(machine, TINY, "tiny")).state != "no"


def test_a_machine_without_a_gpu_is_told_the_command_and_its_price():
    found = where(LINUX)
    assert not found.here
    assert "no NVIDIA GPU; `make train ON=runpod`, about $0." in found.said
    assert "`make train RUN=mine ON=runpod`" in where(LINUX, run="mine").said


def test_a_card_must_hold_the_longest_row_that_the_config_allows():
    needed = least_gb(QWEN, KNOWN["Qwen/Qwen3-8B"], to_train=True)
    assert 8 < needed < 12  # 4-bit weights of 6 GB, adapter, one row of 1,024 tokens
    assert where(A40).here
    assert not where(replace(LINUX, cards=(Card("RTX 3060", 8.6),))).here
    assert "has only 9 GB" in where(replace(LINUX, cards=(Card("RTX 3060", 8.6),))).said
    whole = QWEN.model_copy(update={"quantization": "none"})
    assert not where(replace(LINUX, cards=(Card("RTX 4060 Ti", 17.2),)), whole).here


def price(replies_minutes=0, **remote):
    config = QWEN.model_copy(update={"remote": QWEN.remote.model_copy(update=remote)})
    said = training("qwen3-8b", config, LINUX, assumed_tokens(config), None, replies_minutes).said
    return float(said.rpartition("about $")[2])


def test_the_price_is_the_cautious_one_of_the_cheapest_card_that_may_be_rented():
    offered = rented(QWEN, KNOWN["Qwen/Qwen3-8B"], assumed_tokens(QWEN))
    usd = {run.gpu.name: run.usd[1] for run in offered if run.engine == "runpod"}
    assert price(gpus=["A100 80GB"]) == round(usd["A100 80GB"], 2)
    assert price(gpus=["A100 80GB", "L40S", "H100 SXM"]) == round(usd["L40S"], 2)
    assert price(gpus=["none of the list"]) == round(min(usd.values()), 2)
    # The replies are written before the machine is given back.
    assert price(60, gpus=["A100 80GB"]) == pytest.approx(price(gpus=["A100 80GB"]) + 1.39, abs=0.011)


def test_the_largest_of_several_cards_trains():
    two = replace(LINUX, cards=(Card("RTX 3060", 8.6), Card("NVIDIA A40", 48.3), Card("GT 1030", 2.1)))
    assert where(two).here and "NVIDIA A40 (48 GB)" in where(two).said


def test_a_card_that_this_torch_cannot_use_does_not_train():
    found = where(A40, torch="2.13.0+cpu")
    assert not found.here
    assert "make setup-runpod" in found.said


def test_a_model_of_unknown_size_is_not_promised_a_price():
    other = QWEN.model_copy(update={"model": "someone/other"})
    assert "$" not in where(LINUX, other).said
    assert where(A40, other).here


def test_a_small_model_trains_without_a_gpu():
    small = QWEN.model_copy(update={"model": "Qwen/Qwen3-0.6B", "quantization": "none"})
    for machine in (LINUX, MAC):
        assert where(machine, small).here
        assert gpu_finding(machine, where(machine, small)).state != "no"
    assert not where(LINUX, QWEN.model_copy(update={"model": "Qwen/Qwen3-4B"})).here


def test_weights_count_for_the_disk_only_where_they_are_trained():
    small = replace(A40, disk_gb=10.0)
    lacking = disk_finding(small, QWEN, where(small))  # 16 bits of 8.2 billion weights, checkpoints, data
    assert (lacking.state, lacking.said) == ("no", "10 GB free; 24 GB needed")
    assert lacking.fix.startswith("Free 14 GB")
    laptop = replace(small, cards=())
    assert disk_finding(laptop, QWEN, where(laptop)).state == "ok"
    assert disk_finding(replace(laptop, disk_gb=1.0), TINY, where(laptop, TINY, "tiny")).state == "no"


def test_a_driver_that_fails_stops_the_run_that_needs_it_and_says_where_to_look():
    machine = replace(LINUX, cards_problem="Look what `nvidia-smi` says")
    assert gpu_finding(machine, where(machine)).state == "no"
    assert gpu_finding(machine, where(machine)).fix == machine.cards_problem
    assert gpu_finding(machine, where(machine, TINY, "tiny")).state == "-"


# --- the command -------------------------------------------------------------------------------------

OFFLINE = dict.fromkeys(
    ("APIFY_API_BASE_URL", "ANTHROPIC_BASE_URL", "HF_ENDPOINT", "RUNPOD_API_BASE_URL"), "http://127.0.0.1:9"
)
KEYS = {
    name: f"secret-{number}-of-{name.lower()}"
    for number, name in enumerate(("APIFY_API_TOKEN", "ANTHROPIC_API_KEY", "HF_TOKEN", "RUNPOD_API_KEY"))
}


def doctor(*arguments, **environment):
    command = [sys.executable, "-m", "scripts.doctor", *arguments]
    clean = {name: value for name, value in os.environ.items() if name not in KEYS}
    return subprocess.run(
        command, cwd=ROOT, env={**clean, **OFFLINE, **environment}, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("run, code", [("tiny", 0), ("qwen3-8b", 1)])
def test_the_exit_code_says_whether_the_run_can_be_trained_here(run, code, tmp_path):
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")  # whatever card this machine has
    (tmp_path / "nvidia-smi").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = doctor("--config", f"configs/train-{run}.yaml", PATH=path)
    assert (done.returncode, done.stderr) == (code, "")
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "data, review, judging, demo" in done.stdout


def test_json_holds_the_same_and_no_key():
    done = doctor("--config", "configs/train-tiny.yaml", "--json", **KEYS)
    found = json.loads(done.stdout)
    assert (found["run"], found["works"]) == ("tiny", True)
    states = {finding["name"]: (finding["state"], finding["said"]) for finding in found["findings"]}
    assert states["HF_TOKEN"] == ("?", "set; not tried")
    assert states["network"][0] == "?"
    assert not [key for key in KEYS.values() if key in done.stdout + done.stderr]


def test_each_service_is_asked_whether_it_takes_its_key(tmp_path):
    right = (apify_server.TOKEN, AnthropicStub.KEY, hub_server.TOKEN, runpod_server.KEY)
    with (
        apify_server.ApifyStub(lambda _: []) as apify,
        AnthropicStub() as anthropic,
        hub_server.hub_server() as hub,
        runpod_server.runpod_server(tmp_path) as runpod,
    ):
        urls = dict(zip(OFFLINE, (stub.url for stub in (apify, anthropic, hub, runpod)), strict=True))
        for keys, states in ((right, {"ok"}), (KEYS.values(), {"?"})):
            environment = urls | dict(zip(KEYS, keys, strict=True))
            found = json.loads(doctor("--config", "configs/train-tiny.yaml", "--json", **environment).stdout)
            lines = {one["name"]: one for one in found["findings"]}
            assert lines["network"]["state"] == "ok"
            assert {lines[name]["state"] for name in KEYS} == states, lines
            assert {lines[name]["said"].split(" by ")[0] for name in KEYS} == (
                {"accepted"} if states == {"ok"} else {"refused"}
            )


def test_an_unknown_run_is_a_sentence():
    done = doctor("--config", "configs/train-nope.yaml")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
