"""A sweep: its variants, their order, its budget, and what is left to do after it was killed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lib.base.config import load_config
from lib.base.errors import UserError
from lib.base.files import read_json, write_json
from lib.base.settings import TrainConfig
from lib.train.fingerprint import fingerprint_of
from lib.train.sweep import sweep
from lib.train.variants import SweepConfig, changes_of, config_text, label, quality, ranked, table

ROOT = Path(__file__).parents[2]
TWO = {"base": "tiny", "grid": {"learning_rate": [1e-3, 5e-3]}}
LOSSES = {"sweep-lr-lr0.001": 3.2, "sweep-lr-lr0.005": 2.9}


def settings(**changes) -> SweepConfig:
    return SweepConfig.model_validate({**TWO, **changes})


def copier(losses, trained):
    """A trainer that takes no time: a copy of the finished run, with the fingerprint and the loss of the
    variant."""

    def train(run):
        trained.append(run)
        shutil.copytree("adapters/tiny", f"adapters/{run}")
        own = {
            "fingerprint": fingerprint_of(load_config(Path(f"configs/train-{run}.yaml"), TrainConfig)),
            "eval_loss": losses[run],
        }
        manifest = Path(f"adapters/{run}/manifest.json")
        write_json(manifest, {**read_json(manifest), **own, "run": run})
        return 0, ""

    return train


def test_a_grid_is_every_combination_and_named_variants_come_after_it():
    config = settings(
        grid={"learning_rate": [1e-4, 2e-4], "lora": {"rank": [8, 16]}},
        variants=[{"epochs": 1, "lora": {"dropout": 0.15}}],
    )
    assert [label(one) for one in changes_of(config)] == [
        "lr0.0001-r8",
        "lr0.0001-r16",
        "lr0.0002-r8",
        "lr0.0002-r16",
        "e1-d0.15",
    ]
    assert changes_of(config)[1] == {"learning_rate": 1e-4, "lora": {"rank": 16}}


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("base: tiny\ngrid: {learning_rat: [1e-4]}\n", "Did you mean `learning_rate`"),
        ("base: tiny\ngrid: {lora: {rank: [0]}}\n", "grid.lora.rank.0"),
        ("base: tiny\n", "give grid:"),
        ("base: tiny\ngrid: {learning_rate: [1e-4, 1e-4]}\n", "lr0.0001 is there twice"),
        (
            "base: tiny\nmax_runs: 3\ngrid: {learning_rate: [1e-4, 2e-4], epochs: [1, 2]}\n",
            "4 variants are more than max_runs 3",
        ),
        ("grid: {epochs: [1]}\n", "base: this key is required"),
    ],
)
def test_a_sweep_file_that_cannot_be_meant_is_refused(tmp_path, text, sentence):
    path = tmp_path / "sweep-lr.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        load_config(path, SweepConfig)
    assert sentence in str(error.value)


def test_the_sweeps_in_configs_are_valid():
    for path in (ROOT / "configs").glob("sweep-*.yaml"):
        config = load_config(path, SweepConfig)
        assert (ROOT / "configs" / f"train-{config.base}.yaml").is_file()


def test_every_variant_is_a_run_with_a_config_that_extends_the_base(tiny_run):
    trained = []
    sweep("lr", settings(), copier(LOSSES, trained))
    assert trained == list(LOSSES)
    base, first = (
        load_config(Path(f"configs/train-{run}.yaml"), TrainConfig) for run in ("tiny", trained[0])
    )
    assert first == base.model_copy(update={"learning_rate": 1e-3})
    assert Path(f"configs/train-{trained[0]}.yaml").read_text() == config_text(
        "lr", "tiny", {"learning_rate": 1e-3}
    )


def test_variants_are_ranked_by_validation_loss_with_how_they_write_beside_it(tiny_run):
    found = sweep("lr", settings(), copier(LOSSES, []))
    assert [one["run"] for one in found["variants"]] == ["sweep-lr-lr0.005", "sweep-lr-lr0.001"]
    assert found["best"] == "sweep-lr-lr0.005"
    assert "validation" in found["note"]
    assert "make eval RUN=sweep-lr-lr0.005" in found["note"]
    assert found["variants"][0]["quality"]["n"] == 3
    assert read_json(Path("adapters/sweep-lr.json")) == json.loads(json.dumps(found))
    lines = table(found["variants"]).splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["sweep-lr-lr0.005", "sweep-lr-lr0.001"]


def test_a_variant_that_says_one_thing_to_every_tweet_is_ranked_behind_those_that_do_not():
    def variant(run, loss, collapsed):
        return {"run": run, "state": "finished", "eval_loss": loss, "quality": {"collapsed": collapsed}}

    open_one = {"run": "d", "state": "open"}
    made = [open_one, variant("a", 2.0, True), variant("b", 2.5, False), variant("c", 2.4, False)]
    assert [one["run"] for one in ranked(made)] == ["c", "b", "a", "d"]


def test_finished_variants_are_not_trained_again_after_a_kill(tiny_run):
    def killed(run):
        if run == "sweep-lr-lr0.005":
            raise KeyboardInterrupt
        return copier(LOSSES, [])(run)

    with pytest.raises(KeyboardInterrupt):
        sweep("lr", settings(), killed)
    assert read_json(Path("adapters/sweep-lr.json"))["best"] == "sweep-lr-lr0.001"
    trained = []
    sweep("lr", settings(), copier(LOSSES, trained))
    assert trained == ["sweep-lr-lr0.005"]
    sweep("lr", settings(), copier(LOSSES, trained))
    assert trained == ["sweep-lr-lr0.005"]


def test_no_run_is_begun_that_may_pass_the_budget(tiny_run, monkeypatch):
    path = Path("configs/train-tiny.yaml")
    path.write_text(path.read_text().replace("usd_per_hour: 0", "usd_per_hour: 3"))
    trained = []
    found = sweep("lr", settings(max_usd=0.1), copier(LOSSES, trained))
    assert (trained, found["best"], found["note"]) == ([], None, None)
    assert {one["state"] for one in found["variants"]} == {"not run"}
    assert "passes max_usd $0.10" in found["variants"][0]["reason"]
    monkeypatch.setenv("MAX_USD", "0.05")
    assert sweep("lr", settings(max_usd=50), copier(LOSSES, trained))["max_usd"] == 0.05
    monkeypatch.delenv("MAX_USD")
    assert sweep("lr", settings(max_usd=50), copier(LOSSES, trained))["best"] == "sweep-lr-lr0.005"


def test_what_a_broken_off_run_has_cost_counts(tiny_run):
    path = Path("configs/train-tiny.yaml")
    path.write_text(path.read_text().replace("usd_per_hour: 0", "usd_per_hour: 3"))

    def half(run):
        copier(LOSSES, [])(run)
        Path(f"adapters/{run}/manifest.json").unlink()
        Path(f"adapters/{run}/metrics.jsonl").write_text('{"step": 1, "loss": 2.0, "seconds": 7200.0}\n')
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep("lr", settings(), half)
    found = sweep("lr", settings(max_usd=5), copier(LOSSES, []))
    assert found["usd"] == pytest.approx(6.0)
    assert all("$6.00 are spent" in one["reason"] for one in found["variants"])


def test_a_variant_that_fails_is_shown_with_its_reason_and_the_others_go_on(tiny_run):
    def failing(run):
        return (
            (1, "The loss is not a number at step 3.")
            if run == "sweep-lr-lr0.001"
            else copier(LOSSES, [])(run)
        )

    found = sweep("lr", settings(), failing)
    assert found["best"] == "sweep-lr-lr0.005"
    last = found["variants"][-1]
    assert (last["state"], last["reason"]) == ("failed", "The loss is not a number at step 3.")
    assert "failed: The loss is not a number at step 3." in table(found["variants"])


def test_a_config_of_somebody_else_is_not_overwritten(tiny_run):
    path = Path("configs/train-sweep-lr-lr0.001.yaml")
    path.write_text("extends: tiny\n")
    with pytest.raises(UserError, match="was not written by this sweep"):
        sweep("lr", settings(), copier(LOSSES, []))
    assert path.read_text() == "extends: tiny\n"


def test_nothing_is_trained_where_a_variant_could_not_stop_early(tiny_run):
    path, trained = Path("configs/train-tiny.yaml"), []
    path.write_text(path.read_text().replace("patience: 3", "patience: 5"))
    with pytest.raises(UserError, match=r"sweep-lr-e0.5: early stopping can never fire"):
        sweep("lr", settings(grid={"epochs": [3, 0.5]}), copier(LOSSES, trained))
    assert trained == []


def test_quality_counts_empty_replies_and_measures_the_others():
    assert quality(["a b c", "", "a b d"], ["one two", "three four"], 0.5) == {
        "n": 3,
        "empty": pytest.approx(1 / 3),
        "distinct_2": pytest.approx(3 / 4),
        "alike": pytest.approx(1 / 3),  # without words it is like every other
        "collapsed": False,
        "median_words": 3,
        "copies_of_training": 0.5,
    }


def test_the_command_trains_ranks_and_does_nothing_the_second_time(tiny_run):
    Path("configs/sweep-e.yaml").write_text("base: tiny\ngrid: {epochs: [1]}\n")
    path = Path("configs/train-tiny.yaml")
    path.write_text(
        path.read_text().replace("early_stopping: {patience: 3, threshold: 0.0}", "early_stopping: null")
    )
    command = [sys.executable, "-m", "scripts.sweep", "--config", "configs/sweep-e.yaml"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=tiny_run, env=environment, capture_output=True, text=True)
    assert (done.returncode, "sweep e: 1 of 1 variants of tiny finished" in done.stdout) == (0, True), (
        done.stderr
    )
    manifest = Path("adapters/sweep-e-e1/manifest.json")
    before = manifest.read_bytes()
    again = subprocess.run(command, cwd=tiny_run, env=environment, capture_output=True, text=True)
    assert (again.returncode, manifest.read_bytes()) == (0, before)
    assert "step" not in again.stderr
