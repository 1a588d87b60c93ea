"""The Unsloth backend: the real package, on a CPU (tests/unsloth_cpu.py says what of it is replaced),
makes the same run as plain TRL."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lib.base.config import load_config
from lib.base.files import read_dicts, read_json, write_jsonl
from lib.base.settings import TrainConfig
from lib.model.adapters import sha256_of
from lib.train.checkpoints import newest
from lib.train.run import train
from tests.conftest import copied
from tests.engines import apart, every_engine, needs_engines, off, texts
from tests.train.test_checkpoints import wait_for_step
from tests.train.test_preference_tuning import PREFERENCES, preferences
from tests.training_data import CONFIG
from tests.unsloth_cpu import SITE

ROOT = Path(__file__).parents[2]
NOT_HERE = f"no Unsloth in {SITE.relative_to(ROOT)}: .ci/run installs tests/unsloth-cpu.txt there"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not (SITE / "unsloth").is_dir(), reason=NOT_HERE)]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
# Without dropout the two backends draw no random numbers that could differ.
SETTINGS = (
    CONFIG.replace("dropout: 0.1", "dropout: 0")
    .replace("epochs: 3", "epochs: 2")
    .replace("backend: peft", "backend: auto")
)


def start(run, settings, *arguments):
    Path(f"configs/train-{run}.yaml").write_text(settings)
    command = [sys.executable, "-m", "tests.unsloth_cpu", "--config", f"configs/train-{run}.yaml", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finished(run, settings):
    """(manifest, lines of metrics.jsonl, all that was printed) of a run under Unsloth."""
    process = start(run, settings)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-3000:]
    return (
        read_json(Path(f"adapters/{run}/manifest.json")),
        read_dicts(Path(f"adapters/{run}/metrics.jsonl")),
        output + errors,
    )


def numbers(lines, name):
    return [line[name] for line in lines if name in line]


def plain(run, settings):
    Path(f"configs/train-{run}.yaml").write_text(settings.replace("backend: auto", "backend: peft"))
    train(run, load_config(Path(f"configs/train-{run}.yaml"), TrainConfig))
    return read_json(Path(f"adapters/{run}/manifest.json")), read_dicts(Path(f"adapters/{run}/metrics.jsonl"))


@pytest.fixture(scope="module")
def folder(_built, tmp_path_factory):
    return copied(_built, tmp_path_factory.mktemp("both"))


@pytest.fixture(scope="module")
def both(folder):
    """The same run under both backends, each (manifest, lines of metrics.jsonl), and what the first
    printed. Read only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        manifest, lines, printed = finished("unsloth", SETTINGS)
        adapter = read_json(Path("adapters/unsloth/adapter_config.json"))
        return (manifest, lines), plain("plain", SETTINGS), printed, adapter


def test_both_backends_train_on_the_same_tokens_to_the_same_losses(both):
    (manifest, lines), (known, known_lines), printed, _ = both
    assert (manifest["backend"], known["backend"]) == ("unsloth", "peft")
    assert "Padding-free auto-enabled" in printed  # rows end to end: nothing of ours has switched it off
    assert numbers(lines, "num_tokens") == numbers(known_lines, "num_tokens")
    assert numbers(lines, "learning_rate") == numbers(known_lines, "learning_rate")
    assert [line["step"] for line in lines if "eval_loss" in line] == [
        line["step"] for line in known_lines if "eval_loss" in line
    ]
    for name in ("loss", "eval_loss"):
        assert numbers(lines, name) == pytest.approx(numbers(known_lines, name), rel=0.01), (
            name
        )  # bf16 against float32
    assert numbers(lines, "grad_norm")[:3] == pytest.approx(numbers(known_lines, "grad_norm")[:3], rel=0.05)
    assert min(numbers(lines, "grad_norm")) > 0.01  # Unsloth's own fused loss leaves a gradient
    assert manifest["eval_losses"][-1][1] < manifest["eval_losses"][0][1] - 0.05


@needs_engines
def test_the_adapter_answers_in_every_engine_as_in_torch(both, folder, monkeypatch):
    monkeypatch.chdir(folder)
    run = Path("adapters/unsloth")
    torch, llama, mlx = every_engine(run, load_config(Path("configs/train-unsloth.yaml"), TrainConfig), "f16")
    assert apart(torch) > 0.1
    assert off(torch, llama) < 0.005 and off(torch, mlx) < 1e-4
    assert texts(torch) == texts(llama) == texts(mlx)


def test_the_adapter_names_its_base_and_the_metrics_lack_nothing(both):
    (manifest, lines), (known, known_lines), _, adapter = both
    assert (
        adapter["base_model_name_or_path"],
        adapter["r"],
        adapter["lora_alpha"],
        len(adapter["target_modules"]),
    ) == ("tiny", 4, 8, 7)
    step = next(line for line in lines if "loss" in line)
    assert {"learning_rate", "grad_norm", "num_tokens", "tokens_per_second", "memory_gb"} <= set(step)
    evaluation = next(line for line in lines if "eval_loss" in line)
    assert {"eval_entropy", "eval_mean_token_accuracy", "perplexity"} <= set(evaluation)
    for name in (
        "eval_entropy",
        "eval_mean_token_accuracy",
    ):  # over the same nine replies, so the same numbers
        assert numbers(lines, name)[0] == pytest.approx(numbers(known_lines, name)[0], rel=0.05, abs=0.01)
    before = [sample["reply"] for sample in manifest["samples"] if sample["step"] == 0]
    assert before == [sample["reply"] for sample in known["samples"] if sample["step"] == 0]


@pytest.fixture
def hub_cache(workspace, monkeypatch):
    """The tiny model in the Hub's cache on this machine, under the real model's name and at COMMIT;
    nothing can be fetched."""
    folder = workspace / "hf" / "hub" / "models--Qwen--Qwen3-8B"
    shutil.copytree(next(Path("data/cache").resolve().glob("tiny-*")), folder / "snapshots" / COMMIT)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    monkeypatch.setenv("HF_HOME", str(workspace / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_four_bits_are_four_bits_and_the_adapter_names_qwen_and_its_commit(hub_cache):
    """Unsloth by itself takes, and names in the adapter, a 4-bit copy of its own for this model."""
    four = SETTINGS.replace("quantization: none", "quantization: nf4").replace(
        "model: tiny", "model: Qwen/Qwen3-8B"
    )
    _, lines, _ = finished("unsloth", four)
    Path("configs/train-plain.yaml").write_text(four.replace("backend: auto", "backend: peft"))
    command = [sys.executable, "-m", "scripts.train", "--config", "configs/train-plain.yaml"]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, capture_output=True)
    known_lines = read_dicts(Path("adapters/plain/metrics.jsonl"))
    for name in ("loss", "eval_loss"):
        assert numbers(lines, name) == pytest.approx(numbers(known_lines, name), rel=0.01), name
    assert numbers(lines, "grad_norm")[:3] == pytest.approx(numbers(known_lines, "grad_norm")[:3], rel=0.05)
    for run in ("unsloth", "plain"):
        adapter, manifest = (
            read_json(Path(f"adapters/{run}/{name}.json")) for name in ("adapter_config", "manifest")
        )
        assert (adapter["base_model_name_or_path"], adapter["revision"]) == ("Qwen/Qwen3-8B", COMMIT)
        assert (manifest["base_model"], manifest["revision"]) == ("Qwen/Qwen3-8B", COMMIT)


def test_sixteen_bits_are_not_taken_for_four(workspace):
    process = start(
        "unsloth", SETTINGS.replace("quantization: none", "quantization: nf4"), "--without-bitsandbytes"
    )
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 1
    assert (
        "error: quantization: nf4 did not take effect: bitsandbytes does not work on this machine" in errors
    )
    assert "Traceback" not in errors


def test_a_killed_run_ends_in_the_same_weights_under_unsloth_too(both, workspace):
    manifest = both[0][0]
    process = start("killed", SETTINGS)
    wait_for_step(process, 7, Path("adapters/killed"))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert newest(Path("adapters/killed/checkpoints")) is not None
    resumed, lines, printed = finished("killed", SETTINGS)
    assert re.search(r"resuming killed from step \d+ of 12", printed)
    assert sha256_of(Path("adapters/killed/adapter_model.safetensors")) == manifest["adapter_sha256"]
    assert resumed["eval_losses"] == manifest["eval_losses"]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 13))


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_preferences_are_learned_from_the_supervised_run(tiny_run, method):
    write_jsonl(PREFERENCES, preferences())
    tuning = (
        f"method: {method}\ninit_adapter: tiny\nmin_preferences: 20\nlearning_rate: 1e-3\nepochs: "
        "2\nevals_per_run: 4\n"
    )
    manifest, lines, _ = finished("tuned", f"extends: tiny\nbackend: auto\n{tuning}")
    assert manifest["backend"] == "unsloth"
    assert manifest["reward_margin"]["before"] == pytest.approx(
        0, abs=0.01
    )  # the reference is the supervised run
    losses = numbers(lines, "loss")
    assert sum(losses[-3:]) < sum(losses[:3])
    assert manifest["reward_margin"]["after"] > manifest["reward_margin"]["before"]


def test_two_processes_make_the_same_run_under_unsloth_too(both, workspace):
    Path("configs/train-two.yaml").write_text(SETTINGS)
    launch = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--multi_gpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
    ]
    launch += [
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
        "-m",
        "tests.unsloth_cpu",
        "--config",
        "configs/train-two.yaml",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(launch, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    (manifest, lines), *_ = both
    found = read_json(Path("adapters/two/manifest.json"))
    assert (found["backend"], found["processes"]) == ("unsloth", 2)
    # Of the 42 rows, five steps are full; the sixth has two rows, which two processes fill up from the start.
    losses = numbers(read_dicts(Path("adapters/two/metrics.jsonl")), "loss")
    assert losses[:5] == pytest.approx(numbers(lines, "loss")[:5], rel=0.005)
    assert found["eval_loss"] == pytest.approx(manifest["eval_loss"], rel=0.01)
