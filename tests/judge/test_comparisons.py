"""The judge's seam: both orders, a key over everything that matters, failures apart, and how good the judge
is.
"""

import shutil
import sys
from dataclasses import replace

import pytest

from lib.base.config import load_config
from lib.base.errors import UserError
from lib.base.files import read_dicts, read_json, read_jsonl, write_jsonl
from lib.base.schema import Judgment, Reply
from lib.base.settings import EvalConfig, JudgeConfig, TrainConfig
from lib.evaluate.evaluation import Evaluation
from lib.evaluate.verdicts import make_judgments
from lib.evidence.calibration import calibrate, consistency, true_win_rate, verdicts_of
from lib.evidence.intervals import wilson
from lib.judge.comparisons import (
    Comparison,
    Verdict,
    calibration_comparisons,
    comparison_key,
    comparisons,
    judge_all,
    judgment_of,
    read_judgments,
    system_pairs,
)
from tests.eval_data import IGNORED, LIKED, preference, prompt, write_configs, write_data

OFFLINE = JudgeConfig(kind="offline")
ONE = Comparison("1", "a tweet", "tuned", "base", "what a question?", "nice", "ab")


def reply(tweet_id, system, text, **changes):
    values = {
        "tweet_id": tweet_id,
        "system": system,
        "reply": text,
        "engine": "transformers",
        "quantization": "nf4",
    }
    return Reply(**values, seed=17, tokens=3, seconds=0.1).model_copy(update=changes)


def by_length(comparison):
    """Prefers the longer reply, whatever the order."""
    sign = len(comparison.reply_a) - len(comparison.reply_b)
    scores = {comparison.a: {"engagement": 5.0}, comparison.b: {"engagement": 5.0}}
    return Verdict((sign > 0) - (sign < 0), scores)


def test_first_and_second_follow_the_order():
    assert (ONE.first, ONE.second) == ("what a question?", "nice")
    turned = replace(ONE, order="ba")
    assert (turned.first, turned.second) == ("nice", "what a question?")


def test_the_headline_comes_first():
    assert system_pairs(["base", "fewshot", "tuned"]) == [
        ("tuned", "base"),
        ("tuned", "fewshot"),
        ("fewshot", "base"),
    ]
    assert system_pairs(["base", "tuned", "human", "v1"]) == [
        ("tuned", "base"),
        ("tuned", "human"),
        ("tuned", "v1"),
        ("v1", "base"),
    ]


def test_the_best_of_k_meet_at_the_same_k_and_the_best_of_one_is_none():
    found = system_pairs(["base", "tuned", "base@4", "tuned@4", "tuned@8", "base@2"])
    assert ("tuned@4", "base@4") in found
    assert not {("tuned@8", "base@8"), ("tuned@2", "base@2"), ("tuned@1", "base@1")} & {*found}
    assert not [pair for pair in found if pair[0].startswith("base@") and pair[1] != "base"]
    assert len(set(found)) == len(found) == 1 + 4 + 4 + 1


def test_real_pairs_are_asked_in_both_orders_and_every_repeat_with_the_better_liked_as_a():
    asked = calibration_comparisons([preference(0)], JudgeConfig(kind="offline", repeats=2))
    assert [(one.order, one.repeat) for one in asked] == [("ab", 0), ("ba", 0), ("ab", 1), ("ba", 1)]
    assert {(one.a, one.reply_a) for one in asked} == {("8000", f"{LIKED} on day 0")}
    assert {(one.b, one.reply_b) for one in asked} == {("9000", f"{IGNORED} on day 0")}


def test_every_pair_is_shown_in_both_orders_and_every_repeat():
    tweets, replies = {"1": "hi"}, [reply("1", "base", "a"), reply("1", "tuned", "b")]
    found, failed = comparisons(tweets, replies, ["base", "tuned"], JudgeConfig(kind="offline", repeats=2))
    assert [(c.order, c.repeat) for c in found] == [("ab", 0), ("ba", 0), ("ab", 1), ("ba", 1)] and not failed


def test_one_order_is_drawn_by_hash_and_about_balanced():
    tweets = {str(n): "hi" for n in range(200)}
    replies = [reply(tweet, system, system) for tweet in tweets for system in ("base", "tuned")]
    found, _ = comparisons(tweets, replies, ["base", "tuned"], JudgeConfig(kind="offline", orders="one"))
    assert len(found) == 200 and 70 < sum(c.order == "ab" for c in found) < 130


def test_equal_replies_are_a_tie_that_nobody_is_asked_about():
    tweets = {"1": "hi", "2": "ho"}
    replies = [reply("1", "base", "So  true "), reply("1", "tuned", "So true"), reply("1", "human", "No")]
    replies += [reply("2", "base", "so true"), reply("2", "tuned", "So true")]
    found, failed = comparisons(tweets, replies, ["base", "tuned", "human"], OFFLINE)
    asked = {(one.tweet_id, one.a, one.b) for one in found}
    assert asked == {("1", "tuned", "human"), ("2", "tuned", "base")} and not failed


def test_a_missing_or_empty_reply_is_a_failure_and_no_human_reply_is_none():
    tweets = {"1": "hi", "2": "ho", "3": "hu"}
    replies = [reply("1", "tuned", " "), reply("1", "base", "x"), reply("2", "base", "y")]
    found, failed = comparisons(tweets, replies, ["base", "tuned", "human"], OFFLINE)
    assert found == []
    assert [(row["tweet_id"], row["reason"], row["detail"]) for row in failed] == [
        ("1", "reply_empty", "tuned"),
        ("2", "reply_missing", "tuned"),
    ]


def test_replies_to_unknown_tweets_are_an_error():
    with pytest.raises(UserError, match=r"not in test_prompts\.jsonl \(9\)"):
        comparisons({"1": "hi"}, [reply("9", "base", "x")], ["base", "tuned"], OFFLINE)


def test_the_key_changes_with_everything_the_verdict_depends_on():
    changes = [
        {"tweet": "b"}, {"reply_a": "b"}, {"reply_b": "b"},
        {"order": "ba"}, {"repeat": 1}, {"tweet_id": "2"}, {"a": "fewshot"},
    ]  # fmt: skip
    keys = [
        comparison_key(ONE, "m"),
        comparison_key(ONE, "n"),
        *[comparison_key(replace(ONE, **change), "m") for change in changes],
    ]
    assert len(set(keys)) == len(keys)
    assert comparison_key(replace(ONE), {"model": "m", "effort": "low"}) == comparison_key(
        ONE, {"effort": "low", "model": "m"}
    )


def test_what_is_in_the_log_is_not_judged_again(tmp_path):
    asked = []

    def judge(comparison):
        asked.append(comparison.order)
        return by_length(comparison)

    both = [ONE, replace(ONE, order="ba")]
    judge_all(both[:1], judge, "m", "v1", tmp_path / "log")
    with (tmp_path / "log").open("a") as log:
        log.write('{"tweet_id": "1", "a": "tun')  # killed while writing
    judge_all(both, judge, "m", "v1", tmp_path / "log")
    assert asked == ["ab", "ba"] and len(read_judgments(tmp_path / "log")) == 2
    judge_all(both, judge, "m", "v2", tmp_path / "log")
    assert asked == ["ab", "ba"] * 2


# --- calibration ---------------------------------------------------------------------------------------


def judged(preferences, judge, config=OFFLINE):
    asked = calibration_comparisons(preferences, config)
    return [judgment_of(one, judge(one), "m", comparison_key(one, 1)) for one in asked]


def test_accuracy_counts_ties_as_half_and_failures_apart():
    preferences = [preference(n) for n in range(100)]
    verdicts = [1.0] * 60 + [0.0] * 10 + [-0.5] * 20 + [None] * 10
    result = calibrate(preferences, verdicts, [])
    assert (result["n"], result["n_failed"], result["n_ties"]) == (90, 10, 10)
    low, high = wilson(65, 90)
    assert result["accuracy"] == pytest.approx(65 / 90) and result["n_tweets"] == 45
    assert result["ci95"][0] < low < high < result["ci95"][1]  # two pairs a tweet, judged alike
    assert result["accuracy_decisive"] == 0.75 and result["status"] == "better than chance"


def test_too_few_pairs_are_called_not_calibrated():
    result = calibrate([preference(0)], [1.0], [])
    assert (
        result["status"] == "not calibrated" and "1 pairs of real replies are too few" in result["sentence"]
    )
    empty = calibrate([], [], [])
    assert empty["accuracy"] is None and empty["ci95"] == [0.0, 1.0] and empty["status"] == "not calibrated"


def test_a_coin_is_no_better_than_chance():
    result = calibrate([preference(n) for n in range(100)], [1.0, -1.0] * 50, [])
    assert result["status"] == "no better than chance"


def test_baselines_read_length_time_followers_and_words():
    train = [preference(n) for n in range(40)]
    pairs = [
        preference(100 + n, chosen="short" if n < 30 else None, chosen_followers=950 + n) for n in range(90)
    ]
    base = calibrate(pairs, [0.0] * 90, train)["baselines"]
    assert base["earlier"]["accuracy"] == 0
    assert base["longer"]["accuracy"] == pytest.approx(
        sum(len(p.chosen) > len(p.rejected) for p in pairs) / 90
    )
    assert base["more_followers"]["n"] == 90 and base["more_followers"]["accuracy"] == 0
    assert base["tfidf_logistic"]["accuracy"] > 0.6
    assert calibrate(pairs, [0.0] * 90, train[:5])["baselines"]["tfidf_logistic"] is None


def test_orders_that_contradict_each_other_are_a_tie_and_named():
    def first(comparison):
        return Verdict(1.0 if comparison.order == "ab" else -1.0, {})

    preferences = [preference(n) for n in range(10)]
    judgments = judged(preferences, first)
    assert verdicts_of(preferences, judgments) == [0.0] * 10
    found = consistency(judgments)
    assert (found["first_wins"], found["decisive"], found["order_flips"], found["both_orders"]) == (
        20,
        20,
        10,
        10,
    )


def test_repeats_of_one_pair_are_compared():
    def moody(comparison):
        return Verdict(1.0 if comparison.repeat < 2 else -1.0, {})

    judgments = judged([preference(0)], moody, JudgeConfig(kind="offline", repeats=3))
    assert consistency(judgments)["repeatability"] == pytest.approx(1 / 3)
    assert consistency(judged([preference(0)], moody))["repeatability"] is None


def test_one_order_shows_the_chosen_reply_first_as_it_was_drawn():
    asked = calibration_comparisons(
        [preference(n) for n in range(4)], JudgeConfig(kind="offline", orders="one")
    )
    assert [one.order for one in asked] == ["ab", "ba", "ab", "ba"]


@pytest.mark.parametrize(
    "observed, accuracy, true",
    [(0.53, 0.65, 0.6), (0.5, 0.8, 0.5), (0.9, 0.7, 1.0), (0.6, 0.5, None), (0.6, None, None)],
)
def test_what_a_win_rate_means_at_an_accuracy(observed, accuracy, true):
    assert true_win_rate(observed, accuracy) == (None if true is None else pytest.approx(true))


# --- the whole step ---------------------------------------------------------------------------------------


@pytest.fixture
def evaluation(tmp_path, monkeypatch):
    """Eight tweets answered by base and tuned, tuned with the words that got likes; 90 calibration pairs."""
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path, n_preferences=90)
    _, train, _, quick = write_configs(tmp_path)
    folder = tmp_path / "adapters" / "mine" / "eval" / "quick"
    found = Evaluation(
        "mine", load_config(tmp_path / train, TrainConfig), load_config(tmp_path / quick, EvalConfig), folder
    )
    ids = [prompt(n).tweet_id for n in range(8)]
    texts = {
        "base": f"The novel again, {IGNORED}",
        "tuned": f"The novel again, {LIKED}",
        "fewshot": "so true",
    }
    write_jsonl(
        folder / "replies.jsonl",
        [reply(tweet, system, f"{text} {tweet}") for tweet in ids for system, text in texts.items()],
    )
    return found


def test_the_step_writes_verdicts_failures_and_calibration_once(evaluation):
    manifest, is_new = make_judgments(evaluation)
    judgments = read_jsonl(evaluation.folder / "judgments.jsonl", Judgment)
    assert is_new and len(judgments) == 8 * 3 * 2 == manifest.n_judgments
    headline = [j for j in judgments if (j.a, j.b) == ("tuned", "base")]
    assert len(headline) == 16 and all(
        j.verdict > 0 and j.scores["tuned"]["engagement"] > j.scores["base"]["engagement"] for j in headline
    )
    assert {j.model for j in judgments} == {"offline engagement ranker (stand-in, n=30)"}
    assert len(read_jsonl(evaluation.folder / "calibration.jsonl", Judgment)) == 180
    assert read_json(evaluation.folder / "calibration.json")["consistency"]["order_flips"] == 0
    assert read_dicts(evaluation.folder / "judgments.failed.jsonl") == []
    before = {path.name: path.read_bytes() for path in evaluation.folder.glob("*.json*")}
    again, is_new = make_judgments(evaluation)
    assert (
        not is_new
        and again == manifest
        and before == {path.name: path.read_bytes() for path in evaluation.folder.glob("*.json*")}
    )


def test_a_run_that_was_stopped_gives_the_same_files(evaluation, tmp_path):
    make_judgments(evaluation)
    log = evaluation.folder / "work" / "judgments.jsonl"
    whole = (evaluation.folder / "judgments.jsonl").read_bytes()
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:20]) + lines[20][:30])
    for name in ("judgments.jsonl", "judgments.manifest.json"):
        (evaluation.folder / name).unlink()
    make_judgments(evaluation)
    assert (evaluation.folder / "judgments.jsonl").read_bytes() == whole and log.read_bytes() == b"".join(
        lines
    )


def test_only_a_changed_reply_is_judged_again_and_an_empty_one_is_counted(evaluation):
    make_judgments(evaluation)
    log = evaluation.folder / "work" / "judgments.jsonl"
    n_lines = log.read_bytes().count(b"\n")
    replies = read_jsonl(evaluation.folder / "replies.jsonl", Reply)
    changed = [
        r.model_copy(update={"reply": "another reply"}) if (r.tweet_id, r.system) == ("5000", "tuned") else r
        for r in replies
    ]
    changed = [
        r.model_copy(update={"reply": ""}) if (r.tweet_id, r.system) == ("5001", "base") else r
        for r in changed
    ]
    write_jsonl(evaluation.folder / "replies.jsonl", changed)
    manifest, is_new = make_judgments(evaluation)
    assert (
        is_new and log.read_bytes().count(b"\n") == n_lines + 4
    )  # tuned against base and fewshot, both orders
    assert manifest.n_failed == 2 and manifest.n_judgments == 48 - 4
    failed = read_dicts(evaluation.folder / "judgments.failed.jsonl")
    assert {(row["a"], row["b"], row["reason"]) for row in failed} == {
        ("tuned", "base", "reply_empty"), ("fewshot", "base", "reply_empty")
    }  # fmt: skip


def test_arms_of_unlike_quantization_are_not_compared(evaluation):
    replies = read_jsonl(evaluation.folder / "replies.jsonl", Reply)
    write_jsonl(
        evaluation.folder / "replies.jsonl",
        [r.model_copy(update={"quantization": r.system}) for r in replies],
    )
    with pytest.raises(UserError, match="differ in engine or quantization"):
        make_judgments(evaluation)


def test_no_calibration_pairs_are_said_to_be_too_few(evaluation):
    (evaluation.processed / "calibration.jsonl").unlink()
    manifest, _ = make_judgments(evaluation)
    assert manifest.calibration.startswith("not calibrated: 0 pairs")


def test_the_script_says_what_is_missing(evaluation, monkeypatch):
    from scripts.judge import main

    shutil.rmtree(evaluation.folder)
    monkeypatch.setattr(
        sys, "argv", ["judge", "--config", "configs/train-mine.yaml", "--eval", "configs/eval-quick.yaml"]
    )
    with pytest.raises(UserError, match=r"replies\.jsonl does not exist"):
        main()
