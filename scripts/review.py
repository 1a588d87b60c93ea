"""Review the pairs of a data set by hand: keep, drop or edit, the most doubtful first.

    python -m scripts.review --config configs/data-main.yaml          in the terminal
    python -m scripts.review --config configs/data-main.yaml --web    in a browser, on this machine only

Reads data/<set>/interim/clean.jsonl and appends to data/<set>/review/decisions.jsonl. Every key is on disk
before the next pair shows: stop at any moment, and the same command goes on from there.
"""

import os
import sys
from pathlib import Path

from lib.base.config import config_name, load_config
from lib.base.console import parser, run, summary
from lib.base.errors import UserError
from lib.base.files import lock, read_jsonl
from lib.base.schema import Pair
from lib.base.seals import checked
from lib.base.settings import DataConfig
from lib.data.review import Review


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True)
    arguments.add_argument("--web", action="store_true", help="a page on 127.0.0.1 instead of the terminal")
    arguments.add_argument("--port", type=int, help="of the page; default: the first free one from 7860")
    args = arguments.parse_args()

    config, name = load_config(args.config, DataConfig), config_name(args.config)
    folder = Path("data") / name
    clean = folder / "interim" / "clean.jsonl"
    if not clean.is_file():
        raise UserError(
            f"{clean} does not exist: there is nothing to review yet. Run `make data DATA={name}` first."
        )
    with lock(folder / "review" / "lock"):
        review = Review(
            read_jsonl(checked(clean), Pair), config.filter, folder / "review" / "decisions.jsonl"
        )
        if review.current is None:
            print(f"review: nothing to review, all {len(review.queue):,} pairs of {name} are decided.")
        else:
            ask(review, name, args.web, args.port)
        print_summary(review, name)


def ask(review: Review, name: str, web: bool, port: int | None) -> None:
    if web:
        from demo.review_app import serve

        serve(review, name, port)
    elif not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise UserError(
            "The review needs a terminal. Run it in one, or open it in a browser: `make review WEB=1`."
        )
    elif os.environ.get("TERM", "dumb") == "dumb" or "utf" not in sys.stderr.encoding.lower():
        raise UserError(
            "This terminal shows no other letters than English ones, so nobody could judge the replies. "
            "Set TERM=xterm-256color and a UTF-8 locale (LC_ALL=C.UTF-8), or use a browser: `make review "
            "WEB=1`."
        )
    else:
        from lib.data.screen import review_app

        review_app(review, name).run()


def print_summary(review: Review, name: str) -> None:
    progress = review.progress()
    if progress.n:
        print(summary("review", progress.kept + progress.edited, review.reasons().elements()))
    if progress.edited:
        print(f"  {progress.edited:,} of the kept replies were edited")
    left = progress.n_total - progress.n
    if left:
        print(f"{left:,} pairs are left: `make review DATA={name}` goes on from here.")
    else:
        print(f"next: make data DATA={name}")


if __name__ == "__main__":
    run(main)
