"""Rows -> clean pairs, shard by shard: each with its conversation, its author, then what says the same."""

from functools import partial
from typing import Any

from lib.base.schema import Pair, Rejection
from lib.base.settings import FilterConfig
from lib.data.cleaning import clean_pairs
from lib.data.dedup import drop_equal, same_words_key
from lib.data.fields import BadItem, to_moment
from lib.data.filters import filter_pairs, replies_in
from lib.data.heuristics import bot_like_authors
from lib.data.pairs import join
from lib.data.quality import author_of, capped
from lib.data.scorers import detect_languages, score_toxicity
from lib.data.sources import Row, place_of
from lib.scale.reading import forgotten, of_files
from lib.scale.shards import Router, Work, records_in

BATCH = 1000  # pairs: fewer texts than two processes are worth, so that cleaning starts none of its own


def make_pairs(work: Work, shard: int) -> None:
    """Join a shard's replies to their tweets, and send what was said to its authors."""
    joined = join(map(_row, work.rows("rows", shard)), forgotten(work).holds, of_files(work).rounded)
    for name, records in (
        ("pairs", joined.pairs),
        ("pairs.rejected", joined.rejected),
        ("tweets", joined.tweets),
    ):
        work.write(f"out/{name}", shard, records)
    work.write("missing", shard, [{"tweet_id": tweet_id} for tweet_id in joined.missing_tweets])
    with Router(work, "tweets-of", shard) as out:
        for tweet in joined.tweets:
            out.add(tweet.tweet_id, tweet)
    with Router(work, "said", shard) as out:
        # The order in which one process sees them: of very many of one author only the first are compared.
        for pair in joined.pairs:
            times = pair.tweet_created_at.timestamp(), pair.reply_created_at.timestamp()
            _say(out, pair.reply_author, pair.reply, [0, times[0], pair.tweet_id, times[1], pair.reply_id])
        for rejection in joined.rejected:
            place = place_of(rejection.pair.get("source", ""))
            for author, text in replies_in([rejection]):
                _say(out, author, text, [1, *place, rejection.id, rejection.reason])
    work.count("pair", shard, len(joined.pairs), joined.rejected)


def _row(row: dict[str, Any]) -> Row:
    problem = BadItem(*row["problem"]) if row["problem"] else None
    return Row(row["where"], to_moment(row["collected_at"], "collected_at"), row["value"], problem)


def _say(out: Router, author: str, text: str, order: list[Any]) -> None:
    out.add(author.lstrip("@").casefold(), {"author": author, "text": text, "order": order})


def find_bots(work: Work, shard: int) -> None:
    """Authors who write one reply again and again, to whichever tweets."""
    said = sorted(work.rows("said", shard), key=lambda row: row["order"])
    bots = bot_like_authors((row["author"], row["text"]) for row in said)
    work.write("bots", shard, [{"author": author} for author in sorted(bots)])


def filter_shard(work: Work, shard: int) -> None:
    """Filter a shard's pairs but for the cap on an author's replies, which lie in other shards too."""
    config = work.config
    rules = config.filter.model_copy(update={"max_replies_per_author": None})
    model = config.filter.toxicity_model
    score = None if model == "none" else partial(score_toxicity, model=model)
    languages = partial(detect_languages, processes=1)
    bots = {row["author"] for task in range(work.n_shards) for row in work.own("bots", task)}
    pairs = list(records_in(work.folder / "out" / "pairs" / f"{shard:05d}.jsonl", Pair))
    filtered = filter_pairs(pairs, rules, config.preferences, languages, score, bots=bots)
    work.write("out/filtered.rejected", shard, filtered.rejected)
    work.write("out/candidates", shard, filtered.candidates)
    with Router(work, "candidates-of", shard) as out:
        for pair in filtered.candidates:
            out.add(pair.tweet_id, pair)
    with Router(work, "authors", shard) as out:
        for pair in filtered.kept:
            out.add(author_of(pair), pair)
    work.count("filter", shard, 0, filtered.rejected)


def cap_authors(work: Work, shard: int) -> None:
    """Keep the best replies of every author, who is whole in this shard; then clean them."""
    rules, n = work.config.filter, work.n_shards
    kept, dropped = capped(work.records("authors", shard, Pair), rules.max_replies_per_author, None)
    rejected = [
        Rejection.of(pair.model_copy(update={"validation": None}), "filter", reason, detail)
        for pair, reason, detail in dropped
    ]
    clean, spoiled = cleaned(kept, rules)
    work.write("out/filtered", shard, kept)
    work.write("out/filtered.rejected", n + shard, rejected)
    work.write("out/clean.rejected", shard, spoiled)
    with Router(work, "words", shard) as out:
        for pair in clean:
            out.add(same_words_key(pair.reply), pair)
    work.count("filter", n + shard, len(kept), rejected)
    work.count("clean", shard, 0, spoiled)


def cleaned(pairs: list[Pair], config: FilterConfig) -> tuple[list[Pair], list[Rejection]]:
    """clean_pairs in this process alone."""
    kept, spoiled = [], []
    for start in range(0, len(pairs), BATCH):
        clean, dropped = clean_pairs(pairs[start : start + BATCH], config)
        kept += clean
        spoiled += dropped
    return kept, spoiled


def drop_equal_replies(work: Work, shard: int) -> None:
    """Keep one of the replies with the same words: they are all in this shard."""
    kept, rejected = drop_equal(work.records("words", shard, Pair))
    work.write("replies", shard, kept)
    work.write("out/clean.rejected", work.n_shards + shard, rejected)
    work.count("clean", work.n_shards + shard, 0, rejected)
