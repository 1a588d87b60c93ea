"""Take in the likes of a field test's posts, and write its result once as many as planned are counted.

    python -m scripts.field_counts --config configs/train-tiny.yaml --eval configs/eval-offline.yaml \\
        --import account_analytics.csv
    python -m scripts.field_counts --config ... --eval ... --import apify

A file is X's own analytics (CSV), or items of posts in any shape that `make data` reads. `apify` buys the
likes of the posts that have none yet: price, question, cap (collect.max_usd of the run's data config,
MAX_USD), adapters/<run>/field/ledger.jsonl. Writes field/counts.jsonl, report.json and report.html. Before
the planned number is posted and counted, nothing about base and tuned is shown.
"""

import os
import sys
from pathlib import Path
from typing import Any

from lib.base.config import load_config
from lib.base.console import confirm, load_env, made, parser, printable, run
from lib.base.costs import budget_usd
from lib.base.errors import UserError
from lib.base.settings import DataConfig
from lib.collect import apify, posts
from lib.data.counts import read_counts
from lib.evaluate.evaluation import Evaluation
from lib.evaluate.field_log import FieldLog
from lib.evaluate.field_plan import folder_of, read_plan
from lib.evaluate.field_report import refuse_told, standing, take_in, write_report


def parse_args() -> Any:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True, help="configs/train-<run>.yaml")
    arguments.add_argument("--eval", type=Path, required=True, help="configs/eval-<name>.yaml")
    arguments.add_argument("--import", nargs="+", dest="files", required=True, help="files, or `apify`")
    arguments.add_argument("--gone", action="store_true", help="posts without a count are deleted ones")
    return arguments.parse_args()


def main() -> None:
    args = parse_args()
    load_env()
    evaluation = Evaluation.of(args.config, args.eval)
    folder = folder_of(evaluation)
    plan = read_plan(folder)
    if plan is None:
        raise UserError(f"No field test is planned: run `make field RUN={evaluation.run}` first.")
    log = FieldLog(folder, plan)
    refuse_told(log)  # before anything is bought
    for name in args.files:
        for path in bought(evaluation, log) if name == "apify" else [Path(name)]:
            counts, rejected = read_counts(path)
            n_new = take_in(log, counts)
            for line in rejected[:20]:
                print(printable(f"not counted: {line}"), file=sys.stderr)
            say(f"field: {n_new:,} new counts from {path}; {len(rejected):,} rows without any")
    report = write_report(log, args.gone)
    say(standing(log).line())
    if report is None:
        say(standing(log).next_step())
        return
    say("\n".join([f"field: {report.sentence}", *(f"  doubt: {doubt}" for doubt in report.doubts)]))
    made(folder / "report.html")


def bought(evaluation: Evaluation, log: FieldLog) -> list[Path]:
    """The likes of the posts that are old enough and have no count, from the data config's provider."""
    config = load_config(Path("configs") / f"data-{evaluation.config.data}.yaml", DataConfig)
    links = [draft.link for draft in standing(log).countable if draft.link]
    if not links:
        return []
    max_usd = budget_usd(config.collect.max_usd, os.environ.get("MAX_USD"))
    requests, again = posts.requests_of(config, links), os.environ.get("AGAIN") == "1"
    folder, provider = folder_of(evaluation), apify.connect(config)
    return posts.buy_posts(folder, provider, requests, max_usd, lambda ask: confirm(ask), say, again)


def say(text: str) -> None:
    print(printable(text), flush=True)


if __name__ == "__main__":
    run(main)
