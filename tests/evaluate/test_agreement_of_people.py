"""Votes of people beside each other and beside the judge's verdicts, without a page."""

import pytest

from lib.base.files import write_jsonl
from lib.base.schema import Judgment
from lib.evaluate.people_agreement import between_raters, winner, with_judge


def vote(tweet, rater, step):
    return Judgment(
        tweet_id=tweet, a="tuned", b="base", order="ab", repeat=0, verdict=step, scores={}, model="people",
        key=f"{tweet}-{rater}", raw=rater, usage={"item": tweet},
    )  # fmt: skip


def said(tweet, order, step):
    return vote(tweet, order, step).model_copy(update={"order": order, "key": f"{tweet}{order}"})


@pytest.mark.parametrize(("step", "name"), [(0.5, "tuned"), (-1.0, "base"), (0.0, "tie")])
def test_the_winner_of_a_step_of_tuned_over_base(step, name):
    assert winner(step) == name


def test_two_raters_of_one_item_are_one_pair_of_answers():
    votes = [vote("1", "ann", 1.0), vote("1", "bob", 1.0), vote("2", "ann", -1.0), vote("2", "bob", 1.0)]
    found = between_raters([*votes, vote("3", "ann", 0.0)])
    assert (found["n"], found["n_pairs"], found["share"]) == (2, 1, 0.5)
    assert found["pairs"][0]["raters"] == ["ann", "bob"] and found["pairs"][0]["n"] == 2
    assert between_raters(votes[:1]) is None


def test_the_raters_with_most_in_common_are_listed_first():
    votes = [
        vote(tweet, rater, 1.0)
        for rater, tweets in (("ann", "12"), ("bob", "1234"), ("cem", "34"))
        for tweet in tweets
    ]
    votes += [vote("2", "cem", 1.0), vote("1", "cem", 1.0)]
    listed = [(two["raters"], two["n"]) for two in between_raters(votes)["pairs"]]
    assert listed == [(["bob", "cem"], 4), (["ann", "bob"], 2), (["ann", "cem"], 2)]


def test_votes_on_one_tweet_are_held_together(tmp_path):
    """Twelve answers to one tweet say little more than one."""
    path = tmp_path / "judgments.jsonl"
    write_jsonl(path, [said(tweet, "ab", 1.0) for tweet in "12345678"])
    apart = [vote(tweet, "ann", -1.0 if tweet == "8" else 1.0) for tweet in "12345678"]
    together = [
        vote(tweet, f"rater {n}", one.verdict) for one in apart for n in range(12) for tweet in [one.tweet_id]
    ]
    low, high = with_judge(together, path)["votes"]["share_ci95"]
    alone_low, alone_high = with_judge(apart, path)["votes"]["share_ci95"]
    assert high - low > 0.7 * (alone_high - alone_low)


def test_a_verdict_between_other_systems_is_not_held_against_people(tmp_path):
    path = tmp_path / "judgments.jsonl"
    other = said("1", "ab", -1.0).model_copy(update={"b": "fewshot", "key": "other"})
    write_jsonl(path, [said("1", "ab", 1.0), other])
    assert with_judge([vote("1", "ann", 1.0)], path)["share"] == 1


def test_the_majority_is_held_against_the_judge_where_both_are_decisive(tmp_path):
    path = tmp_path / "judgments.jsonl"
    steps = {"1": (1.0, 0.5), "2": (-1.0, -1.0), "3": (1.0, -0.5), "4": (0.5, 0.5), "5": (1.0, 1.0)}
    write_jsonl(
        path, [said(t, o, s) for t, two in steps.items() for o, s in zip(("ab", "ba"), two, strict=True)]
    )
    votes = [vote("1", "ann", 1.0), vote("1", "bob", 0.5), vote("2", "ann", 1.0), vote("3", "ann", 1.0)]
    votes += [vote("4", "ann", 0.0), vote("5", "ann", 1.0), vote("9", "ann", 1.0)]
    found = with_judge(votes, path)
    assert (found["n"], found["n_decisive"], found["right"]) == (5, 3, pytest.approx(2 / 3))
    assert found["share"] == pytest.approx(2 / 5)
    assert (found["votes"]["n"], found["votes"]["n_tweets"]) == (6, 5)
    assert with_judge(votes, tmp_path / "none.jsonl") is None
