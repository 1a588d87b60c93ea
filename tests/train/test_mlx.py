"""The MLX backend: mlx and mlx-lm as they are, on a CPU, make the same run as plain TRL."""

import re
import shutil
import signal
from pathlib import Path

import pytest

from lib.base.config import load_config
from lib.base.files import read_dicts, read_json
from lib.base.settings import TrainConfig
from lib.model.adapters import sha256_of
from lib.model.tiny import ensure_tiny
from lib.train.checkpoints import newest, of_mlx, step_of
from lib.train.manifest import read_manifest
from lib.train.run import train
from tests.mlx_run import SETTINGS, finished, needs_mlx, start
from tests.train.test_checkpoints import wait_for_step

pytestmark = [pytest.mark.slow, needs_mlx]
RUN, PLAIN = Path("adapters/mlx"), Path("adapters/plain")


def config(run):
    return load_config(Path(f"configs/train-{run}.yaml"), TrainConfig)


def lines(run):
    return read_dicts(run / "metrics.jsonl")


def numbers(run, name):
    return [line[name] for line in lines(run) if name in line]


@pytest.fixture(scope="module")
def plain(mlx_trained, tmp_path_factory):
    """adapters/plain, the run of adapters/mlx as plain TRL trains it, in a workspace that holds both."""
    folder = tmp_path_factory.mktemp("plain") / "both"
    shutil.copytree(mlx_trained, folder, symlinks=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("configs/train-plain.yaml").write_text(SETTINGS.replace("backend: mlx", "backend: peft"))
        train("plain", config("plain"))
        yield folder


def test_both_backends_train_on_the_same_tokens_to_the_same_losses(plain):
    assert numbers(RUN, "num_tokens") == numbers(PLAIN, "num_tokens")
    assert numbers(RUN, "learned_tokens") == numbers(PLAIN, "learned_tokens")
    assert numbers(RUN, "learning_rate") == pytest.approx(numbers(PLAIN, "learning_rate"))
    assert [(line["step"], "eval_loss" in line) for line in lines(RUN)] == [
        (line["step"], "eval_loss" in line) for line in lines(PLAIN)
    ]
    for name in ("loss", "entropy", "eval_loss", "eval_entropy"):
        assert numbers(RUN, name) == pytest.approx(numbers(PLAIN, name), rel=0.02), name
        # Before the first update nothing is random.
        assert numbers(RUN, name)[0] == pytest.approx(numbers(PLAIN, name)[0], rel=1e-5), name
    losses = numbers(RUN, "eval_loss")
    assert losses[-1] < losses[0] - 0.05


def test_the_run_lacks_nothing_that_plain_trl_leaves(plain):
    (own, known) = (read_manifest(run / "manifest.json") for run in (RUN, PLAIN))
    assert (own.backend, own.backend_reason) == ("mlx", "the config says so")
    assert {"mlx", "mlx-lm"} <= set(own.versions)
    assert own.model_dump(exclude_none=True).keys() == known.model_dump(exclude_none=True).keys()
    assert own.samples[:3] == known.samples[:3]  # before training
    assert [(one.step, one.tweet_id) for one in own.samples] == [
        (one.step, one.tweet_id) for one in known.samples
    ]
    for ours, theirs in zip(lines(RUN), lines(PLAIN), strict=True):
        assert ours.keys() == theirs.keys()
    kept = sorted(step_of(path) for path in (RUN / "checkpoints").iterdir())
    losses = dict(own.eval_losses)
    assert kept == sorted(sorted((2, 4, 6), key=losses.get)[:2])


def test_the_adapter_is_one_of_peft_and_answers_in_torch_as_in_mlx(plain):
    from lib.model.loading import load_for_inference
    from lib.model.losses import batches, per_token, row_losses, with_given
    from lib.train.rows import read_splits, token_rows

    assert read_json(RUN / "adapter_config.json") == read_json(PLAIN / "adapter_config.json")
    loaded = load_for_inference(RUN, config("mlx"))
    rows = with_given(token_rows(config("mlx"), read_splits(config("mlx"))["val"], loaded.tokenizer))
    losses = row_losses(loaded.model, rows, batches(rows))
    assert per_token(losses.values()) == pytest.approx(
        read_manifest(RUN / "manifest.json").eval_loss, abs=1e-5
    )


def test_a_killed_run_ends_in_the_same_weights(plain):
    process = start("killed", SETTINGS)
    wait_for_step(process, 3, Path("adapters/killed"))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    checkpoint = newest(Path("adapters/killed/checkpoints"))
    assert of_mlx(checkpoint)
    manifest, metrics, printed = finished("killed", SETTINGS)
    assert re.search(r"resuming killed from step \d+ of 6", printed)
    known = read_manifest(RUN / "manifest.json")
    assert sha256_of(Path("adapters/killed/adapter_model.safetensors")) == known.adapter_sha256
    assert manifest["eval_losses"] == [list(one) for one in known.eval_losses]
    assert [line["step"] for line in metrics if "loss" in line] == list(range(1, 7))


def test_four_bits_train_in_parts_with_dropout_and_stop_early(workspace):
    """In micro-batches, layers computed twice: the settings of a Mac with little memory."""
    settings = SETTINGS.replace("quantization: none", "quantization: nf4").replace(
        "dropout: 0", "dropout: 0.1"
    )
    settings = settings.replace("threshold: 0.0", "threshold: 5").replace("patience: 2", "patience: 1")
    settings += "micro_batch: 2\ngradient_checkpointing: true\nmax_evaluation_share: 0.01\n"
    manifest, _, _ = finished("four", settings, "import lib.train.schedule as it; it.LEAST_ROWS = 4")
    assert (manifest["steps"], manifest["micro_batch"], manifest["n_evaluated"]) == (4, 2, 4)
    losses = [loss for _, loss in manifest["eval_losses"]]
    assert losses[-1] < losses[0] - 0.01
    assert manifest["eval_loss"] not in losses  # in the end all nine rows are read
    assert manifest["eval_loss"] == pytest.approx(losses[-1], abs=0.3)


NO_NUMBER = """
from lib.train.mlx_model import MlxModel
learned, steps = MlxModel.learned, []
def diverging(self, rows):
    nats, *rest = learned(self, rows)
    steps.extend([1] * self.model.training)
    return nats * (float("nan") if len(steps) == 2 else 1), *rest
MlxModel.learned = diverging
"""


def test_a_loss_that_is_no_number_ends_the_run_with_advice_before_the_adapter_is_touched(workspace):
    process = start("wild", SETTINGS, NO_NUMBER)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 1
    assert re.search(r"error: .* at step 2: .*lower learning_rate there: in 4 bits on a Mac 5e-5", errors)
    assert "Traceback" not in errors
    assert len(numbers(Path("adapters/wild"), "loss")) == 1


def test_in_sixteen_bits_the_losses_are_those_of_plain_trl_too(workspace):
    """The tiny model by its folder: under its own name a CPU holds it in fp32."""
    settings = SETTINGS.replace("model: tiny", f"model: {ensure_tiny().resolve()}")
    settings = settings.replace("effective_batch: 8", "effective_batch: 21")
    settings = settings.replace("{patience: 2, threshold: 0.0}", "null")
    finished("half", settings)
    Path("configs/train-plain.yaml").write_text(settings.replace("backend: mlx", "backend: peft"))
    train("plain", config("plain"))
    for name in ("loss", "eval_loss"):
        assert numbers(Path("adapters/half"), name) == pytest.approx(numbers(PLAIN, name), rel=0.02), name
