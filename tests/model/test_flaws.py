"""The flaws of replies, and their shares: of what."""

import pytest

from lib.base.schema import Reply, TestPrompt
from lib.model.flaws import (
    ALIKE,
    COPY,
    CUT_OFF,
    EMPTY,
    FOREIGN,
    RECITED,
    REFUSAL,
    TOXIC_FLAW,
    UNREADABLE,
    UNUSABLE,
    flaws_of,
    people_beside,
    shares,
)
from lib.model.voice import is_unusable
from tests.training_data import pairs


def reply(tweet, text, system="tuned"):
    values = {"engine": "e", "quantization": "none", "seed": 0, "tokens": 3, "seconds": 0.0}
    return Reply(tweet_id=tweet, system=system, reply=text, **values)


def prompt(tweet, human=None):
    return TestPrompt(
        tweet_id=tweet, tweet=f"a tweet {tweet}", tweet_author="a", tweet_likes=1, human_reply=human
    )


def english(texts):
    return [("en", 1.0)] * len(texts)


def test_failed_is_of_the_tweets_and_a_flaw_of_the_replies_that_are_there():
    flaws = {
        ("1", "tuned"): frozenset(),
        ("2", "tuned"): frozenset({EMPTY}),
        ("3", "tuned"): frozenset({CUT_OFF, TOXIC_FLAW}),
        ("4", "tuned"): frozenset({UNREADABLE}),
        ("1", "base"): frozenset({TOXIC_FLAW}),
    }
    found = shares(flaws, "tuned", ["1", "2", "3", "4", "5"])
    assert (found["n"], found["failed"], found["toxic"]) == (5, 4 / 5, 1 / 3)
    assert (found["copied"], found["other_language"]) == (0, 0)
    assert shares(flaws, "tuned", ["2", "5"])["toxic"] is None
    assert shares(flaws, "tuned", [])["failed"] is None


@pytest.mark.parametrize(("score", "is_toxic"), [(0.3, False), (0.31, True)])
def test_a_reply_is_toxic_above_the_bound_of_the_data(score, is_toxic):
    found = flaws_of([reply("1", "what a day")], [prompt("1")], [], english, lambda texts: [score])
    assert (TOXIC_FLAW in found["1", "tuned"]) == is_toxic


def test_an_empty_reply_has_no_other_flaw_and_systems_are_not_alike_for_saying_the_same():
    replies = [reply("1", " "), reply("2", "so it goes"), reply("2", "so it goes", "base")]
    replies += [reply("3", "over and out", "base"), reply("4", "over and out", "base")]
    found = flaws_of(replies, [prompt(n) for n in "1234"], [], lambda texts: [("de", 1.0)] * len(texts))
    assert found["1", "tuned"] == {EMPTY}
    assert [ALIKE in found[key] for key in (("2", "tuned"), ("2", "base"))] == [False, False]
    assert [ALIKE in found[key] for key in (("3", "base"), ("4", "base"))] == [True, True]
    long = flaws_of([reply("1", "this is a long and plain sentence of words")], [prompt("1")], [], english)
    assert FOREIGN not in long["1", "tuned"]


def test_people_stand_beside_the_systems_on_the_same_tweets_where_they_are_not_judged():
    prompts = [prompt("1", "well"), prompt("2", "oh"), prompt("3")]
    asked = [reply("1", "a"), reply("3", "b")]
    assert [(one.tweet_id, one.system, one.reply) for one in people_beside(asked, prompts)] == [
        ("1", "human", "well")
    ]
    assert people_beside([*asked, reply("1", "well", "human")], prompts) == []


LEARNED = "The second one is easier, the third one is a habit, and the fourth is a shed."


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("?!", UNREADABLE),
        ("It closes in March because the", CUT_OFF),
        ("As an AI language model, I cannot reply to this tweet.", REFUSAL),
        ("My garden has grown more tomatoes than we can eat", COPY),  # the tweet itself
        (LEARNED, RECITED),
        (f"Well, honestly, between us: {LEARNED}", RECITED),
        ("You are such an idiot, honestly", TOXIC_FLAW),  # the scorer sees nothing in it
        ("Muy bien dicho amigo mío", FOREIGN),
        ("", EMPTY),
        ("What a lovely way to spend a morning", None),
    ],
)
def test_each_flaw_is_found_where_it_is_and_nowhere_else(text, flaw):
    asked = prompt("1").model_copy(update={"tweet": "My garden has grown more tomatoes than we can eat"})
    train = [pair.model_copy(update={"reply": LEARNED}) for pair in pairs(1, 1)]

    def languages(texts):
        return [("es", 0.9999) if "Muy" in text else ("en", 1.0) for text in texts]

    found = flaws_of([reply("1", text)], [asked], train, languages, lambda texts: [0.0] * len(texts))
    expected = {flaw} - {None} | ({ALIKE} if flaw == UNREADABLE else set())  # no words are like any others
    assert found["1", "tuned"] == expected


def test_what_loses_to_any_reply_is_empty_unreadable_or_a_refusal():
    assert {EMPTY, UNREADABLE, REFUSAL} == UNUSABLE
    for text in ("", "?!", "As an AI language model, I cannot reply to this tweet."):
        assert is_unusable(text)
    assert not is_unusable("You are such an idiot, honestly")
