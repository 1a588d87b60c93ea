"""The best max_pairs of all shards, chosen in one task that holds no texts."""

from lib.base.schema import Pair, Rejection
from lib.data.quality import topics_of, trim, with_quality
from lib.scale.shards import Router, Work


def choose_best(work: Work, task: int) -> None:
    """Say to every shard which of its pairs are over max_pairs. All pairs are known, none is whole."""
    seen = [
        _without_texts(pair)
        for shard in range(work.n_shards)
        for pair in with_quality(work.records("far-replies", shard, Pair))
    ]
    _, over = trim(seen, work.config.collect.max_pairs, topics_of(work.data / "raw"))
    with Router(work, "trimmed", task) as out:
        for one in over:
            out.add(one.pair["tweet_id"], {"id": one.id, "detail": one.detail})


def _without_texts(pair: Pair) -> Pair:
    """All that a trim looks at, of a pair that is not to be kept in memory."""
    names = ("tweet_id", "reply_id", "reply_author", "source", "quality", "validation")
    return Pair.model_construct(**{name: getattr(pair, name) for name in names})


def trimmed(work: Work, shard: int) -> tuple[list[Pair], list[Rejection]]:
    """(kept, over max_pairs) of the distinct replies to this shard's tweets, oldest tweet first."""
    pairs = sorted(
        with_quality(work.records("far-replies", shard, Pair)),
        key=lambda pair: (pair.tweet_created_at, pair.tweet_id, pair.reply_created_at, pair.reply_id),
    )
    over = {row["id"]: row["detail"] for row in work.rows("trimmed", shard)}
    kept = [pair for pair in pairs if pair.id not in over]
    return kept, [
        Rejection.of(pair, "clean", "max_pairs", over[pair.id]) for pair in pairs if pair.id in over
    ]
