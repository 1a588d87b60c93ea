"""Clean pairs -> what training and evaluation read: splits, test prompts, preferences."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from lib.base.schema import Pair, Preference, Rejection, TestPrompt, Tweet
from lib.base.settings import DataConfig, FilterConfig
from lib.data.checks import language_problem, tweet_problem
from lib.data.cleaning import clean_pairs
from lib.data.filters import DetectLanguages
from lib.data.preferences import make_preferences
from lib.data.splits import (
    SPLITS,
    Embed,
    Split,
    drop_leaks,
    prompts_of,
    refuse_empty,
    split_of,
    split_pairs,
    without_leaks,
)
from lib.data.text import prose

MIN_CALIBRATION = 400  # below, a judge that is right on 65% is not likely to be shown to beat simple rules
USEFUL_PREFERENCES = 300  # what training on preferences asks for by default


@dataclass(frozen=True)
class Processed:
    """The content of processed/: splits, test prompts, preferences, and what was rejected on the way."""

    parts: dict[Split, list[Pair]]
    prompts: list[TestPrompt]
    preferences: list[Preference]
    calibration: list[Preference]
    rejected: list[Rejection]
    n_candidates: int

    @property
    def n_kept(self) -> int:
        return sum(len(part) for part in self.parts.values())

    @property
    def sizes(self) -> dict[str, int]:
        """How many there are of everything that an evaluation or a training asks for a number of."""
        lists = {"prompts": self.prompts, "preferences": self.preferences, "calibration": self.calibration}
        return {"pairs": self.n_kept, **{name: len(records) for name, records in lists.items()}}


def processed_of(
    pairs: Sequence[Pair],
    tweets: Sequence[Tweet],
    candidates: Sequence[Pair],
    config: DataConfig,
    embed: Embed,
    detect_languages: DetectLanguages,
    dropped: Sequence[Rejection] = (),
) -> Processed:
    """All files of processed/, as records.

    pairs: clean and reviewed. tweets: all that were collected. candidates: replies that lack engagement only.
    dropped: by people, who are named too if a part would be empty; then UserError is raised.
    Every pair ends in one of the parts or among the rejected.
    """
    processed = processed_part(pairs, tweets, candidates, config, embed, detect_languages)
    refuse_empty(processed.parts, [*dropped, *processed.rejected], config.split)
    return processed


def processed_part(
    pairs: Sequence[Pair],
    tweets: Sequence[Tweet],
    candidates: Sequence[Pair],
    config: DataConfig,
    embed: Embed,
    detect_languages: DetectLanguages,
) -> Processed:
    """Some tweets' share of processed_of, with all their replies; a part of it may be empty."""
    parts = split_pairs(pairs, config.split)
    prompts = held_out_prompts(parts["test"], tweets, config, detect_languages)
    parts, rejected = drop_leaks(parts, prompts, embed, config.clean.similarity_threshold)
    clean, _ = clean_pairs(candidates, config.filter)
    preferences, calibration = _preferences(parts, clean, prompts, config, embed)
    return Processed(parts, prompts, preferences, calibration, rejected, len(candidates))


def held_out_prompts(
    test: Sequence[Pair], tweets: Sequence[Tweet], config: DataConfig, detect_languages: DetectLanguages
) -> list[TestPrompt]:
    """The prompts of the tweets whose authors are held out; test: the pairs of those authors."""
    askable = [tweet for tweet in tweets if split_of(tweet.tweet_author, config.split) == "test"]
    return prompts_of(_passing(askable, config.filter, detect_languages), test, config.split)


def _passing(tweets: Sequence[Tweet], config: FilterConfig, detect_languages: DetectLanguages) -> list[Tweet]:
    passing = [tweet for tweet in tweets if tweet_problem(tweet, config) is None]
    unsure = [tweet for tweet in passing if tweet.tweet_lang is None]
    found = detect_languages([prose(tweet.tweet) for tweet in unsure]) if unsure else []
    foreign = {
        tweet.tweet_id
        for tweet, guess in zip(unsure, found, strict=True)
        if language_problem(*guess, config, "tweet")
    }
    return [tweet for tweet in passing if tweet.tweet_id not in foreign]


def _preferences(
    parts: dict[Split, list[Pair]],
    candidates: Sequence[Pair],
    prompts: Sequence[TestPrompt],
    config: DataConfig,
    embed: Embed,
) -> tuple[list[Preference], list[Preference]]:
    """Of train and val tweets to learn from; of test tweets to measure a judge with. No text is in both."""
    pool: dict[Split, list[Pair]] = defaultdict(list)
    kept = {pair.id for name in SPLITS for pair in parts[name]}
    for name, extra in split_pairs(
        [pair for pair in candidates if pair.id not in kept], config.split
    ).items():
        pool[name] = [*parts[name], *extra]
    seed, bounds = config.split.seed, config.preferences
    calibration = make_preferences(pool["test"], bounds, seed)
    measured = {reply_id for one in calibration for reply_id in (one.chosen_id, one.rejected_id)}
    held_out = [*parts["test"], *(pair for pair in pool["test"] if pair.id in measured)]
    learned, _ = without_leaks(
        [*pool["train"], *pool["val"]], held_out, prompts, embed, config.clean.similarity_threshold
    )
    return make_preferences(learned, bounds, seed), calibration


def shortfalls(sizes: dict[str, int], config: DataConfig) -> list[str]:
    """Sentences about everything of which there is less than wanted, and what follows from it."""
    found = []
    if (n_prompts := sizes["prompts"]) < config.split.min_test_prompts:
        found.append(
            f"{n_prompts:,} test prompts, {config.split.min_test_prompts:,} wanted: smaller differences "
            "between the models will stay"
            " unseen, and the report may say underpowered. Collect more tweets or raise split.test."
        )
    if (n_pairs := sizes["pairs"]) < config.collect.min_pairs:
        found.append(
            f"{n_pairs:,} pairs, {config.collect.min_pairs:,} wanted (collect.min_pairs): collect more or "
            "widen the filter."
        )
    if (n_preferences := sizes["preferences"]) < USEFUL_PREFERENCES:
        found.append(
            f"{n_preferences:,} preference pairs, {USEFUL_PREFERENCES} wanted for dpo and kto. More come "
            "from more replies per tweet,"
            " or from lower preferences.min_likes, like_ratio or a higher max_follower_ratio."
        )
    if (n_calibration := sizes["calibration"]) < MIN_CALIBRATION:
        found.append(
            f"{n_calibration:,} calibration pairs, {MIN_CALIBRATION} wanted: the judge's accuracy on real "
            "likes will be uncertain, and a win may stay unproven."
            " More come from a larger split.test or the bounds under preferences."
        )
    return found
