"""Join the replies in data/<set>/raw/ to the tweets that they answer.

    python -m scripts.pair --config configs/data-main.yaml

Reads all files of raw/ that hold posts or pairs, and collect.files; writes interim/tweets.jsonl,
interim/missing_tweets.txt, interim/pairs.rejected.jsonl, interim/pairs.jsonl. A line that cannot be used is
put aside with its file:line and reason, and counted; the others are used.
"""

from lib.base.console import printable, run, summary
from lib.base.errors import UserError
from lib.base.files import rejects_path, write_bytes
from lib.base.seals import write_sealed
from lib.data.forget import Forgotten
from lib.data.interim import building
from lib.data.pairs import join
from lib.data.raw import ignored_files, raw_files, read_raw
from lib.data.refusals import notes, refuse_nothing, refuse_unknown


def main() -> None:
    with building(__doc__) as (_, config, folder):
        files, ignored = raw_files(folder / "raw", config.collect.files), ignored_files(folder / "raw")
        if not files:
            raise UserError(
                f"{folder / 'raw'} holds no *.jsonl, *.json or *.csv file. Collect first (`make collect`), "
                f"or put your own data there. {' '.join(ignored)}".rstrip()
            )
        joined = join(read_raw(files), Forgotten.load().holds)

        out = folder / "interim" / "pairs.jsonl"
        write_sealed(out.with_name("tweets.jsonl"), joined.tweets, out)
        write_sealed(rejects_path(out), joined.rejected, out)
        missing = "".join(f"https://x.com/i/status/{tweet_id}\n" for tweet_id in joined.missing_tweets)
        write_bytes(out.with_name("missing_tweets.txt"), missing.encode())
        refuse_unknown(joined)
        refuse_nothing(joined)
        write_sealed(out, joined.pairs)  # last: make reads this file as "done"
        print(
            summary(
                "pair",
                len(joined.pairs),
                [rejection.reason for rejection in joined.rejected],
                "replies and unusable rows",
            )
        )
        print(
            f"  {joined.n_rows:,} rows of {len(files):,} raw file(s); {len(joined.tweets):,} tweets, wrote "
            f"{out.with_name('tweets.jsonl')}"
        )
        for sentence in (*ignored, *notes(joined)):
            print(printable(f"  note: {sentence}"))
        print(f"wrote {out}")


if __name__ == "__main__":
    run(main)
