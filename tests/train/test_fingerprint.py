"""What makes another run: every setting, file and start that decides the weights, and nothing else."""

import os

import pytest

from lib.base.errors import UserError
from lib.base.files import write_json, write_text
from lib.base.settings import TrainConfig
from lib.model.adapters import sha256_of
from lib.train.fingerprint import (
    changed_keys,
    changed_since,
    data_hashes,
    fingerprint_of,
    refuse_another_run,
    up_to_date,
)
from lib.train.preference_tuning import check_start

# Another value of every key of a train config.
OTHER = {
    "data": "other",
    "eval": "offline",
    "model": "Qwen/Qwen3-4B",
    "revision": "abc",
    "backend": "peft",
    "quantization": "none",
    "lora": {"rank": 8},
    "method": "dpo",
    "init_adapter": "start",
    "prompt": "Answer: {tweet}",
    "max_length": 512,
    "epochs": 1.5,
    "learning_rate": 1e-4,
    "scheduler": "linear",
    "warmup": 0.1,
    "weight_decay": 0.1,
    "effective_batch": 8,
    "micro_batch": 2,
    "gradient_checkpointing": True,
    "evals_per_run": 5,
    "evals_after": 0.5,
    "early_stopping": {"patience": 2},
    "keep_best": 1,
    "max_evaluation_share": 0.2,
    "max_train_eval_gap": 0.4,
    "beta": 0.2,
    "min_preferences": 10,
    "usd_per_hour": 9.0,
    "seed": 18,
    "track": "wandb",
    "remote": {"max_usd": 1},
}
NOT_DECIDING = {
    *("eval", "usd_per_hour", "track", "max_train_eval_gap", "keep_best", "min_preferences", "remote"),
}
SFT = {"data": "main"}
DPO = {"data": "main", "method": "dpo", "init_adapter": "start"}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Two data sets of the same content but for the name, and two runs to start from."""
    monkeypatch.chdir(tmp_path)
    for name in ("main", "other"):
        for part in ("train", "val", "preferences"):
            write_text(tmp_path / f"data/{name}/processed/{part}.jsonl", f'{{"n": "{name} {part}"}}\n')
    for run, sha256 in (("start", "1" * 64), ("other", "2" * 64)):
        of_run = {"config": TrainConfig(**SFT).model_dump(mode="json"), "adapter_sha256": sha256}
        write_json(
            tmp_path / f"adapters/{run}/manifest.json", of_run | {"data_hashes": {"train": "x", "val": "y"}}
        )


def fingerprint(values, **changes):
    return fingerprint_of(TrainConfig(**{**values, **changes}))


def test_every_key_of_the_config_has_another_value_here():
    assert set(OTHER) == set(TrainConfig.model_fields)


@pytest.mark.parametrize("key", sorted(set(OTHER) - {"method", "init_adapter"}))
def test_a_key_changes_the_run_unless_it_is_listed_as_not_deciding(key):
    is_same = fingerprint(SFT) == fingerprint(SFT, **{key: OTHER[key]})
    assert is_same == (key in NOT_DECIDING)
    told = changed_keys(TrainConfig(**SFT).model_dump(mode="json"), TrainConfig(**{**SFT, key: OTHER[key]}))
    assert [line.partition(" ")[0] for line in told] == ([] if is_same else [key])


@pytest.mark.parametrize(
    "key, value",
    [
        *(("rank", 8), ("alpha", 32), ("dropout", 0.0), ("target_modules", ["q_proj", "v_proj"])),
    ],
)
def test_every_key_of_the_adapter_changes_the_run(key, value):
    assert fingerprint(SFT) != fingerprint(SFT, lora={key: value})


@pytest.mark.parametrize("key, value", [("patience", 5), ("threshold", 0.1), ("watch", "loss_and_diversity")])
def test_every_key_of_the_stopping_changes_the_run(key, value):
    assert fingerprint(SFT) != fingerprint(SFT, early_stopping={key: value})
    assert fingerprint(SFT) == fingerprint(SFT, early_stopping={"watch": "loss"})
    assert fingerprint(SFT) != fingerprint(SFT, early_stopping=None)


@pytest.mark.parametrize("config, parts", [(SFT, ("train", "val")), (DPO, ("train", "val", "preferences"))])
def test_another_line_in_what_is_learned_from_is_another_run(tmp_path, config, parts):
    for part in ("train", "val", "preferences"):
        before = fingerprint(config)
        path = tmp_path / f"data/main/processed/{part}.jsonl"
        path.write_text(path.read_text() * 2)
        assert (fingerprint(config) != before) == (part in parts)


def test_another_method_and_another_start_are_other_runs():
    assert len({fingerprint(SFT), fingerprint(DPO), fingerprint(DPO, method="kto")}) == 3
    assert fingerprint(DPO) != fingerprint(DPO, init_adapter="other")


def test_a_start_that_was_trained_again_makes_another_run(tmp_path):
    before = fingerprint(DPO)
    path = tmp_path / "adapters/start/manifest.json"
    path.write_text(path.read_text().replace("1" * 64, "3" * 64))
    assert fingerprint(DPO) != before


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"model": "Qwen/Qwen3-4B"}, "model (Qwen/Qwen3-8B -> Qwen/Qwen3-4B)"),
        ({"revision": "abc"}, "revision (None -> abc)"),
        ({"quantization": "none"}, "-> none"),
        ({"prompt": "Answer: {tweet}"}, "prompt ("),
        ({"lora": {"rank": 8}}, "lora.rank (16 -> 8)"),
        ({"lora": {"alpha": 32}}, "lora.alpha (16 -> 32)"),
        ({"lora": {"target_modules": ["q_proj"]}}, "lora.target_modules ("),
        ({"lora": {"dropout": 0.0}}, "has changed since"),  # dropout is no shape: then the data is looked at
        ({}, "data/main has changed since adapters/start was trained"),
    ],
)
def test_a_start_of_other_weights_or_other_data_is_refused(changes, says):
    with pytest.raises(UserError) as refused:
        check_start(TrainConfig(**{**DPO, **changes}))
    assert says in str(refused.value)


def test_a_start_that_was_itself_tuned_on_preferences_is_refused(tmp_path):
    config = TrainConfig(**{**DPO, "init_adapter": "other"}).model_dump(mode="json")
    write_json(tmp_path / "adapters/start/manifest.json", {"config": config, "data_hashes": {}})
    with pytest.raises(UserError, match="was trained with method: dpo"):
        check_start(TrainConfig(**DPO))


def finished(folder, config=SFT, **values):
    """A finished run of this config and today's data, with an adapter beside its manifest."""
    write_text(folder / "adapter_model.safetensors", "weights")
    of_run = {
        "config": TrainConfig(**config).model_dump(mode="json"),
        "fingerprint": fingerprint(config),
        "adapter_sha256": sha256_of(folder / "adapter_model.safetensors"),
        "data_hashes": data_hashes(TrainConfig(**config)),
    }
    write_json(folder / "manifest.json", of_run | values)
    return folder


def test_the_tiny_model_built_otherwise_is_another_base(monkeypatch):
    built = fingerprint(SFT, model="tiny")
    monkeypatch.setattr("lib.train.fingerprint.tiny_hash", lambda: "another recipe")
    assert fingerprint(SFT, model="tiny") != built
    assert fingerprint(SFT) == fingerprint(SFT)


@pytest.mark.parametrize("key, before, now", [("evals_after", 0.0, 0.5), ("max_evaluation_share", 1.0, 0.2)])
def test_a_key_that_came_later_is_the_same_run_at_what_runs_were_trained_with_before(key, before, now):
    older = TrainConfig(**SFT).model_dump(mode="json")
    del older[key]
    assert changed_keys(older, TrainConfig(**SFT, **{key: before})) == []
    assert changed_keys(older, TrainConfig(**SFT, **{key: now})) == [f"{key} (None -> {now})"]


def test_a_finished_run_is_touched_for_make_and_another_or_a_changed_one_is_refused(tmp_path):
    folder, config = tmp_path / "adapters/a", TrainConfig(**SFT)
    assert not up_to_date(folder, config)
    finished(folder)
    os.utime(folder / "manifest.json", (1, 1))
    assert up_to_date(folder, config)
    assert (folder / "manifest.json").stat().st_mtime > 1e9
    with pytest.raises(UserError, match=r"was trained with epochs \(2.0 -> 5.0\) different from now"):
        up_to_date(folder, TrainConfig(**SFT, epochs=5))
    write_text(folder / "adapter_model.safetensors", "other weights")
    with pytest.raises(UserError, match=r"another sha256.*make plan RUN=a"):
        up_to_date(folder, config)


def test_a_begun_run_of_another_config_is_refused_and_a_finished_ones_note_does_not_matter(tmp_path):
    folder = tmp_path / "adapters/a"
    other = TrainConfig(**SFT, epochs=5).model_dump(mode="json")
    begun = {"fingerprint": fingerprint(SFT, epochs=5), "config": other, "revision": None}
    write_json(folder / "started.json", begun)
    with pytest.raises(UserError, match=r"was begun with epochs \(5.0 -> 2.0\)"):
        refuse_another_run(folder, TrainConfig(**SFT))
    finished(folder)
    refuse_another_run(folder, TrainConfig(**SFT))


def test_what_has_changed_since_a_run_was_trained_is_one_line_and_nothing_is_silence(tmp_path):
    folder, config = tmp_path / "adapters/a", TrainConfig(**SFT)
    assert changed_since(folder, config) is None
    finished(folder)
    assert changed_since(folder, config) is None
    assert changed_since(folder, TrainConfig(**SFT, keep_best=9)) is None
    said = changed_since(folder, TrainConfig(**SFT, epochs=5))
    assert said == f"{folder} is used as it was trained; changed since then: epochs (2.0 -> 5.0)."
    (tmp_path / "data/main/processed/preferences.jsonl").write_text("not of this run")
    assert changed_since(folder, config) is None
    (tmp_path / "data/main/processed/val.jsonl").write_text("other")
    assert changed_since(folder, config).endswith("changed since then: data/main (other pairs).")
    (tmp_path / "data/main/processed/train.jsonl").unlink()
    assert changed_since(folder, config).endswith("changed since then: data/main (not here any more).")
    moved = TrainConfig(data="other")
    assert "data (main -> other), data/main (not here any more)" in changed_since(folder, moved)


def test_missing_data_is_named_with_the_command_that_makes_them(tmp_path):
    for name in ("preferences", "val"):
        (tmp_path / f"data/main/processed/{name}.jsonl").unlink()
        with pytest.raises(
            UserError, match=rf"processed/{name}.jsonl does not exist. Run `make data DATA=main`"
        ):
            data_hashes(TrainConfig(**(DPO if name == "preferences" else SFT)))


@pytest.mark.parametrize("name", ["train", "val"])
def test_a_start_is_refused_where_any_of_what_it_learned_from_has_changed(tmp_path, name):
    finished(tmp_path / "adapters/start")
    check_start(TrainConfig(**DPO))
    (tmp_path / f"data/main/processed/{name}.jsonl").write_text("other")
    with pytest.raises(UserError, match="data/main has changed since adapters/start was trained"):
        check_start(TrainConfig(**DPO))
