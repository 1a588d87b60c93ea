"""Review the pairs of a data set by hand, in the terminal: keep, drop or edit, the most doubtful first.

    python -m scripts.review --config configs/data-main.yaml

Reads data/<set>/interim/clean.jsonl and appends to data/<set>/review/decisions.jsonl. Every key is on disk
before the next pair shows: stop at any moment, and the same command goes on from there. The same in a
browser: `python -m demo.review_app`.
"""

import os
import sys
from pathlib import Path

from lib.base.console import parser, run
from lib.base.errors import UserError
from lib.data.review import Review
from lib.data.sitting import sitting


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True, help="configs/data-<set>.yaml")
    print(sitting(arguments.parse_args().config, ask))


def ask(review: Review, name: str) -> None:
    if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise UserError(
            "The review needs a terminal. Run it in one, or open it in a browser: `make review WEB=1`."
        )
    if os.environ.get("TERM", "dumb") == "dumb" or "utf" not in sys.stderr.encoding.lower():
        raise UserError(
            "This terminal shows no other letters than English ones, so nobody could judge the replies. "
            "Set TERM=xterm-256color and a UTF-8 locale (LC_ALL=C.UTF-8), or use a browser: `make review "
            "WEB=1`."
        )
    from lib.data.screen import review_app

    review_app(review, name).run()


if __name__ == "__main__":
    run(main)
