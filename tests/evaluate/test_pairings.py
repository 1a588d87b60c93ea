"""Every pair of systems, with what is missing counted against the one that lacks it."""

import pytest

from lib.base.schema import Reply
from lib.evaluate.pairings import pairings
from tests.eval_data import prompt
from tests.evidence.test_outcomes import judged

PROMPTS = {prompt(n).tweet_id: prompt(n) for n in range(10)}
TWEETS = sorted(PROMPTS)


def reply(tweet, system, text):
    values = {"engine": "e", "quantization": "none", "seed": 0, "tokens": 3, "seconds": 0.0}
    return Reply(tweet_id=tweet, system=system, reply=text, **values)


def found(steps, texts=None, flaws=None, failures=(), systems=("base", "tuned")):
    """steps: of tuned over base, tweet by tweet; None where the judge owes it. texts: those that differ."""
    texts = {(tweet, s): f"{s} {tweet}" for tweet in TWEETS for s in systems} | (texts or {})
    replies = [reply(tweet, system, text) for (tweet, system), text in texts.items() if text is not None]
    judgments = [
        judged(tweet, order, step)
        for tweet, step in zip(TWEETS, steps, strict=False)
        for order in ("ab", "ba")
    ]
    return pairings(judgments, failures, replies, PROMPTS, systems, flaws or {})


def test_answers_that_the_judge_owes_are_counted_against_and_for_and_have_their_share():
    one = found([1.0] * 6 + [-1.0] * 2 + [None] * 2)
    assert (one.unjudged, one.best_net_win) == (0.2, pytest.approx(60))
    assert one.found["tuned", "base"].net_win == pytest.approx(20)
    assert one.judged == dict(zip(TWEETS, [1.0] * 6 + [-1.0] * 2, strict=False))
    tied = found([1.0] * 5 + [0.0] * 3 + [-1.0] * 2)
    assert tied.best_net_win == pytest.approx(30)
    asked = found([1.0] * 8)  # two tweets left no trace
    assert (asked.unjudged, asked.best_net_win) == (0.2, pytest.approx(100))


def test_a_reply_that_cannot_be_used_loses_and_the_base_s_absence_is_a_share_of_all_tweets():
    texts = {(TWEETS[0], "tuned"): "", (TWEETS[1], "base"): " ", (TWEETS[2], "base"): None}
    flaws = {(TWEETS[3], "base"): frozenset({"unreadable"}), (TWEETS[4], "base"): frozenset({"refusal"})}
    one = found([0.0] * 10, texts, flaws)
    assert one.base_absent == pytest.approx(0.3)  # a refusal can be read
    assert one.unjudged == 0
    assert one.found["tuned", "base"].wins == 4 and one.found["tuned", "base"].losses == 1
    assert set(one.judged) == set(TWEETS[5:])


def test_a_reply_of_people_alone_is_no_tweet_that_a_model_was_asked_about():
    texts = {(tweet, "human"): f"people on {tweet}" for tweet in TWEETS}
    texts |= {(tweet, system): None for tweet in TWEETS[8:] for system in ("base", "tuned")}
    one = found([1.0] * 8, texts)
    assert (one.found["tuned", "base"].n, one.unjudged, one.base_absent) == (8, 0, 0)


def test_each_tweet_stands_for_its_author_and_pairs_that_nobody_judged_are_left_out():
    one = found([1.0] * 10, systems=("base", "tuned", "fewshot"))
    assert set(one.found) == {("tuned", "base")}
    assert one.found["tuned", "base"].n_authors == len({p.tweet_author for p in PROMPTS.values()})
    assert one.headline.rows.habits["overlap"][0] == [0.0] * 10
    nothing = found([])
    assert (nothing.found, nothing.headline, nothing.best_net_win) == ({}, None, None)
