"""What Weights & Biases, Trackio and TensorBoard get, and that without being asked nobody gets anything."""

import json
import os
import sqlite3
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from lib.base.config import load_config
from lib.base.errors import UserError
from lib.base.files import read_dicts, read_json
from lib.base.settings import TrainConfig
from lib.train.manifest import read_manifest
from lib.train.run import train
from lib.train.tracking import require_tracker, tracking
from tests.test_runpod_page import wait_until

CONFIG = Path("configs/train-tiny.yaml")
RUN = Path("adapters/tiny")
KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def _nothing_leaves(monkeypatch, tmp_path):
    """No tracker's own variables but these; what they put into the environment goes with the test."""
    for name in [name for name in os.environ if name.startswith(("WANDB_", "TRACKIO_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / RUN / "wandb" / "data"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / RUN / "wandb" / "cache"))
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / RUN / "trackio"))


def config(track, **changes):
    settings = load_config(CONFIG, TrainConfig)
    return TrainConfig.model_validate({**settings.model_dump(), "track": track, **changes})


def numbers(lines):
    """{(step, name): value} of metrics.jsonl; where training and evaluation share a step and a name, the
    evaluation's."""
    return {
        (line["step"], name): value
        for line in lines
        for name, value in line.items()
        if name != "step" and value is not None
    }


def wandb_records(path):
    """The records of a .wandb file: a LevelDB log (32 KiB blocks, 7-byte headers) of protocol buffers."""
    from wandb.proto import wandb_internal_pb2

    data, position, part = path.read_bytes(), 7, b""
    while position + 7 <= len(data):
        if (left := 32768 - position % 32768) < 7:
            position += left
            continue
        size, kind = int.from_bytes(data[position + 4 : position + 6], "little"), data[position + 6]
        if position + 7 + size > len(data):  # still being written
            return
        part = (b"" if kind in (1, 2) else part) + data[
            position + 7 : position + 7 + size
        ]  # 1 whole, 2 first, 3 middle, 4 last
        position += 7 + size
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(part)
            yield record


def test_wandb_offline_gets_every_number_the_config_the_replies_and_the_adapter(
    workspace, monkeypatch, capsys
):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    manifest = train("tiny", config("wandb", epochs=1, early_stopping=None))
    (log,) = RUN.glob(
        "wandb/offline-run-*/run-*.wandb"
    )  # in the run's folder, which publishing copies named files from
    wait_until(lambda: any(record.HasField("exit") for record in wandb_records(log)))  # by wandb's process
    records = list(wandb_records(log))

    rows = [
        [(item.nested_key[0], json.loads(item.value_json)) for item in r.history.item]
        for r in records
        if r.HasField("history")
    ]
    sent = {
        (dict(row)["_step"], name): value
        for row in rows
        for name, value in row
        if not name.startswith("_") and name != "samples"
    }
    assert sent == numbers(read_dicts(RUN / "metrics.jsonl"))

    (run,) = [record.run for record in records if record.HasField("run")]
    settings = {item.key: json.loads(item.value_json) for item in run.config.update if item.key != "_wandb"}
    assert settings == config("wandb", epochs=1, early_stopping=None).model_dump(mode="json")

    (table,) = RUN.glob("wandb/offline-run-*/files/media/table/samples*.json")
    assert [row[3] for row in read_json(table)["data"]] == [sample.reply for sample in manifest.samples]
    (adapter,) = [r.artifact for r in records if r.HasField("artifact") and r.artifact.type == "model"]
    assert {entry.path for entry in adapter.manifest.contents} == {
        "adapter_model.safetensors",
        "adapter_config.json",
    }

    assert str(workspace) not in str([record for record in records if not record.HasField("artifact")])
    written = b"".join(path.read_bytes() for path in RUN.rglob("*") if path.is_file())
    assert KEY.encode() not in written and KEY not in "".join(capsys.readouterr())


def test_trackio_gets_every_number_and_writes_into_the_runs_folder(tiny_run):
    lines = read_dicts(RUN / "metrics.jsonl")
    with tracking(config("trackio"), "tiny", RUN) as tracker:
        for line in lines:
            tracker.log(line)
        tracker.finish(read_manifest(RUN / "manifest.json"), RUN)
    with sqlite3.connect(RUN / "trackio" / "tweet-replies.db") as database:
        rows = database.execute("select run_name, step, metrics from metrics order by id").fetchall()
    assert {run for run, _, _ in rows} == {"tiny"}
    assert numbers([{"step": step, **json.loads(values)} for _, step, values in rows]) == numbers(lines)


def test_tensorboard_gets_every_number_once_also_after_an_interruption(tiny_run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    lines = read_dicts(RUN / "metrics.jsonl")
    for part in (
        lines[:9],
        [line for line in lines if line["step"] > 4],
    ):  # killed at step 6 or 7, gone on from checkpoint 4
        with tracking(config("tensorboard"), "tiny", RUN) as tracker:
            for line in part:
                tracker.log(line)
            tracker.finish(read_manifest(RUN / "manifest.json"), RUN)
    events = EventAccumulator(str(RUN / "tensorboard")).Reload()
    shown = [(event.step, event.value) for event in events.Scalars("loss")]
    assert shown == [(line["step"], pytest.approx(line["loss"])) for line in lines if "loss" in line]
    assert [event.step for event in events.Scalars("eval_loss")] == [
        line["step"] for line in lines if "eval_loss" in line
    ]


def test_nothing_is_sent_or_written_by_default(tiny_run):
    assert config("none").track == TrainConfig(data="sample").track == "none"
    with tracking(config("none"), "tiny", RUN) as tracker:
        tracker.log({"step": 1, "loss": 2.0})
    assert not {"wandb", "trackio", "tensorboard", "runs"} & {
        path.name for path in [*RUN.iterdir(), *tiny_run.iterdir()]
    }


@pytest.mark.parametrize("track", ["wandb", "trackio", "tensorboard"])
def test_a_missing_package_is_a_sentence_with_the_command_that_installs_it(tiny_run, monkeypatch, track):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=f"track: {track} needs a package: `.venv/bin/python -m pip install {track}`"
    ):
        require_tracker(config(track))


def test_wandb_without_a_key_is_refused_before_weights_are_loaded(workspace, monkeypatch):
    monkeypatch.setattr("lib.train.run.load_model_for_training", None)
    monkeypatch.setattr("wandb.login", lambda **how: how["prompt"])  # it has no key, and does not ask for one
    with pytest.raises(UserError, match=r"WANDB_API_KEY .*WANDB_MODE=offline"):
        train("tiny", config("wandb"))


def test_a_trackio_space_which_others_could_read_is_refused(tiny_run, monkeypatch):
    monkeypatch.setenv("TRACKIO_SPACE_ID", "someone/replies")
    with pytest.raises(UserError, match=r"TRACKIO_SPACE_ID.*Unset it"):
        require_tracker(config("trackio"))


def test_a_tracker_that_does_not_start_is_a_sentence(tiny_run, monkeypatch):
    import wandb

    def refuse(**_):
        raise wandb.errors.CommError("no route to host\nlong story")

    monkeypatch.setattr(wandb, "init", refuse)
    sentence = r"^track: wandb did not start \(no route to host\). Set WANDB_MODE=offline, or track: none.$"
    with pytest.raises(UserError, match=sentence), tracking(config("wandb"), "tiny", RUN):
        pass


def test_a_tracker_that_fails_on_the_way_says_so_once_and_does_not_end_the_run(tiny_run, monkeypatch, capsys):
    monkeypatch.setattr("lib.train.tracking._numbers", lambda line: {}["gone"])
    with tracking(config("tensorboard"), "tiny", RUN) as tracker:
        for step in (1, 2, 3):
            tracker.log({"step": step, "loss": 1.0})
    assert (
        capsys.readouterr().err
        == "track: tensorboard failed ('gone'); the rest of the run is in metrics.jsonl only\n"
    )


def test_the_curves_of_both_losses_are_drawn_into_the_runs_folder(tiny_run):
    drawing = ET.fromstring((RUN / "curves.svg").read_text())
    lines = read_dicts(RUN / "metrics.jsonl")
    curves = [line.get("points").split() for line in drawing.iter("{http://www.w3.org/2000/svg}polyline")]
    assert [len(points) for points in curves] == [
        sum("loss" in line for line in lines),
        sum("eval_loss" in line for line in lines),
    ]
    texts = [text.text for text in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert {"training loss", "validation loss", "step"} <= set(texts)
