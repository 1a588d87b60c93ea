"""Readings of the loss curves: when a run is to be worried about, and at which step."""

import pytest

from lib.train.curves import alerts_of, train_eval_gap


def history(losses, training=2.0):
    """Evaluations from step 1 on, a training loss at each."""
    made = [{"step": 0, "eval_loss": 9.0}]
    for step, loss in enumerate(losses, 1):
        made += [{"step": step, "loss": training}, {"step": step, "eval_loss": loss}]
    return made


@pytest.mark.parametrize(
    "losses, steps",
    [
        ([2.5, 2.5, 2.5], []),  # the bound itself is allowed
        ([2.5, 2.75, 2.875], [2]),  # the first one, not the last
        ([2.125, 2.25, 2.375], []),  # two rises
        ([2.25, 2.125, 2.25, 2.375], []),
        ([2.125, 2.25, 2.375, 2.5], [4]),
        ([2.125, 2.25, 2.375, 2.5, 2.5, 2.5], [4]),
        ([2.0, 2.125, 2.375, 2.75], [4, 4]),
        ([2.125, 2.25, 2.25, 2.375], []),  # equal is no rise
    ],
)
def test_the_first_gap_above_the_bound_and_the_first_three_rises_are_told(losses, steps):
    found = alerts_of(history(losses), 0.5)
    assert [alert["step"] for alert in found] == steps
    assert all(alert["alert"].startswith(f"step {alert['step']}: ") for alert in found)


def test_alerts_come_in_the_order_of_their_steps_with_the_advice_of_their_moment():
    found = alerts_of(history([2.0, 2.125, 2.25, 2.375, 2.625, 2.5]), 0.5)
    assert [alert["step"] for alert in found] == [4, 5]
    assert "risen three times in a row" in found[0]["alert"]
    assert "validation loss is 0.62 above training loss (max_train_eval_gap 0.5)" in found[1]["alert"]


def test_of_a_step_that_was_evaluated_twice_the_later_one_counts():
    assert train_eval_gap([*history([3.0]), {"step": 1, "eval_loss": 2.5}], 1) == 0.5
    assert train_eval_gap([{"step": 1, "eval_loss": 2.5}], 1) is None
