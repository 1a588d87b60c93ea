"""What a script itself decides: the line that comes next, a refusal before the work, its exit status."""

import importlib
import os
import sys
from pathlib import Path

import pytest

from lib.base.errors import UserError
from lib.base.files import lock, write_json, write_jsonl
from tests.eval_data import pair
from tests.items import stage

R = "configs/train-r.yaml"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The set x, that the runs b and r read; y is read by s."""
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    for run, name in (("b", "x"), ("r", "x"), ("s", "y")):
        Path(f"configs/train-{run}.yaml").write_text(f"{{data: {name}, eval: e, model: tiny}}")
    Path("configs/train-a.yaml").write_text("no config")
    for name in "xyz":
        Path(f"configs/data-{name}.yaml").write_text("{collect: {source: files}, review: required}")
        for part in ("train", "val"):
            write_jsonl(Path(f"data/{name}/processed/{part}.jsonl"), [pair(1)])
        write_json(Path(f"data/{name}/processed/manifest.json"), {"n_train": 1200, "n_val": 1})
    mask = os.umask(0)
    os.umask(mask)
    yield tmp_path
    os.umask(mask)  # `repair` sets its own


@pytest.mark.parametrize(
    ("name", "run", "plan"),
    [
        ("x", "r", "RUN=r"),
        ("x", "b", "RUN=b"),
        ("x", "s", "RUN=b"),
        ("y", "r", "RUN=s"),
        ("z", "r", "RUN=r DATA=z"),
    ],
)
def test_a_set_that_is_ready_leads_to_the_plan_of_run_or_of_the_first_run_that_reads_it(
    project, name, run, plan
):
    said = stage(project, "next_step", R, "--set", name, "--run", run).stdout.splitlines()
    assert said == [
        f"data: data/{name} is up to date: train 1,200, val 1, test 0 pairs",
        f"next: make plan {plan}",
    ]
    Path(f"data/{name}/report.html").touch()
    said = stage(project, "next_step", R, "--set", name, "--run", run).stdout.splitlines()
    assert said[1] == f"report: data/{name}/report.html"


def test_a_set_that_waits_leads_to_its_review_and_one_that_is_not_there_is_an_error(project):
    write_jsonl(Path("data/x/interim/clean.jsonl"), [pair(1)])
    Path("data/x/processed/manifest.json").unlink()
    for part in ("train", "val"):
        Path(f"data/x/processed/{part}.jsonl").unlink()
    assert stage(project, "next_step", R, "--set", "x").stdout == "next: make review DATA=x\n"
    done = stage(project, "next_step", R, "--set", "nope")
    assert done.returncode == 1 and "make data DATA=nope" in done.stderr


def test_a_judged_run_is_told_with_its_verdict_its_page_and_what_has_changed_since(project):
    write_json(Path("adapters/r/manifest.json"), {"config": {"data": "x"}})
    write_json(Path("adapters/r/eval/e/report.json"), {"gate": {"verdict": "unproven"}})
    said = stage(project, "next_step", R, "--eval", "e", "--judged").stdout.splitlines()
    assert said[-3:] == [
        "eval: r is judged, verdict unproven",
        "report: adapters/r/eval/e/report.html",
        "next: make human-eval RUN=r",
    ]
    assert "judged" not in stage(project, "next_step", R).stdout


EVAL = ["--eval", "configs/eval-e.yaml"]
BOOKS = ["--data", "data/x", "--run", "adapters/r", "--eval", "adapters/r/eval/e"]


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("adapters/r/eval/e/generate.lock", ["generate", "--config", R, *EVAL]),
        ("adapters/r/eval/e/judge.lock", ["judge", "--config", R, *EVAL]),
        ("adapters/r/remote.lock", ["rent", "--config", R, "--eval", "e", "--on", "runpod"]),
        ("data/forget.lock", ["forget", "--id", "7"]),
        ("data/x/build.lock", ["forget", "--id", "7"]),
        ("data/x/build.lock", ["pair", "--config", "configs/data-x.yaml"]),
        ("data/x/collect.lock", ["repair", *BOOKS]),
        ("adapters/r/eval/e/judge.lock", ["repair", *BOOKS]),
    ],
)
def test_what_another_command_is_writing_is_not_touched(project, monkeypatch, path, command):
    Path("configs/eval-e.yaml").write_text("{judge: {kind: offline}}")
    Path("data/x/interim").mkdir()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setenv("YES", "1")
    with lock(Path(path)), pytest.raises(UserError, match="is in use by another run"):
        importlib.import_module(f"scripts.{command[0]}").main()


def test_an_evaluation_of_data_that_are_not_there_says_what_makes_them(project):
    Path("configs/eval-e.yaml").write_text("{judge: {kind: offline}}")
    for part in ("train", "val"):
        Path(f"data/x/processed/{part}.jsonl").unlink()
    done = stage(project, "eval_plan", R, *EVAL)
    assert done.returncode == 1 and "run `make data DATA=x` first" in done.stderr


def test_a_training_that_was_stopped_ends_with_143_and_one_that_is_done_is_not_begun(project, monkeypatch):
    begun = []
    monkeypatch.setattr("scripts.train.train", lambda name, config: begun.append((name, config.data)))
    done = stage(project, "train", R, "--data", "y")
    assert (done.returncode, begun) == (143, [("r", "y")])
    assert "adapters/r/checkpoints. Run the same command" in done.stdout
    monkeypatch.setattr("scripts.train.up_to_date", lambda folder, config: True)
    done = stage(project, "train", R)
    assert done.returncode == 0 and "adapters/r is up to date" in done.stdout and len(begun) == 1


@pytest.mark.parametrize("command", [["train", R], ["sweep", "configs/sweep-l.yaml"]])
def test_nothing_is_trained_on_data_that_are_not_ready(project, monkeypatch, command):
    Path("configs/sweep-l.yaml").write_text("{base: r, grid: {learning_rate: [1e-4, 2e-4]}, max_usd: 1}")
    monkeypatch.setattr(f"scripts.{command[0]}.{command[0]}", lambda *_: pytest.fail("it trains"))
    Path("data/x/processed/train.jsonl").unlink()
    done = stage(project, *command)
    assert done.returncode == 1 and "run `make data DATA=x` first" in done.stderr


@pytest.mark.parametrize(("best", "code"), [("sweep-l-a", 0), (None, 1)])
def test_a_sweep_that_found_no_best_run_ends_with_1(project, monkeypatch, best, code):
    Path("configs/sweep-l.yaml").write_text("{base: r, grid: {learning_rate: [1e-4, 2e-4]}, max_usd: 1}")
    found = {"variants": [], "base": "r", "usd": 0.5, "note": "stopped", "best": best}
    monkeypatch.setattr("scripts.sweep.sweep", lambda *_: found)
    monkeypatch.setattr("scripts.sweep.table", lambda variants: "")
    done = stage(project, "sweep", "configs/sweep-l.yaml")
    assert (done.returncode, "next: make eval RUN=sweep-l-a" in done.stdout) == (code, best is not None)
    assert "0 of 0 variants of r finished, $0.50 spent" in done.stdout and "stopped" in done.stdout


def test_a_rented_machine_that_could_not_be_ended_is_an_error(project, monkeypatch):
    from lib.remote.rented import engines, look

    found = look(Path(), engines(None, print))
    monkeypatch.setattr("scripts.rented.end_all", lambda *_: ["pod p1 could not be ended: 503"])
    monkeypatch.setattr("scripts.rented.look", lambda *_: found)
    monkeypatch.setattr("scripts.rented.settle_all", lambda *_: None)
    done = stage(project, "rented", R, "--end")
    assert done.returncode == 1 and "pod p1 could not be ended" in done.stderr
    assert stage(project, "rented", R).returncode == 0


def test_nothing_is_rented_for_data_that_are_not_ready(project, monkeypatch):
    monkeypatch.setenv("YES", "1")
    monkeypatch.setattr("scripts.rent.Renting", lambda *_: pytest.fail("it rents"))
    Path("data/x/processed/train.jsonl").unlink()
    done = stage(project, "rent", R, "--eval", "e", "--on", "runpod")
    assert done.returncode == 1 and "run `make data DATA=x` first" in done.stderr


@pytest.mark.parametrize(("runs", "proposed"), [("", None), ("a", None), ("ab", "a b"), ("abc", "a b")])
def test_of_the_runs_that_are_finished_two_are_proposed_for_a_comparison(
    project, monkeypatch, capsys, runs, proposed
):
    for run in runs:
        write_json(Path(f"adapters/{run}/manifest.json"), {"run": run})
    monkeypatch.setattr(sys, "argv", ["compare"])
    importlib.import_module("scripts.compare").main()
    said = capsys.readouterr().out
    assert f"Finished: {', '.join(runs) or 'none yet'}." in said
    assert (f'make compare RUNS="{proposed}"' in said) == (proposed is not None)
