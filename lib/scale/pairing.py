"""Raw items -> clean pairs, shard by shard: each with its conversation, then each with what says the same."""

from functools import partial
from typing import Any

from lib.base.schema import Pair, Rejection
from lib.base.settings import FilterConfig
from lib.data.cleaning import clean_pairs
from lib.data.dedup import drop_equal, same_words_key
from lib.data.fields import BadItem, to_id, to_moment
from lib.data.filters import filter_pairs
from lib.data.forget import Forgotten
from lib.data.items import post_of
from lib.data.own_pairs import is_pair
from lib.data.pairs import join
from lib.data.raw import Row, read_raw
from lib.data.scorers import detect_languages, score_toxicity
from lib.scale.shards import Router, Work

BATCH = 1000  # pairs: fewer texts than two processes are worth, so that cleaning starts none of its own


def scatter(work: Work, task: int) -> None:
    """The rows of one file of raw/ to the shards of their conversations: a reply meets its tweet there."""
    with Router(work, "rows", task) as out:
        for row in read_raw([work.files[task]]):
            problem = [row.problem.reason, row.problem.detail] if row.problem else None
            collected_at = row.collected_at.isoformat()
            value = {"where": row.where, "collected_at": collected_at, "value": row.value, "problem": problem}
            out.add(conversation_of(row), value)


def conversation_of(row: Row) -> str:
    """The conversation that a row belongs to; its place in raw/ where it cannot be used anyway."""
    try:
        if row.problem:
            raise row.problem
        if is_pair(row.value):
            return to_id(row.value.get("tweet_id"), "tweet_id")
        post = post_of(row.value, row.where, row.collected_at)
    except BadItem:
        return row.where
    return post.conversation or post.parent or post.id


def make_pairs(work: Work, shard: int) -> None:
    """Join, filter and clean a shard: these look at a pair and at the other replies to its tweet."""
    config = work.config
    forgotten = Forgotten.load(work.root / "data" / "forgotten.json")
    joined = join(map(_row, work.rows("rows", shard)), forgotten.holds)
    model = config.filter.toxicity_model
    score = None if model == "none" else partial(score_toxicity, model=model)
    languages = partial(detect_languages, processes=1)
    filtered = filter_pairs(joined.pairs, config.filter, config.preferences, languages, score)
    kept, spoiled = cleaned(filtered.kept, config.filter)

    outputs = {
        "pairs": joined.pairs,
        "pairs.rejected": joined.rejected,
        "tweets": joined.tweets,
        "filtered": filtered.kept,
        "filtered.rejected": filtered.rejected,
        "candidates": filtered.candidates,
        "clean.rejected": spoiled,
    }
    for name, records in outputs.items():
        work.write(f"out/{name}", shard, records)
    for kind, records in (("tweets-of", joined.tweets), ("candidates-of", filtered.candidates)):
        with Router(work, kind, shard) as out:
            for record in records:
                out.add(record.tweet_id, record)
    with Router(work, "words", shard) as out:
        for pair in kept:
            out.add(same_words_key(pair.reply), pair)
    work.count("pair", shard, len(joined.pairs), joined.rejected)
    work.count("filter", shard, len(filtered.kept), filtered.rejected)
    work.count("clean", shard, 0, spoiled)


def _row(row: dict[str, Any]) -> Row:
    problem = BadItem(*row["problem"]) if row["problem"] else None
    return Row(row["where"], to_moment(row["collected_at"], "collected_at"), row["value"], problem)


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
