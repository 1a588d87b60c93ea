"""Worlds with known truth through the real functions: a win that is style does not pass and is named, an
honest one does.
"""

import math
import re

import numpy as np
import pytest

from lib.evidence import equal_style
from lib.evidence.outcomes import outcomes
from tests.evidence.worlds import (
    STOCK,
    USUAL,
    Judge,
    System,
    comparison,
    failed,
    gate,
    seen,
    world,
)

SHORT = System(words=14 * 0.45)


def writes(share, *habits, **more):
    return System(habits=dict.fromkeys(habits, share), **more)


def answers(runs, **truth):
    return [gate(world(seed, **truth)) for seed in range(runs)]


def passes(found):
    return sum(answer["verdict"] == "pass" for answer in found)


def naming(found, said):
    return sum(any(said in bias for bias in answer["biases"]) for answer in found)


def pulled(habit, worth=0.5, tuned=0.8, base=0.1):
    """A world in which nothing but one habit makes tuned win."""
    return {
        "tuned": writes(tuned, habit),
        "base": writes(base, habit),
        "judge": Judge(likes={habit: worth}),
    }


def test_a_world_is_the_same_every_time_and_has_the_truth_that_was_asked_for():
    one, again, other = world(1, d=0.5), world(1, d=0.5), world(2, d=0.5)
    assert one == again != other
    found = [comparison(world(seed, d=0.5)).cohens_d for seed in range(12)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.1)
    assert len(one.judgments) == 400 and len(set(one.authors.values())) == 180
    assert seen(0.8, 0.64) == pytest.approx(0.34, abs=0.01)


# --- one of each kind, always run --------------------------------------------------------------------


def test_a_cue_of_half_a_standard_deviation_is_named_with_its_points_and_does_not_pass():
    answer = gate(world(0, **pulled("emoji")))
    assert answer["verdict"] == "fail"
    assert "style" in failed(answer)
    assert any(
        re.match(r"style: \+3\d of \+44 points are emoji \(95% CI \+", bias) for bias in answer["biases"]
    )
    assert "not met: " in answer["sentence"] and "Style" in answer["sentence"]


def test_the_points_of_the_habits_and_the_win_at_equal_style_are_the_net_win():
    found = comparison(world(0, **pulled("emoji")))
    added = sum(row["points"] for row in found.style["habits"])
    assert found.style["net_win"] + added == pytest.approx(found.net_win)


def test_where_the_systems_do_not_meet_in_a_habit_it_says_so_and_what_to_do():
    answer = gate(world(0, d=1.0, **pulled("emoji", 0.0, tuned=1.0, base=0.0)))
    assert failed(answer) == ["style"]
    assert "style: the systems hardly meet in emoji (tuned 100%, base 0%)" in " ".join(answer["biases"])
    assert answer["next"].startswith("make the systems meet in emoji: train on replies with and without it")


def test_a_judge_that_likes_emoji_and_nothing_else_does_not_pass_eight_variants_of_one_sentence():
    templates = System(texts=[f"{STOCK[i % 8]} 😂" for i in range(200)])
    judge = Judge(taste=lambda text: 3.0 * ("😂" in text), sees=0)
    answer = gate(world(0, tuned=templates, judge=judge))
    assert "style" in failed(answer)
    assert naming([answer], "points are emoji") == naming([answer], "hardly meet in “so”") == 1


def test_the_worst_of_the_ways_to_enter_a_habit_counts():
    """By the amount of length some of this win is left; the judge saw nothing but which reply is shorter."""
    truth = {"tuned": System(words=14 * 0.45, spread=0.28), "base": System(spread=0.28)}
    one = world(1, **truth, judge=Judge(likes={"length": -1.2}, sees=0))
    rows, _ = outcomes(one.judgments, one.texts, one.authors, "tuned", "base")
    length = {"length": equal_style.doublings(rows.chars_a, rows.chars_b)}
    low = {way: fit.low for way, fit in equal_style.fits(np.sign(rows.step), length, np.arange(200)).items()}
    found = comparison(one)
    assert low["amount"] > 0 > low["more"] > low["clearly more"]
    assert not found.length["explained"]
    assert found.length["low"] < 0.5
    assert found.style["low"] < 0


@pytest.mark.parametrize("truth", [{"d": 0.7, "tuned": SHORT}, {"d": 0.5}])
def test_an_honest_win_passes(truth):
    assert passes(answers(4, **truth)) >= 3


def test_authors_that_repeat_widen_the_interval_at_equal_style():
    few, many = (comparison(world(3, d=0.5, n_authors=n)) for n in (12, 200))
    width = [high - low for low, high in (found.style["ci95"] for found in (few, many))]
    assert width[0] > width[1]


# --- rates -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("habit", ["emoji", "questions", "exclamations", "flattery", "second_person"])
def test_a_habit_alone_hardly_ever_passes_and_is_named(habit):
    found = answers(25, **pulled(habit))
    assert passes(found) <= 1
    assert naming(found, f"points are {equal_style.label(habit)}") >= 20


@pytest.mark.slow
@pytest.mark.parametrize("habit", ["hashtags", "capitals", "laughs", "lines"])
def test_a_habit_that_nobody_listed_hardly_ever_passes_and_is_named(habit):
    found = answers(20, **pulled(habit))
    assert passes(found) <= 1
    assert naming(found, "style: ") >= 16


@pytest.mark.slow
@pytest.mark.parametrize(
    "truth",
    [
        {
            "tuned": writes(0.7, *USUAL),
            "base": writes(0.2, *USUAL),
            "judge": Judge(likes=dict.fromkeys(USUAL, 0.3)),
        },
        {
            "tuned": writes(0.8, "emoji", "questions", words=10),
            "base": writes(0.1, "emoji", "questions"),
            "judge": Judge(likes={"emoji": 0.3, "questions": 0.3, "length": -0.3}),
        },
        pulled("emoji", 1.0),
        pulled("emoji", 0.7, 0.97, 0.03),
        {"tuned": System(overlap=0.5), "judge": Judge(likes={"overlap": 1.5})},
    ],
)
def test_habits_mixed_strong_or_nearly_apart_hardly_ever_pass(truth):
    assert passes(answers(20, **truth)) <= 1


PURE = {
    "emoji": lambda text: 5.0 * ("😂" in text),
    "questions": lambda text: 5.0 * ("?" in text),
    "shorter": lambda text: -5.0 * len(text),
    "shorter, by the amount": lambda text: -math.log2(1 + len(text)),
    "under 60 characters": lambda text: 5.0 * (len(text) < 60),
    "fewer words": lambda text: -len(text.split()) / 3,
    "no capitals": lambda text: 5.0 * text.islower(),
}


@pytest.mark.slow
@pytest.mark.parametrize("taste", PURE)
def test_a_judge_that_is_a_function_of_style_never_passes(taste):
    tuned, base = writes(0.7, "emoji", "questions", words=7), writes(0.2, "emoji", "questions", "capitals")
    found = answers(12, tuned=tuned, base=base, judge=Judge(taste=PURE[taste], sees=0))
    assert passes(found) == 0
    assert all({"style", "length_controlled"} & {*failed(answer)} for answer in found)


@pytest.mark.slow
def test_an_honest_win_of_short_or_long_replies_keeps_its_power():
    for words in (14 * 0.45, 14 / 0.45):
        assert passes(answers(20, d=0.7, tuned=System(words=words))) >= 17
    tight = {"tuned": System(words=14 * 0.45, spread=0.28), "base": System(spread=0.28)}
    assert passes(answers(40, d=0.7, **tight)) >= 34


@pytest.mark.slow
def test_an_honest_win_of_one_half_passes_and_no_effect_does_not():
    assert passes(answers(20, d=0.5)) >= 18
    assert passes(answers(40)) == 0


@pytest.mark.slow
def test_an_honest_win_with_other_habits_than_the_base_passes():
    tuned, base = writes(0.5, "emoji", "exclamations"), writes(0.2, "emoji", "exclamations")
    assert passes(answers(20, d=0.7, tuned=tuned, base=base)) >= 17


SETS = {
    "laughs": ("haha", "lol", "lmao", "hahaha", "lmfao", "rofl", "hehe", "kek"),
    "intensifiers": ("really", "absolutely", "literally", "totally", "deeply", "truly", "utterly", "highly"),
    "smileys": (":)", ":-)", ";)", ":D", "xD", "<3"),
}


def with_one_of(set_of, share, seed):
    """A system that writes one of these before so many of its replies."""
    rng = np.random.default_rng([5, seed, round(100 * share)])
    own = [reply.reply for reply in world(900 + seed + round(100 * share)).replies[:200]]
    return System(texts=[f"{rng.choice(set_of)} {text}" if rng.random() < share else text for text in own])


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_a_habit_of_many_words_hardly_ever_passes_and_is_named(name):
    judge = Judge(taste=lambda text: 0.5 * (text.split()[0] in SETS[name]))
    systems = [
        {side: with_one_of(SETS[name], share, seed) for side, share in (("tuned", 0.8), ("base", 0.1))}
        for seed in range(15)
    ]
    found = [gate(world(seed, judge=judge, **pair)) for seed, pair in enumerate(systems)]
    assert passes(found) <= 2
    assert naming(found, "style: ") >= 12
