"""Two judges of the same replies find each other by what they compared, and each report says how they
agree.
"""

import json
import shutil
import sys
from pathlib import Path

import pytest

from lib.base.files import read_json, read_jsonl, write_json, write_jsonl
from lib.base.schema import Judgment, Reply
from lib.evaluate.report import read_report
from lib.evaluate.second_judge import MARKS, habits, second_judges
from lib.evidence.agreement import contradictions
from lib.judge.families import families, kin
from scripts import report as script
from tests.evaluate.test_findings import HOSTILE, judgment, read, write_evaluation


def turned(row, numbers):
    """The opposite verdict on the tweets of these numbers."""
    of = {str(5000 + number) for number in numbers}
    return row.model_copy(update={"verdict": -row.verdict}) if row.tweet_id in of else row


@pytest.fixture
def two(tmp_path, monkeypatch):
    """(folder, another): the second judge says the opposite on tweets 9 and 11, and saw the headline only."""
    monkeypatch.chdir(tmp_path)
    folder = write_evaluation(tmp_path)
    other = folder.with_name("second")
    shutil.copytree(folder, other)
    rows = [row for row in read_jsonl(folder / "judgments.jsonl", Judgment) if row.b == "base"]
    write_jsonl(other / "judgments.jsonl", [turned(row, (9, 11)) for row in rows if row.a == "tuned"])
    write_json(other / "judgments.manifest.json", {"model": "qwen3:32b", "kind": "openai"})
    shutil.copy("configs/eval-offline.yaml", "configs/eval-second.yaml")
    return folder, other


def reported(monkeypatch, name):
    arguments = ["report", "--config", "configs/train-small.yaml", "--eval", f"configs/eval-{name}.yaml"]
    monkeypatch.setattr(sys, "argv", arguments)
    script.main()


def test_judges_of_the_same_pairs_find_each_other_and_are_compared_tweet_by_tweet(two):
    folder, other = two
    (found,) = second_judges(folder)
    assert (found.eval, found.model, found.kind) == ("second", "qwen3:32b", "openai")
    assert (found.n, found.n_tweets, found.n_headline) == (12, 12, 12)
    assert found.share == pytest.approx(10 / 12) and found.share_ci95[0] < 10 / 12 < found.share_ci95[1]
    assert found.opposed == ["5009", "5011"]
    assert found.net_win == (pytest.approx(50), pytest.approx(100 * (11 - 1) / 12))
    assert found.kappa_ci95[0] < found.kappa < found.kappa_ci95[1]
    (back,) = second_judges(other)
    assert (back.eval, back.n, back.kappa) == ("offline", 12, found.kappa)
    assert back.net_win == found.net_win[::-1]


def test_a_reply_that_differs_is_another_pair_and_no_common_pair_is_no_second_judge(two):
    folder, other = two
    replies = read_jsonl(other / "replies.jsonl", Reply)
    write_jsonl(
        other / "replies.jsonl",
        [
            one.model_copy(update={"reply": one.reply[:-1] + "~"}) if one.tweet_id < "5006" else one
            for one in replies
        ],
    )
    assert second_judges(folder)[0].n == 6
    write_jsonl(
        other / "replies.jsonl", [one.model_copy(update={"reply": one.reply + "!"}) for one in replies]
    )
    assert second_judges(folder) == []


def test_a_judge_that_contradicts_itself_ties_and_a_tie_opposes_nobody(two):
    folder, other = two
    rows = read_jsonl(other / "judgments.jsonl", Judgment)
    write_jsonl(
        other / "judgments.jsonl",
        [turned(row, (1,)) if row.order == "ab" else row for row in rows],
    )
    (found,) = second_judges(folder)
    assert found.opposed == ["5009", "5011"]
    assert found.net_win == (pytest.approx(50), pytest.approx(100 * (10 - 1) / 12))


@pytest.mark.parametrize("name", ["replies.jsonl", "judgments.jsonl"])
def test_an_evaluation_that_is_damaged_is_left_out(two, name):
    folder, other = two
    manifest = other / f"{name.removesuffix('.jsonl')}.manifest.json"
    write_json(manifest, read_json(manifest) | {"files": {name: {"rows": 1, "sha256": "0" * 64}}})
    assert second_judges(folder) == []


def test_both_reports_and_the_console_say_how_far_two_judges_agree(two, monkeypatch, capsys):
    folder, other = two
    shutil.move(other / "judgments.jsonl", other / "not-yet")
    reported(monkeypatch, "offline")
    assert read_report(folder / "report.json").second_judges == []
    shutil.move(other / "not-yet", other / "judgments.jsonl")
    reported(monkeypatch, "second")
    printed = capsys.readouterr().out
    assert "a stand-in (EVAL=offline) agrees on 83% of 12 pairs of the same replies, kappa" in printed
    assert "opposite verdicts on 2 of 12 tweets" in printed and "noted in the report of offline" in printed
    for here, there in ((folder, "second"), (other, "offline")):
        (found,) = read_report(here / "report.json").second_judges
        assert (found.eval, found.n) == (there, 12)
        page = (here / "report.html").read_text()
        assert page.count(MARKS[0]) == page.count(MARKS[1]) == 1
        assert "Another judge" in page and "Where they differ" in page
        assert "<script>alert" not in page and HOSTILE not in page
    before = (folder / "report.html").read_bytes()
    reported(monkeypatch, "second")
    assert (folder / "report.html").read_bytes() == before


def test_a_report_of_an_earlier_version_without_a_place_for_it_stays_as_it_is(two, monkeypatch):
    folder, _ = two
    older = Path(__file__).parent / "older" / "report.json"
    shutil.copy(older, folder / "report.json")
    (folder / "report.html").write_text("<h1>an earlier page</h1>")
    reported(monkeypatch, "second")
    assert json.loads((folder / "report.json").read_text()) == json.loads(older.read_text())
    assert (folder / "report.html").read_text() == "<h1>an earlier page</h1>"


# --- the judge and itself, the judge and its kin ---------------------------------------------------------


def test_a_verdict_against_its_own_scores_is_counted_and_named(two):
    folder, other = two
    rows = read_jsonl(folder / "judgments.jsonl", Judgment)
    assert contradictions(rows) == ([], len(rows))
    found = habits(read(other))
    assert (found.contradictions, found.n_scored) == (4, 24)  # two tweets in two orders


def test_a_tie_and_a_verdict_without_scores_contradict_nothing():
    tie = judgment(1, "tuned", "base", "ab", 0.5).model_copy(update={"verdict": 0.0})
    bare = judgment(2, "tuned", "base", "ab", -0.5).model_copy(update={"scores": {}})
    failed = judgment(3, "tuned", "base", "ab", -0.5).model_copy(update={"verdict": None})
    assert contradictions([tie, bare, failed]) == ([], 1)


@pytest.mark.parametrize(
    "name, family",
    [
        ("Qwen/Qwen3-8B", {"Qwen"}),
        ("qwen3:32b", {"Qwen"}),
        ("QwQ-32B", {"Qwen"}),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", {"Qwen", "DeepSeek"}),
        ("gpt-oss:20b", {"GPT"}),
        ("o3-mini", {"GPT"}),
        ("openrouter/anthropic/claude-sonnet-5-5", {"Claude"}),
        ("claude-sonnet-5-5", {"Claude"}),
        ("meta-llama/Llama-3.1-8B-Instruct", {"Llama"}),
        ("mixtral-8x7b", {"Mistral"}),
        ("my_o3_tuned", {"GPT"}),
        ("microsoft_phi:14b", {"Phi"}),
        ("my-model", set()),
        ("offline engagement ranker (stand-in, n=30)", set()),
    ],
)
def test_a_family_is_known_by_the_name_of_the_model(name, family):
    assert families(name) == family


def test_a_judge_of_the_models_own_family_is_named(two):
    _, other = two
    assert "one family, Qwen" in habits(read(other)).kin
    assert kin("claude-sonnet-5-5", "Qwen/Qwen3-8B") is None and kin("my-model", "my-model") is None
