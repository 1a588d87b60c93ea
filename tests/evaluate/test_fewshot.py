"""Few-shot examples: the nearest training tweets, each with its best reply."""

import pytest

from lib.base.errors import UserError
from lib.evaluate.fewshot import nearest, one_per_tweet
from lib.model.chat import messages
from tests.eval_data import pair, words


def test_the_nearest_tweets_come_last_and_each_once():
    train = [
        pair(1, tweet="my new bike is fast", tweet_id="1"),
        pair(2, tweet="my new bike is fast", tweet_id="1", reply_likes=900),
        pair(3, tweet="a bike for sale", tweet_id="2"),
        pair(4, tweet="pasta with pesto", tweet_id="3"),
    ]
    [examples] = nearest(["is my new bike too fast"], train, 2, words)
    assert [example.reply_id for example in examples] == ["2003", "2002"]


def test_the_most_liked_reply_of_a_tweet_is_its_example_whatever_the_order():
    replies = [pair(n, tweet_id="1", reply_likes=likes) for n, likes in enumerate([5, 80, 80, 9])]
    assert one_per_tweet(replies) == one_per_tweet(replies[::-1]) == [replies[1]]


def test_of_equally_liked_replies_the_one_that_was_passed_on_more_is_the_example():
    replies = [pair(n, tweet_id="1", reply_likes=80, reply_retweets=n % 3) for n in range(5)]
    assert one_per_tweet(replies) == [replies[2]]


def test_tweets_that_are_equally_near_but_for_rounding_come_in_the_order_of_their_ids():
    vectors = {"tea": [1.0, 0.0], "a": [0.6, 0.8], "b": [0.6 + 1e-8, 0.8], "c": [0.6 + 2e-8, 0.8]}
    train = [pair(n, tweet_id=str(n), tweet=text) for n, text in enumerate("abc", 1)]
    [examples] = nearest(["tea"], train, 2, lambda texts: [vectors[text] for text in texts])
    assert [example.tweet_id for example in examples] == ["2", "1"]


def test_fewer_training_tweets_than_k_are_all_used():
    assert len(nearest(["tea"], [pair(0), pair(1)], 5, words)[0]) == 2
    assert nearest([], [pair(0)], 3, words) == []


def test_no_training_pairs_is_an_error_that_says_so():
    with pytest.raises(UserError, match=r"train.jsonl has none"):
        nearest(["tea"], [], 3, words)


def test_the_result_does_not_depend_on_the_order_of_the_training_pairs():
    train = [pair(n) for n in range(30)]
    tweets = ["I finished my guitar", "coffee project"]
    assert nearest(tweets, train, 4, words) == nearest(tweets, train[::-1], 4, words)


def test_examples_become_turns_of_the_conversation():
    turns = messages("Reply to: {tweet}", "hi", [pair(0)])
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert turns[1]["content"] == pair(0).reply and turns[2]["content"] == "Reply to: hi"
