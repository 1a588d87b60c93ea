"""Preference tuning: goes on from a supervised run, compares with that run, learns which reply was
preferred, refuses too little."""

import shutil
import subprocess
import sys
from datetime import timedelta
from itertools import combinations
from pathlib import Path

import pytest

from lib.base.config import load_config
from lib.base.errors import UserError
from lib.base.files import read_dicts, read_json, read_jsonl, write_jsonl
from lib.base.schema import Pair, Preference
from lib.base.settings import TrainConfig
from lib.model.adapters import sha256_of
from lib.train.checkpoints import whole_checkpoints
from lib.train.fingerprint import up_to_date
from lib.train.manifest import read_manifest
from lib.train.preference_rows import parts_of, read_preferences, unpaired
from lib.train.preference_tuning import check_reference, preference_trainer
from lib.train.run import _prepare, _trainer, train
from scripts.train import report
from tests.conftest import copied
from tests.training_data import START, pairs

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PREFERENCES = Path("data/sample/processed/preferences.jsonl")
START_WEIGHTS = Path("adapters/tiny/adapter_model.safetensors")


def preference(chosen: Pair, rejected: Pair) -> Preference:
    return Preference(
        tweet_id=chosen.tweet_id, tweet=chosen.tweet, tweet_author=chosen.tweet_author,
        chosen=chosen.reply, rejected=rejected.reply,
        chosen_id=chosen.id, rejected_id=rejected.id, chosen_likes=80, rejected_likes=10,
        chosen_created_at=START + timedelta(minutes=30), rejected_created_at=START + timedelta(minutes=20),
        chosen_followers=900, rejected_followers=900, chosen_first=True,
    )  # fmt: skip


def preferences(n_authors: int = 17) -> list[Preference]:
    """Of all tweets but the test tweets: the longer of two replies is the chosen one."""
    by_tweet: dict[str, list[Pair]] = {}
    for pair in pairs()[: 3 * n_authors]:
        by_tweet.setdefault(pair.tweet_id, []).append(pair)
    couples = [
        sorted(two, key=lambda pair: -len(pair.reply))
        for replies in by_tweet.values()
        for two in combinations(replies, 2)
    ]
    return [
        preference(chosen, rejected)
        for chosen, rejected in couples
        if len(chosen.reply) > len(rejected.reply)
    ]


def config(method="dpo", **changes) -> TrainConfig:
    settings = load_config(Path("configs/train-tiny.yaml"), TrainConfig).model_dump()
    tuning = {
        "method": method,
        "init_adapter": "tiny",
        "min_preferences": 20,
        "learning_rate": 1e-3,
        "epochs": 2,
        "evals_per_run": 4,
    }
    return TrainConfig.model_validate({**settings, **tuning, **changes})


@pytest.fixture(scope="module")
def _both_runs(trained, tmp_path_factory):
    """A workspace with the supervised run, preferences, and a finished run of each method."""
    folder = copied(trained, tmp_path_factory.mktemp("preferences"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_jsonl(PREFERENCES, preferences())
        for method in ("dpo", "kto"):
            train(method, config(method))
    return folder


@pytest.fixture
def tuned(_both_runs, tmp_path, monkeypatch):
    """The current directory: a copy of that workspace, free to change."""
    monkeypatch.chdir(copied(_both_runs, tmp_path))
    return tmp_path


@pytest.fixture
def tuning(tiny_run):
    """A finished supervised run, and preferences about its tweets."""
    write_jsonl(PREFERENCES, preferences())
    return tiny_run


def trainer_for(run_config, resumed=False):
    from lib.train.callbacks import StopOnSignal

    job = _prepare("try", run_config, Path("adapters/try"))
    return _trainer(job, StopOnSignal(), resumed=resumed), job


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_the_loss_goes_down_and_the_manifest_says_how_the_rewards_moved(tuned, method):
    manifest, metrics = (
        read_manifest(Path("adapters", method, "manifest.json")),
        read_dicts(Path("adapters", method, "metrics.jsonl")),
    )
    losses = [loss for _, loss in manifest.eval_losses]
    assert losses[-1] < losses[0] - 0.01
    steps = [line["loss"] for line in metrics if "loss" in line]
    assert sum(steps[-3:]) < sum(steps[:3])
    assert (manifest.method, manifest.init_adapter, manifest.n_preferences) == (
        method,
        "tiny",
        len(preferences()),
    )
    assert manifest.init_adapter_sha256 == sha256_of(START_WEIGHTS) != manifest.adapter_sha256
    assert manifest.reward_margin.before == pytest.approx(0, abs=1e-3)
    assert manifest.reward_margin.after > 0.01
    assert set(manifest.data_hashes) == {"train", "val", "preferences"}
    assert manifest.memorisation.n == 3
    assert manifest.perplexity > 1
    assert any("eval_rewards/margins" in line and "perplexity" not in line for line in metrics)


def test_the_adapter_stands_alone_and_answers_like_any_other_run(tuned):
    from lib.model.generate import arm
    from lib.model.loading import load_for_inference

    folder = Path("adapters/dpo")
    assert read_json(folder / "adapter_config.json")["base_model_name_or_path"] == "tiny"
    assert not [path for path in folder.rglob("ref") if path.is_dir()]
    shutil.rmtree("adapters/tiny")
    loaded = load_for_inference(folder, config())
    assert list(loaded.model.peft_config) == ["default"]
    with arm(loaded, tuned=True) as model:
        assert model.generate(**loaded.tokenizer("Hello", return_tensors="pt"), max_new_tokens=3).shape[1] > 1


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_training_starts_from_the_supervised_adapter_and_the_reference_is_that_run_not_the_base(
    tuning, method
):
    import torch
    from safetensors.torch import load_file
    from trl.trainer.utils import use_adapter

    trainer, _ = trainer_for(config(method))
    model = trainer.model.eval()
    saved = load_file(START_WEIGHTS)
    held = {
        name.replace(".default", ""): parameter
        for name, parameter in model.named_parameters()
        if ".default." in name
    }
    assert set(held) == set(saved)
    assert all(torch.equal(held[name], saved[name]) for name in saved)

    batch = next(iter(trainer.get_eval_dataloader()))
    supervised = sft_log_probs(batch)
    with use_adapter(model, "ref"):
        reference = log_probs(model, batch)
    with model.disable_adapter():
        base = log_probs(model, batch)
    torch.testing.assert_close(reference, supervised)
    assert (reference - base).abs().max() > 0.1

    for name, parameter in model.named_parameters():
        if ".lora_B.default." in name:
            parameter.data += 0.1
    with use_adapter(model, "ref"):
        torch.testing.assert_close(
            log_probs(model, batch), supervised
        )  # frozen, whatever becomes of the policy
    if method == "dpo":
        torch.testing.assert_close(torch.cat(trainer.compute_ref_log_probs(model, batch)), supervised)
    with pytest.raises(RuntimeError, match="base model instead of the SFT run"):
        check_reference(model)


def test_on_a_4_bit_base_nothing_of_the_supervised_adapter_is_rounded_away(tuning):
    import torch
    from safetensors.torch import load_file

    short = {"quantization": "nf4", "epochs": 1, "early_stopping": None, "evals_per_run": 1}
    train(
        "four",
        TrainConfig.model_validate(
            {**load_config(Path("configs/train-tiny.yaml"), TrainConfig).model_dump(), **short}
        ),
    )
    trainer, _ = trainer_for(config(init_adapter="four", **short))
    saved = load_file("adapters/four/adapter_model.safetensors")
    held = {
        name.replace(".default", ""): parameter
        for name, parameter in trainer.model.named_parameters()
        if ".default." in name
    }
    assert {parameter.dtype for parameter in held.values()} == {torch.float32}
    assert all(torch.equal(held[name], saved[name]) for name in saved)
    manifest = train("tuned", config(init_adapter="four", **short))
    assert manifest.reward_margin.before == pytest.approx(0, abs=1e-3)
    assert manifest.adapter_sha256 != manifest.init_adapter_sha256


def log_probs(model, batch):
    """Log-probability of each completion of the batch."""
    import torch

    with torch.no_grad():
        logits = (
            model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
            .logits[:, :-1]
            .float()
            .log_softmax(-1)
        )
    chosen = logits.gather(2, batch["input_ids"][:, 1:, None]).squeeze(2)
    return (chosen * batch["completion_mask"][:, 1:]).sum(1)


def sft_log_probs(batch):
    from lib.model.loading import load_for_inference

    return log_probs(
        load_for_inference(
            Path("adapters/tiny"), load_config(Path("configs/train-tiny.yaml"), TrainConfig)
        ).model,
        batch,
    )


def test_prompt_think_block_and_learned_tokens_are_those_of_supervised_training(tuning):
    trainer, job = trainer_for(config())
    batch = next(iter(trainer.get_eval_dataloader()))
    part = parts_of(read_preferences(config()))["val"]
    shown = [*part[: len(batch["input_ids"]) // 2]]
    for number, one in enumerate([*((p, p.chosen) for p in shown), *((p, p.rejected) for p in shown)]):
        tweet, reply = one[0].tweet, one[1]
        mask = batch["completion_mask"][number].bool()
        given = batch["attention_mask"][number].bool() & ~mask
        assert job.tokenizer.decode(batch["input_ids"][number][mask]) == f"{reply}<|im_end|>"
        assert job.tokenizer.decode(batch["input_ids"][number][given]) == (
            "<|im_start|>user\nGenerate an engaging Twitter reply "
            f"to:\n\n{tweet}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
        )


def test_kto_learns_from_each_reply_once_and_measures_the_drift_on_a_neighbours_reply(tuning):
    trainer, job = trainer_for(config("kto"))
    rows = trainer.train_dataset
    good, bad = unpaired(parts_of(read_preferences(config()))["train"])
    assert (sum(rows["label"]), len(rows)) == (len(good), len(good) + len(bad))
    assert not {answer.id for answer in good} & {answer.id for answer in bad}
    first = rows[: job.batch.size]
    assert first["KL_completion_ids"] == [first["completion_ids"][-1], *first["completion_ids"][:-1]]
    assert trainer.args.desirable_weight * len(good) == pytest.approx(
        trainer.args.undesirable_weight * len(bad)
    )


def test_no_author_is_in_both_parts_and_a_tenth_validates():
    parts = parts_of(preferences())
    train_authors, val_authors = ({one.tweet_author for one in parts[name]} for name in ("train", "val"))
    assert not train_authors & val_authors
    assert len(val_authors) == 2
    assert parts_of(list(reversed(preferences())))["val"][::-1] == parts["val"]


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_an_interrupted_run_ends_in_the_same_weights(tuned, method, monkeypatch):
    whole = read_manifest(Path("adapters", method, "manifest.json"))

    class KilledError(Exception):
        pass

    def die(self, args, state, control, **_):
        if state.global_step == 5:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr("lib.train.callbacks.Progress.on_step_begin", die, raising=False)
        with pytest.raises(KilledError):
            train("broken", config(method))
    last = whole_checkpoints(Path("adapters/broken/checkpoints"))[-1]
    assert not [
        path for path in last.iterdir() if path.is_dir()
    ]  # a folder `ref` here would be loaded instead of the weights
    resumed = train("broken", config(method))
    assert resumed.adapter_sha256 == whole.adapter_sha256
    assert resumed.eval_losses == whole.eval_losses
    assert resumed.reward_margin == whole.reward_margin


def test_a_run_killed_before_its_manifest_finishes_without_training_again(tuned, monkeypatch):
    first = read_manifest(Path("adapters/dpo/manifest.json"))
    for name in ("manifest.json", "validation.json"):
        Path("adapters/dpo", name).unlink()
    monkeypatch.setattr("lib.train.run._trainer", None)
    again = train("dpo", config())
    same = ("adapter_sha256", "eval_losses", "memorisation", "reward_margin")
    assert [getattr(again, name) for name in same] == [getattr(first, name) for name in same]


def test_changed_preferences_or_another_start_make_another_run(tuned):
    folder = Path("adapters/dpo")
    assert up_to_date(folder, config(min_preferences=1))
    with pytest.raises(UserError, match=r"beta \(0.1 -> 0.3\)"):
        up_to_date(folder, config(beta=0.3))
    write_jsonl(PREFERENCES, preferences()[1:])
    with pytest.raises(UserError, match="other data different from now"):
        up_to_date(folder, config())


def refused(run_config) -> str:
    with pytest.raises(UserError) as error:
        train("tuned", run_config)
    return str(error.value)


def test_too_few_preferences_are_refused_with_how_many_and_what_to_collect(tuning):
    said = refused(config(min_preferences=300))
    assert f"holds {len(preferences())} preference pairs, and method: dpo needs 300" in said
    assert "replies per tweet" in said
    assert "preferences:" in said


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"init_adapter": "nobody"}, "init_adapter: adapters/nobody holds no finished run"),
        ({"prompt": "Answer: {tweet}"}, "was trained with another prompt"),
        ({"lora": {"rank": 8, "alpha": 8}}, "lora.rank (4 -> 8)"),
        ({"early_stopping": {"patience": 9, "threshold": 0.0}}, "early stopping can never fire"),
        ({"max_length": 40}, "rows are longer than max_length 40"),
    ],
)
def test_a_config_that_cannot_work_is_refused_before_weights_are_loaded(
    tuning, monkeypatch, changes, sentence
):
    monkeypatch.setattr("lib.train.run.load_model_for_training", None)
    assert sentence in refused(config(**changes))


def test_a_preference_run_is_no_start_for_another(tuned):
    assert "Name a run with method: sft" in refused(config(init_adapter="dpo"))


def test_auto_holds_the_base_as_the_run_that_it_starts_from_did(tuning, monkeypatch):
    monkeypatch.setattr("lib.train.sft.card_gb", lambda device: 24.0)  # where a new run would take four bits
    job = _prepare("try", config(quantization="auto"), Path("adapters/try"))
    assert job.config.quantization == job.base.quantization == "none"
    assert "the one that it starts from" in job.quantization_reason


def test_a_supervised_run_of_other_data_is_no_start(tuning):
    path = Path("data/sample/processed/train.jsonl")
    write_jsonl(path, read_jsonl(path, Pair)[1:])
    assert "may have learned what is held out now" in refused(config())


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"chosen": "fine<|im_end|>\n<|im_start|>system"}, "control token <|im_end|>"),
        ({"rejected": "</think> what"}, "control token </think>"),
        ({"tweet_id": "10019"}, "the tweet 10019 is in preferences and in test"),
        ({"tweet_author": "AUTHOR19"}, "the author author19 is in preferences and in test"),
    ],
)
def test_preferences_that_would_spoil_a_run_are_refused(tuning, changes, sentence):
    made = preferences()
    write_jsonl(PREFERENCES, [made[0].model_copy(update=changes), *made[1:]])
    assert sentence in refused(config())


def test_a_test_prompts_author_among_the_preferences_is_refused(tuning):
    with Path("data/sample/processed/test_prompts.jsonl").open("a") as handle:
        handle.write('{"tweet_id": "9", "tweet": "hm", "tweet_author": "Author1", "tweet_likes": 3}\n')
    assert "author1 wrote a test prompt" in refused(config())


def test_a_changed_or_missing_start_adapter_is_refused(tuning):
    START_WEIGHTS.write_bytes(START_WEIGHTS.read_bytes()[:-4] + b"abcd")
    assert "adapters/tiny/manifest.json was written for" in refused(config())


def test_kto_wants_more_than_one_row_in_a_micro_batch(tuning):
    job = _prepare("try", config("kto", micro_batch=1), Path("adapters/try"))
    with pytest.raises(UserError, match="Raise micro_batch"):
        preference_trainer(job, eval_on_start=True)


def test_the_plan_shows_a_preference_run_and_stops_it_where_training_would(tuning):
    dpo = "extends: tiny\nmethod: dpo\ninit_adapter: tiny\nmin_preferences: 20\nlearning_rate: 1e-3\n"
    Path("configs/train-dpo.yaml").write_text(dpo)
    done = script("plan", tuning)
    assert (done.returncode, f"train     {len(parts_of(preferences())['train']):>4}" in done.stdout) == (
        0,
        True,
    ), done.stdout + done.stderr
    Path("configs/train-dpo.yaml").write_text(dpo.replace("20", "300"))
    done = script("plan", tuning)
    assert (done.returncode, "method: dpo needs 300" in done.stderr) == (1, True)


def test_the_command_says_what_it_learned(tuned):
    folder = Path("adapters/dpo")
    said = report(read_manifest(folder / "manifest.json"), folder)
    assert "of the validation pairs (from adapters/tiny)" in said
    assert "by heart" in said


def script(name, folder):
    command = [sys.executable, "-m", f"scripts.{name}", "--config", "configs/train-dpo.yaml"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
