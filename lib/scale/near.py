"""Near-duplicates among millions: MinHash finds what may be near, the data room's own comparison decides.

What the two differ in is one thing: near texts that share few n-grams are never compared.
Broder 1997, "On the resemblance and containment of documents".
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lib.base.schema import Pair
from lib.data.dedup import drop_duplicates
from lib.data.splits import similar
from lib.data.vectors import embed
from lib.scale.shards import Router, Work, lines_of

# Character 4-grams: a reply has few words. Two texts of cosine 0.9 share some four fifths of them; of such
# pairs 1 - (1 - 0.8^6)^14 = 98.6% meet in a bucket. Of those that share half, 20% do: a comparison in vain.
N_GRAMS, N_BUCKETS, HASHES_PER_BUCKET = 4, 14, 6
PIECE = 30_000  # rows that are compared at once: vectors of some 250 MB
LINES = 1000  # signatures that are read at once


def minhash(work: Work, kind: str, field: str) -> tuple[list[Any], list[Any], list[Any]]:
    """datatrove's three steps over <kind>/<task>.jsonl: signatures, pairs that meet in a bucket, clusters."""
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig

    config = MinhashConfig(n_grams=N_GRAMS, num_buckets=N_BUCKETS, hashes_per_bucket=HASHES_PER_BUCKET)
    signatures, buckets, clusters = (
        str(work.folder / f"{kind}-{step}") for step in ("signatures", "buckets", "clusters")
    )
    return (
        [Texts(work.folder / kind, field), MinhashDedupSignature(signatures, config, language=_characters())],
        [MinhashDedupBuckets(signatures, buckets, config=config, lines_to_buffer=LINES)],
        [MinhashDedupCluster(buckets, clusters, config, save_cluster_id=True, lines_to_buffer=LINES)],
    )


@dataclass(frozen=True)
class Texts:
    """A reader for datatrove: one field of every row of <folder>/<task>.jsonl."""

    folder: Path
    field: str

    def __call__(self, data: Any, rank: int, world_size: int) -> Iterator[Any]:
        from datatrove.data import Document

        for where, line in lines_of(self.folder / f"{rank:05d}.jsonl"):
            yield Document(text=json.loads(line)[self.field], id=where)


def _characters() -> Any:
    """A word tokenizer whose words are characters. datatrove's own ones want spaCy for every language."""
    from datatrove.utils.word_tokenizers import WordTokenizer

    class Characters(WordTokenizer):
        def word_tokenize(self, text: str) -> list[str]:
            return list(text)

        sent_tokenize = span_tokenize = word_tokenize

    return Characters()


def spread(work: Work, task: int, kind: str) -> None:
    """The rows of a cluster to one shard of near-<kind>/; rows of none, to far-<kind>/, by their tweet."""
    cluster_of = _clusters(work.folder / f"{kind}-clusters" / f"{task:06d}.clusters")
    with Router(work, f"near-{kind}", task) as near, Router(work, f"far-{kind}", task) as far:
        for number, (_, line) in enumerate(lines_of(work.folder / kind / f"{task:05d}.jsonl")):
            row = json.loads(line)
            if number in cluster_of:
                near.add(str(cluster_of[number]), row)
            else:
                far.add(row["tweet_id"], row)


def _clusters(path: Path) -> dict[int, int]:
    """Row -> cluster, as datatrove writes it: pairs of little-endian 32-bit numbers."""
    return dict(struct.iter_unpack("<2I", path.read_bytes())) if path.is_file() else {}


def drop_near_replies(work: Work, shard: int) -> None:
    """Of clusters of replies: keep those that no more liked one is near to, and send them to their tweets."""
    vectors_of = partial(embed, model=work.config.clean.embedding_model)
    pairs, rejected = work.records("near-replies", shard, Pair), []
    with Router(work, "far-replies", work.n_shards + shard) as out:
        for start in range(0, len(pairs), PIECE):
            piece = pairs[start : start + PIECE]
            kept, dropped = drop_duplicates(piece, vectors_of, work.config.clean.similarity_threshold)
            rejected += dropped
            for pair in kept:
                out.add(pair.tweet_id, pair)
    work.write("out/clean.rejected", 2 * work.n_shards + shard, rejected)
    work.count("clean", 2 * work.n_shards + shard, 0, rejected)


def find_leaks(work: Work, shard: int) -> None:
    """Tweets to learn from that are near to a held-out one (val gives way to test), and such replies."""
    rows = list(work.rows("near-sides", shard))
    with Router(work, "leaks", shard) as out:
        for kind in ("tweet", "reply"):
            held_out = [row["text"] for row in rows if (row["kind"], row["side"]) == (kind, "test")]
            for side in ("val", "train"):
                learned = [row for row in rows if (row["kind"], row["side"]) == (kind, side)]
                kept = _unlike(learned, held_out, work, out)
                if kind == "tweet":
                    held_out += kept


def _unlike(rows: list[dict[str, Any]], held_out: list[str], work: Work, out: Router) -> list[str]:
    """The texts of rows that are near to none of the held-out ones; those that are go to out."""
    vectors_of = partial(embed, model=work.config.clean.embedding_model)
    texts = [row["text"] for row in rows]
    leaks = similar(texts, held_out, vectors_of, work.config.clean.similarity_threshold)
    for row, is_leak in zip(rows, leaks, strict=True):
        if is_leak:
            out.add(row["tweet_id"], {"id": row["id"]})
    return [text for text, is_leak in zip(texts, leaks, strict=True) if not is_leak]
