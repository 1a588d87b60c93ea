"""lib/publish/card.py: the card declares what it must and claims only what was measured."""

import pytest
import yaml

from lib.base.settings import TrainConfig
from lib.publish.card import model_card
from lib.publish.leaks import Known, scan

CONFIG = TrainConfig(data="main", revision="b968826d9c46dd6066d109eabc6255188de91218")
MANIFEST = {"n_train": 810, "n_val": 101, "train_loss": 1.9, "eval_loss": 2.05, "perplexity": 7.77}
REPORT = {
    "n_prompts": 220,
    "win_rate": 0.61,
    "net_win": 22.0,
    "ci95": [10.5, 33.1],
    "wilcoxon_p": 0.0004,
    "mannwhitney_p": 0.012,
    "cohens_d": 0.34,
    "mde": {"d": 0.19, "net_win": 14.2},
    "judge": {
        "kind": "claude",
        "model": "claude-sonnet-5-5",
        "position_bias": {"rate": 0.56},
        "calibration": {"accuracy": 0.64, "ci95": [0.58, 0.7], "n": 240, "baselines": {"longer": 0.55}},
    },
    "gate": {
        "verdict": "pass",
        "criteria": [{"name": "cohens_d", "value": 0.34, "threshold": 0.3, "pass": True}],
    },
}


def metadata(card):
    return yaml.safe_load(card.split("---\n")[1])


def test_the_metadata_names_base_licence_task_and_result():
    values = metadata(model_card("ann/reply-8b", CONFIG, MANIFEST, REPORT))
    assert (values["base_model"], values["base_model_relation"], values["license"]) == (
        "Qwen/Qwen3-8B",
        "adapter",
        "apache-2.0",
    )
    assert (values["library_name"], values["pipeline_tag"], values["language"]) == (
        "peft",
        "text-generation",
        "en",
    )
    assert "base_model:adapter:Qwen/Qwen3-8B" in values["tags"]
    assert values["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.61


@pytest.mark.parametrize("fact", [
    "Verdict of the gate: **pass**",
    "| tweets | 220 |",
    "22.00 [10.50, 33.10]",
    "< 0.001",
    "| Cohen's d | 0.34 |",
    "| smallest d these tweets show with power 0.8 | 0.19 |",
    "Claude, `claude-sonnet-5-5`",
    "0.64 [0.58, 0.70] on 240 pairs; baselines: longer 0.55",
    "| judge's position bias | 0.56 |",
    "| `cohens_d` | 0.34 | 0.30 | yes |",
    "810 / 101",
])  # fmt: skip
def test_a_result_stands_with_everything_needed_to_doubt_it(fact):
    assert fact in model_card("ann/reply-8b", CONFIG, MANIFEST, REPORT)


def test_a_stand_in_judge_is_called_one_and_gives_no_result_in_the_metadata():
    card = model_card("ann/reply-8b", CONFIG, MANIFEST, {**REPORT, "judge": {"kind": "offline"}})
    assert "no evidence that the replies are better" in card
    assert "model-index" not in metadata(card)


def test_an_underpowered_run_claims_nothing():
    card = model_card("ann/reply-8b", CONFIG, MANIFEST, {**REPORT, "gate": {"verdict": "underpowered"}})
    assert "too few tweets to tell" in card


def test_what_was_not_measured_is_said_to_be_so():
    card = model_card("ann/reply-8b", CONFIG, {}, {"n_prompts": 12})
    assert "| Cohen's d | not measured |" in card
    assert "| judge's accuracy on real engagement | not measured |" in card
    assert "**Not evaluated.**" in model_card("ann/reply-8b", CONFIG, MANIFEST, None)


def test_the_code_on_the_card_is_valid_python_with_the_prompt_and_revision_of_the_run():
    card = model_card("ann/reply-8b", CONFIG, MANIFEST, None)
    code = card.split("```python\n")[1].split("```")[0]
    compile(code, "card", "exec")
    assert "Generate an engaging Twitter reply to:" in code
    assert "enable_thinking=False" in code
    assert "revision='b968826d9c46dd6066d109eabc6255188de91218'" in code


def test_an_adapter_whose_base_nobody_has_is_called_a_test_artefact_without_instructions():
    card = model_card(
        "ann/reply-tiny", CONFIG.model_copy(update={"model": "tiny", "revision": None}), MANIFEST, None
    )
    assert "**A test artefact.**" in card
    assert "```python" not in card


def test_the_card_passes_its_own_leak_check_and_is_the_same_every_time():
    card = model_card("ann/reply-8b", CONFIG, MANIFEST, REPORT)
    assert scan("README.md", card, Known()) == []
    assert card == model_card("ann/reply-8b", CONFIG, MANIFEST, REPORT)


def test_the_code_on_the_card_loads_the_commit_that_was_trained_on_where_the_config_names_none():
    commit = "0123456789abcdef0123456789abcdef01234567"
    card = model_card(
        "ann/reply-8b", CONFIG.model_copy(update={"revision": None}), {**MANIFEST, "revision": commit}, None
    )
    assert f"revision='{commit}'" in card
