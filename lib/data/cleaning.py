"""Pairs as the model should see them. What cleaning leaves too short, or empty, is dropped."""

from collections.abc import Sequence

from lib.base.characters import n_characters
from lib.base.parallel import map_texts
from lib.base.schema import Pair, Rejection
from lib.base.settings import FilterConfig
from lib.data.checks import Problem, length_problem
from lib.data.text import clean_text, clean_tweet, unescaped


def clean_pairs(pairs: Sequence[Pair], config: FilterConfig) -> tuple[list[Pair], list[Rejection]]:
    """Clean both texts of every pair, once. The bounds of length hold for what is left."""
    kept, rejected = [], []
    tweets = list(dict.fromkeys(pair.tweet for pair in pairs))
    learned = dict(zip(tweets, map_texts(learned_tweet, tweets), strict=True))
    replies = map_texts(learned_reply, [pair.reply for pair in pairs])
    for pair, reply in zip(pairs, replies, strict=True):
        tweet = learned[pair.tweet]
        if problem := _problem(tweet, reply, config):
            rejected.append(Rejection.of(pair, "clean", *problem))
        else:
            kept.append(pair.model_copy(update={"tweet": tweet, "reply": reply}))
    return kept, rejected


def learned_tweet(text: str) -> str:
    """A tweet as it came -> as it is learned from."""
    return clean_tweet(unescaped(text))


def learned_reply(text: str) -> str:
    """A reply as it came -> as it is learned from."""
    return clean_text(unescaped(text))


def _problem(tweet: str, reply: str, config: FilterConfig) -> Problem | None:
    if not tweet:
        return "tweet_empty", "nothing is left of the tweet: it held links only"
    return (
        length_problem(n_characters(reply), config)
        if reply
        else ("reply_too_short", "nothing is left of the reply")
    )
