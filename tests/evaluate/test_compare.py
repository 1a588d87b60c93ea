"""`make compare`: what was set differently, and whether two runs can be told apart."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lib.base.errors import UserError
from lib.base.files import read_jsonl, write_json, write_jsonl
from lib.base.schema import Judgment, Reply
from lib.evaluate.compare import compare_runs, config_difference, metric_rows, sentence, why_not
from lib.evaluate.compare_page import _value, page, text
from lib.evaluate.runs import read_runs
from lib.evidence.effects import permutation_test
from lib.evidence.intervals import mean_interval
from lib.judge.comparisons import Comparison, Verdict, judgment_of
from tests.eval_data import prompt, write_data

ROOT = Path(__file__).parents[2]
N = 40


def reply(number, system, words, **changes):
    values = {
        "tweet_id": f"{5000 + number}",
        "system": system,
        "reply": words,
        "engine": "transformers",
        "quantization": "nf4",
    }
    return Reply(**(values | {"seed": 17, "tokens": 5, "seconds": 0.1} | changes))


def judged(number, verdict, model="claude-sonnet-5-5"):
    tweet = f"{5000 + number}"
    for order in ("ab", "ba"):
        comparison = Comparison(tweet, "tweet", "tuned", "base", "x", "y", order)
        scores = {"tuned": {"engagement": 5 + verdict}, "base": {"engagement": 5.0}}
        yield judgment_of(comparison, Verdict(verdict, scores), model, f"{tweet}{order}")


def make_run(root, name, signs, model="claude-sonnet-5-5", evaluation="quick", base="base says {}", **config):
    """A finished run with one evaluation: signs[i] is the verdict on tweet i."""
    folder = root / "adapters" / name
    values = {
        "data": "small",
        "learning_rate": 2e-4,
        "lora": {"rank": 16, "alpha": 16},
        "prompt": "Reply:\n\n{tweet}",
        **config,
    }
    hashes = {"train": "a" * 64, "val": "b" * 64}
    manifest = {
        "run": name,
        "config": values,
        "base_model": "Qwen/Qwen3-8B",
        "revision": None,
        "data_hashes": hashes,
        "n_train": 30,
    }
    write_json(
        folder / "manifest.json", {**manifest, "train_loss": 2.0, "eval_loss": 2.1, "seconds": 60, "usd": 0.5}
    )
    write_jsonl(
        folder / "metrics.jsonl",
        [{"step": n, "loss": 3 - n / 10, **({"eval_loss": 3.0} if n % 5 == 0 else {})} for n in range(20)],
    )
    replies = [
        reply(n, system, base.format(n) if system == "base" else f"{name} {n}")
        for n in range(len(signs))
        for system in ("base", "tuned")
    ]
    write_jsonl(folder / "eval" / evaluation / "replies.jsonl", replies)
    rows: list[Judgment] = [row for n, sign in enumerate(signs) for row in judged(n, float(sign), model)]
    write_jsonl(folder / "eval" / evaluation / "judgments.jsonl", rows)
    report = {
        "net_win": 100 * float(np.mean(signs)),
        "ci95": [-5.0, 40.0],
        "win_rate": 0.6,
        "cohens_d": 0.2,
        "n_prompts": len(signs),
    }
    report |= {"gate": {"verdict": "fail"}, "judge": {"model": model, "stand_in": "stand-in" in model}}
    write_json(folder / "eval" / evaluation / "report.json", report)
    return folder


def versus(root, *names):
    return compare_runs(read_runs(names or ("v1", "v2"), root), root)["versus"][0]


@pytest.fixture
def root(tmp_path):
    write_data(tmp_path, n_prompts=60)
    return tmp_path


def signs(seed, p=(0.3, 0.2, 0.5), n=N):
    return np.random.default_rng(seed).choice([-1, 0, 1], size=n, p=p)


def test_only_the_settings_that_differ_are_shown_with_nested_keys(root):
    make_run(root, "v1", signs(1))
    make_run(root, "v2", signs(2), learning_rate=1e-4, lora={"rank": 32, "alpha": 16})
    runs = read_runs(["v1", "v2"], root)
    assert config_difference(runs) == [("learning_rate", [2e-4, 1e-4]), ("lora.rank", [16, 32])]


def test_other_data_behind_the_same_name_is_a_difference(root):
    make_run(root, "v1", signs(1))
    folder = make_run(root, "v2", signs(2))
    runs = read_runs(["v1", "v2"], root)
    assert config_difference(runs) == []
    manifest = runs[1].manifest.model_dump()
    for name, was in (("train", "a"), ("val", "b")):
        hashes = manifest["data_hashes"] | {name: "c" * 64}
        write_json(folder / "manifest.json", manifest | {"data_hashes": hashes})
        found = config_difference(read_runs(["v1", "v2"], root))
        assert found == [(f"content of {name}.jsonl", [was * 12, "c" * 12])]


def test_the_paired_difference_is_that_of_the_statistics(root):
    one, other = signs(1), signs(2)
    make_run(root, "v1", one)
    make_run(root, "v2", other)
    found = versus(root)
    difference, author = (one - other).astype(float), np.arange(N)
    assert found["comparable"]
    assert found["n"] == N
    assert found["difference"] == pytest.approx(100 * difference.mean())
    by_name = np.argsort([f"tester{n}" for n in range(N)])  # authors are numbered in the order of their names
    assert found["ci95"] == pytest.approx(
        [100 * end for end in mean_interval(difference[by_name], author)], abs=3
    )
    assert found["p"] == pytest.approx(permutation_test(difference[by_name], author), abs=0.02)
    assert "v1 and v2 are not told apart" in found["sentence"]


def test_verdicts_on_other_pairs_of_systems_do_not_count(root):
    for name, seed in (("v1", 1), ("v2", 2)):
        path = make_run(root, name, signs(seed)) / "eval" / "quick" / "judgments.jsonl"
        before = versus(root) if name == "v2" else None
        rows = read_jsonl(path, Judgment)
        others = [row.model_copy(update={"b": "fewshot", "model": "another", "repeat": 4}) for row in rows]
        write_jsonl(path, [*rows, *others])
    after = versus(root)
    assert (after["difference"], after["comparable"]) == (before["difference"], True)


def test_each_run_is_asked_about_in_as_many_repeats(root):
    make_run(root, "v1", signs(1))
    path = make_run(root, "v2", signs(2)) / "eval" / "quick" / "judgments.jsonl"
    rows = read_jsonl(path, Judgment)
    write_jsonl(path, [row.model_copy(update={"repeat": n}) for row in rows for n in range(3)])
    assert "both orders, 1 repeat; claude-sonnet-5-5, both orders, 3 repeats)" in versus(root)["sentence"]


def test_tweets_of_one_author_are_held_together(root):
    """Forty tweets of four authors, of whom two always win, say little."""
    make_run(root, "v1", np.repeat([1, 1, 1, 1], 10))
    make_run(root, "v2", np.repeat([1, 1, 1, -1], 10))
    alone = versus(root)
    tweets = [prompt(n).model_copy(update={"tweet_author": f"author{n // 10}"}) for n in range(N)]
    write_jsonl(root / "data/small/processed/test_prompts.jsonl", tweets)
    together = versus(root)
    assert alone["p"] < 0.01 and together["p"] > 0.5


def test_a_clearly_better_run_is_named(root):
    make_run(root, "v1", signs(1, (0.5, 0.2, 0.3)))
    make_run(root, "v2", np.ones(N))
    found = versus(root)
    shown = text(compare_runs(read_runs(["v1", "v2"], root), root))
    assert shown.endswith(found["sentence"])
    assert found["sentence"].startswith(
        "v2 is better: against the same base on the same 40 tweets, before the same judge, v1 has -"
    )


def test_equal_verdicts_are_said_to_be_equal(root):
    make_run(root, "v1", signs(1))
    make_run(root, "v2", signs(1))
    assert versus(root)["sentence"] == (
        "v1 and v2 got the same verdict against base on every one of the same 40 tweets: nothing tells them "
        "apart."
    )


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"n": 30}, "answered different test prompts (40 and 30 tweets, 30 with the same id)"),
        (
            {"model": "claude-haiku-5-5"},
            "had different judges (claude-sonnet-5-5, both orders, 1 repeat; claude-haiku-5-5",
        ),
    ],
)
def test_win_rates_that_cannot_be_compared_say_why(root, change, reason):
    make_run(root, "v1", signs(1))
    make_run(root, "v2", signs(2, n=change.get("n", N)), model=change.get("model", "claude-sonnet-5-5"))
    found = versus(root)
    assert not found["comparable"]
    assert reason in found["sentence"]


@pytest.mark.parametrize("change", [{"base_model": "Qwen/Qwen3-4B"}, {"revision": "f" * 40}])
def test_another_base_is_another_opponent(root, change):
    make_run(root, "v1", signs(1))
    folder = make_run(root, "v2", signs(2))
    write_json(folder / "manifest.json", read_runs(["v1", "v2"], root)[1].manifest.model_dump() | change)
    assert "were compared with different bases" in versus(root)["sentence"]


def test_the_same_words_are_asked_about_under_the_same_ids(root):
    """Two data sets may name two tweets alike."""
    make_run(root, "v1", signs(1))
    make_run(root, "v2", signs(2), data="other")
    path = root / "data" / "other" / "processed" / "test_prompts.jsonl"
    write_jsonl(path, [prompt(n).model_copy(update={"tweet": f"another tweet {n}"}) for n in range(60)])
    assert (
        "answered different test prompts (40 and 40 tweets, 40 with the same id)" in versus(root)["sentence"]
    )


def test_a_refusal_loses_whatever_the_judge_said(root):
    for name, seed in (("v1", 1), ("v2", 1)):
        path = make_run(root, name, signs(seed)) / "eval" / "quick" / "replies.jsonl"
    refused = "As an AI language model, I cannot help with that."
    rows = [
        one.model_copy(update={"reply": refused}) if one.system == "tuned" else one
        for one in read_jsonl(path, Reply)
    ]
    write_jsonl(path, rows)
    assert versus(root)["difference"] > 80


def test_the_reason_given_is_that_of_the_evaluations_of_one_name(root):
    make_run(root, "v1", signs(1))
    make_run(root, "v2", signs(2), model="another judge")
    make_run(root, "v2", signs(2, n=30), evaluation="zzz")
    assert "had different judges" in versus(root)["sentence"]


def test_a_commit_is_shown_short_and_a_long_name_whole(root):
    make_run(root, "v1", signs(1))
    run = read_runs([make_run(root, "v2", signs(2)).name, "v1"], root)[0]
    long = {"git_commit": "abcdef0123" * 4, "gpu": "NVIDIA H100 80GB HBM3, one of eight in that machine"}
    rows = dict(metric_rows([replace(run, manifest=run.manifest.model_copy(update=long))]))
    assert (rows["git commit"], rows["GPU"]) == (["abcdef0123"], [long["gpu"]])


def test_each_curve_is_of_its_own_loss(root, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        "lib.evaluate.compare_page.lines", lambda series, title, axis: drawn.update({title: series})
    )
    for name in ("v1", "v2"):
        make_run(root, name, signs(1))
    runs = read_runs(["v1", "v2"], root)
    page(runs, compare_runs(runs, root))
    assert [name for name, _ in drawn["Training loss"]] == ["v1", "v2"]
    assert drawn["Validation loss"][0][1] == [(n, 3.0) for n in (0, 5, 10, 15)]
    assert drawn["Training loss"][0][1][1] == (1, 2.9)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 59 + "…"),
        (None, "–"),
        ("", "''"),
        ([1, 2], "1, 2"),
        ("a\nb", "a\\nb"),
    ],
)
def test_a_setting_is_shown_on_one_line_of_sixty_characters(value, shown):
    assert _value(value) == shown


def test_evaluations_of_one_name_are_compared_before_others(root):
    for name in ("v1", "v2"):
        make_run(root, name, signs(1), evaluation="quick")
    make_run(root, "v1", signs(3), evaluation="a")
    make_run(root, "v2", signs(4), evaluation="b")
    assert versus(root)["eval"] == "quick"


def test_a_stand_in_of_other_training_pairs_is_another_judge(root):
    stand_in = "offline engagement ranker (stand-in, n=30)"
    make_run(root, "v1", signs(1), model=stand_in)
    folder = make_run(root, "v2", signs(2), model=stand_in)
    assert versus(root)["sentence"].endswith("; the judge is a stand-in.")
    write_json(
        folder / "manifest.json",
        read_runs(["v1", "v2"], root)[1].manifest.model_dump()
        | {"data_hashes": {"train": "c" * 64, "val": "b" * 64}},
    )
    assert "had different judges" in versus(root)["sentence"]


def test_a_base_that_answered_differently_is_mentioned(root):
    make_run(root, "v1", signs(1))
    make_run(root, "v2", signs(2), base="another time {}")
    assert "the base wrote the same reply in 0% of them" in versus(root)["sentence"]


def test_a_run_without_an_evaluation_is_told_how_to_get_one(root):
    make_run(root, "v1", signs(1))
    folder = make_run(root, "v2", signs(2))
    (folder / "eval" / "quick" / "report.json").unlink()
    assert (
        versus(root)["sentence"]
        == "v1 and v2 cannot be compared by win rate: v2 has no evaluation. `make eval RUN=v2` writes one."
    )
    found = compare_runs(read_runs(["v1", "v2"], root), root)
    assert "v2: not evaluated; `make eval RUN=v2`" in text(found)
    assert "v2 has not been evaluated" in page(read_runs(["v1", "v2"], root), found)


def test_a_run_that_left_tweets_without_a_reply_lost_them(root):
    make_run(root, "v1", signs(1))
    folder = make_run(root, "v2", signs(1))
    evaluation = folder / "eval" / "quick"
    replies = read_jsonl(evaluation / "replies.jsonl", Reply)
    gone = {f"{5000 + n}" for n in range(20)}
    kept = [
        row.model_copy(update={"reply": ""}) if row.system == "tuned" and row.tweet_id in gone else row
        for row in replies
    ]
    rows = read_jsonl(evaluation / "judgments.jsonl", Judgment)
    write_jsonl(evaluation / "replies.jsonl", kept)
    write_jsonl(evaluation / "judgments.jsonl", [row for row in rows if row.tweet_id not in gone])
    found = versus(root)
    assert found["n"] == N
    assert found["difference"] > 0


@pytest.mark.parametrize("names", [["v1"], ["v1", "v1"], ["v1", "nope"], ["v1", "../v1"]])
def test_a_run_that_is_not_there_gets_a_sentence_with_those_that_are(root, names):
    make_run(root, "v1", signs(1))
    with pytest.raises(UserError, match=r"Finished runs: v1\."):
        read_runs(names, root)


def test_the_command_writes_one_file_that_needs_nothing_and_holds_no_markup_of_others(root):
    make_run(root, "v1", signs(1))
    make_run(root, "v2", signs(2), prompt="<script>alert(1)</script> {tweet}", learning_rate=1e-4)
    command = [sys.executable, "-m", "scripts.compare", "--runs", "v1", "v2"]
    done = subprocess.run(command, cwd=root, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "learning_rate" in done.stdout
    assert done.stdout.endswith("wrote adapters/compare-v1-v2.html\n")
    html = (root / "adapters" / "compare-v1-v2.html").read_text()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "http" not in html.replace("http-equiv", "")
    assert html.count("<polyline") == 4  # validation and training, two runs each
    assert prompt(1).tweet not in html


SIDE = {
    "run": "a", "eval": "e", "steps": dict.fromkeys("123", 1.0), "answered": list("123"),
    "prompts": "p", "judge": "j", "weights": ["w"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"steps": dict.fromkeys("234", 1.0)}, "fewer than 3 tweets"),
        ({"prompts": "q"}, "different test prompts (3 and 3 tweets, 3 with the same id)"),
        ({"judge": "k"}, "different judges"),
        ({"weights": ["v"]}, "different bases"),
    ],
)
def test_two_sides_are_pairs_where_prompts_judge_and_base_are_the_same(change, reason):
    found = why_not(SIDE, SIDE | {"run": "b"} | change)
    assert (found is None) == (reason is None) and (reason is None or reason in found)


@pytest.mark.parametrize(
    ("difference", "ci95", "p", "said"),
    [
        (10.0, [2.0, 18.0], 0.049, "a is better"),
        (-10.0, [-18.0, -2.0], 0.049, "b is better"),
        (10.0, [2.0, 18.0], 0.05, "a and b are not told apart"),
        (10.0, [0.0, 20.0], 0.01, "a and b are not told apart"),
        (-10.0, [-20.0, 0.0], 0.01, "a and b are not told apart"),
    ],
)
def test_a_better_run_is_named_where_test_and_interval_agree(difference, ci95, p, said):
    found = {"n": 40, "difference": difference, "ci95": ci95, "p": p, "mde": 9.0, "same_base_replies": 1.0}
    assert sentence(SIDE, SIDE | {"run": "b"}, found).startswith(f"{said}: ")
