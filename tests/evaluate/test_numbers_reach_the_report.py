"""Each number of an evaluation is that of the right rows when it reaches the report and the gate: varied
tweets, sent through the files of an evaluation.
"""

import random
from pathlib import Path

import numpy as np
import pytest

from lib.base.files import read_json, write_json, write_jsonl
from lib.evaluate.findings import gather
from lib.evidence.equal_style import doublings, fits
from lib.evidence.intervals import net_win_interval
from tests.eval_data import TOPICS, prompt
from tests.evaluate.test_findings import judgment, looked_at, read, reply, write_evaluation

N, N_AUTHORS = 120, 12
WORDS = sorted(
    {*TOPICS, "kettle", "train", "bakery", "museum", "harbour", "orchard", "lantern", "market", "slow"}
)
ORDERS = ("ab", "ba")
FOLDER = Path("adapters/small/eval/offline")


def sentence(number, n_words=9):
    """A sentence of its own."""
    return " ".join(random.Random(number).choices(WORDS, k=n_words)) + f" {number}"


def report_of(verdicts, n_words=lambda number, system: 9, gap=0.1, perplexity=None, authors=N_AUTHORS):
    """The report of an evaluation in the present folder. verdicts: (a, b) -> N steps, one a tweet."""
    folder = write_evaluation(Path())
    tweets = [prompt(n).model_copy(update={"tweet_author": f"author{n % authors}"}) for n in range(N)]
    write_jsonl(Path("data/small/processed/test_prompts.jsonl"), tweets)
    systems = ("base", "fewshot", "tuned")
    write_jsonl(
        folder / "replies.jsonl",
        [
            reply(n, system, sentence(3 * n + place, n_words(n, system)))
            for n in range(N)
            for place, system in enumerate(systems)
        ],
    )
    write_jsonl(
        folder / "judgments.jsonl",
        [
            judgment(n, a, b, order, step)
            for (a, b), steps in verdicts.items()
            for n, step in enumerate(steps)
            for order in ORDERS
        ],
    )
    write_jsonl(folder / "judgments.failed.jsonl", [])
    if perplexity:
        write_json(folder / "model_metrics.json", {"perplexity": perplexity})
    manifest = Path("adapters/small/manifest.json")
    write_json(manifest, read_json(manifest) | {"train_eval_gap": gap})
    files = read(folder)
    report, _ = gather(files, {}, looked_at(files))
    return report


def steps(rng, wins, losses, ties=0):
    """So many of each, mixed."""
    found = np.repeat([0.5, -0.5, 0.0], [wins, losses, ties])
    return rng.permutation(found).tolist()


def criterion(report, name):
    return next(row for row in report.gate.criteria if row.name == name)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def test_tweets_of_one_author_are_held_together_in_the_report(rng):
    own = rng.normal(0.3, 1, N_AUTHORS)  # what the judge thinks of the author's tweets
    step = [0.5 if rng.normal(own[n % N_AUTHORS]) > 0 else -0.5 for n in range(N)]
    report = report_of({("tuned", "base"): step})
    sign, author = np.sign(step), np.arange(N) % N_AUTHORS
    expected, _ = net_win_interval(sign, author)
    alone, _ = net_win_interval(sign, np.arange(N))
    assert report.headline.n_authors == N_AUTHORS
    assert report.ci95 == pytest.approx(expected)
    assert report.ci95[1] - report.ci95[0] > 1.3 * (alone[1] - alone[0])
    assert criterion(report, "ci95").value == pytest.approx(expected[0])
    assert report.headline.mde["n_effective"] < N / 1.5
    assert report.headline.permutation_p > 5 * report.headline.sign_test_p


@pytest.mark.parametrize(("gap", "holds"), [(0.05, True), (0.9, False), (None, False)])
def test_the_gap_of_the_training_reaches_the_gate(rng, gap, holds):
    row = criterion(report_of({("tuned", "base"): steps(rng, 90, 30)}, gap=gap), "train_eval_gap")
    assert (row.value, row.passed) == (gap, holds)


def test_the_perplexity_of_the_gate_is_the_tuned_models(rng):
    losses = {"base": 45.0, "tuned": 12.5}
    report = report_of({("tuned", "base"): steps(rng, 90, 30)}, perplexity=losses)
    assert criterion(report, "perplexity").value == 12.5


@pytest.mark.parametrize(("wins", "losses", "beats"), [(20, 90, False), (90, 20, True)])
def test_the_comparison_with_few_shot_is_tuned_against_few_shot(rng, wins, losses, beats):
    report = report_of(
        {
            ("tuned", "base"): steps(rng, 80, 40),
            ("tuned", "fewshot"): steps(rng, wins, losses, 10),
            ("fewshot", "base"): steps(rng, 70, 50),
        }
    )
    found = report.gate.fewshot
    assert found.net_win == pytest.approx(100 * (wins - losses) / N) and found.beats is beats
    assert report.comparisons["tuned vs fewshot"].net_win == found.net_win
    p = {name: row.permutation_p for name, row in report.comparisons.items()}
    assert report.holm_p[min(p, key=p.get)] == pytest.approx(2 * min(p.values()))  # of two comparisons
    assert report.comparisons["fewshot vs base"].net_win == pytest.approx(100 * 20 / N)
    assert report.net_win == pytest.approx(100 * 40 / N)


@pytest.mark.parametrize("by", ["how much longer", "which is longer"])
def test_the_worse_bound_at_equal_length_counts(rng, by):
    """A judge that goes by length alone; the ways to take length out bound it differently."""
    n_words = {(n, system): int(rng.integers(4, 22)) for n in range(N) for system in ("tuned", "base")}
    n_words = {key: words + (5 if key[1] == "tuned" else 0) for key, words in n_words.items()}
    longer = np.array([n_words[n, "tuned"] - n_words[n, "base"] for n in range(N)])
    likes = longer / 12 if by == "how much longer" else 0.75 * np.sign(longer)
    step = [0.5 if rng.random() < (1 + np.tanh(like)) / 2 else -0.5 for like in likes]
    report = report_of({("tuned", "base"): step}, lambda n, system: n_words.get((n, system), 9), authors=N)
    length, row = report.headline.length, criterion(report, "length_controlled")
    texts = {(one.tweet_id, one.system): one.reply for one in read(FOLDER).replies}
    chars = [[len(texts[prompt(n).tweet_id, system]) for n in range(N)] for system in ("tuned", "base")]
    ways = fits(np.sign(step), {"length": doublings(*chars)}, np.arange(N)).values()
    lows = sorted((1 + way.low) / 2 for way in ways)
    assert report.net_win > 20 and lows[0] < lows[-1] - 0.01
    assert row.value == length.low == pytest.approx(lows[0], abs=0.005) and not row.passed


@pytest.mark.parametrize(
    ("of_tuned", "of_fewshot", "expected"),
    [((30, 30, 60), (30, 30, 60), (0.5, 0.5)), ((60, 20, 40), (40, 40, 40), (80 / 120, 0.5))],
)
def test_bradley_terry_counts_a_tie_as_a_tie(rng, of_tuned, of_fewshot, expected):
    report = report_of(
        {
            ("tuned", "base"): steps(rng, *of_tuned),
            ("tuned", "fewshot"): steps(rng, *of_tuned),
            ("fewshot", "base"): steps(rng, *of_fewshot),
        }
    )
    found = [report.bradley_terry[system].win_rate for system in ("tuned", "fewshot")]
    assert found == pytest.approx(expected, abs=0.001)


CALIBRATED = {
    "accuracy": 0.62,
    "ci95": [0.57, 0.67],
    "n": 400,
    "status": "better than chance",
    "trusted": True,
}


@pytest.mark.parametrize(
    ("changes", "known"),
    [
        ({}, True),
        ({"accuracy": 0.54, "ci95": [0.49, 0.59], "status": "no better than chance"}, False),
        ({"n": 40, "status": "not calibrated"}, False),
        ({"accuracy": 0.4, "ci95": [0.35, 0.45], "status": "worse than chance"}, False),
    ],
)
def test_only_a_judge_that_beats_a_coin_has_a_true_win_rate_and_then_with_bounds(rng, changes, known):
    step = steps(rng, 67, 53)
    report_of({("tuned", "base"): step})
    write_json(FOLDER / "calibration.json", CALIBRATED | changes)
    files = read(FOLDER)
    judge = gather(files, {}, looked_at(files))[0].judge
    assert (judge.true_win_rate is not None) is known
    if known:
        low, high = judge.true_win_rate_ci95
        assert judge.true_win_rate == pytest.approx(0.5 + (67 - 53) / N / 2 / 0.24)
        assert low < 0.5 < judge.true_win_rate < high
