"""Three plain sentences on an evaluation: what happened, whether to believe it, what to do next."""

import json
from pathlib import Path

import pytest

from lib.evaluate.measures import Equivalence
from lib.evaluate.reading import forgetting, last_line, tally, three_sentences, verdict_of
from lib.evaluate.report import Criterion, Report, read_report
from tests.evaluate.test_style_page import STYLE

OLDER = Path(__file__).parent / "older" / "report.json"  # of a quickstart: 39 wins, 8 losses, a stand-in


def report(verdict="fail", stand_in=False, failed=(), n=200, headline=None, **judge):
    """A report like the older one; failed: names of the criteria that do not hold."""
    value = json.loads(OLDER.read_text())
    value["gate"] |= {"verdict": verdict, "next": "train longer"}
    for row in value["gate"]["criteria"]:
        row["pass"] = row["name"] not in failed
    calibration = value["judge"]["calibration"] | {"status": "better than chance", "accuracy": 0.62}
    value["judge"] |= {"stand_in": stand_in, "calibration": calibration} | judge
    value["headline"] |= headline or {}
    return Report.model_validate(value | {"n_prompts": n, "underpowered": n < 100})


def with_gate(headline=None, **gate):
    value = json.loads(report(headline=headline).model_dump_json(by_alias=True, exclude_unset=True))
    return Report.model_validate(value | {"gate": value["gate"] | gate})


def answers(found, model="Qwen/Qwen3-8B"):
    return [answer for _, answer in three_sentences(found, model)]


@pytest.mark.parametrize(
    ("ci95", "said"),
    [
        ((40.0, 80.0), "In the judge's eyes training helped: "),
        ((-80.0, -40.0), "In the judge's eyes training made the replies worse: "),
        ((-4.0, 40.0), "In the judge's eyes no difference can be told: "),
        ((0.0, 40.0), "In the judge's eyes no difference can be told: "),
        ((-40.0, 0.0), "In the judge's eyes no difference can be told: "),
    ],
)
def test_what_happened_follows_from_the_interval_and_counts_tweets(ci95, said):
    happened = answers(report(headline={"ci95": list(ci95)}))[0]
    assert happened.startswith(said)
    assert happened.endswith("it preferred the trained model's reply 39 times, the base's 8 times.")


def test_ties_are_said_where_there_are_some():
    assert answers(report(headline={"ties": 3}))[0].endswith(", and called it a tie 3 times.")


def test_a_win_that_style_may_have_made_is_doubted_and_the_habits_are_named():
    found = report(headline={"style": STYLE.model_dump()})
    style = Criterion.model_validate({"name": "style", "pass": False})
    gate = found.gate.model_copy(update={"criteria": [*found.gate.criteria, style]})
    said = answers(found.model_copy(update={"gate": gate}))[1]
    assert "at equal style it is not shown to win (emoji: +9 points, “#”: any part of it)" in said
    assert "the order, the length and the style of the replies do not explain it" in answers(found)[1]
    assert "the order and the length of the replies do not explain it" in answers(report())[1]


def test_a_stand_in_is_never_believed():
    assert answers(report("pass", stand_in=True))[1].startswith("No: the judge is an offline stand-in")


@pytest.mark.parametrize(
    ("change", "doubt"),
    [
        ({"n": 47, "failed": ["tweets"]}, "47 tweets are too few to see a small difference"),
        ({"failed": ["wilcoxon_p"]}, "chance alone could have made it"),
        ({"failed": ["mannwhitney_p"]}, "chance alone could have made it"),
        ({"n": 99}, "99 tweets are too few to see a small difference"),
        ({"failed": ["position"]}, "prefers the reply that it is shown first"),
        ({"failed": ["length_controlled"]}, "at equal length the trained model is not shown to win"),
        ({"canaries": {"n": 4, "held": 3}}, "a reply can give the judge orders"),
        ({"calibration": {"status": "no better than chance"}}, "the judge is no better than chance at"),
        ({"calibration": {"status": "worse than chance"}}, "the judge is worse than chance at"),
        ({"calibration": {"status": "not calibrated"}}, "nobody knows how often the judge is right"),
        ({"calibration": None}, "nobody knows how often the judge is right"),
    ],
)
def test_every_doubt_is_named(change, doubt):
    believed = answers(report(**change))[1]
    assert believed.startswith("Only in part: ")
    assert doubt in believed


def test_without_a_doubt_the_judge_s_own_accuracy_is_what_is_left():
    assert "picks the one that was liked more in 62% of cases" in answers(report("pass"))[1]


def test_the_next_step_is_the_gate_s_and_the_quickstart_s_failure_is_expected():
    assert answers(report())[2] == "Train longer."
    assert verdict_of(report(), "Qwen/Qwen3-8B") == "Fail"
    assert verdict_of(report(), "tiny") == "Fail, as expected of the quickstart"
    assert answers(report(), "tiny")[2].endswith("With a real model the advice would be: train longer.")
    assert verdict_of(report("pass"), "tiny") == "Pass"


@pytest.mark.parametrize(
    ("kind", "title"),
    [
        ("publish", "Publish"),
        ("train", "Train a second version"),
        ("collect", "Collect more"),
        ("no_evidence", "No evidence yet"),
    ],
)
def test_page_and_console_end_in_the_same_one_of_four_decisions(kind, title):
    found = with_gate(decision={"kind": kind, "sentence": "do this"})
    assert answers(found)[2] == f"{title}: do this."
    assert last_line(found, "Qwen/Qwen3-8B") == f"decision: {title}: do this"
    assert last_line(found, "tiny").startswith(f"decision: {title}: do this (nothing to do now: ")


def test_answers_that_the_judge_owes_are_said_and_make_no_loser():
    bounds = {"net_win": [-30.0, 30.0], "unjudged": 0.3}
    found = with_gate(bounds=bounds, headline={"ci95": [-40.0, -20.0], "n": 200})
    happened = answers(found)[0]
    assert happened.startswith("In the judge's eyes no difference can be told")
    assert "60 tweets without an answer, counted as lost; the net win lies between -30 and +30" in happened


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("alike", "flaws that a judge may not mind (Alike among themselves)"),
        ("unjudged", "the judge owes too many answers"),
        ("baseline", "a win over no reply says nothing"),
    ],
)
def test_flaws_and_gaps_are_doubts(name, said):
    row = {"name": name, "label": "Alike among themselves", "value": 0.9, "threshold": 0.1, "pass": False}
    assert said in answers(with_gate(criteria=[row]))[1]


def test_the_judge_s_standing_is_the_doubt_or_the_reason_to_believe():
    trust = {"status": "unproven", "sentence": "not calibrated: 12 pairs", "needs": "ask people"}
    assert "the judge is unproven: not calibrated: 12 pairs" in answers(report("unproven", trust=trust))[1]
    assert verdict_of(report("unproven", trust=trust), "Qwen/Qwen3-8B").startswith("Unproven")
    trusted = {"status": "trusted", "sentence": "it agrees with people"}
    assert "has earned it: it agrees with people." in answers(report("pass", trust=trusted))[1]


def test_a_report_of_an_earlier_version_is_read_out_too():
    found = read_report(OLDER)
    assert len(answers(found)) == 3
    assert verdict_of(Report(), "Qwen/Qwen3-8B") == "No verdict"
    assert len(answers(Report())) == 3


@pytest.mark.parametrize(
    ("diff", "ci90", "equivalent", "said"),
    [
        (-1.918, (-1.977, -1.860), False, "nothing was forgotten. The trained model is better, by 1.918"),
        (-0.05, (-0.2, 0.05), False, "nothing was forgotten. The trained model is better, by 0.050"),
        (0.01, (-0.02, 0.04), True, "as good as the base, nothing was forgotten"),
        (0.5, (0.4, 0.6), False, "some was forgotten. The trained model is worse, by 0.500"),
        (-0.01, (-0.12, 0.1), False, "nothing was forgotten. The trained model is better, by 0.010"),
        (0.05, (-0.2, 0.3), False, "too few texts to tell"),
        (-0.01, (-0.3, 0.28), False, "too few texts to tell"),
        (
            0.1,
            (0.05, 0.15),
            False,
            "too few texts to tell",
        ),  # worse for sure, and perhaps no more than is allowed
    ],
)
def test_an_improvement_never_reads_as_damage(diff, ci90, equivalent, said):
    found = Equivalence(n=30, mean_diff=diff, ci90=ci90, margin=0.1, p=0.5, equivalent=equivalent)
    assert said in forgetting(found)
    assert ("worse" in forgetting(found)) == (diff > 0.1)
    assert ("some was forgotten." in forgetting(found)) == (ci90[0] > 0.1)


def test_the_judge_s_answers_are_counted_as_the_reader_s_are():
    assert tally([0.5, 1.0, -0.5, 0.0]) == "tuned 2, base 1, neither 1"


@pytest.mark.parametrize("name", ["mannwhitney_p", "wilcoxon_p", "permutation_p", "ci95"])
def test_every_test_of_chance_that_fails_is_a_doubt_and_a_judge_without_doubts_has_none(name):
    row = {"name": name, "label": name, "value": 0.9, "threshold": 0.1}
    assert "chance alone could" in answers(with_gate(criteria=[row | {"pass": False}]))[1]
    assert "chance alone could" not in answers(with_gate(criteria=[row | {"pass": True}]))[1]


def test_a_change_less_than_is_allowed_is_said_to_be_that():
    found = Equivalence(n=30, mean_diff=0.02, ci90=(-0.11, 0.1), margin=0.1, p=0.5, equivalent=False)
    assert "worse by 0.020 nats per token, less than is allowed" in forgetting(found)
