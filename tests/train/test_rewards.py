"""What preference tuning weighs, compares and tells: arithmetic, on a model of two tensors."""

import math
from types import SimpleNamespace as Of

import pytest

from lib.base.files import write_json, write_jsonl
from lib.base.settings import TrainConfig
from lib.model.losses import RowLoss
from lib.train import validation_loss
from lib.train.manifest import BeforeAfter
from lib.train.preference_tuning import (
    DPO_LOSSES,
    SameAtStart,
    check_reference,
    for_trainer,
    preference_fields,
    rewards_line,
    weights_of,
)
from tests.train.test_preference_rows import preference

DPO = TrainConfig(data="x", method="dpo", init_adapter="v1")
KTO = TrainConfig(data="x", method="kto", init_adapter="v1")
# top beat middle and low, middle beat low: one good, one bad, one neither
CHAIN = [preference(1, "a", "top", "middle"), preference(2, "a", "middle", "low")]


@pytest.mark.parametrize(
    "some, weights",
    [
        (CHAIN, (1.0, 1.0)),
        ([preference(n, "a", "top", f"r{n}") for n in range(3)], (3.0, 1.0)),
        ([preference(n, "a", f"c{n}", "low") for n in range(4)], (1.0, 4.0)),
    ],
)
def test_the_rarer_kind_of_reply_weighs_as_much_in_all(some, weights):
    assert weights_of({"train": some, "val": []}) == weights


def test_only_kto_is_given_another_prompts_reply():
    rows = [{"completion_ids": [n]} for n in range(2)]
    assert for_trainer(DPO, rows, Of(size=2)) == rows
    assert [row["KL_completion_ids"] for row in for_trainer(KTO, rows, Of(size=2))] == [[1], [0]]


@pytest.mark.parametrize(
    "step, rewards, differs",
    [
        (0, {"eval_rewards/chosen": 0.0, "eval_rewards/rejected": 0.0}, False),
        (0, {"eval_rewards/chosen": 0.04, "eval_rewards/rejected": -0.05}, False),  # half a nat at beta 0.1
        (0, {"eval_rewards/chosen": 0.0, "eval_rewards/rejected": -0.051}, True),
        (0, {"eval_rewards/chosen": 0.051, "eval_rewards/rejected": 0.0}, True),
        (0, {}, True),
        (5, {"eval_rewards/chosen": 3.0, "eval_rewards/rejected": -3.0}, False),
    ],
)
def test_before_the_first_step_model_and_reference_have_to_answer_alike(step, rewards, differs):
    state = Of(global_step=step, log_history=[{"eval_loss": 0.7, **rewards}])
    try:
        SameAtStart(0.1).on_evaluate(None, state, None)
    except RuntimeError as error:
        assert differs and "the reference is not the SFT run" in str(error)
    else:
        assert not differs


def model(copied=1.0, trains=False, name="ref"):
    import torch

    def tensor(value, requires_grad):
        return torch.nn.Parameter(torch.full((2,), value), requires_grad=requires_grad)

    layer = "layer.lora_A"
    held = {f"{layer}.default.weight": tensor(1.0, True), f"{layer}.{name}.weight": tensor(copied, trains)}
    return Of(named_parameters=lambda: list(held.items()))


@pytest.mark.parametrize("harm", [{"copied": 2.0}, {"trains": True}, {"name": "other"}])
def test_the_reference_is_a_frozen_equal_copy_of_the_adapter(harm):
    check_reference(model())
    with pytest.raises(RuntimeError, match=r"no frozen copy of layer.lora_A.default.weight"):
        check_reference(model(**harm))
    with pytest.raises(RuntimeError, match="has no adapter"):
        check_reference(Of(named_parameters=list))


HISTORY = [
    {"step": 0, "eval_loss": 0.7, "eval_rewards/margins": 0.0, "eval_rewards/accuracies": 0.0},
    {"step": 2, "loss": 0.6},
    {"step": 2, "eval_loss": 0.5, "eval_rewards/margins": 0.4, "eval_rewards/accuracies": 0.64},
    {"step": 4, "eval_loss": 0.6, "eval_rewards/margins": 0.9, "eval_rewards/accuracies": 0.7},
]


@pytest.mark.parametrize("config, contradictory", [(DPO, 0), (KTO, 1)])
def test_a_preference_run_tells_its_rewards_before_and_at_the_best_step(
    tmp_path, monkeypatch, config, contradictory
):
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "data/x/processed/preferences.jsonl", CHAIN)
    write_json(tmp_path / "adapters/v1/manifest.json", {"adapter_sha256": "f" * 64})
    found = preference_fields(config, HISTORY, 2)
    assert found == {
        "method": config.method,
        "init_adapter": "v1",
        "init_adapter_sha256": "f" * 64,
        "n_preferences": 2,
        "n_contradictory_replies": contradictory,  # dpo learns from pairs, which do not contradict themselves
        "reward_margin": BeforeAfter(before=0.0, after=0.4),
        "reward_accuracy": BeforeAfter(before=None, after=0.64),  # before, all tie
    }
    told = rewards_line(Of(**found))
    assert told == (
        "margin +0.00 -> +0.40, the liked reply is preferred in 64% of the validation pairs "
        "(from adapters/v1)"
    )


def losses_of(monkeypatch, policy, reference):
    """The two evaluations of a preference run, of given log-probabilities of replies of two tokens each."""
    rows = [RowLoss(-value, 2, 1.0, 1) for value in policy]
    gains = [after - before for after, before in zip(policy, reference, strict=True)]
    monkeypatch.setattr(validation_loss, "_against_reference", lambda model, texts: (rows, gains))


def test_dpos_loss_is_that_of_the_margins_and_of_the_chosen_replies_and_a_tie_is_no_win(monkeypatch):
    losses_of(monkeypatch, [-4.0, -6.0, -9.0, -6.0], [-5.0, -6.0, -7.0, -6.0])
    settings = Of(beta=0.5, **DPO_LOSSES)
    rows = [{"prompt_ids": [1], "chosen_ids": [2, 3], "rejected_ids": [4, 5]}] * 2
    found = validation_loss.preferred(None, rows, settings)
    # gains 1 and 0 of the chosen, -2 and 0 of the rejected: margins 1.5 and 0
    assert found["rewards/chosen"] == 0.25 and found["rewards/rejected"] == -0.5
    assert found["rewards/margins"] == 0.75 and found["rewards/accuracies"] == 0.5
    of_margins = (0.2014132779827524 + 0.6931471805599453) / 2  # -log sigmoid of 1.5 and of 0
    assert found["loss"] == pytest.approx(of_margins + (4 + 6) / 4)
    assert (found["entropy"], found["mean_token_accuracy"]) == (0.5, 0.5)


@pytest.mark.parametrize("of_others, drift", [((-5.0, -5.0), 1.0), ((-7.0, -7.0), 0.0)])
def test_ktos_loss_weighs_good_and_bad_against_a_drift_that_is_never_negative(monkeypatch, of_others, drift):
    losses_of(monkeypatch, [-4.0, -9.0, *of_others], [-6.0, -7.0, -6.0, -6.0])
    settings = Of(beta=0.5, desirable_weight=1.0, undesirable_weight=3.0)
    rows = [{"prompt_ids": [1], "completion_ids": [2, 3], "label": label} for label in (True, False)]
    found = validation_loss.desirable(None, rows, settings)
    assert (found["kl"], found["rewards/chosen"], found["rewards/rejected"]) == (drift, 1.0, -1.0)
    assert found["rewards/margins"] == 2.0

    def lost(value):
        return 1 / (1 + math.exp(-value))

    of_good, of_bad = lost(0.5 * (drift - 2)), 3 * lost(0.5 * (-2 - drift))
    assert found["loss"] == pytest.approx((of_good + of_bad) / 2)
