"""What training and evaluation read: nothing that is measured with is learned from, in whatever file."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.data.processed import processed_of
from lib.data.splits import drop_leaks, prompts_of, similar
from lib.data.text import normalised
from tests.data.test_splits import (
    BY_SPLIT,
    CONFIG,
    CONFIG_OF_SET,
    PAIRS,
    nothing_alike,
    pair_by,
    tweet_of,
    words,
)
from tests.items import english

TRAIN, VAL, TEST = (BY_SPLIT[name][0] for name in ("train", "val", "test"))


def processed(pairs, tweets=(), candidates=(), config=CONFIG_OF_SET):
    return processed_of(
        pairs, tweets or [tweet_of(pair) for pair in pairs], candidates, config, words, english
    )


def unloved(pair, reply, **changes):
    """A reply to the same tweet, posted before and liked less: the other half of a preference."""
    return pair.model_copy(
        update={
            "reply_id": f"{pair.reply_id}x",
            "reply": reply,
            "reply_author": "other",
            "reply_likes": 3,
            "reply_created_at": pair.reply_created_at - timedelta(minutes=1),
            **changes,
        }
    )


def unloved_twice(pair, reply):
    """Two such replies, which are a preference of their own."""
    liked = {"reply_id": f"{pair.reply_id}y", "reply_likes": 8, "reply_author": "another"}
    liked["reply_created_at"] = pair.reply_created_at
    return unloved(pair, reply), unloved(pair, f"{reply}, and liked more", **liked)


# --- leaks -------------------------------------------------------------------------------------------


def test_a_training_tweet_that_repeats_an_unanswered_test_prompt_is_dropped():
    silent = tweet_of(TEST, tweet_id="silent", tweet="nobody has answered this tweet so far")
    echo = TRAIN.model_copy(update={"tweet": "Nobody has answered this tweet, so far!"})
    pairs = [echo, *(pair for pair in PAIRS if pair.tweet_id != echo.tweet_id)]
    found = processed(pairs, [*map(tweet_of, pairs), silent])
    assert "silent" in {prompt.tweet_id for prompt in found.prompts}
    assert echo.id not in {pair.id for pair in found.parts["train"]}
    assert [one.reason for one in found.rejected if one.id == echo.id] == ["near_duplicate_across_splits"]


@pytest.mark.parametrize("field", ["tweet", "reply"])
@pytest.mark.parametrize("learned, measured", [("train", "val"), ("train", "test"), ("val", "test")])
def test_what_is_learned_from_gives_way_to_what_is_measured_with(field, learned, measured):
    echo = BY_SPLIT[learned][1].model_copy(update={field: getattr(BY_SPLIT[measured][0], field).upper()})
    parts = {**BY_SPLIT, learned: [echo]}
    kept, rejected = drop_leaks(parts, [], nothing_alike, 0.9)
    assert ([one.id for one in rejected], kept[learned]) == ([echo.id], [])
    assert kept[measured] == BY_SPLIT[measured]


def test_a_text_of_a_validation_pair_that_was_itself_dropped_may_be_learned():
    gone = VAL.model_copy(update={"reply": TEST.reply, "tweet": "a tweet that goes with its pair"})
    same = TRAIN.model_copy(update={"tweet": "a tweet that goes with its pair"})
    kept, rejected = drop_leaks({"train": [same], "val": [gone], "test": [TEST]}, [], nothing_alike, 0.9)
    assert ([one.id for one in rejected], kept["train"]) == ([gone.id], [same])


@pytest.mark.parametrize("cosine, is_similar", [(0.75, True), (0.7499, False), (0.7501, True), (1.0, True)])
def test_a_cosine_of_the_threshold_itself_is_similar(cosine, is_similar):
    vectors = {"one": (1.0, 0.0), "other": (cosine, (1 - cosine**2) ** 0.5)}

    def embed(texts):
        return np.array([vectors[text] for text in texts])

    assert similar(["one"], ["other"], embed, 0.75) == [is_similar]


def test_the_same_words_are_similar_whatever_their_vectors_and_nothing_is_where_nothing_is():
    assert similar(["So true!", "so untrue"], ["SO true"], nothing_alike, 0.9) == [True, False]
    assert similar([], ["a"], words, 0.9) == []
    assert similar(["a"], [], words, 0.9) == [False]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("pqrstu")), min_size=1, max_size=30))
def test_no_text_of_a_held_out_set_is_left_in_what_is_learned_from(drawn):
    parts = {
        name: [
            pair.model_copy(update={"tweet": f"{tweet} tells of it", "reply": f"{reply} says so"})
            for pair, (tweet, reply) in zip(pairs, drawn, strict=False)
        ]
        for name, pairs in BY_SPLIT.items()
    }
    kept, rejected = drop_leaks(parts, [], nothing_alike, 0.9)
    assert sum(map(len, kept.values())) + len(rejected) == sum(map(len, parts.values()))
    for learned, measured in (("train", "val"), ("train", "test"), ("val", "test")):
        for field in ("tweet", "reply"):
            texts = [
                {normalised(getattr(pair, field)) for pair in kept[name]} for name in (learned, measured)
            ]
            assert texts[0].isdisjoint(texts[1])


# --- test prompts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"tweet_likes": 0},
        {"tweet_likes": 10**7},
        {"tweet_retweets": 0},
        {"tweet_lang": "de"},
        {"tweet_lang": None, "tweet": "ein später Tag in der Bäckerei"},
        {"flags": ["retweet"]},
        {"flags": ["quote"]},
        {"flags": ["tweet_truncated"]},
        {"flags": ["tweet_media"]},
        {"flags": ["tweet_url"]},
        {"tweet": "look at example.com/shop today"},
        {"tweet": "say <|im_end|> please"},
    ],
)
def test_a_tweet_that_the_filter_would_drop_is_no_test_prompt(changes):
    asked = tweet_of(TEST, tweet_id="asked", tweet="a tweet that nobody has answered so far")
    for tweet, is_asked in ((asked, True), (asked.model_copy(update=changes), False)):
        found = processed(PAIRS, [*map(tweet_of, PAIRS), tweet])
        assert ("asked" in {prompt.tweet_id for prompt in found.prompts}) == is_asked


def test_the_most_liked_reply_is_the_human_one_and_of_equals_that_of_the_first_id():
    replies = [
        TEST.model_copy(update={"reply_id": reply_id, "reply": f"reply {reply_id}", "reply_likes": likes})
        for reply_id, likes in (("b", 50), ("c", 50), ("a", 49))
    ]
    for some in (replies, replies[::-1]):
        assert [prompt.human_reply for prompt in prompts_of([], some, CONFIG)] == ["reply b"]


def test_prompts_come_by_their_ids_whatever_the_order_of_the_tweets():
    tweets = [tweet_of(TEST, tweet_id=f"a{n}", tweet=f"word{n} of a tweet") for n in (3, 1, 2)]
    liked = [pair.model_copy(update={"reply_likes": n}) for n, pair in enumerate(BY_SPLIT["test"])]
    for some in (tweets, tweets[::-1]):
        found = [prompt.tweet_id for prompt in prompts_of(some, liked, CONFIG)]
        assert found == sorted(found) and {"a1", "a2", "a3"} <= set(found)


# --- preferences -------------------------------------------------------------------------------------


def texts_of(preferences):
    return {normalised(text) for one in preferences for text in (one.tweet, one.chosen, one.rejected)}


def test_no_held_out_text_prompt_or_measured_reply_is_in_the_preferences():
    silent = tweet_of(TEST, tweet_id="silent", tweet="nobody has answered this tweet so far")
    learned = [pair for pair in BY_SPLIT["train"] if pair.tweet_id.endswith("0")][:3]
    like_a_test_reply, like_a_measured_reply, like_a_prompt = learned
    like_a_prompt = like_a_prompt.model_copy(update={"tweet": silent.tweet.upper()})
    others = [pair for pair in PAIRS if pair.id not in {pair.id for pair in learned}]
    candidates = [
        unloved(TEST, "unloved words of a reply that is measured with"),
        unloved(like_a_test_reply, TEST.reply.upper()),
        unloved(like_a_measured_reply, "Unloved words of a reply, that is measured with"),
        *unloved_twice(like_a_prompt, "plain words about a tweet that is asked about"),
        unloved(VAL, "dull words that are fine to learn from"),
    ]
    pairs = [*others, like_a_test_reply, like_a_measured_reply, like_a_prompt]
    found = processed(pairs, [*map(tweet_of, pairs), silent], candidates)
    assert texts_of(found.calibration) >= {"unloved words of a reply that is measured with"}
    assert {one.tweet_id for one in found.preferences} == {VAL.tweet_id}
    fine = processed(
        PAIRS, candidates=unloved_twice(like_a_measured_reply, "words that nobody has measured with")
    )
    assert "words that nobody has measured with, and liked more" in {one.chosen for one in fine.preferences}


def test_candidates_are_cleaned_and_what_is_left_too_short_is_none():
    some = [unloved(TRAIN, "@baker fair &amp; square, that is how it goes"), unloved(VAL, "@baker #no #nope")]
    found = processed(PAIRS, candidates=some)
    assert [one.rejected for one in found.preferences] == ["fair & square, that is how it goes"]


def test_every_size_that_somebody_asks_for_is_counted():
    found = processed([*PAIRS, pair_by(TEST.tweet_author, 99)])
    n = len(PAIRS) + 1 - len(found.rejected)
    assert found.sizes == {"pairs": n, "prompts": len(found.prompts), "preferences": 0, "calibration": 0}
