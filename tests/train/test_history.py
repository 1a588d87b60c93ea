"""What the losses of a run say about its checkpoints, and which of these are whole: no model is needed."""

import json
import struct
import zipfile

import pytest

from lib.base.files import read_dicts, write_jsonl
from lib.base.settings import TrainConfig
from lib.train.checkpoints import (
    STATE_FILE,
    best_steps,
    cut_lines,
    delete,
    eval_losses,
    keep_best,
    newest,
    state_of,
    stopped_early,
    watched,
    whole_checkpoints,
)
from lib.train.finishing import usd_of


def write_checkpoint(folder, step):
    """A checkpoint as the Trainer leaves it, as far as one can see from outside."""
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        with zipfile.ZipFile(path / name, "w") as content:
            content.writestr("data.pkl", "x" * 500)
    header = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    (path / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    (path / STATE_FILE).write_text(json.dumps({"global_step": step}))
    return path


@pytest.mark.parametrize(
    "name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "adapter_model.safetensors", STATE_FILE]
)
def test_a_checkpoint_of_which_a_file_is_cut_or_gone_is_not_gone_on_from(tmp_path, name):
    path = write_checkpoint(tmp_path, 4)
    whole = (path / name).read_bytes()
    assert state_of(path) == {"global_step": 4}
    for n_bytes in (0, 1, len(whole) // 2, len(whole) - 1):
        (path / name).write_bytes(whole[:n_bytes])
        assert state_of(path) is None, n_bytes
    (path / name).unlink()
    assert state_of(path) is None


def test_each_process_of_a_run_needs_its_random_state(tmp_path):
    path = write_checkpoint(tmp_path, 4)
    (path / "rng_state.pth").rename(path / "rng_state_0.pth")
    assert state_of(path) is not None
    (path / "rng_state_1.pth").write_bytes((path / "rng_state_0.pth").read_bytes()[:100])
    assert state_of(path) is None


def test_a_state_of_another_step_and_a_marked_checkpoint_are_not_whole(tmp_path):
    path = write_checkpoint(tmp_path, 4)
    (path / STATE_FILE).write_text(json.dumps({"global_step": 5}))
    assert state_of(path) is None
    other = write_checkpoint(tmp_path, 8)
    (other / "checkpoint-is-incomplete.txt").touch()
    assert state_of(other) is None


def test_the_newest_whole_checkpoint_is_the_one_of_the_highest_step_and_others_go(tmp_path):
    for step in (8, 12, 100, 9):
        write_checkpoint(tmp_path, step)
    assert [path.name for path in whole_checkpoints(tmp_path)] == [f"checkpoint-{n}" for n in (8, 9, 12, 100)]
    (tmp_path / "checkpoint-100" / "optimizer.pt").write_bytes(b"")
    assert newest(tmp_path).name == "checkpoint-12"
    assert not (tmp_path / "checkpoint-100").exists()


def test_half_a_deletion_does_not_look_whole(tmp_path, monkeypatch):
    path = write_checkpoint(tmp_path, 4)
    monkeypatch.setattr("shutil.rmtree", lambda folder: None)  # killed before the rest went
    delete(path)
    assert state_of(path) is None


@pytest.mark.parametrize("n_gpus, seconds, usd", [("1", 3600, 2.0), ("2", 3600, 4.0), ("2", 90, 0.1)])
def test_an_hour_at_2_dollars_on_two_gpus_is_4_dollars(monkeypatch, n_gpus, seconds, usd):
    monkeypatch.setenv("WORLD_SIZE", n_gpus)
    assert usd_of(seconds, TrainConfig(data="x", usd_per_hour=2)) == usd


def test_the_base_models_loss_is_no_checkpoints():
    history = [{"step": 0, "eval_loss": 2.0}, {"step": 4, "eval_loss": 3.0}, {"step": 4, "loss": 1.0}]
    assert eval_losses(history) == {4: 3.0}
    assert best_steps(eval_losses(history), 1) == [4]  # a run that never beats the base still ends


def test_the_best_checkpoints_are_kept_and_the_newest(tmp_path):
    losses = {4: 3.0, 8: 2.0, 12: 2.5, 16: 2.0, 20: 4.0}
    for step in losses:
        (tmp_path / f"checkpoint-{step}").mkdir()
    keep_best(tmp_path, losses, 2, also=20)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-8", "checkpoint-16", "checkpoint-20"}
    assert best_steps(losses, 1) == [8]  # the earlier of two equal ones


@pytest.mark.parametrize(
    "losses, patience, threshold, stops",
    [
        ([3.0, 3.2, 3.1], 2, 0.0, True),  # better than the one before is no better than the best
        ([3.0, 3.2, 2.9, 3.1, 3.0], 2, 0.0, True),
        ([3.0, 2.0, 1.0], 2, 0.0, False),
        ([3.0, 3.1, 3.2], 2, 0.0, True),
        ([3.0, 3.1, 2.9, 3.0], 2, 0.0, False),
        ([3.0, 3.0, 3.0], 2, 0.0, True),
        ([3.0, 2.9, 2.5], 2, 0.125, False),
        ([3.0, 2.5, 2.0], 2, 0.5, True),  # a gain of the threshold itself is none
        ([3.0, 3.1], 2, 0.0, False),
        ([3.0, 2.95, 2.9], 2, 0.1, True),  # gains below the threshold count as failures
        ([3.0], 1, 0.0, False),
    ],
)
def test_early_stopping_counts_failures_since_the_best(losses, patience, threshold, stops):
    assert stopped_early(dict(enumerate(losses, 1)), patience, threshold) is stops


def evaluation(step, loss, distinct_2, alike):
    return {"step": step, "eval_loss": loss, "eval_distinct_2": distinct_2, "eval_alike": alike}


ONE_REPLY_FOR_ALL = [
    evaluation(0, 4.0, 0.8, 0.0),
    evaluation(4, 3.0, 0.7, 0.1),
    evaluation(8, 2.9, 0.3, 0.1),  # half the base model's word pairs are gone
    evaluation(12, 2.8, 0.6, 0.8),  # and here four of five replies are one
]


def test_a_run_that_comes_to_say_one_thing_is_stopped_before_its_best_loss_where_that_is_watched():
    by_loss, by_both = (watched(ONE_REPLY_FOR_ALL, watch) for watch in ("loss", "loss_and_diversity"))
    assert (best_steps(by_loss, 1), stopped_early(by_loss, 2, 0.0)) == ([12], False)
    assert (best_steps(by_both, 1), stopped_early(by_both, 2, 0.0)) == ([4], True)


def test_what_an_older_run_did_not_measure_does_not_count_as_collapsed():
    older = [{"step": entry["step"], "eval_loss": entry["eval_loss"]} for entry in ONE_REPLY_FOR_ALL]
    assert watched(older, "loss_and_diversity") == watched(older, "loss")


def test_lines_after_the_checkpoint_are_cut_and_a_torn_one_too(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write_jsonl(path, [{"step": step} for step in (0, 1, 2, 3)])
    with path.open("a") as handle:
        handle.write('{"step": 4, "lo')
    cut_lines(path, 2)
    assert read_dicts(path) == [{"step": 0}, {"step": 1}, {"step": 2}]
