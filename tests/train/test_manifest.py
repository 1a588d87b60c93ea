"""lib/train/manifest.py: the manifest of a run, of this version and of those before it had one."""

import json

import pytest

from lib.base.errors import UserError
from lib.base.files import read_json, write_json
from lib.train.manifest import Manifest, Started, read_manifest, training_usd
from tests.older_run import older_manifest


@pytest.fixture
def path(tmp_path):
    """A whole manifest of this version."""
    older_manifest(tmp_path).write(tmp_path / "manifest.json")
    return tmp_path / "manifest.json"


def change(path, drop=(), **changes):
    values = {name: value for name, value in read_json(path).items() if name not in drop}
    write_json(path, values | changes)


def test_a_manifest_without_a_version_is_read_and_written_again_with_one(tmp_path):
    manifest = older_manifest(tmp_path)
    older = read_json(tmp_path / "adapters/tiny/manifest.json")
    manifest.write(tmp_path / "manifest.json")
    assert read_json(tmp_path / "manifest.json") == {"version": 1} | older
    assert read_manifest(tmp_path / "manifest.json") == manifest


def test_what_an_older_manifest_lacks_is_none_or_empty_and_what_it_had_besides_is_dropped(path):
    write_json(path, {"run": "old", "eval_loss": 2, "host": "pod-7"})
    manifest = read_manifest(path)
    assert (manifest.run, manifest.eval_loss, manifest.usd, manifest.memorisation) == ("old", 2.0, None, None)
    assert (manifest.alerts, manifest.samples, manifest.eval_losses, manifest.config) == ([], [], [], {})


@pytest.mark.parametrize("harm, sentence", [
    (lambda path: change(path, version=2), "has version 2, and this code reads version 1. Update the code"),
    (lambda path: change(path, version="1"), "has version '1'"),
    (lambda path: change(path, drop=["eval_loss"]), "eval_loss: Field required"),
    (lambda path: change(path, host="pod-7"), "host: Extra inputs are not permitted"),
    (lambda path: change(path, steps="96"), "steps: Input should be a valid integer"),
    (lambda path: change(path, eval_losses=[[0]]), "eval_losses.0.1: Field required"),
    (lambda path: change(path, drop=["version"], usd="nothing"), "usd: Input should be a valid number"),
    (lambda path: path.write_text("[1]"), "expected a JSON object"),
    (lambda path: path.write_text('{"run": '), "not valid JSON"),
    (lambda path: path.write_text('{"usd": NaN}'), "manifest.json"),
    (lambda path: path.unlink(), "does not exist"),
])  # fmt: skip
def test_another_or_a_damaged_manifest_is_a_sentence_that_names_file_and_field(path, harm, sentence):
    harm(path)
    with pytest.raises(UserError) as error:
        read_manifest(path)
    assert str(path) in str(error.value) and sentence in str(error.value)


def test_a_supervised_run_has_no_fields_of_preference_tuning(path):
    assert "reward_margin" not in read_json(path)
    assert read_manifest(path).reward_margin is None


def test_a_record_is_not_changed_after_it_was_made(path):
    with pytest.raises(ValueError, match="frozen"):
        read_manifest(path).usd = 0.0


def test_a_begun_run_is_read_with_and_without_a_version(tmp_path):
    path = tmp_path / "started.json"
    path.write_text(json.dumps({"fingerprint": "f", "config": {"model": "tiny"}}))
    older = Started.read(path)
    older.write(path)
    assert read_json(path) == {
        "version": 1,
        "fingerprint": "f",
        "config": {"model": "tiny"},
        "revision": None,
    }
    assert Started.read(path) == older


def test_the_account_takes_what_each_training_says_it_cost(tmp_path):
    for run, values in (("new", {"usd": 0.5}), ("free", {"usd": 0}), ("old", {"run": "old"})):
        write_json(tmp_path / "adapters" / run / "manifest.json", values)
    assert training_usd(tmp_path) == {"free": 0.0, "new": 0.5}


def test_a_manifest_cannot_be_made_without_saying_everything():
    with pytest.raises(ValueError, match="adapter_sha256"):
        Manifest(run="v1", config={})
