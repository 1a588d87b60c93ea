"""Preferences: of two replies to a tweet the more liked, where timing and audience do not explain it."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations

from lib.base.schema import Pair, Preference
from lib.base.settings import PreferencesConfig
from lib.data.text import normalised


def better_of(one: Pair, other: Pair, config: PreferencesConfig) -> tuple[Pair, Pair] | None:
    """(chosen, rejected), or None where the likes do not say which is better.

    The chosen reply was posted no earlier, so it had no head start, and has like_ratio times the likes; both
    have min_likes and the chosen one min_chosen_likes, so that chance weighs little; the authors' followers
    lie within max_follower_ratio, so that it is not the audience.
    The rule of SHP: Ethayarajh et al. 2022, "Understanding dataset difficulty with V-usable information".
    """
    chosen, rejected = (one, other) if one.reply_likes > other.reply_likes else (other, one)
    if rejected.reply_likes < config.min_likes or chosen.reply_likes <= rejected.reply_likes:
        return None
    if chosen.reply_likes < config.min_chosen_likes:
        return None
    if (
        chosen.reply_likes < config.like_ratio * rejected.reply_likes
        or chosen.reply_created_at < rejected.reply_created_at
    ):
        return None
    fewer, more = sorted((chosen.reply_author_followers, rejected.reply_author_followers))
    if (
        more > config.max_follower_ratio * max(fewer, 1)
        or chosen.reply_author.casefold() == rejected.reply_author.casefold()
    ):
        return None
    return chosen, rejected


def preference_candidates(pairs: Sequence[Pair], config: PreferencesConfig) -> set[str]:
    """The ids of the replies that could be part of a preference: worth the costly checks."""
    return {pair.id for couple in _couples(pairs, config) for pair in couple}


def make_preferences(pairs: Sequence[Pair], config: PreferencesConfig, seed: int) -> list[Preference]:
    """At most max_per_tweet preferences per tweet, the clearest first, every reply as seldom as possible.

    pairs: clean replies of any number of tweets. The result depends neither on their order nor on other
    tweets.
    """
    by_tweet: dict[str, list[tuple[Pair, Pair]]] = defaultdict(list)
    for chosen, rejected in _couples(pairs, config):
        if normalised(chosen.reply) != normalised(rejected.reply):
            by_tweet[chosen.tweet_id].append((chosen, rejected))
    return [
        _preference(*couple, seed)
        for tweet_id in sorted(by_tweet)
        for couple in _spread(by_tweet[tweet_id], config.max_per_tweet)
    ]


def _couples(pairs: Iterable[Pair], config: PreferencesConfig) -> list[tuple[Pair, Pair]]:
    by_tweet: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        if pair.reply_likes >= config.min_likes:
            by_tweet[pair.tweet_id].append(pair)
    return [
        couple
        for replies in by_tweet.values()
        for one, other in combinations(replies, 2)
        if (couple := better_of(one, other, config))
    ]


def _spread(couples: list[tuple[Pair, Pair]], n_couples: int) -> list[tuple[Pair, Pair]]:
    """Couples whose replies were used least, then of the largest ratio of likes, until there are enough."""
    left = sorted(couples, key=lambda couple: (-_ratio(couple), couple[0].id, couple[1].id))
    n_uses: dict[str, int] = defaultdict(int)
    taken = []
    while left and len(taken) < n_couples:
        couple = min(left, key=lambda couple: n_uses[couple[0].id] + n_uses[couple[1].id])
        left.remove(couple)
        taken.append(couple)
        for pair in couple:
            n_uses[pair.id] += 1
    return taken


def _ratio(couple: tuple[Pair, Pair]) -> float:
    chosen, rejected = couple
    return (chosen.reply_likes + 1) / (rejected.reply_likes + 1)


def _preference(chosen: Pair, rejected: Pair, seed: int) -> Preference:
    coin = hashlib.sha256(f"{seed}:{':'.join(sorted((chosen.id, rejected.id)))}".encode()).digest()[0]
    return Preference(
        tweet_id=chosen.tweet_id,
        tweet=chosen.tweet,
        tweet_author=chosen.tweet_author,
        chosen=chosen.reply,
        rejected=rejected.reply,
        chosen_id=chosen.id,
        rejected_id=rejected.id,
        chosen_likes=chosen.reply_likes,
        rejected_likes=rejected.reply_likes,
        chosen_created_at=chosen.reply_created_at,
        rejected_created_at=rejected.reply_created_at,
        chosen_followers=chosen.reply_author_followers,
        rejected_followers=rejected.reply_author_followers,
        # Which is shown first must not tell which is better: the coin knows the two ids in sorted order only.
        chosen_first=(coin % 2 == 0) == (chosen.id < rejected.id),
    )
