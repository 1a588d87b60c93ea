"""What makes another run: every setting, file and start that decides the weights, and nothing else."""

import pytest

from lib.base.errors import UserError
from lib.base.files import write_json, write_text
from lib.base.settings import TrainConfig
from lib.train.fingerprint import changed_keys, fingerprint_of
from lib.train.manifest import NOT_TRAINING
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
    assert is_same == (key in NOT_TRAINING)
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
