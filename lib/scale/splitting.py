"""Clean pairs -> train, val, test, prompts and preferences, by shards of whole tweets."""

from functools import partial

from lib.base.schema import Pair, Rejection, Tweet
from lib.data.decisions import reviewed
from lib.data.preferences import preference_candidates
from lib.data.processed import held_out_prompts, processed_part
from lib.data.scorers import detect_languages
from lib.data.splits import split_pairs
from lib.data.vectors import embed
from lib.scale.pairing import cleaned
from lib.scale.shards import Work
from lib.scale.trimming import trimmed

LEAK = "near_duplicate_across_splits"


def _decided(work: Work, clean: list[Pair]) -> tuple[list[Pair], list[Rejection]]:
    """(kept, dropped) by people."""
    return reviewed(clean, work.data / "review" / "decisions.jsonl", "optional", work.name)


def sides(work: Work, shard: int) -> None:
    """Every tweet of this shard once, and replies of preferences: to learn from, or to measure with."""
    config = work.config
    pairs = _decided(work, trimmed(work, shard)[0])[0]
    parts = split_pairs(pairs, config.split)
    languages = partial(detect_languages, processes=1)
    prompts = held_out_prompts(parts["test"], work.records("tweets-of", shard, Tweet), config, languages)
    tweets = {prompt.tweet_id: ("test", prompt.tweet) for prompt in prompts}
    for side in ("val", "train"):
        tweets |= {pair.tweet_id: (side, pair.tweet) for pair in parts[side]}
    rows = [
        {"kind": "tweet", "side": side, "tweet_id": tweet_id, "id": tweet_id, "text": text}
        for tweet_id, (side, text) in tweets.items()
    ]
    pool = [*pairs, *cleaned(work.records("candidates-of", shard, Pair), config.filter)[0]]
    measured = {pair.id for pair in parts["test"]}
    for side, replies in split_pairs(pool, config.split).items():
        compared = preference_candidates(replies, config.preferences)
        rows += [
            {"kind": "reply", "side": side, "tweet_id": pair.tweet_id, "id": pair.id, "text": pair.reply}
            for pair in replies
            if pair.id in compared or (side == "test" and pair.id in measured)
        ]
    work.write("sides", shard, rows)


def split(work: Work, shard: int) -> None:
    """This shard's part of all that is in processed/, without the tweets that leak."""
    config = work.config
    leaks = {row["id"] for row in work.rows("leaks", shard)}  # tweets, and replies of preferences
    clean, over = trimmed(work, shard)
    kept, dropped = _decided(work, clean)
    leaked = [
        Rejection.of(pair, "split", LEAK, "the tweet is too similar to a held-out one")
        for pair in kept
        if pair.tweet_id in leaks
    ]
    pairs = [pair for pair in kept if pair.tweet_id not in leaks]
    candidates = [
        pair for pair in work.records("candidates-of", shard, Pair) if not leaks & {pair.tweet_id, pair.id}
    ]
    vectors_of = partial(embed, model=config.clean.embedding_model)
    languages = partial(detect_languages, processes=1)
    tweets = work.records("tweets-of", shard, Tweet)
    processed = processed_part(pairs, tweets, candidates, config, vectors_of, languages)
    rejected = [*dropped, *leaked, *processed.rejected]
    outputs = {
        "clean": clean,
        "split.rejected": rejected,
        **processed.parts,
        "test_prompts": processed.prompts,
        "preferences": [one for one in processed.preferences if not leaks & {one.chosen_id, one.rejected_id}],
        "calibration": processed.calibration,
    }
    for name, records in outputs.items():
        work.write(f"out/{name}", shard, records)
    work.write("out/clean.rejected", 3 * work.n_shards + shard, over)
    work.count("clean", 3 * work.n_shards + shard, len(clean), over)
    work.count("split", shard, processed.n_kept, rejected)
