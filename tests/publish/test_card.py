"""lib/publish/card.py: the card declares what it must and claims only what was measured."""

import pytest
import yaml

from lib.base.files import write_json
from lib.base.settings import SamplingConfig, TrainConfig
from lib.evaluate.judge_records import SecondJudge
from lib.evaluate.measures import Length, Style
from lib.evaluate.people_records import People
from lib.evaluate.report import AgainstFewshot, Bounds, Gate, Judge, Report, Trust, read_report
from lib.publish.card import model_card
from lib.publish.card_results import evaluation, number, table
from lib.publish.known import Known
from lib.publish.leaks import scan
from lib.publish.permit import objection_to
from lib.train.manifest import Manifest, Memorisation
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


def test_a_forced_card_says_first_that_no_evidence_stands_behind_it(manifest):
    card = model_card("ann/reply-8b", CONFIG, manifest, None, objection="It was never evaluated.")
    assert "(`FORCE=1`). It was never evaluated. Expect no more" in card.split("## Evaluation")[0]
    assert "FORCE=1" not in model_card("ann/reply-8b", CONFIG, manifest, None)


def test_what_the_tuned_model_repeats_of_its_training_stands_beside_what_the_base_does(manifest):
    found = Memorisation(words=8, n=20, base=0.05, tuned=0.25)
    card = model_card("ann/r", CONFIG, manifest.model_copy(update={"memorisation": found}), None)
    assert "Of 20 replies to validation posts, 25.0% repeat 8 or more words" in card
    assert "(without the adapter: 5.0%)" in card


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


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [
        (None, 2, "not measured"), (0.0, 2, "0.00"), (0.125, 2, "0.12"), (-1.5, 2, "-1.50"),
        (0.0009, 3, "< 0.001"), (0.001, 3, "0.001"), (0.0, 3, "< 0.001"), (0.004, 2, "0.00"),
        (-0.0004, 3, "-0.000"),
    ],
)  # fmt: skip
def test_a_number_is_shown_as_it_is_and_a_tiny_p_as_below(value, digits, shown):
    assert number(value, digits) == shown


def test_every_number_of_the_evaluation_stands_in_its_own_row(report):
    found = report.headline.model_copy(
        update={
            "wins": 31, "ties": 9, "losses": 7,
            "length": Length(win_rate=0.71, ci95=(0.6, 0.8)),
            "style": Style(net_win=12.5, ci95=(2.0, 23.0), low=1.0, coding="more"),
        }
    )  # fmt: skip
    gate = report.gate.model_copy(
        update={
            "bounds": Bounds(net_win=(60.0, 70.0)),
            "fewshot": AgainstFewshot(beats=True, net_win=8.0, ci95=(1.0, 15.0), sentence=""),
        }
    )
    said = evaluation(report.model_copy(update={"headline": found, "gate": gate}))
    for row in (
        "| wins / ties / losses | 31 / 9 / 7 |",
        "| win rate at equal length, 95% interval | 0.71 [0.60, 0.80] |",
        "| net win at equal style, points, 95% interval | 12.50 [2.00, 23.00] |",
        "| net win with every missing answer against it, and for it, points | [60.00, 70.00] |",
        "in its prompt, points, 95% interval | 8.00 [1.00, 15.00] |",
    ):
        assert row in said


def test_votes_of_people_on_other_replies_are_not_shown(report):
    def said(outdated):
        people = People.model_validate(
            {"outdated": outdated, "comparison": {"net_win": 21.0, "ci95": (3.0, 40.0), "n": 52}}
        )
        return evaluation(report.model_copy(update={"people": people}))

    assert "| people, blind: net win, points, 95% interval | 21.00 [3.00, 40.00] on 52 tweets |" in said(
        False
    )
    assert "people, blind" not in said(True)


@pytest.mark.parametrize(
    ("verdict", "sentence"),
    [
        ("pass", None), ("fail", "verdict *fail*"), ("underpowered", "verdict *underpowered*"),
        ("unproven", "verdict *unproven*"), (None, "without a verdict"),
    ],
)  # fmt: skip
def test_only_a_pass_of_this_adapter_before_a_judge_that_reads_speaks_for_publishing(
    report, verdict, sentence
):
    of_it = report.model_copy(update={"hashes": {"adapter": "a"}, "gate": Gate(verdict=verdict)})
    found = objection_to(of_it, "a", "mine")
    assert (sentence is None) == (found is None) and (found is None or sentence in found.said)
    for said, other in (
        ("never evaluated", None),
        ("an older adapter", of_it.model_copy(update={"hashes": {"adapter": "b"}})),
        ("an older adapter", of_it.model_copy(update={"hashes": {}})),
        ("stand-in only", of_it.model_copy(update={"judge": Judge(kind="offline")})),
    ):
        assert said in objection_to(other, "a", "mine").said


@pytest.mark.parametrize("text", ["a | b", "a\n| b", "||", "a\u2028b", "`|`", "<b>|</b>"])
def test_no_text_ends_a_cell_or_its_line(text):
    lines = table(("name", "value"), [(text, "1"), ("x", text)]).splitlines()
    assert [line.count("|") for line in lines] == [3] * 4
