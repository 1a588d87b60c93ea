"""One loss: the same number at any batch size, padded or not, in training and in the evaluation of a run."""

import math
from pathlib import Path

import pytest

from lib.base.config import load_config
from lib.base.files import read_jsonl, write_jsonl
from lib.base.schema import Pair
from lib.base.settings import TrainConfig
from lib.train.callbacks import StopOnSignal
from lib.train.run import _prepare, _trainer
from lib.train.validation_loss import spread
from tests.train.test_preference_tuning import PREFERENCES, preferences

SIZES = (1, 3, 8, 30)
VAL = Path("data/sample/processed/val.jsonl")


def config(**changes) -> TrainConfig:
    settings = load_config(Path("configs/train-tiny.yaml"), TrainConfig).model_dump()
    return TrainConfig.model_validate({**settings, **changes})


@pytest.fixture
def thirty(tiny_run):
    """A finished run, and thirty validation pairs of very different length."""
    pairs = read_jsonl(VAL, Pair)
    made = [
        pairs[n % 9].model_copy(
            update={"reply_id": f"30{n}", "reply": " ".join(["so it goes"] * (1 + n % 7))}
        )
        for n in range(30)
    ]
    write_jsonl(VAL, made)
    return made


def trainer_of(run_config, folder="adapters/try"):
    job = _prepare("try", run_config, Path(folder))
    trainer = _trainer(job, StopOnSignal(), resumed=False)
    if run_config.method == "sft":
        fill(trainer.model)
    else:  # as after some steps: at the start policy and reference are one model, and every margin is 0
        trainer.state.global_step = 3
        for name, parameter in trainer.model.named_parameters():
            if ".lora_B.default." in name:
                parameter.data += 0.02
    return trainer, job


def fill(model):
    from lib.model.adapters import fill_adapter

    fill_adapter(model, Path("adapters/tiny/adapter_model.safetensors"))


def at_every_size(monkeypatch, trainer, longest):
    """eval_ numbers at each batch size (rows of the longest length), and at the one that runs choose."""
    import lib.train.validation_loss as module
    from lib.model.losses import batches

    found = [trainer.evaluate()]
    for size in SIZES:
        monkeypatch.setattr(module, "batches", lambda rows, size=size: batches(rows, size * longest))
        found.append(trainer.evaluate())
    return [
        {name: value for name, value in one.items() if name in found[0] and "_per_" not in name}
        for one in found
    ]


def equal(values, tolerance=1e-5):
    assert max(values) - min(values) <= tolerance, values


@pytest.mark.parametrize("padding_free", [False, True])
def test_the_validation_loss_is_the_same_at_any_batch_size_and_as_perplexity(
    thirty, monkeypatch, padding_free
):
    from lib.model.loading import load_for_inference
    from lib.model.losses import perplexity

    trainer, job = trainer_of(config())
    found = at_every_size(monkeypatch, trainer, max(len(row["input_ids"]) for row in job.rows["val"]))
    for name in ("eval_loss", "eval_entropy", "eval_mean_token_accuracy"):
        equal([one[name] for one in found])
    assert its_own(trainer, len(thirty), padding_free) == pytest.approx(found[0]["eval_loss"], abs=1e-5)
    small = its_own(trainer, 4, padding_free)
    assert abs(small - found[0]["eval_loss"]) > 1e-3  # what this is for: a mean of batches' means is another
    loaded = load_for_inference(Path("adapters/tiny"), config())
    measured = perplexity(loaded, thirty, job.config.prompt, tuned=True)
    assert math.log(measured) == pytest.approx(found[0]["eval_loss"], abs=1e-5)


def test_a_part_of_the_rows_is_spread_over_their_lengths_and_always_the_same(thirty, monkeypatch):
    from lib.model.loading import load_for_inference
    from lib.model.losses import perplexity

    monkeypatch.setattr("lib.train.schedule.LEAST_ROWS", 10)
    trainer, job = trainer_of(config(max_evaluation_share=0.01))
    rows = job.rows["val"]
    part = spread(rows, 10)
    places = [next(place for place, row in enumerate(rows) if row is one) for one in part]
    assert places == sorted(set(places))
    lengths = sorted(len(row["input_ids"]) for row in rows)
    assert sorted(len(row["input_ids"]) for row in part) == lengths[::3]
    assert spread(rows, 30) == rows
    loaded = load_for_inference(Path("adapters/tiny"), config())
    read = [thirty[place] for place in places]
    measured = perplexity(loaded, read, job.config.prompt, tuned=True)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(math.log(measured), abs=1e-5)


def its_own(trainer, size, padding_free):
    """TRL's own eval_loss, in batches of size rows, padded or end to end."""
    trainer.args.per_device_eval_batch_size = size
    trainer.data_collator.padding_free = padding_free
    loop = type(trainer).evaluation_loop
    return loop(trainer, trainer.get_eval_dataloader(), "own", prediction_loss_only=True).metrics["eval_loss"]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_preference_losses_and_margins_are_the_same_at_any_batch_size(tiny_run, monkeypatch, method):
    write_jsonl(PREFERENCES, preferences())
    tuning = {
        "method": method,
        "init_adapter": "tiny",
        "min_preferences": 20,
        "epochs": 2,
        "evals_per_run": 4,
    }
    trainer, job = trainer_of(config(**tuning))
    found = at_every_size(monkeypatch, trainer, 80)
    names = {"eval_loss", "eval_rewards/chosen", "eval_rewards/rejected", "eval_rewards/margins"}
    assert names <= set(found[0])
    for name in names:
        equal([one[name] for one in found])
    assert abs(found[0]["eval_rewards/margins"]) > 1e-3

    monkeypatch.setattr(trainer.args, "per_device_eval_batch_size", len(job.rows["val"]))
    if method == "kto":  # TRL measures the drift on the neighbours within a batch
        from datasets import Dataset

        from lib.train.preference_rows import with_mismatched

        rows = with_mismatched(job.rows["val"], len(job.rows["val"]))
        trainer.eval_dataset = Dataset.from_list(rows)
    trainer.model.eval()
    loop = type(trainer).evaluation_loop
    loss = loop(trainer, trainer.get_eval_dataloader(), "own", prediction_loss_only=True).metrics["eval_loss"]
    own = {f"eval_{name}": values[-1] for name, values in trainer._metrics["eval"].items()}
    for name, value in {**own, "eval_loss": loss}.items():
        if name in {*names, "eval_kl", "eval_rewards/accuracies", "eval_entropy", "eval_mean_token_accuracy"}:
            assert found[0].get(name, value) == pytest.approx(value, abs=1e-4), name
