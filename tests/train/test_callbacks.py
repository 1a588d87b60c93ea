"""What the callbacks say and do while a run trains: no model is needed."""

import os
import signal
from types import SimpleNamespace

import pytest

from lib.base.settings import EarlyStoppingConfig
from lib.train.callbacks import Alerts, EarlyStop, KeepBest, Progress, StopOnSignal


def state(step, history=(), first=True):
    return SimpleNamespace(global_step=step, log_history=list(history), is_world_process_zero=first)


@pytest.fixture
def control():
    return SimpleNamespace(should_save=False, should_training_stop=False)


@pytest.mark.parametrize(
    "begun_at, seconds, step, n_steps, left",
    [
        (0, 60.0, 4, 10, "1:30 left"),
        (0, 65.0, 1, 2, "1:05 left"),
        (10, 10.0, 12, 66, "4:30 left"),  # a resumed run has done two steps of its own
        (0, 60.0, 10, 10, "0:00 left"),
    ],
)
def test_the_time_left_is_that_of_the_steps_that_are_left(
    monkeypatch, begun_at, seconds, step, n_steps, left
):
    now = [1000.0]
    monkeypatch.setattr("lib.train.callbacks.time", SimpleNamespace(monotonic=lambda: now[0]))
    progress = Progress(n_steps)
    now[0] += 500  # loading is no part of it
    progress.on_train_begin(None, state(begun_at), None)
    assert progress.line(begun_at) == f"step {begun_at}/{n_steps}"
    now[0] += seconds
    assert progress.line(step) == f"step {step}/{n_steps}  {left}"


def test_a_log_file_gets_a_line_for_each_evaluation_with_both_losses_from_one_process(capsys):
    for first in (True, False):
        progress = Progress(8)
        progress.on_log(None, state(1, first=first), None, {"loss": 3.21})
        progress.on_log(None, state(1, first=first), None, {"eval_loss": 3.4})
        progress.on_log(None, state(2, first=first), None, {"loss": 3.0})
        progress.on_train_end(None, state(2, first=first), None)
    said = capsys.readouterr()
    assert said.err.startswith("step 1/8  loss 3.210  eval loss 3.400") and said.err.count("\n") == 1
    assert said.out == ""


def test_an_alert_is_said_once_at_its_own_step_by_one_process(capsys):
    history = [{"step": 0, "eval_loss": 4.0}]
    for step, loss in enumerate((3.0, 3.1, 3.2, 3.3, 3.4), 1):
        history += [{"step": step, "loss": 2.5}, {"step": step, "eval_loss": loss}]
        Alerts(0.65).on_evaluate(None, state(step, history), None)
        Alerts(0.65).on_evaluate(None, state(step, history, first=False), None)
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[2].partition(": ")[0] for line in said] == ["step 3", "step 4"]
    assert "validation loss is 0.70 above training loss (max_train_eval_gap 0.65)" in said[0]
    assert "risen three times in a row" in said[1]


def test_sigterm_lets_the_step_end_saves_and_stops_and_ends_the_process_as_ever_afterwards(control):
    before, stop = signal.getsignal(signal.SIGTERM), StopOnSignal()
    try:
        stop.on_train_begin(None, state(0), control)
        stop.on_step_end(None, state(1), control)
        assert (control.should_save, control.should_training_stop) == (False, False)
        os.kill(os.getpid(), signal.SIGTERM)
        stop.on_step_end(None, state(2), control)
        assert (control.should_save, control.should_training_stop) == (True, True)
        stop.on_train_end(None, state(2), control)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


COLLAPSING = [
    {"step": 0, "eval_loss": 4.0, "eval_alike": 0.0},
    {"step": 2, "eval_loss": 3.0, "eval_alike": 0.0},
    {"step": 4, "eval_loss": 2.0, "eval_alike": 0.9},
    {"step": 6, "eval_loss": 3.2, "eval_alike": 0.0},
]


@pytest.mark.parametrize("watch, stays", [("loss", [4, 6]), ("loss_and_diversity", [2, 6])])
def test_the_best_checkpoints_by_what_is_watched_stay_and_the_newest_to_go_on_from(tmp_path, watch, stays):
    for step in (2, 4, 6):
        (tmp_path / f"checkpoint-{step}").mkdir()
    KeepBest(tmp_path, 1, watch).on_save(None, state(6, COLLAPSING, first=False), None)
    assert len(list(tmp_path.iterdir())) == 3
    KeepBest(tmp_path, 1, watch).on_save(None, state(6, COLLAPSING), None)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"checkpoint-{step}" for step in stays]


@pytest.mark.parametrize("watch, stops", [("loss", False), ("loss_and_diversity", True)])
def test_a_run_is_stopped_by_what_it_is_told_to_watch(control, watch, stops):
    early = EarlyStop(EarlyStoppingConfig(patience=1, threshold=0.0, watch=watch))
    early.on_evaluate(None, state(4, COLLAPSING[:3]), control)
    assert control.should_training_stop is stops
