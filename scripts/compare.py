"""Runs side by side: the settings that differ, metrics, curves, and whether win rates can be told apart.

    python -m scripts.compare --runs v1 v2

Writes adapters/compare-v1-v2.html: one file, no script, nothing to fetch.
"""

from pathlib import Path

from lib.base.console import made, parser, printable, run
from lib.base.files import write_text
from lib.evaluate.compare import compare_runs
from lib.evaluate.compare_page import page, text
from lib.evaluate.runs import finished_runs, read_runs


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument(
        "--runs", nargs="*", default=[], metavar="RUN", help="two to four finished runs of adapters/"
    )
    args = arguments.parse_args()
    if not args.runs:
        there = finished_runs(Path())
        print(f"compare: two to four finished runs side by side. Finished: {', '.join(there) or 'none yet'}.")
        if len(there) > 1:
            print(f'  for example: make compare RUNS="{" ".join(there[:2])}"')
        return
    runs = read_runs(args.runs, Path())
    found = compare_runs(runs, Path())
    path = Path("adapters") / f"compare-{'-'.join(found['runs'])}.html"
    write_text(path, page(runs, found))
    print(printable(text(found)))
    made(path)


if __name__ == "__main__":
    run(main)
