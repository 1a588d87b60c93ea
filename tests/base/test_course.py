"""The advice that follows from a run's losses: train more, less, with more dropout, on more data."""

import pytest

from lib.base.course import training_advice, trend

FALLS = [(0, 4.0), (10, 3.5), (20, 3.2), (30, 3.0)]
RISES = [(0, 4.0), (10, 3.2), (20, 3.1), (30, 3.3)]
LEVEL = [(0, 4.0), (10, 3.2), (20, 3.1), (30, 3.0999)]
ONE = [(10, 3.2)]
NAN = [(0, 4.0), (10, float("nan"))]
GAP, BOUND = {"train_eval_gap"}, {"perplexity"}


@pytest.mark.parametrize(
    "losses, course",
    [
        (FALLS, "falls"),
        (RISES, "rises"),
        (
            [(0, 4.0), (10, 3.0), (20, 3.3), (30, 3.2)],
            "rises",
        ),  # it falls, from a worse place than it had reached
        ([(0, 4.0), (10, 3.0), (20, 3.3), (30, 3.3)], "rises"),
        (LEVEL, "level"),
        (ONE, "unknown"),
        (NAN, "unknown"),
        ([], "unknown"),
    ],
)
def test_the_course_is_that_of_the_end_and_not_of_the_order_of_the_entries(losses, course):
    assert trend(losses) == trend(losses[::-1]) == course


@pytest.mark.parametrize(
    "failed, losses, advice",
    [
        (set(), FALLS, "train longer"),
        (set(), RISES, "fewer epochs"),
        (set(), LEVEL, "leave the training as it is"),
        (set(), ONE, "look at the validation loss"),
        (BOUND, FALLS, "train longer"),
        (BOUND, RISES, "fewer epochs or at a lower learning rate"),
        (BOUND, LEVEL, "train on more pairs, with a higher lora.rank or from a larger base model"),
        (BOUND, NAN, "look at the validation loss"),
        (GAP, FALLS, "collect more pairs or raise lora.dropout"),
        (GAP, RISES, "stop training earlier or collect more pairs"),
        (GAP, LEVEL, "stop training earlier or collect more pairs"),
        (GAP, [], "stop training earlier or collect more pairs"),
        (GAP | BOUND, FALLS, "collect more pairs or raise lora.dropout"),  # more training would widen the gap
    ],
)
def test_each_course_has_its_advice(failed, losses, advice):
    assert training_advice(failed, losses).startswith(advice) or advice in training_advice(failed, losses)


def test_alert_manifest_and_gate_say_the_same():
    from lib.evidence import advice as of_gate
    from lib.train import curves, finishing

    assert of_gate.training_advice is curves.training_advice is finishing.training_advice is training_advice
    history = [{"step": step, "eval_loss": loss} for step, loss in FALLS]
    history += [{"step": step, "loss": 2.0} for step in range(1, 31)]
    alert = curves.alerts_of(history, 0.3)[0]["alert"]
    assert alert.endswith(training_advice({"train_eval_gap"}, FALLS))
