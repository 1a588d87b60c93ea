"""Train, validation and test sets that share no tweet, no tweet author and no text."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from lib.base.errors import UserError
from lib.base.schema import Pair, Rejection, TestPrompt, Tweet
from lib.base.settings import SplitConfig
from lib.data.cleaning import learned_tweet
from lib.data.decisions import OF_REVIEW
from lib.data.text import normalised

if TYPE_CHECKING:
    import numpy as np

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
Embed = Callable[[Sequence[str]], "np.ndarray"]


def split_of(author: str, config: SplitConfig) -> Split:
    """The set of everything this author tweeted.

    Decided by the author's hash alone, so new data never moves old pairs.
    """
    digest = hashlib.sha256(
        f"{config.seed}:{author.lstrip('@').casefold()}".encode("utf-8", "replace")
    ).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    return "test" if place < config.test else "val" if place < config.test + config.val else "train"


def split_pairs(pairs: Iterable[Pair], config: SplitConfig) -> dict[Split, list[Pair]]:
    """Every pair to the set of its tweet's author."""
    parts: dict[Split, list[Pair]] = {name: [] for name in SPLITS}
    for pair in pairs:
        parts[split_of(pair.tweet_author, config)].append(pair)
    return parts


def drop_leaks(
    parts: dict[Split, list[Pair]], prompts: Sequence[TestPrompt], embed: Embed, threshold: float
) -> tuple[dict[Split, list[Pair]], list[Rejection]]:
    """Drop from train what is too similar to val or test, and from val what is too similar to test.

    Similar: cosine >= threshold, or the same words. What is learned from gives way to what is measured with.
    """
    val, from_val = without_leaks(parts["val"], parts["test"], prompts, embed, threshold)
    train, from_train = without_leaks(parts["train"], [*val, *parts["test"]], prompts, embed, threshold)
    return {"train": train, "val": val, "test": parts["test"]}, [*from_val, *from_train]


def without_leaks(
    pairs: Sequence[Pair],
    held_out: Sequence[Pair],
    prompts: Sequence[TestPrompt],
    embed: Embed,
    threshold: float,
) -> tuple[list[Pair], list[Rejection]]:
    """Pairs without those whose reply or tweet is too similar to a held-out one; and these as rejections."""
    tweets = [pair.tweet for pair in held_out] + [prompt.tweet for prompt in prompts]
    by_reply = similar([pair.reply for pair in pairs], [pair.reply for pair in held_out], embed, threshold)
    by_tweet = similar([pair.tweet for pair in pairs], tweets, embed, threshold)
    kept, rejected = [], []
    for pair, reply_leaks, tweet_leaks in zip(pairs, by_reply, by_tweet, strict=True):
        if reply_leaks or tweet_leaks:
            detail = f"the {'reply' if reply_leaks else 'tweet'} is too similar to a held-out one"
            rejected.append(Rejection.of(pair, "split", "near_duplicate_across_splits", detail))
        else:
            kept.append(pair)
    return kept, rejected


def similar(texts: Sequence[str], others: Sequence[str], embed: Embed, threshold: float) -> list[bool]:
    """For each text: does one of the others say (nearly) the same?"""
    if not texts or not others:
        return [False] * len(texts)
    distinct, held_out = list(dict.fromkeys(texts)), list(dict.fromkeys(others))
    known = {normalised(text) for text in held_out}
    vectors, targets = embed(distinct), embed(held_out)
    similar = {}
    for start in range(
        0, len(distinct), 1024
    ):  # blocks: the whole product of two large sets would not fit into memory
        close = (vectors[start : start + 1024] @ targets.T).max(axis=1) >= threshold
        for text, is_close in zip(distinct[start : start + 1024], close, strict=True):
            similar[text] = bool(is_close) or normalised(text) in known
    return [similar[text] for text in texts]


def prompts_of(tweets: Iterable[Tweet], test: Sequence[Pair], config: SplitConfig) -> list[TestPrompt]:
    """The held-out tweets, with the most liked kept reply where there is one.

    tweets: those that pass the tweet filters.
    """
    best: dict[str, Pair] = {}
    for pair in sorted(test, key=lambda pair: (-pair.reply_likes, pair.reply_id)):
        best.setdefault(pair.tweet_id, pair)
    prompts = {pair.tweet_id: _prompt(pair, pair.tweet, pair) for pair in best.values()}
    seen = {normalised(prompt.tweet) for prompt in prompts.values()}
    for tweet in sorted(tweets, key=lambda tweet: tweet.tweet_id):
        text = learned_tweet(tweet.tweet)
        # The same words twice would count one judgment twice.
        if (
            split_of(tweet.tweet_author, config) == "test"
            and tweet.tweet_id not in prompts
            and text
            and normalised(text) not in seen
        ):
            prompts[tweet.tweet_id] = _prompt(tweet, text, None)
            seen.add(normalised(text))
    return [prompts[tweet_id] for tweet_id in sorted(prompts)]


def _prompt(tweet: Tweet | Pair, text: str, reply: Pair | None) -> TestPrompt:
    return TestPrompt(
        tweet_id=tweet.tweet_id,
        tweet=text,
        tweet_author=tweet.tweet_author,
        tweet_likes=tweet.tweet_likes,
        human_reply=reply.reply if reply else None,
        human_reply_likes=reply.reply_likes if reply else None,
    )


def refuse_empty(parts: dict[Split, list[Pair]], rejected: Sequence[Rejection], config: SplitConfig) -> None:
    """Raise UserError if a set has no pair: nothing could be trained, or nothing measured.

    rejected: by people and by the split itself; the sentence says who took the pairs.
    """
    empty = [name for name in SPLITS if not parts[name]]
    if not empty:
        return
    pairs = [pair for part in parts.values() for pair in part]
    assigned = split_pairs([*pairs, *(Pair.model_validate(one.pair) for one in rejected)], config)
    authors = {pair.tweet_author.casefold() for part in assigned.values() for pair in part}
    n_pairs, by_people = len(pairs) + len(rejected), [one for one in rejected if one.reason in OF_REVIEW]
    leaks = Counter(one.detail for one in rejected if one.reason not in OF_REVIEW)
    taken = f"; the review dropped {len(by_people):,}" if by_people else ""
    taken += "".join(f"; near_duplicate_across_splits took {n:,}: {why}" for why, n in leaks.most_common())
    by_hash = ", ".join(f"{len(assigned[name]):,} in {name}" for name in SPLITS)
    advice = (
        "Collect more, widen the filter bounds, or raise these shares in the data config."
        if any(not assigned[name] for name in empty)
        else "Take drops back (`make review`, u undoes), or collect more."
        if by_people
        else "Collect tweets that differ more, or raise clean.similarity_threshold."
    )
    raise UserError(
        f"split: {' and '.join(empty)} would be empty: {n_pairs:,} pairs of {len(authors):,} tweet authors. "
        f"split_by_author (val {config.val}, test {config.test}) put {by_hash}{taken}. {advice}"
    )
