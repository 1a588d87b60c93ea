"""Clean the texts of the filtered pairs, keep one of the replies that say the same, and of these max_pairs.

    python -m scripts.clean --config configs/data-main.yaml

Reads interim/filtered.jsonl; writes interim/clean.rejected.jsonl, interim/clean.jsonl, each pair with
its quality (lib/data/quality.py has the formula).
"""

from functools import partial

from lib.base.console import run, summary
from lib.base.errors import UserError
from lib.base.files import read_jsonl, rejects_path
from lib.base.schema import Pair
from lib.base.seals import checked, write_sealed
from lib.data.cleaning import clean_pairs
from lib.data.dedup import drop_duplicates
from lib.data.interim import building
from lib.data.quality import topics_of, trim, with_quality
from lib.data.vectors import CHAR_NGRAMS, embed


def main() -> None:
    with building(__doc__) as (path, config, folder):
        interim = folder / "interim"
        pairs = read_jsonl(checked(interim / "filtered.jsonl"), Pair)
        clean, spoiled = clean_pairs(pairs, config.filter)
        model, threshold = config.clean.embedding_model, config.clean.similarity_threshold
        distinct, duplicates = drop_duplicates(clean, partial(embed, model=model), threshold)
        topics = topics_of(interim.parent / "raw")
        kept, trimmed = trim(with_quality(distinct), config.collect.max_pairs, topics)

        out = interim / "clean.jsonl"
        rejected = sorted([*spoiled, *duplicates, *trimmed], key=lambda rejection: rejection.id)
        write_sealed(rejects_path(out), rejected, out)
        stand_in = " (offline stand-in for sentence vectors)" if model == CHAR_NGRAMS else ""
        print(summary("clean", len(kept), [rejection.reason for rejection in rejected]))
        print(f"  similarity: {model}{stand_in}, duplicates from {threshold}")
        if not kept:
            raise UserError(
                f"no pair is left after cleaning; {rejects_path(out)} says why. Widen the bounds in "
                f"{path}, or collect more."
            )
        write_sealed(
            out,
            sorted(
                kept,
                key=lambda pair: (pair.tweet_created_at, pair.tweet_id, pair.reply_created_at, pair.reply_id),
            ),
        )
        print(f"wrote {out}")  # clean.jsonl was written last: make reads it as "done"


if __name__ == "__main__":
    run(main)
