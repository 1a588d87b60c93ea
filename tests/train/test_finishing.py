"""The end of a run: which adapter it leaves, and what its manifest says of its history."""

import math
from types import SimpleNamespace

import pytest

from lib.base.errors import UserError
from lib.base.files import write_json, write_jsonl
from lib.base.settings import TrainConfig
from lib.model.adapters import sha256_of
from lib.train.finishing import finish
from lib.train.job import Batch
from lib.train.manifest import read_manifest
from lib.train.run import _agreed, _disk_full_is_a_sentence, _is_over
from tests.train.test_history import write_checkpoint
from tests.training_data import job_of, write_workspace

HISTORY = [
    {"step": 0, "eval_loss": 4.0},
    {"step": 2, "loss": 2.5},
    {"step": 2, "eval_loss": 3.0},
    {"step": 4, "loss": 2.0},
    {"step": 4, "eval_loss": 2.25},
    {"step": 6, "loss": 1.5},
    {"step": 6, "eval_loss": 2.5},
]
SFT = {"data": "sample", "keep_best": 2, "usd_per_hour": 2.0, "seed": 23}


def finished(tmp_path, monkeypatch, perplexity=None, **changes):
    """The manifest of adapters/run, whose three checkpoints hold a number each."""
    monkeypatch.chdir(write_workspace(tmp_path))
    config = TrainConfig(**SFT | changes)
    told = []

    def save(folder):
        (folder / "tokenizer.json").write_text("{}")
        return [str(folder / "tokenizer.json")]

    job = job_of(tmp_path / "adapters/run", config, tokenizer=SimpleNamespace(save_pretrained=save))
    for step in (2, 4, 6):
        folder = write_checkpoint(job.checkpoints, step)
        (folder / "adapter_config.json").write_text("{}")
        with (folder / "adapter_model.safetensors").open("r+b") as weights:
            weights.seek(-1, 2)
            weights.write(bytes([step]))
    lines = [{"step": 2, "loss": 2.5, "seconds": 5000.0}, {"step": 6, "eval_loss": 2.5, "seconds": 5400.0}]
    write_jsonl(job.folder / "metrics.jsonl", lines)
    replies = [{"tweet_id": "1", "base": "Bold.", "tuned": job.splits["train"][0].reply}]
    write_json(job.folder / "validation.json", {"step": 4, "perplexity": perplexity, "replies": replies})
    tracker = SimpleNamespace(finish=lambda manifest, folder: told.append((manifest, folder)))
    found = finish(job, HISTORY, tracker)
    assert found == read_manifest(job.folder / "manifest.json") and told == [(found, job.folder)]
    return found, job


def test_a_run_leaves_the_best_adapter_sealed_and_its_best_checkpoints(tmp_path, monkeypatch):
    found, job = finished(tmp_path, monkeypatch)
    assert (job.folder / "adapter_model.safetensors").read_bytes()[-1] == 4
    assert found.adapter_sha256 == sha256_of(job.checkpoints / "checkpoint-4/adapter_model.safetensors")
    assert sorted(path.name for path in job.checkpoints.iterdir()) == ["checkpoint-4", "checkpoint-6"]
    assert set(found.files) == {"adapter_config.json", "metrics.jsonl", "tokenizer.json", "validation.json"}
    assert (job.folder / "curves.svg").is_file()


def test_the_manifest_says_how_the_run_went_and_what_it_cost(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    found, _ = finished(tmp_path, monkeypatch)
    assert (found.steps, found.best_step, found.n_train, found.n_val, found.n_evaluated) == (6, 4, 42, 9, 9)
    assert (found.train_loss, found.eval_loss, found.train_eval_gap) == (2.0, 2.25, 0.25)
    assert found.perplexity == pytest.approx(math.exp(2.25))
    assert found.eval_losses == [(0, 4.0), (2, 3.0), (4, 2.25), (6, 2.5)]
    assert (found.seconds, found.minutes, found.processes, found.usd, found.seed) == (
        5400.0,
        90.0,
        2,
        6.0,
        23,
    )
    assert found.evaluation_share == pytest.approx(400 / 5400, abs=1e-4)
    assert (found.memorisation.base, found.memorisation.tuned, found.memorisation.n) == (0.0, 1.0, 1)
    assert found.method == "sft" and found.samples == []


def test_where_evaluations_read_a_part_loss_and_gap_are_those_of_all_rows(tmp_path, monkeypatch):
    found, _ = finished(tmp_path, monkeypatch, perplexity=math.exp(2.5))
    assert found.eval_loss == pytest.approx(2.5) and found.perplexity == pytest.approx(math.exp(2.5))
    assert found.train_eval_gap == pytest.approx(0.5)  # the training loss is 2.0


@pytest.mark.parametrize("bound, n_alerts, by_heart", [(0.2, 1, True), (0.25, 1, False), (1.1, 0, False)])
def test_a_gap_above_the_bound_has_its_alert_and_its_advice(tmp_path, monkeypatch, bound, n_alerts, by_heart):
    found, _ = finished(tmp_path, monkeypatch, max_train_eval_gap=bound)
    assert len(found.alerts) == n_alerts
    assert ("by heart" in found.advice) is by_heart


@pytest.mark.parametrize(
    "step, early, over",
    [(3, None, False), (18, None, True), (6, {"patience": 1}, True), (6, {"patience": 2}, False)],
)
def test_a_run_is_over_at_its_last_step_or_its_early_stop(tmp_path, step, early, over):
    config = TrainConfig(data="sample", epochs=3, effective_batch=8, early_stopping=early)
    assert job_of(tmp_path, config).plan.steps == 18
    assert _is_over(job_of(tmp_path, config), HISTORY, step) is over


@pytest.mark.parametrize("watch", ["loss", "loss_and_diversity"])
def test_a_job_watches_what_its_config_says(tmp_path, watch):
    config = TrainConfig(data="sample", early_stopping={"watch": watch})
    assert job_of(tmp_path, config).watch == watch
    assert job_of(tmp_path, config.model_copy(update={"early_stopping": None})).watch == "loss"


@pytest.mark.parametrize(
    "others, agreed",
    [
        ([("none", Batch(4, 2, True)), ("none", Batch(16, 1, False))], ("none", Batch(4, 2, True))),
        ([("none", Batch(8, 1, False)), ("nf4", Batch(4, 2, False))], ("nf4", Batch(4, 2, False))),
        ([("nf4", Batch(2, 4, False)), ("none", Batch(8, 1, True))], ("nf4", Batch(8, 1, True))),
    ],
)
def test_all_processes_do_what_the_smallest_card_can(tmp_path, monkeypatch, others, agreed):
    monkeypatch.setattr("lib.train.run.smallest", lambda own, key: min(of[type(own)], key=key))
    of = {Batch: [batch for _, batch in others], tuple: [(held, f"why {held}") for held, _ in others]}
    config = TrainConfig(data="sample", quantization=others[0][0])
    found = _agreed(job_of(tmp_path, config, batch=others[0][1]))
    assert (found.config.quantization, found.batch) == agreed
    assert (found.base.quantization, found.quantization_reason) == (agreed[0], f"why {agreed[0]}")


@pytest.mark.parametrize(
    "error, free_gb, is_full",
    [
        (OSError(28, "No space left on device"), 90, True),
        (RuntimeError("safetensors: File too large"), 90, True),
        (RuntimeError("unexpected pos 64 vs 0"), 0.001, True),  # torch of a write that was cut short
        (RuntimeError("CUDA out of memory"), 90, False),
        (ValueError("no such key"), 0.001, False),
    ],
)
def test_a_full_disk_is_a_sentence_with_the_last_checkpoint_and_other_errors_stay(
    tmp_path, monkeypatch, error, free_gb, is_full
):
    monkeypatch.setattr("lib.train.run.shutil.disk_usage", lambda _: SimpleNamespace(free=free_gb * 1e9))
    job = job_of(tmp_path, TrainConfig(data="sample"))
    said = ["Free some space", "checkpoint-4 is intact: free some space"] if is_full else [""]
    for kept in said:
        with pytest.raises(UserError if is_full else type(error)) as raised, _disk_full_is_a_sentence(job):
            raise error
        assert (f"{kept} and run the same command" in str(raised.value)) is is_full
        if kept == said[0]:
            write_checkpoint(job.checkpoints, 4)
    assert is_full or raised.value is error
