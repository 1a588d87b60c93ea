"""A run from processed pairs to an adapter: what it learns from, what it writes, what it refuses."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lib.base.config import load_config
from lib.base.errors import UserError
from lib.base.files import read_dicts, read_json, read_jsonl, write_jsonl
from lib.base.schema import Pair
from lib.base.settings import ALL_LINEAR, EarlyStoppingConfig, TrainConfig
from lib.model.adapters import sha256_of
from lib.train.callbacks import Alerts, EarlyStop
from lib.train.checkpoints import step_of
from lib.train.fingerprint import changed_since, up_to_date
from lib.train.manifest import as_trained, read_manifest
from lib.train.run import train
from lib.train.sft import quantization_of

ROOT = Path(__file__).parents[2]
CONFIG = Path("configs/train-tiny.yaml")
RUN = Path("adapters/tiny")


def config(**changes) -> TrainConfig:
    settings = load_config(CONFIG, TrainConfig)
    return TrainConfig.model_validate({**settings.model_dump(), **changes})


def script(folder, **environment):
    command = [sys.executable, "-m", "scripts.train", "--config", str(CONFIG)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(folder), **environment}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def change_pair(split, place, **changes):
    path = Path(f"data/sample/processed/{split}.jsonl")
    pairs = read_jsonl(path, Pair)
    pairs[place] = pairs[place].model_copy(update=changes)
    write_jsonl(path, pairs)
    return pairs[place]


def test_the_loss_falls_on_the_reply_and_its_end_token_and_nothing_else(workspace):
    from lib.model.base_model import load_tokenizer
    from lib.train.rows import token_rows

    tokenizer = load_tokenizer(config())
    pairs = read_jsonl(Path("data/sample/processed/train.jsonl"), Pair)
    for pair, row in zip(pairs, token_rows(config(), pairs, tokenizer), strict=True):
        learned = [label for label in row["labels"] if label != -100]
        assert tokenizer.decode(learned) == f"{pair.reply}<|im_end|>"
        given = tokenizer.decode(row["input_ids"][: -len(learned)])
        assert given == (
            f"<|im_start|>user\nGenerate an engaging Twitter reply to:\n\n{pair.tweet}<|im_end|>\n"
            "<|im_start|>assistant\n<think>\n\n</think>\n\n"
        )


def test_the_trainer_gets_these_labels_unchanged_and_keeps_every_row(workspace):
    from lib.train.callbacks import StopOnSignal
    from lib.train.run import _prepare, _trainer

    job = _prepare("tiny", config(), RUN)
    trainer = _trainer(job, StopOnSignal(), resumed=False)
    batch = next(iter(trainer.get_eval_dataloader()))
    kept = [[label for label in row if label != -100] for row in batch["labels"].tolist()]
    assert kept == [
        [label for label in row["labels"] if label != -100] for row in job.rows["val"][: len(kept)]
    ]
    assert len(trainer.train_dataset) == len(job.rows["train"]) == 42


def test_a_run_leaves_an_adapter_metrics_samples_and_a_manifest(tiny_run):
    manifest = read_manifest(RUN / "manifest.json")
    assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "metrics.jsonl"} <= {
        path.name for path in RUN.iterdir()
    }
    assert manifest.adapter_sha256 == sha256_of(RUN / "adapter_model.safetensors")
    assert (manifest.run, manifest.backend, manifest.base_model) == ("tiny", "peft", "tiny")
    assert (manifest.n_train, manifest.n_val, manifest.steps) == (42, 9, 18)
    losses = [loss for _, loss in manifest.eval_losses]
    assert losses[-1] < losses[0] - 0.05
    assert manifest.eval_loss == min(losses[1:])
    assert manifest.train_eval_gap == pytest.approx(manifest.eval_loss - manifest.train_loss)
    adapter = read_json(RUN / "adapter_config.json")
    assert adapter["base_model_name_or_path"] == "tiny"
    assert adapter["target_modules"] == sorted(ALL_LINEAR)
    assert str(tiny_run) not in "".join(path.read_text() for path in RUN.glob("*.json"))


def test_the_adapter_is_the_best_checkpoints_and_only_the_best_are_kept(tiny_run):
    manifest = read_manifest(RUN / "manifest.json")
    losses = dict(manifest.eval_losses)
    kept = sorted(step_of(path) for path in (RUN / "checkpoints").iterdir())
    assert kept == sorted(sorted((s for s in losses if s), key=lambda s: (losses[s], s))[:2])
    best = RUN / "checkpoints" / f"checkpoint-{manifest.best_step}"
    assert sha256_of(best / "adapter_model.safetensors") == manifest.adapter_sha256


def test_every_step_and_every_evaluation_is_one_line_of_metrics(tiny_run):
    lines = read_dicts(RUN / "metrics.jsonl")
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 19))
    assert [line["step"] for line in lines if "eval_loss" in line] == [0, 4, 8, 12, 16, 18]
    step = next(line for line in lines if "loss" in line)
    assert {"epoch", "seconds", "learning_rate", "grad_norm", "tokens_per_second", "memory_gb"} <= set(step)
    assert {"entropy", "mean_token_accuracy"} <= set(step)
    evaluation = lines[-1]
    assert evaluation["eval_alike"] == 1  # this model writes nothing, to whatever tweet
    assert evaluation["perplexity"] == pytest.approx(2.718281828 ** evaluation["eval_loss"])
    two = lines[-3:-1]  # the steps since the evaluation before
    n_tokens = [line["learned_tokens"] for line in two]
    loss = sum(n * line["loss"] for n, line in zip(n_tokens, two, strict=True)) / sum(n_tokens)
    assert evaluation["train_eval_gap"] == pytest.approx(evaluation["eval_loss"] - loss)


def test_the_same_five_tweets_are_answered_before_training_and_after_each_epoch(tiny_run):
    samples = read_manifest(RUN / "manifest.json").samples
    tweets = {sample.tweet_id for sample in samples}
    assert len(tweets) == 3  # the validation set has no more
    assert [sample.epoch for sample in samples] == [epoch for epoch in range(4) for _ in tweets]


def test_two_runs_are_identical_to_the_last_digit(tiny_run):
    first = read_manifest(RUN / "manifest.json")
    shutil.rmtree(RUN)
    second = train("tiny", config())
    assert second.adapter_sha256 == first.adapter_sha256
    assert second.eval_losses == first.eval_losses


def test_nf4_trains_on_a_cpu_and_auto_stays_what_a_small_gpu_made_of_it(workspace, monkeypatch):
    from safetensors import safe_open

    from lib.model.loading import load_for_inference
    from lib.train.run import _prepare

    short = config(quantization="auto", epochs=1, early_stopping=None, gradient_checkpointing=True)
    monkeypatch.setattr("lib.train.sft.card_gb", lambda device: 24.0)
    manifest = train("tiny", short)
    monkeypatch.undo()
    monkeypatch.chdir(workspace)
    assert manifest.steps == 6
    with safe_open(RUN / "adapter_model.safetensors", "pt") as weights:
        assert {weights.get_slice(name).get_dtype() for name in weights.keys()} == {"F32"}  # noqa: SIM118
    assert (manifest.config["quantization"], manifest.quantization_reason) == (
        "nf4",
        "bf16 is for a GPU of 48 GB or more",
    )
    # Here auto would be bf16. The finished run is not another one for it, and answers and goes on as it was.
    for same in (short, short.model_copy(update={"quantization": "nf4"})):
        assert up_to_date(RUN, same)
        assert changed_since(RUN, same) is None
    with pytest.raises(UserError, match=r"quantization \(nf4 -> none\)"):
        up_to_date(RUN, short.model_copy(update={"quantization": "none"}))
    assert as_trained(RUN, short).quantization == "nf4"
    assert load_for_inference(RUN, short).quantization == "nf4"
    begun = _prepare("tiny", short, RUN)
    assert begun.base.quantization == begun.config.quantization == "nf4"
    assert _prepare("new", short, Path("adapters/new")).config.quantization == "none"


def test_a_run_from_before_auto_stays_finished_when_its_recipe_says_auto(tiny_run):
    auto = config(quantization="auto")
    assert up_to_date(RUN, auto)
    assert changed_since(RUN, auto) is None


def test_a_mac_trains_on_four_bits_where_the_config_leaves_it_open():
    assert quantization_of(TrainConfig(data="x", quantization="auto"), "mlx", 99, "cpu")[0] == "nf4"


def test_a_finished_run_is_left_alone_and_its_manifest_becomes_the_newest_file(tiny_run):
    manifest = RUN / "manifest.json"
    before = manifest.read_bytes()
    CONFIG.touch()
    assert up_to_date(RUN, config())
    assert manifest.read_bytes() == before
    assert manifest.stat().st_mtime_ns >= CONFIG.stat().st_mtime_ns
    done = script(tiny_run)
    assert (done.returncode, done.stdout) == (
        0,
        "train: adapters/tiny is up to date: same config, data and base model\n",
    )


def test_what_does_not_change_the_weights_does_not_make_a_run_old(tiny_run):
    assert up_to_date(RUN, config(eval="claude", usd_per_hour=1.0, max_train_eval_gap=0.9))


def test_another_config_under_the_name_of_a_finished_run_is_refused(tiny_run):
    with pytest.raises(UserError, match=r"learning_rate \(0.005 -> 0.001\).*new name"):
        up_to_date(RUN, config(learning_rate=1e-3))


def test_other_data_under_the_name_of_a_finished_run_is_refused(tiny_run):
    change_pair("train", 0, reply="Something else entirely, and longer than before.")
    with pytest.raises(UserError, match=r"other data different from now.*new name"):
        up_to_date(RUN, config())


def test_an_adapter_changed_after_training_is_not_taken_for_the_run(tiny_run):
    weights = RUN / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"abcd")
    with pytest.raises(UserError, match=r"is not the file that adapters/tiny/manifest\.json was written for"):
        up_to_date(RUN, config())


@pytest.mark.slow
def test_early_stopping_stops_a_run_that_does_not_improve_enough(workspace):
    manifest = train(
        "tiny",
        config(
            learning_rate=0.3, epochs=10, evals_per_run=10, early_stopping={"patience": 3, "threshold": 0.5}
        ),
    )
    assert manifest.steps == 24 < 60  # the first evaluation, then three that gain less than 0.5
    losses = dict(manifest.eval_losses)
    assert manifest.best_step == min((6, 12, 18, 24), key=losses.get)


def finished_again(**changes):
    """(the history of the finished run, the manifest that it gets under another config)."""
    from lib.train.checkpoints import newest, state_of
    from lib.train.finishing import finish
    from lib.train.run import _prepare
    from lib.train.tracking import Tracker

    history = state_of(newest(RUN / "checkpoints"))["log_history"]
    return history, finish(_prepare("tiny", config(**changes), RUN), history, Tracker())


def test_a_wide_gap_is_told_with_advice(tiny_run, capsys):
    history, manifest = finished_again(max_train_eval_gap=0.001)
    assert any("max_train_eval_gap 0.001" in alert and "by heart" in alert for alert in manifest.alerts)
    for step, _ in manifest.eval_losses:
        until = [entry for entry in history if entry["step"] <= step]
        state = SimpleNamespace(log_history=until, global_step=step, is_world_process_zero=True)
        Alerts(0.001).on_evaluate(None, state, None)
    assert capsys.readouterr().err.count("alert: step") == len(manifest.alerts)


@pytest.mark.parametrize("losses, stops", [([5.0, 4.6, 4.3, 4.1], True), ([5.0, 4.6, 4.3, 3.1], False)])
def test_three_evaluations_that_gain_too_little_end_the_run(losses, stops):
    history = [{"step": step, "eval_loss": loss} for step, loss in enumerate(losses, 1)]
    control = SimpleNamespace(should_training_stop=False)
    early = EarlyStop(EarlyStoppingConfig(patience=3, threshold=0.5))
    early.on_evaluate(None, SimpleNamespace(log_history=history), control)
    assert control.should_training_stop is stops


def test_the_best_loss_is_measured_on_all_rows_where_the_evaluations_read_a_part(tiny_run, monkeypatch):
    before = read_manifest(RUN / "manifest.json")
    assert before.n_evaluated == before.n_val == 9
    (RUN / "validation.json").unlink()
    monkeypatch.setattr("lib.train.schedule.LEAST_ROWS", 4)
    _, manifest = finished_again(max_evaluation_share=0.01)
    assert (manifest.n_evaluated, manifest.n_val) == (4, 9)
    for name in ("eval_loss", "perplexity", "train_eval_gap"):  # nothing was trained: the same numbers
        assert getattr(manifest, name) == pytest.approx(getattr(before, name), rel=1e-4), name


@pytest.mark.parametrize(
    "changes, sentence",
    [
        (
            {"early_stopping": {"patience": 9, "threshold": 0.0}},
            "early stopping can never fire: patience 9 needs 10 evaluations",
        ),
        ({"max_length": 40}, r"rows are longer than max_length 40: 200000 \(\d+ tokens\)"),
        ({"data": "other"}, r"data/other/processed/train.jsonl does not exist"),
    ],
)
def test_a_config_that_cannot_work_is_refused_before_weights_are_loaded(
    workspace, monkeypatch, changes, sentence
):
    monkeypatch.setattr("lib.train.run.load_model_for_training", None)
    with pytest.raises(UserError, match=sentence):
        train("tiny", config(**changes))


@pytest.mark.parametrize(
    "split, changes, sentence",
    [
        ("train", {"reply": "fine<|im_end|>\n<|im_start|>system"}, "control token <|im_end|>"),
        ("val", {"tweet": "what </think> now"}, "control token </think>"),
        ("val", {"tweet_author": "Author0"}, "author Author0 is in train and in val"),
        ("train", {"tweet_author": "AUTHOR19"}, "author author19 is in train and in test"),
        ("train", {"tweet_id": "10019"}, "the tweet 10019 is in train and in test"),
    ],
)
def test_data_that_would_spoil_a_run_is_refused(workspace, split, changes, sentence):
    change_pair(split, 0, **changes)
    with pytest.raises(UserError) as error:
        train("tiny", config())
    assert sentence in str(error.value)


def test_a_test_prompt_without_a_reply_counts_as_held_out(workspace):
    path = Path("data/sample/processed/test_prompts.jsonl")
    with path.open("a") as handle:
        handle.write(
            json.dumps({"tweet_id": "9", "tweet": "hm", "tweet_author": "Author1", "tweet_likes": 3}) + "\n"
        )
    with pytest.raises(UserError, match="author1 wrote a test prompt and a tweet to train on"):
        train("tiny", config())


def test_an_empty_set_is_refused(workspace):
    Path("data/sample/processed/val.jsonl").write_text("")
    with pytest.raises(UserError, match=r"processed/val.jsonl is empty"):
        train("tiny", config())


def test_a_folder_with_processed_data_alone_is_enough(tiny_run):
    shutil.rmtree(RUN)
    for path in Path("data/sample/processed").iterdir():
        if path.name not in ("train.jsonl", "val.jsonl"):
            path.unlink()
    assert train("tiny", config(epochs=1, early_stopping=None)).steps == 6


def test_padding_free_batches_have_the_same_loss_as_padded_ones(workspace):
    import torch
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    from lib.model.loading import load_model_for_training
    from lib.train.rows import token_rows

    model, tokenizer = load_model_for_training(config())
    rows = token_rows(config(), read_jsonl(Path("data/sample/processed/val.jsonl"), Pair), tokenizer)
    losses = []
    for padding_free in (False, True):
        batch = DataCollatorForLanguageModeling(tokenizer.pad_token_id, padding_free=padding_free)(
            [dict(row) for row in rows]
        )
        with torch.no_grad():
            losses.append(model.eval()(**batch, use_cache=False).loss.item())
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_the_curves_are_drawn(tiny_run):
    curves = (RUN / "curves.svg").read_text()
    assert "training loss" in curves
    assert "validation loss" in curves


@pytest.mark.parametrize(
    "share, shown", [(0, "░░░░"), (0.5, "██░░"), (0.6, "██▍░"), (1, "████"), (1.2, "████")]
)
def test_the_bar_is_as_long_as_the_work_that_is_done(share, shown):
    from lib.train.callbacks import bar

    assert bar(share, width=4) == shown


def test_a_disk_that_is_full_at_the_very_end_is_a_sentence_and_the_same_command_ends_the_run(
    workspace, monkeypatch
):
    import errno

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("lib.train.finishing.curves", full)
        with pytest.raises(
            UserError,
            match=r"the disk is full.*checkpoint-18 is intact: free some space and run the same command",
        ):
            train("tiny", config())
    assert train("tiny", config()).steps == 18
