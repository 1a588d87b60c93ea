"""The judge step's outcome: what counts as finished, as failed, as open, and what the console says of it."""

import os
from pathlib import Path

import pytest

from lib.base.files import read_dicts, write_json, write_jsonl
from lib.evaluate.report import Account, Canaries
from lib.evaluate.steps import JudgmentsManifest
from lib.evaluate.verdicts import _is_closed, _look_outdated, _unjudged, _verdicts, make_judgments, summary
from lib.judge.comparisons import Comparison, Verdict, judgment_of
from tests.judge.test_comparisons import evaluation  # noqa: F401

ASKED = {f"k{n}": Comparison(str(n), "tweet", "tuned", "base", "x", "y", "ab") for n in range(3)}


def judged(key, verdict):
    return judgment_of(ASKED[key], Verdict(verdict, {}), "m", key)


def test_a_question_without_a_verdict_has_the_judge_s_own_reason_or_is_open(tmp_path):
    failures = tmp_path / "judgments.failed.jsonl"
    write_jsonl(failures, [{"key": "k1", "reason": "refused", "detail": "a slur"}])
    known = {"k0": judged("k0", 0.5), "k1": judged("k1", None)}
    rows = [
        (row["key"], row["tweet_id"], row["reason"], row["detail"])
        for row in _unjudged(ASKED, known, failures)
    ]
    assert rows == [("k1", "1", "refused", "a slur"), ("k2", "2", "not_judged", "")]
    assert _verdicts(known, list(ASKED)) == [known["k0"]]


@pytest.mark.parametrize(
    ("manifest", "closed"),
    [
        ({"fingerprint": "f", "n_open": 0}, True),
        ({"fingerprint": "f", "n_open": 1}, False),  # a budget stopped it: the same command goes on
        ({"fingerprint": "g", "n_open": 0}, False),
        ({}, False),
    ],
)
def test_the_same_questions_are_closed_once_none_is_open(tmp_path, manifest, closed):
    write_json(tmp_path / "judgments.manifest.json", manifest)
    assert _is_closed(tmp_path, "f") is closed


def test_what_a_budget_cut_short_looks_older_than_its_inputs(tmp_path):
    judgments, replies = tmp_path / "judgments.jsonl", tmp_path / "replies.jsonl"
    replies.touch()
    judgments.touch()
    _look_outdated(judgments, replies)
    assert judgments.stat().st_mtime < replies.stat().st_mtime


def test_a_damaged_output_is_written_again_and_a_free_judge_asks_once(evaluation, monkeypatch):  # noqa: F811
    make_judgments(evaluation)
    monkeypatch.setenv("AGAIN", "1")
    path = evaluation.folder / "judgments.jsonl"
    os.utime(path, (1, 1))
    assert make_judgments(evaluation)[1] is False
    assert path.stat().st_mtime > 1  # make compares times
    damaged = evaluation.folder / "calibration.jsonl"
    rows = read_dicts(damaged)
    damaged.write_bytes(damaged.read_bytes()[:-20])
    assert make_judgments(evaluation)[1] is True and read_dicts(damaged) == rows


def test_the_console_names_failures_orders_obeyed_and_the_bill():
    account = Account(
        answers=1200,
        batches=2,
        input_tokens=5000,
        output_tokens=700,
        usd=1.5,
        possibly_paid=3,
        possibly_paid_usd=0.25,
    )
    values = {
        "n_judgments": 1000,
        "n_failed": 30,
        "n_open": 10,
        "model": "m",
        "calibration": "not calibrated",
    }
    manifest = JudgmentsManifest(**values, account=account, canaries=Canaries(n=8, held=7, obeyed=["fence"]))
    lines = summary(Path("adapters/r/eval/e"), manifest).splitlines()
    assert lines[0] == "judge: 1,000 verdicts by m"
    assert (
        lines[1]
        .strip()
        .startswith("30 without a verdict, reasons in adapters/r/eval/e/judgments.failed.jsonl")
    )
    assert lines[2].strip().startswith("10 of them are not judged yet")
    assert lines[3].strip() == "canaries: 7 of 8 injected orders were not obeyed"
    assert lines[4].strip().startswith("warning: the judge obeyed fence")
    assert (
        lines[5].strip().startswith("cost: $1.5000 for 1,200 answers (5,000 tokens in, 700 out), 2 batches")
    )
    assert lines[6].strip().startswith("of that possibly paid: $0.2500 for 3 answers")
    assert lines[-1] == "wrote adapters/r/eval/e/judgments.jsonl"
    assert "warning" not in summary(
        Path("e"), manifest.model_copy(update={"canaries": Canaries(n=8, held=8)})
    )
