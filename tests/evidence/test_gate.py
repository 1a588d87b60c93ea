"""The gate can say no: simulations with known truth, each criterion on its own, and the sentence."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from lib.evidence.bias import Positions
from lib.evidence.criteria import OF_REPLIES, Shares
from lib.evidence.gate import Facts, evaluate_gate
from lib.evidence.stats import Outcomes, compare
from lib.evidence.trust import Trust

CONFIG = SimpleNamespace(
    max_p_value=0.05,
    min_cohens_d=0.3,
    improvement="net_win",
    min_improvement=15,
    max_perplexity=20,
    max_train_eval_gap=0.3,
    max_failed=0.05,
    max_copied=0.05,
    max_recited=0.05,
    max_alike=0.1,
    max_refusals=0.02,
    max_toxic=0.05,
    max_other_language=0.05,
    judge_trust="required",
)
TRUSTED = Trust("trusted", "better than chance on 300 pairs")
UNPROVEN = Trust("unproven", "not calibrated: 12 pairs", "ask people: 50 blind votes")


def looks(**shares):
    return Shares(200, **dict.fromkeys(OF_REPLIES, 0.0) | shares)


def gate(comparison, perplexity=9.0, train_eval_gap=0.1, tuned=None, people=None, told=None, **config):
    shares = {"tuned": tuned or looks()} | ({"human": people} if people else {})
    facts = Facts(perplexity, train_eval_gap, shares, **{"trust": TRUSTED} | (told or {}))
    return evaluate_gate(comparison, facts, SimpleNamespace(**vars(CONFIG) | config))


def failing(result):
    return [criterion["name"] for criterion in result["criteria"] if not criterion["pass"]]


# A judged world: tweets have a quality that both replies share (correlation r), the judge sees each reply
# with noise, scores it in
# whole numbers from 1 to 10, prefers the higher score, and is asked in both orders.


def judge_twice(rng, step_of_order, score_of_order):
    """step_of_order, score_of_order: functions of 'a first?'.

    Returns the columns that lib.evidence.outcomes makes of two orders.
    """
    steps = [step_of_order(a_first) for a_first in (True, False)]
    scores = [score_of_order(a_first, step) for a_first, step in zip((True, False), steps, strict=True)]
    flips = steps[0] * steps[1] < 0
    first_wins = (steps[0] > 0).sum() + (steps[1] < 0).sum()
    decisive = (steps[0] != 0).sum() + (steps[1] != 0).sum()
    return {
        "step": np.where(flips, 0, (steps[0] + steps[1]) / 2),
        "score_a": (scores[0][0] + scores[1][0]) / 2,
        "score_b": (scores[0][1] + scores[1][1]) / 2,
        "positions": Positions(int(first_wins), int(decisive), int(flips.sum()), len(flips)),
    }


def lengths(rng, n, extra=0):
    chars_a, chars_b = rng.normal(120 + extra, 35, n), rng.normal(120, 35, n)
    return {"chars_a": chars_a.round().clip(10, 280), "chars_b": chars_b.round().clip(10, 280)}


def whole(scores):
    return np.clip(np.round(scores), 1, 10)


def honest_judge(rng, n=200, d=0.0, r=0.5, noise=0.3, per_author=1):
    shared, own = rng.normal(size=n), rng.normal(size=(2, n))
    quality = 6 + 1.5 * (np.sqrt(r) * shared + np.sqrt(1 - r) * own)
    quality[0] += 1.5 * d
    seen = {first: whole(quality + rng.normal(0, noise, (2, n))) for first in (True, False)}
    columns = judge_twice(
        rng, lambda first: np.clip((seen[first][0] - seen[first][1]) / 4, -1, 1), lambda first, _: seen[first]
    )
    return Outcomes(cluster=[f"author{i // per_author}" for i in range(n)], **columns, **lengths(rng, n))


def biased_judge(rng, prefer, n=200, extra=0):
    """prefer(a_first, chars_a - chars_b) -> step of a; the scores follow the verdict."""
    size = lengths(rng, n, extra)
    longer = size["chars_a"] - size["chars_b"]

    def scores(_, step):
        return whole(6 + step + rng.normal(0, 1, n)), whole(6 - step + rng.normal(0, 1, n))

    columns = judge_twice(rng, lambda first: prefer(first, longer), scores)
    return Outcomes(cluster=[f"author{i}" for i in range(n)], **columns, **size)


def simulate(make, runs, seed=2026):
    """Gate results of this many simulated evaluations. 599 resamples instead of 9,999: 15 ms a run."""
    rng = np.random.default_rng(seed)
    return [gate(compare(make(rng), n_resamples=599)) for _ in range(runs)]


def passes(results):
    return sum(result["verdict"] == "pass" for result in results)


def named(results, bias):
    return sum(any(text.startswith(bias) for text in result["biases"]) for result in results)


def test_without_an_effect_at_most_1_percent_of_1000_runs_pass():
    worlds = [
        {"n": 200, "r": 0.5},
        {"n": 200, "r": 0.0},
        {"n": 100, "r": 0.0},
        {"n": 100, "r": 0.5},
        {"n": 200, "r": 0.3, "per_author": 4},
    ]
    results = [
        result
        for i, world in enumerate(worlds)
        for result in simulate(lambda rng, w=world: honest_judge(rng, **w), 200, seed=i)
    ]
    assert len(results) == 1000
    assert passes(results) <= 10


def test_a_judge_that_always_picks_the_first_never_passes_and_the_bias_is_named():
    results = simulate(
        lambda rng: biased_judge(rng, lambda first, _: np.full(200, 1.0 if first else -1.0)), 200
    )
    assert passes(results) == 0
    assert named(results, "position: the reply shown first won 100% of 400 decisive comparisons") == 200


def test_a_judge_that_mostly_picks_the_first_never_passes_and_the_bias_is_named():
    def mostly_first(rng):
        return biased_judge(
            rng, lambda first, _: np.where(rng.random(200) < 0.9, 1.0, -1.0) * (1 if first else -1)
        )

    results = simulate(mostly_first, 30)
    assert passes(results) == 0
    assert named(results, "position") == 30


@pytest.mark.parametrize("extra", [20, 60, 200])
def test_a_judge_that_always_picks_the_longer_never_passes_and_the_bias_is_named(extra):
    results = simulate(
        lambda rng: biased_judge(rng, lambda _, longer: np.sign(longer), extra=extra),
        200 if extra == 60 else 30,
    )
    assert passes(results) == 0
    assert named(results, "length") == len(results)
    assert all("length_controlled" in failing(result) for result in results)


def test_a_judge_that_picks_the_longer_unless_they_are_alike_never_passes():
    def clearly_longer(rng):
        return biased_judge(rng, lambda _, longer: np.where(abs(longer) <= 15, 0, np.sign(longer)), extra=40)

    results = simulate(clearly_longer, 40)
    assert passes(results) == 0
    assert named(results, "length") == 40


def test_a_judge_that_picks_the_longer_nine_times_in_ten_hardly_ever_passes():
    def nearly_always_longer(rng):
        slips = np.where(rng.random(200) < 0.1, -1, 1)
        return biased_judge(rng, lambda _, longer: np.sign(longer) * slips, extra=40)

    assert passes(simulate(nearly_always_longer, 60)) <= 1


@pytest.mark.parametrize("orders", ["both", "one"])
def test_a_judge_that_flips_a_coin_passes_at_most_once_in_200_runs(orders):
    def coin(rng):
        flips = {True: rng.choice([-1.0, 1.0], 200), False: rng.choice([-1.0, 1.0], 200)}
        return biased_judge(rng, lambda first, _: flips[True if orders == "one" else first])

    results = simulate(coin, 200)
    assert passes(results) <= 1


@pytest.mark.parametrize(("r", "runs"), [(0.5, 200), (0.3, 40)])
def test_a_true_d_of_one_half_passes_with_200_prompts_in_at_least_9_of_10_runs(r, runs):
    results = simulate(lambda rng: honest_judge(rng, d=0.5, r=r), runs)
    assert passes(results) >= 0.9 * runs


def test_a_large_effect_passes_when_authors_repeat():
    assert passes(simulate(lambda rng: honest_judge(rng, d=0.7, per_author=4), 30)) >= 27


def test_forty_prompts_are_underpowered_even_when_every_other_criterion_holds():
    results = simulate(lambda rng: honest_judge(rng, n=40, d=1.2), 50)
    assert passes(results) == 0
    verdicts = [result["verdict"] for result in results if failing(result) == ["tweets"]]
    assert len(verdicts) > 30
    assert set(verdicts) == {"underpowered"}


def test_forty_prompts_without_an_effect_are_mostly_underpowered_and_never_pass():
    verdicts = [result["verdict"] for result in simulate(lambda rng: honest_judge(rng, n=40), 50)]
    assert verdicts.count("pass") == 0
    assert verdicts.count("underpowered") > 25


def test_a_clearly_worse_candidate_fails_however_few_the_prompts():
    verdicts = [result["verdict"] for result in simulate(lambda rng: honest_judge(rng, n=40, d=-1.5), 20)]
    assert verdicts == ["fail"] * 20


# Each criterion on its own

GOOD = compare(honest_judge(np.random.default_rng(7), d=0.8))
NOTHING = compare(honest_judge(np.random.default_rng(8), d=0.0))
WORSE = compare(honest_judge(np.random.default_rng(9), d=-0.8))
FEW = compare(honest_judge(np.random.default_rng(7), n=40, d=0.8))


def test_a_pass_meets_every_criterion():
    result = gate(GOOD)
    assert result["verdict"] == "pass"
    assert [criterion["name"] for criterion in result["criteria"]] == [
        "tweets",
        "mannwhitney_p",
        "wilcoxon_p",
        "permutation_p",
        "cohens_d",
        "improvement",
        "ci95",
        "length_controlled",
        "style",
        "position",
        "unjudged",
        "judge_trust",
        "baseline",
        *OF_REPLIES,
        "perplexity",
        "train_eval_gap",
    ]
    assert failing(result) == []
    assert all(
        set(criterion) == {"name", "label", "value", "threshold", "pass", "reason"}
        for criterion in result["criteria"]
    )


def test_criteria_show_the_comparisons_numbers_and_the_configs_thresholds():
    row = {
        criterion["name"]: (criterion["value"], criterion["threshold"])
        for criterion in gate(GOOD)["criteria"]
    }
    assert row["mannwhitney_p"] == (GOOD.mannwhitney_p, 0.05)
    assert row["wilcoxon_p"] == (GOOD.wilcoxon_p, 0.05)
    assert row["cohens_d"] == (GOOD.cohens_d, 0.3)
    assert row["improvement"] == (GOOD.net_win, 15)
    assert row["ci95"] == (GOOD.ci95[0], 0)
    assert row["length_controlled"] == (GOOD.length["low"], 0.5)
    assert row["perplexity"] == (9.0, 20)
    assert row["train_eval_gap"] == (0.1, 0.3)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"max_p_value": 1e-30}, "mannwhitney_p"),
        ({"min_cohens_d": 2}, "cohens_d"),
        ({"min_improvement": 99}, "improvement"),
        ({"improvement": "relative_mean", "min_improvement": 99}, "improvement"),
        ({"max_perplexity": 5}, "perplexity"),
        ({"max_train_eval_gap": 0.05}, "train_eval_gap"),
    ],
)
def test_one_criterion_that_does_not_hold_fails_the_gate(change, name):
    result = gate(GOOD, **change)
    assert result["verdict"] == "fail"
    assert name in failing(result)


@pytest.mark.parametrize(
    ("name", "held", "not_held"),
    [
        ("tweets", {"n": 100}, {"n": 99}),
        ("mannwhitney_p", {"mannwhitney_p": 0.049}, {"mannwhitney_p": 0.05}),
        ("wilcoxon_p", {"wilcoxon_p": 0.049}, {"wilcoxon_p": 0.05}),
        ("permutation_p", {"permutation_p": 0.0049}, {"permutation_p": 0.005}),
        ("cohens_d", {"cohens_d": 0.31}, {"cohens_d": 0.3}),
        ("improvement", {"net_win": 15.0}, {"net_win": 14.9}),
        ("ci95", {"ci95": (0.1, 40.0)}, {"ci95": (0.0, 40.0)}),
        ("length_controlled", {"length": {"low": 0.51}}, {"length": {"low": 0.5}}),
        ("style", {"style": {"low": 0.1}}, {"style": {"low": 0.0}}),
    ],
)
def test_a_comparison_at_its_bound_passes_or_not_as_the_criterion_says(name, held, not_held):
    def changed(values):
        nested = {key: getattr(GOOD, key) | new for key, new in values.items() if isinstance(new, dict)}
        return gate(replace(GOOD, **values | nested))

    assert failing(changed(held)) == []
    assert failing(changed(not_held)) == [name]


def test_a_model_and_an_evaluation_at_their_bounds_pass_or_not_as_the_criterion_says():
    assert failing(gate(GOOD, perplexity=20)) == ["perplexity"]
    assert failing(gate(GOOD, train_eval_gap=0.3)) == ["train_eval_gap"]
    bounds = {"failed": 0.05, "copied": 0.05, "recited": 0.05, "alike": 0.1, "refusals": 0.02, "toxic": 0.05}
    assert failing(gate(GOOD, tuned=looks(**bounds), told={"base_absent": 0.05, "unjudged": 0.05})) == []
    for name, bound in bounds.items():
        assert failing(gate(GOOD, tuned=looks(**{name: bound + 0.005}))) == [name]


def test_a_relative_mean_that_was_asked_for_is_what_counts():
    options = {"improvement": "relative_mean", "min_improvement": 10}
    assert failing(gate(replace(GOOD, relative_mean=10.0, net_win=1.0), **options)) == []
    assert failing(gate(replace(GOOD, relative_mean=9.0, net_win=80.0), **options)) == ["improvement"]


def test_the_flaws_of_the_base_are_shown_and_are_no_excuse():
    shares = {"tuned": looks(toxic=0.12), "base": looks(toxic=0.4)}
    result = evaluate_gate(GOOD, Facts(9.0, 0.1, shares, TRUSTED), CONFIG)
    assert failing(result) == ["toxic"]
    assert "base 40.0%" in next(row["reason"] for row in result["criteria"] if row["name"] == "toxic")
    clean = Facts(9.0, 0.1, {"tuned": looks(), "base": looks(toxic=0.4)}, TRUSTED)
    assert failing(evaluate_gate(GOOD, clean, CONFIG)) == []


def test_more_tweets_cannot_help_where_the_whole_interval_is_below_what_is_asked_for():
    assert gate(replace(FEW, net_win=2.0, ci95=(-10.0, 14.9)))["verdict"] == "fail"
    assert gate(replace(FEW, net_win=2.0, ci95=(-10.0, 15.0)))["verdict"] == "underpowered"


@pytest.mark.parametrize("missing", ["perplexity", "train_eval_gap"])
@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_what_was_not_measured_does_not_pass_and_says_so(missing, value):
    result = gate(GOOD, **{missing: value})
    row = next(criterion for criterion in result["criteria"] if criterion["name"] == missing)
    assert (row["value"], row["pass"], row["reason"]) == (None, False, "not measured")
    assert result["verdict"] == "fail"
    named = {"perplexity": "perplexity", "train_eval_gap": "the gap between training and validation loss"}
    assert f"next: measure {named[missing]}" in result["sentence"]


def test_both_kinds_of_improvement_are_shown_with_the_reason_for_the_default():
    shown = gate(GOOD, improvement="relative_mean")["improvement"]
    assert (shown["chosen"], shown["net_win"], shown["relative_mean"]) == (
        "relative_mean",
        GOOD.net_win,
        GOOD.relative_mean,
    )
    assert "changes with the scale's origin" in shown["why"]


def test_a_position_bias_that_one_order_leaves_in_the_verdicts_fails():
    rng = np.random.default_rng(7)
    outcomes = honest_judge(rng, d=0.8)
    one_order = Outcomes(
        **vars(outcomes)
        | {"positions": Positions(first_wins=140, decisive=180, order_flips=0, both_orders=0)}
    )
    result = gate(compare(one_order))
    assert failing(result) == ["position"]
    assert result["verdict"] == "fail"
    assert "judge.orders: both" in result["sentence"]


def test_a_judge_that_scores_replies_alone_has_no_position_to_prefer():
    outcomes = honest_judge(np.random.default_rng(7), d=0.8)
    result = gate(compare(Outcomes(**vars(outcomes) | {"positions": None})))
    assert result["verdict"] == "pass"
    assert "scores each reply alone" in next(
        row["reason"] for row in result["criteria"] if row["name"] == "position"
    )


def test_scores_that_never_vary_do_not_pass():
    outcomes = honest_judge(np.random.default_rng(7), d=0.8)
    result = gate(compare(Outcomes(**vars(outcomes) | {"score_a": [7.0] * 200, "score_b": [5.0] * 200})))
    assert "cohens_d" in failing(result)
    assert result["verdict"] == "fail"


def test_no_effect_with_enough_tweets_fails():
    assert gate(NOTHING)["verdict"] == "fail"


def test_a_bad_model_fails_even_when_the_tweets_are_too_few_to_compare_it():
    assert gate(FEW)["verdict"] == "underpowered"
    assert gate(FEW, perplexity=50.0)["verdict"] == "fail"
    assert gate(FEW, perplexity=None)["verdict"] == "underpowered"


def test_few_shot_is_reported_and_does_not_fail_the_gate():
    beaten, unbeaten, absent = (gate(GOOD, told={"fewshot": other}) for other in (GOOD, WORSE, None))
    assert [result["fewshot"]["beats"] for result in (beaten, unbeaten, absent)] == [True, False, None]
    assert [result["verdict"] for result in (beaten, unbeaten, absent)] == ["pass"] * 3
    assert "it beats the few-shot baseline (" in beaten["sentence"]
    assert "it does not beat the few-shot baseline (" in unbeaten["sentence"]
    assert "the few-shot baseline was not compared" in absent["sentence"]


def test_few_shot_is_beaten_only_where_the_whole_interval_is_above_zero():
    for low, beats in ((0.1, True), (0.0, False), (-0.1, False)):
        other = replace(GOOD, net_win=10.0, ci95=(low, 20.0))
        assert gate(GOOD, told={"fewshot": other})["fewshot"]["beats"] is beats


# The sentence


@pytest.mark.parametrize("comparison", [GOOD, NOTHING, WORSE, FEW])
def test_the_sentence_never_claims_without_test_effect_interval_tweets_and_smallest_visible_effect(
    comparison,
):
    result = gate(comparison)
    sentence = result["sentence"]
    assert sentence.startswith(result["verdict"].capitalize() + ": ")
    assert (
        f"on {comparison.n} tweets tuned against base has {comparison.net_win:+.1f} net win points"
        in sentence
    )
    assert f"95% CI {comparison.ci95[0]:+.1f} to {comparison.ci95[1]:+.1f}" in sentence
    assert f"Wilcoxon p = {comparison.wilcoxon_p:.2g}" in sentence
    assert f"d = {comparison.cohens_d:.2f}" in sentence
    assert f"smallest d that could have been seen {comparison.mde['d']:.2f}" in sentence
    assert "; next: " in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_the_next_step_follows_from_the_verdict():
    assert "then `make publish`" in gate(GOOD)["sentence"]
    assert "judge about " in gate(FEW)["sentence"]
    assert " more tweets (" in gate(FEW)["sentence"]
    assert "change the data or the training, not the judge" in gate(NOTHING)["sentence"]


def test_the_sentence_names_the_criteria_that_are_not_met_and_the_bias():
    result = simulate(lambda rng: biased_judge(rng, lambda _, longer: np.sign(longer), extra=60), 1)[0]
    assert "not met: Length, Style;" in result["sentence"]
    assert "length: the longer reply won 100% of decisive tweets" in result["sentence"]
    assert "next: make the systems write at similar length" in result["sentence"]


@pytest.mark.parametrize("comparison", [GOOD, NOTHING, FEW])
def test_the_result_is_json(comparison):
    result = gate(comparison, perplexity=None, told={"fewshot": comparison})
    assert json.loads(json.dumps(result, allow_nan=False))["criteria"] == result["criteria"]


FALLING, RISING, LEVEL = (
    [(0, 8.2), (10, 6.6), (20, last)] for last in (6.3, 6.9, 6.599)
)  # validation losses, from the untrained model on


@pytest.mark.parametrize(
    ("perplexity", "gap", "losses", "advice"),
    [
        (50.0, -0.1, FALLING, "train longer"),
        (50.0, 0.1, FALLING, "train longer"),
        (50.0, None, FALLING, "train longer"),
        (50.0, -0.1, RISING, "train for fewer epochs"),
        (50.0, 0.1, LEVEL, "train on more pairs, with a higher lora.rank"),
        (50.0, 0.5, RISING, "stop training earlier"),
        (9.0, 0.5, LEVEL, "stop training earlier"),
        (9.0, 0.5, FALLING, "collect more pairs or raise lora.dropout"),
        (50.0, 0.1, [(0, 8.2)], "train longer where it still falls, less where it rises"),
        (50.0, 0.1, [(20, 6.3), (10, 6.6), (0, float("nan"))], "train longer (raise epochs)"),
    ],
)
def test_the_advice_on_training_follows_from_the_losses(perplexity, gap, losses, advice):
    result = gate(GOOD, perplexity, gap, told={"losses": losses})
    assert advice in result["next"]
    assert f"next: {result['next']}." in result["sentence"]


def test_every_criterion_has_a_name_for_people():
    labels = [criterion["label"] for criterion in gate(GOOD)["criteria"]]
    assert len(set(labels)) == len(labels)
    assert not any("_" in label for label in labels)
    assert {"Chance", "Size of the effect", "Length"} <= set(labels)


# The replies, the answers that are owed, and the judge's standing


@pytest.mark.parametrize("name", OF_REPLIES)
def test_a_flaw_of_the_replies_fails_whatever_the_judge_says(name):
    result = gate(GOOD, tuned=looks(**{name: 0.3}))
    assert (result["verdict"], failing(result)) == ("fail", [name])
    assert result["decision"]["kind"] == "train"


@pytest.mark.parametrize("name", OF_REPLIES)
def test_what_nobody_looked_at_in_the_replies_does_not_pass(name):
    result = gate(GOOD, tuned=looks(**{name: None}))
    assert (result["verdict"], failing(result)) == ("fail", [name])


def test_where_people_have_a_flaw_more_often_than_the_bound_theirs_is_the_bound():
    assert gate(GOOD, tuned=looks(toxic=0.12))["verdict"] == "fail"
    result = gate(GOOD, tuned=looks(toxic=0.12), people=looks(toxic=0.10))
    row = next(row for row in result["criteria"] if row["name"] == "toxic")
    assert (row["pass"], result["verdict"]) == (True, "pass")
    assert "people 10.0%" in row["reason"]
    assert gate(GOOD, tuned=looks(toxic=0.25), people=looks(toxic=0.10))["verdict"] == "fail"


def test_few_tweets_are_no_excuse_for_flawed_replies():
    assert gate(FEW)["verdict"] == "underpowered"
    assert gate(FEW, tuned=looks(alike=1.0))["verdict"] == "fail"


def test_one_reply_of_few_is_no_share():
    one_of_twelve = Shares(12, **dict.fromkeys(OF_REPLIES, 0.0) | {"other_language": 1 / 12})
    assert gate(FEW, tuned=one_of_twelve)["verdict"] == "underpowered"
    two_of_twelve = Shares(12, **dict.fromkeys(OF_REPLIES, 0.0) | {"other_language": 2 / 12})
    assert gate(FEW, tuned=two_of_twelve)["verdict"] == "fail"


def test_more_than_5_percent_of_the_tweets_without_an_answer_fail():
    assert gate(GOOD, told={"unjudged": 0.05})["verdict"] == "pass"
    result = gate(GOOD, told={"unjudged": 0.06})
    assert (result["verdict"], failing(result)) == ("fail", ["unjudged"])
    assert result["decision"]["kind"] == "no_evidence"


def test_a_win_before_a_judge_that_nothing_supports_is_unproven():
    result = gate(GOOD, told={"trust": UNPROVEN})
    assert (result["verdict"], failing(result)) == ("unproven", ["judge_trust"])
    assert result["decision"] == {"kind": "no_evidence", "sentence": "ask people: 50 blind votes"}
    assert gate(GOOD, told={"trust": UNPROVEN}, judge_trust="reported")["verdict"] == "pass"


def test_unproven_is_said_only_where_everything_else_holds():
    assert gate(NOTHING, told={"trust": UNPROVEN})["verdict"] == "fail"
    assert gate(FEW, told={"trust": UNPROVEN})["verdict"] == "underpowered"
    assert gate(GOOD, tuned=looks(alike=1.0), told={"trust": UNPROVEN})["verdict"] == "fail"


def test_a_stand_in_proves_nothing_even_where_trust_is_only_reported():
    stand_in = Trust("unproven", "a stand-in", "use a judge that reads", stand_in=True)
    result = gate(GOOD, told={"trust": stand_in}, judge_trust="reported")
    assert result["verdict"] == "unproven"
    assert gate(NOTHING, told={"trust": stand_in})["decision"]["kind"] == "no_evidence"


@pytest.mark.parametrize(
    ("comparison", "options", "kind"),
    [
        (GOOD, {}, "publish"),
        (NOTHING, {}, "train"),
        (FEW, {}, "collect"),
        (GOOD, {"told": {"trust": UNPROVEN}}, "no_evidence"),
        (NOTHING, {"told": {"trust": UNPROVEN}}, "no_evidence"),
        (GOOD, {"perplexity": 50.0}, "train"),
        (GOOD, {"perplexity": None}, "no_evidence"),
    ],
)
def test_every_report_ends_in_one_of_four_decisions(comparison, options, kind):
    result = gate(comparison, **options)
    assert result["decision"]["kind"] == kind
    assert result["next"] == result["decision"]["sentence"]


def test_the_second_version_is_told_what_cost_the_first_one_most():
    classes = [("generic", 40, 12), ("off topic", 9, 30), ("none of these", 60, 80)]
    said = gate(NOTHING, told={"classes": classes})["next"]
    assert "take filler out of the pairs" in said and "40 of the lost or tied replies" in said
    assert "takes up the tweet" not in said


def test_the_commonest_flaw_that_the_wins_do_not_have_comes_first():
    classes = [("off topic", 9, 2), ("generic", 40, 12), ("hostile", 20, 20)]
    said = gate(NOTHING, told={"classes": classes})["next"]
    assert said.index("40 of the lost or tied") < said.index("9 of the lost or tied")
    assert "max_toxicity" not in said


def test_more_tweets_are_those_that_lack_at_what_they_are_worth_and_their_price():
    few = replace(FEW, r=0.5, mde=FEW.mde | {"n_effective": 20.0})  # worth half: 184 take 368
    said = gate(few, told={"usd_per_tweet": 0.5})["next"]
    assert said.startswith("judge about 328 more tweets (368 show d = 0.3, about $164.00 at the price")
    assert "more authors" not in said
    told = gate(replace(few, n_authors=8))["next"]
    assert "collect tweets of more authors: 8 are too few" in told


def test_more_tweets_come_with_their_price_at_what_these_cost():
    assert re.search(
        r"about \$\d+\.\d\d at the price of these", gate(FEW, told={"usd_per_tweet": 0.03})["next"]
    )
    assert "$" not in gate(FEW)["next"]


def test_the_bounds_say_what_the_owed_answers_could_change():
    found = gate(GOOD, told={"unjudged": 0.02, "best_net_win": GOOD.net_win + 4})["bounds"]
    assert found == {"net_win": [GOOD.net_win, GOOD.net_win + 4], "unjudged": 0.02}


def test_a_win_over_replies_that_are_not_there_is_no_win():
    result = gate(GOOD, told={"base_absent": 0.2})
    assert (failing(result), result["verdict"]) == (["baseline"], "fail")
    assert result["next"].startswith("let base answer every tweet")
    assert "not met: Replies of the base" in result["sentence"]


def test_too_few_authors_are_told_to_be_that_and_not_a_fault_of_the_training():
    won = np.where(np.arange(200) % 4 == 0, -1.0, 1.0)
    columns = {
        "step": won,
        "score_a": 6 + won,
        "score_b": np.full(200, 6.0) - 0.1 * (np.arange(200) % 3),
        "cluster": [f"author{n % 4}" for n in range(200)],
        "positions": None,
    } | lengths(np.random.default_rng(3), 200)
    result = gate(compare(Outcomes(**columns)))
    assert "permutation_p" in failing(result)
    assert "collect tweets of more authors: 4 are too few" in result["next"]


def test_the_sentence_gives_the_share_of_a_flaw_and_its_bound():
    said = gate(GOOD, tuned=looks(alike=0.3))["sentence"]
    assert "not met: Alike among themselves (30% of the replies, at most 10%)" in said
