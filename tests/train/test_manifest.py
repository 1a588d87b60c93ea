"""lib/train/manifest.py: the manifest of a run, of this version and of those before it had one."""

import json

import pytest

from lib.base.errors import UserError
from lib.base.files import read_json, write_json
from lib.base.settings import TrainConfig
from lib.train.manifest import (
    Manifest,
    Started,
    as_trained,
    read_manifest,
    trained_on,
    trained_texts,
    training_usd,
    write_trained_on,
)
from tests.older_run import older_manifest
from tests.train.test_preference_rows import preference as preference_of
from tests.training_data import pairs


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


def test_the_tweets_authors_and_texts_of_a_run_and_of_its_start_are_kept_as_seen(tmp_path):
    start, run = tmp_path / "start", tmp_path / "run"
    one, other, *_ = (pair.model_copy(update={"tweet_author": "AnnA"}) for pair in pairs(2, 1))
    preference = preference_of(7, "Bob")
    write_trained_on(start, [one])
    write_trained_on(run, [other], [preference])
    write_json(start / "manifest.json", {"run": "start"})
    assert trained_on(start) == {one.tweet_id, "@anna"}
    assert trained_on(run) == {other.tweet_id, "@anna"}
    write_json(run / "manifest.json", {"run": "run", "init_adapter": "start"})
    assert trained_on(run) == {one.tweet_id, other.tweet_id, "@anna"}
    texts = {(text.id, text.author): text.text for text in trained_texts(run)}
    assert texts == {
        **{(pair.tweet_id, "AnnA"): pair.tweet for pair in (one, other)},
        **{(pair.reply_id, pair.reply_author): pair.reply for pair in (one, other)},
        (preference.tweet_id, "Bob"): preference.tweet,
        (preference.chosen_id, None): preference.chosen,
        (preference.rejected_id, None): preference.rejected,
    }
    assert (trained_on(tmp_path / "old"), trained_texts(tmp_path / "old")) == (frozenset(), [])


def test_a_run_is_used_with_the_settings_that_it_was_trained_with_and_todays_others(tmp_path):
    before = TrainConfig(data="x", epochs=5, keep_best=1, eval="a", quantization="auto")
    now = TrainConfig(data="x", epochs=2, keep_best=2, eval="b", usd_per_hour=7)
    assert as_trained(tmp_path, now) == now
    of_run = before.model_dump(mode="json") | {"quantization": "none", "of_another_version": 1}
    write_json(tmp_path / "manifest.json", {"config": of_run})
    assert as_trained(tmp_path, now) == now.model_copy(update={"epochs": 5, "quantization": "none"})
    write_json(tmp_path / "manifest.json", {"config": {"epochs": -1}})
    with pytest.raises(UserError, match=r"manifest.json: config: epochs: .*Use the version that trained"):
        as_trained(tmp_path, now)
