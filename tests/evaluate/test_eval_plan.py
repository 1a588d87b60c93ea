"""`make eval-plan`: what an evaluation can show and takes, before money is spent."""

import json

import pytest

from lib.base.config import load_config
from lib.base.errors import UserError
from lib.base.files import write_json, write_jsonl
from lib.base.settings import EvalConfig, SamplingConfig, TrainConfig
from lib.evaluate.eval_plan import (
    ASSUMED,
    eval_plan,
    needed_tweets,
    net_points,
    observed_spread,
    replies_to_write,
)
from lib.evaluate.eval_plan_judge import Supply
from lib.evaluate.eval_plan_text import text
from lib.evaluate.evaluation import Evaluation
from lib.evaluate.replies import conversations, to_write
from lib.evaluate.replies import plan as plan_replies
from tests.eval_data import prompt, write_configs, write_data


def evaluation_of(root, config, quick):
    return Evaluation("mine", config, quick, root / "adapters/mine/eval/quick", root)


def plan_of(root, n_prompts=200, n_preferences=100, evaluation=None):
    write_data(root, n_prompts, n_preferences)
    write_configs(root, evaluation=evaluation)
    train, quick = root / "configs" / "train-mine.yaml", root / "configs" / "eval-quick.yaml"
    return eval_plan(evaluation_of(root, load_config(train, TrainConfig), load_config(quick, EvalConfig)))


def report(root, run, data="small", kind="offline", r=0.7, ties=50, n=100, n_effective=50.0):
    folder = root / "adapters" / run
    write_json(folder / "manifest.json", {"config": {"data": data}})
    headline = {"n": n, "r": r, "ties": ties, "mde": {"n_effective": n_effective}}
    write_json(folder / "eval" / "quick" / "report.json", {"headline": headline, "judge": {"kind": kind}})


def test_the_numbers_are_those_of_the_power_analysis(tmp_path):
    plan = plan_of(tmp_path)
    assert plan["needed_by_r"][0.5]["wilcoxon"] == 94
    assert plan["needed_by_r"][0.0]["wilcoxon"] == 185
    assert plan["needed"]["tweets"] == 184  # Mann-Whitney, which the gate asks for too
    assert plan["needed_by_ties"] == {0.0: 341, 0.25: 254, 0.4: 202}
    assert plan["smallest"]["d"] == pytest.approx(0.204, abs=0.001)
    assert plan["calibration"]["needed"] == {0.65: 85, 0.6: 194}


def test_verdicts_are_pairs_times_tweets_times_orders_times_repeats_and_calibration_and_canaries(tmp_path):
    systems = ["base", "fewshot", "tuned", "human"]
    plan = plan_of(tmp_path, 10, 4, {"systems": systems, "judge": {"kind": "claude", "repeats": 3}})
    judge = plan["judge"]
    assert judge["pairs"] == ["tuned vs base", "tuned vs fewshot", "tuned vs human", "fewshot vs base"]
    assert judge["comparisons"] == 10 + 10 + 5 + 10  # every second tweet has a human reply
    assert judge["calls"] == (35 + 4) * 2 * 3 + 8
    assert judge["usd"]["batch"] == pytest.approx(judge["usd"]["live"] / 2)
    assert judge["usd"]["live"] == pytest.approx(242 * (1100 * 2 + 500 * 10) / 1e6)


def test_too_few_prompts_are_named_with_the_key_to_change(tmp_path):
    plan = plan_of(tmp_path, 40)
    assert plan["advice"].startswith(
        "hold out 144 more test prompts (split.min_test_prompts: 184 in configs/data-small.yaml"
    )
    assert "power at d = 0.3" in text(plan)


def test_prompts_that_the_config_leaves_out_are_named_first(tmp_path):
    plan = plan_of(tmp_path, 300, evaluation={"max_prompts": 50})
    assert (plan["n_prompts"], plan["n_there"]) == (50, 300)
    assert (
        plan["advice"]
        == "raise max_prompts in the eval config to 184: 300 test prompts are there and 50 would be used."
    )


def test_as_many_prompts_as_are_needed_are_enough_to_raise_the_limit(tmp_path):
    for n_there, first_words in ((184, "raise max_prompts"), (183, "hold out 134 more")):
        assert plan_of(tmp_path, n_there, evaluation={"max_prompts": 50})["advice"].startswith(first_words)


def test_no_more_pairs_are_counted_and_paid_than_are_judged(tmp_path, monkeypatch):
    monkeypatch.setattr("lib.evaluate.eval_plan.MAX_CALIBRATION_PAIRS", 90)
    plan = plan_of(tmp_path, 200, 100)
    assert (plan["calibration"]["n"], plan["calibration"]["n_used"], plan["judge"]["calibration"]) == (
        100,
        90,
        90,
    )
    assert "Calibration: 100 pairs of real replies at hand, 90 are used" in text(plan)


def test_a_price_above_the_budget_is_named_before_it_is_paid(tmp_path):
    calibrated(tmp_path, "older", 0.7)
    for max_usd, advised in ((5.9, None), (5.7, "raise judge.max_usd ($5.7) or use a cheaper judge.model")):
        plan = plan_of(tmp_path, 200, 100, {"judge": {"kind": "claude", "max_usd": max_usd}})
        assert plan["judge"]["usd"]["batch"] == pytest.approx(5.79, abs=0.005)
        assert (plan["advice"] or "").startswith(advised or "") and bool(plan["advice"]) is bool(advised)


def test_an_uncalibrated_judge_is_named_before_a_go(tmp_path):
    sentence = plan_of(tmp_path, 200, 60)["advice"]
    assert "60 pairs of real replies the judge stays uncalibrated, 85 are needed" in sentence
    assert plan_of(tmp_path, 200, 100)["advice"] is None


def test_what_an_earlier_report_observed_replaces_the_assumption(tmp_path):
    report(tmp_path, "older")
    plan = plan_of(tmp_path)
    assert plan["observed"] == {
        "r": 0.7,
        "ties": 0.5,
        "design_effect": 2.0,
        "source": "adapters/older/eval/quick/report.json",
    }
    assert plan["needed"]["tweets"] == 2 * 184  # tweets by the same authors count half
    assert "worth 100 independent ones" in text(plan)


def test_a_report_of_this_run_goes_before_others_and_other_data_or_judges_do_not_count(tmp_path):
    assert observed_spread(tmp_path, "mine", "small", "offline")["source"] is None
    report(tmp_path, "other-data", data="large")
    report(tmp_path, "other-judge", kind="claude")
    assert observed_spread(tmp_path, "mine", "small", "offline")["source"] is None
    report(tmp_path, "mine", r=0.2)
    report(tmp_path, "newer")
    assert observed_spread(tmp_path, "mine", "small", "offline")["r"] == 0.2


def test_a_data_set_that_is_not_built_gets_a_sentence(tmp_path):
    write_configs(tmp_path)
    config, quick = (
        load_config(tmp_path / "configs" / n, c)
        for n, c in (("train-mine.yaml", TrainConfig), ("eval-quick.yaml", EvalConfig))
    )
    with pytest.raises(UserError, match=r"test_prompts.jsonl does not exist. Run `make data DATA=small`"):
        eval_plan(evaluation_of(tmp_path, config, quick))


def test_a_handful_of_prompts_shows_nothing_and_says_so(tmp_path):
    plan_of(tmp_path)
    write_jsonl(tmp_path / "data/small/processed/test_prompts.jsonl", [prompt(1), prompt(2)])
    config = TrainConfig.model_validate(json.loads((tmp_path / "configs/train-mine.yaml").read_text()))
    plan = eval_plan(evaluation_of(tmp_path, config, EvalConfig()))
    assert plan["smallest"]["d"] is None
    assert "d = none" in text(plan)


def test_the_plan_counts_the_replies_and_verdicts_of_the_best_of_k():
    systems = ["base", "fewshot", "tuned", "tuned@3", "tuned@5", "human"]
    found = replies_to_write(systems, 10)
    assert found == {"base": 10, "fewshot": 10, "tuned": 10, "tuned@3": 20, "tuned@5": 20}
    arms = dict.fromkeys(("base", "fewshot", "tuned"), "weights")
    turns = conversations("{tweet}", {}, {prompt(n).tweet_id: [] for n in range(10)})
    tasks = plan_replies(systems, [prompt(n) for n in range(10)], turns, arms, SamplingConfig())
    written = [task for task in to_write(tasks) if task.human is None]
    assert sum(found.values()) == len(written)


def test_a_server_of_ones_own_is_free_and_another_one_has_no_batches(tmp_path):
    own = {"kind": "openai", "base_url": "http://localhost:11434/v1", "model": "gpt-oss:20b"}
    assert "nothing: the judge is a server of your own" in text(plan_of(tmp_path, 10, 4, {"judge": own}))
    paid = own | {"base_url": "https://api.example.com/v1", "prices": {"input": 1, "output": 5}}
    said = text(plan_of(tmp_path, 10, 4, {"judge": paid}))
    assert "in a batch" not in said and "stops at $20" in said


def test_each_number_is_printed_on_its_own_line(tmp_path):
    calibrated(tmp_path, "older", 0.7, trusted=False)
    write_data(tmp_path, 300, 100)
    path = tmp_path / "data/small/processed/test_prompts.jsonl"
    prompts = [prompt(n, human=False).model_copy(update={"tweet_author": f"a{n // 2}"}) for n in range(200)]
    write_jsonl(path, prompts)
    write_configs(tmp_path, evaluation=CLAUDE | {"systems": ["base", "tuned"], "max_prompts": 199})
    train = load_config(tmp_path / "configs/train-mine.yaml", TrainConfig)
    quick = load_config(tmp_path / "configs/eval-quick.yaml", EvalConfig)
    shown = text(eval_plan(evaluation_of(tmp_path, train, quick)))
    rows = {
        name.strip(): cells.split() for line in shown.split("\n") for name, cells in [(line[:51], line[51:])]
    }
    assert "199 of 200 (max_prompts) test prompts by 100 authors, judge claude-sonnet-5-5" in shown
    assert rows["needed, Wilcoxon (paired)"] == ["185", "130", "94", "57"]
    assert rows["needed, Mann-Whitney (also in the gate)"] == ["184"] * 4
    assert rows["needed, net win of 15 points"] == ["341", "254", "202"]
    assert " ".join(rows["tuned vs base"]) == "199 x 2 orders x 1 repeat = 398"
    assert " ".join(rows["calibration pairs"]) == "100 x 2 orders x 1 repeat = 200"
    assert "Verdicts to be given: 606" in shown and "Replies to be written: 398" in shown
    price = " ".join(rows["price, before tokens are counted"])
    assert price == "about $4.36, $2.18 in a batch; stops at $20"
    assert "right on 70% of 300 pairs in adapters/older/eval/quick/report.json, not trusted:" in shown


# The judge's part

CLAUDE = {"judge": {"kind": "claude"}}


def calibrated(
    root,
    run,
    accuracy,
    n=300,
    trusted=True,
    kind="claude",
    model="claude-sonnet-5-5",
    status="better than chance",
):
    """An earlier report of this judge on this data set."""
    report(root, run, kind=kind, r=0.5, ties=20, n_effective=100.0)
    path = root / "adapters" / run / "eval" / "quick" / "report.json"
    found = {"accuracy": accuracy, "n": n, "status": status, "trusted": trusted}
    judge = {"kind": kind, "model": model, "calibration": found}
    write_json(path, json.loads(path.read_text()) | {"judge": judge})


def test_tweets_and_pairs_are_planned_at_the_judges_accuracy(tmp_path):
    plan = plan_of(tmp_path, 200, 300, CLAUDE)
    at = {row.accuracy: row for row in plan["by_accuracy"]}
    assert 0.3 < at[0.6].passes[0.8] < 0.45 < 0.75 < at[0.65].passes[0.8]
    assert at[0.6].tweets == {0.5: None, 0.8: None} and at[1.0].tweets[0.5] == 100
    assert at[0.6].pairs > at[0.65].pairs > at[0.8].pairs
    shown = text(plan)
    assert "judge's accuracy on pairs of real replies                60%      65%" in shown
    assert "tweets for d = 0.5 to pass 80% of the time            none" in shown


def test_an_earlier_report_of_this_judge_tells_its_accuracy(tmp_path):
    calibrated(tmp_path, "older", 0.7)
    plan = plan_of(tmp_path, 200, 100, CLAUDE)
    assert (plan["known"].accuracy, plan["known"].source) == (0.7, "adapters/older/eval/quick/report.json")
    assert plan["advice"] is None  # it is trusted already
    assert "This judge: right on 70% of 300 pairs in adapters/older" in text(plan)


@pytest.mark.parametrize(
    "other", [{"kind": "offline"}, {"model": "claude-haiku-5-5"}, {"n": 0}, {"status": "not calibrated"}]
)
def test_another_judges_accuracy_is_not_this_ones(tmp_path, other):
    calibrated(tmp_path, "older", **({"accuracy": 0.7} | other))
    assert plan_of(tmp_path, 200, 300, CLAUDE)["known"] is None


def test_a_judge_before_whom_nothing_passes_is_named_before_it_is_paid(tmp_path):
    calibrated(tmp_path, "older", 0.58, trusted=False)
    advice = plan_of(tmp_path, 200, 300, CLAUDE)["advice"]
    assert advice.startswith("use another judge (EVAL=...) or ask people")
    assert "right on 58% of real pairs" in advice


def test_too_few_pairs_for_trust_are_named_with_the_cheapest_way_to_more(tmp_path):
    bounds = {"split": {"test": 0.25}, "collect": {"replies_per_tweet": 50}, "preferences": {"min_likes": 2}}
    plan_of(tmp_path, 200, 100, CLAUDE)
    write_json(tmp_path / "data/small/processed/manifest.json", {"config": bounds})
    train = load_config(tmp_path / "configs/train-mine.yaml", TrainConfig)
    quick = load_config(tmp_path / "configs/eval-quick.yaml", EvalConfig)
    plan = eval_plan(evaluation_of(tmp_path, train, quick))
    assert "with 100 a win is likely to stay unproven" in plan["advice"]
    assert "free, of the replies at hand: preferences: {min_likes: 0, min_chosen_likes: 5" in plan["advice"]
    shown = text(plan)
    assert "about $0.16: tweets alone, without replies" in shown  # 400 tweets, of which a quarter is held out
    assert "about $4.08: free" in shown  # 100 pairs of 2 a tweet: 200 tweets with 50 replies each
    assert "$0.72 in a batch" in shown


@pytest.mark.parametrize(
    ("bounds", "few"),
    [
        ({}, False),
        ({"min_likes": 0, "max_per_tweet": 10}, False),
        ({"min_likes": 0, "max_per_tweet": 9}, True),
        ({"min_likes": 1, "max_per_tweet": 10}, True),
    ],
)
def test_either_bound_of_a_set_may_leave_out_pairs(bounds, few):
    assert Supply(0.2, 50, bounds).gives_few_pairs is few


def test_a_stand_in_needs_no_pairs_for_a_trust_that_it_cannot_earn(tmp_path):
    assert plan_of(tmp_path, 200, 100)["advice"] is None


@pytest.mark.parametrize(
    ("systems", "written"),
    [
        (["base", "tuned", "human"], {"base": 10, "tuned": 10}),
        (["base", "tuned", "tuned@3"], {"base": 10, "tuned": 10, "tuned@3": 20}),
        (["tuned@5", "base", "tuned@3", "tuned"], {"tuned@5": 20, "base": 10, "tuned@3": 20, "tuned": 10}),
    ],
)
def test_the_replies_to_be_written_are_those_that_no_other_system_has(systems, written):
    assert replies_to_write(systems, 10) == written


@pytest.mark.parametrize(
    ("gate", "points"),
    [
        ({}, 15),
        ({"min_improvement": 20}, 20),
        ({"min_improvement": 0}, 15),
        ({"improvement": "relative_mean", "min_improvement": 20}, 15),
    ],
)
def test_the_net_win_asked_for_is_the_config_s_where_it_asks_for_one(gate, points):
    assert net_points(EvalConfig.model_validate({"gate": gate})) == points


def test_an_evaluation_needs_more_tweets_where_authors_repeat_and_fewer_where_the_net_win_is_large():
    config = EvalConfig.model_validate({"gate": {"min_improvement": 30}})
    plain = needed_tweets(ASSUMED, EvalConfig())
    assert needed_tweets(ASSUMED | {"design_effect": 2.0}, EvalConfig())["tweets"] == 2 * plain["tweets"]
    assert needed_tweets(ASSUMED, config)["net_win"] < plain["net_win"] / 3
