"""lib/publish/card.py: the card declares what it must and claims only what was measured."""

import pytest
import yaml

from lib.base.files import write_json
from lib.base.settings import SamplingConfig, TrainConfig
from lib.evaluate.judge_records import SecondJudge
from lib.evaluate.report import Gate, Judge, Report, Trust, read_report
from lib.publish.card import model_card
from lib.publish.card_results import table
from lib.publish.known import Known
from lib.publish.leaks import scan
from lib.train.manifest import Manifest
from tests.older_run import older_manifest, older_report

CONFIG = TrainConfig(data="main", revision="b968826d9c46dd6066d109eabc6255188de91218")


@pytest.fixture
def manifest(tmp_path):
    """A real run's manifest."""
    return older_manifest(tmp_path)


@pytest.fixture
def report(tmp_path):
    """A real evaluation's report, as if Claude had been the judge and had been convinced."""
    values = older_report()
    values["judge"] |= {"kind": "claude", "model": "claude-sonnet-5-5"}
    values["gate"]["verdict"] = "pass"
    write_json(tmp_path / "report.json", values)
    return read_report(tmp_path / "report.json")


def metadata(card):
    return yaml.safe_load(card.split("---\n")[1])


def test_the_metadata_names_base_licence_task_and_result(manifest, report):
    values = metadata(model_card("ann/reply-8b", CONFIG, manifest, report))
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
    assert values["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.8298


def test_a_run_of_mlx_is_not_said_to_be_one_of_trl_in_nf4(manifest):
    card = model_card("ann/reply-8b", CONFIG, manifest.model_copy(update={"backend": "mlx"}), None)
    assert "| 4-bit, as MLX has it (affine, groups of 64) |" in card
    assert {"mlx", "qlora"} < set(metadata(card)["tags"])
    assert "NF4" not in card
    assert "trl" not in metadata(card)["tags"]


@pytest.mark.parametrize("fact", [
    "Verdict of the gate: **pass**",
    "| tweets | 47 |",
    "65.96 [40.43, 83.67]",
    "| win rate, a tie counts half | 0.83 |",
    "| Wilcoxon signed rank, p | < 0.001 |",
    "| Cohen's d | 1.33 |",
    "| smallest d these tweets show with power 0.8 | 0.63 |",
    "| smallest net win these tweets show with power 0.8, points | 37.83 |",
    "Claude, `claude-sonnet-5-5`",
    "0.66 [0.51, 0.78] on 41 pairs (not calibrated); baselines: longer 0.57, earlier 0.00, more followers",
    "| judge's position bias | chose the reply shown first in 0.50 of the decided comparisons |",
    "| `cohens_d` | 1.33 | 0.30 | yes |",
    "| `perplexity` | 519.17 | 20.00 | no |",
    "| pairs (train / validation) | 249 / 51 |",
    "| train / validation loss | 6.216 / 6.324 |",
])  # fmt: skip
def test_a_result_stands_with_everything_needed_to_doubt_it(manifest, report, fact):
    assert fact in model_card("ann/reply-8b", CONFIG, manifest, report)


def test_a_stand_in_judge_is_called_one_and_gives_no_result_in_the_metadata(manifest, report):
    card = model_card(
        "ann/reply-8b", CONFIG, manifest, report.model_copy(update={"judge": Judge(kind="offline")})
    )
    assert "no evidence that the replies are better" in card
    assert "model-index" not in metadata(card)


def test_an_underpowered_run_claims_nothing(manifest, report):
    card = model_card(
        "ann/reply-8b", CONFIG, manifest, report.model_copy(update={"gate": Gate(verdict="underpowered")})
    )
    assert "too few tweets to tell" in card


def test_an_unproven_run_claims_nothing_and_says_why(manifest, report):
    trust = Trust(status="unproven", sentence="not calibrated: 12 pairs", needs="ask people")
    changes = {
        "gate": Gate(verdict="unproven"),
        "judge": report.judge.model_copy(update={"trust": trust}),
    }
    card = model_card("ann/reply-8b", CONFIG, manifest, report.model_copy(update=changes))
    assert "Verdict of the gate: **unproven**" in card
    assert "neither likes nor people vouch for the judge" in card
    assert "| trust in the judge | unproven: not calibrated: 12 pairs |" in card


def test_what_was_not_measured_is_said_to_be_so(manifest, tmp_path):
    write_json(tmp_path / "manifest.json", {})
    nothing = Manifest.read(tmp_path / "manifest.json")
    card = model_card("ann/reply-8b", CONFIG, nothing, Report(n_prompts=12))
    assert "| Cohen's d | not measured |" in card
    assert "| judge's accuracy on real engagement | not measured |" in card
    assert "| pairs (train / validation) | unknown / unknown |" in card
    assert "**Not evaluated.**" in model_card("ann/reply-8b", CONFIG, manifest, None)


def test_the_code_on_the_card_is_valid_python_with_the_prompt_and_revision_of_the_run(manifest):
    card = model_card("ann/reply-8b", CONFIG, manifest, None)
    code = card.split("```python\n")[1].split("```")[0]
    compile(code, "card", "exec")
    assert "Generate an engaging Twitter reply to:" in code
    assert "enable_thinking=False" in code
    assert "revision='b968826d9c46dd6066d109eabc6255188de91218'" in code


def test_the_code_on_the_card_samples_as_the_evaluation_did(manifest):
    card = model_card(
        "ann/reply-8b", CONFIG, manifest, None, SamplingConfig(temperature=0, max_new_tokens=33)
    )
    assert "model.generate(**inputs, max_new_tokens=33, do_sample=False)" in card


def test_the_card_asks_whether_xs_terms_allow_it_and_says_what_it_was_trained_on(manifest):
    real = manifest.model_copy(update={"config": {"data": "main"}})
    card = model_card("ann/reply-8b", CONFIG.model_copy(update={"data": "sample"}), real, None)
    assert "249 pairs of invented posts" in model_card("ann/reply-8b", CONFIG, manifest, None)
    assert "## May this be published?" in card
    assert "Trained on 249 pairs of public posts on X (Twitter)" in card
    assert "Of 17 replies to validation posts, 0.0% repeat 8 or more words of a training reply" in card
    assert "The texts are not published" in card


def test_a_card_says_who_judged_and_where_judges_differ(manifest, report):
    second = SecondJudge(
        eval="claude", kind="claude", model="c", n=40, n_tweets=40, share=0.7, share_ci95=(0.55, 0.8),
        n_headline=38, net_win=(-5.0, 66.0),
    )  # fmt: skip
    judge = report.judge.model_copy(update={"kind": "openai", "model": "llama-4"})
    card = model_card(
        "ann/reply-8b",
        CONFIG,
        manifest,
        report.model_copy(update={"judge": judge, "second_judges": [second]}),
    )
    assert "| judge | a model behind an OpenAI-compatible API, `llama-4` |" in card
    assert (
        "| second judge: Claude, `c` | 0.70 [0.55, 0.80] of 40 verdicts are the same; its net win: -5.00"
        in card
    )


def test_a_pass_before_a_judge_that_nothing_vouches_for_says_so(manifest, report):
    def card(trust):
        judge = report.judge.model_copy(update={"trust": trust})
        return model_card("ann/reply-8b", CONFIG, manifest, report.model_copy(update={"judge": judge}))

    assert "Nothing vouches for the judge" in card(Trust(status="unproven", sentence="too few pairs"))
    assert "Nothing vouches for the judge" not in card(Trust(status="trusted", sentence="41 pairs"))


def test_an_adapter_whose_base_nobody_has_is_called_a_test_artefact_without_instructions(manifest):
    card = model_card(
        "ann/reply-tiny", CONFIG.model_copy(update={"model": "tiny", "revision": None}), manifest, None
    )
    assert "**A test artefact.**" in card
    assert "```python" not in card


def test_the_card_passes_its_own_leak_check_and_is_the_same_every_time(manifest, report):
    card = model_card("ann/reply-8b", CONFIG, manifest, report)
    assert scan("README.md", card, Known()) == []
    assert card == model_card("ann/reply-8b", CONFIG, manifest, report)


def test_the_code_on_the_card_loads_the_commit_that_was_trained_on_where_the_config_names_none(manifest):
    commit = "0123456789abcdef0123456789abcdef01234567"
    card = model_card(
        "ann/reply-8b",
        CONFIG.model_copy(update={"revision": None}),
        manifest.model_copy(update={"revision": commit}),
        None,
    )
    assert f"revision='{commit}'" in card


@pytest.mark.parametrize("text", ["a | b", "a\n| b", "||", "a\u2028b", "`|`", "<b>|</b>"])
def test_no_text_ends_a_cell_or_its_line(text):
    lines = table(("name", "value"), [(text, "1"), ("x", text)]).splitlines()
    assert [line.count("|") for line in lines] == [3] * 4
