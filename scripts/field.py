"""A field test on X itself: blind drafts of base or tuned, posted by hand, compared by their likes.

    python -m scripts.field --config configs/train-tiny.yaml --eval configs/eval-offline.yaml --posts 200
    TWEET="the tweet's words" python -m scripts.field --config ... --eval ...
    POSTED=https://x.com/you/status/1 python -m scripts.field --config ... --eval ... [--draft 7]

Writes adapters/<run>/field/: plan.json (before the first draft, and it does not change), key.json (which arm
wrote what: leave it closed) and log.jsonl. In a terminal it asks tweet after tweet. TWEET (- reads stdin),
POSTED and DISCARD (why) come by the environment: no shell reads them. The likes come by scripts.field_counts.
This program posts nothing.
"""

import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from lib.base.config import load_config
from lib.base.console import load_env, parser, printable, run
from lib.base.settings import OpenAIEngine, TrainConfig
from lib.evaluate import field_plan as plans
from lib.evaluate.evaluation import Evaluation, training
from lib.evaluate.field_log import FieldLog
from lib.evaluate.field_report import standing
from lib.evaluate.field_session import Drafts, engine_of, shown, talk
from lib.train.fingerprint import changed_since


def parse_args() -> Any:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True, help="configs/train-<run>.yaml")
    arguments.add_argument("--eval", type=Path, required=True, help="configs/eval-<name>.yaml: its engine")
    arguments.add_argument("--posts", type=int, help="plan a test of so many posts, both arms together")
    arguments.add_argument("--hours", type=int, default=72, help="from a post to the count of its likes")
    arguments.add_argument("--likes", type=float, default=3.0, help="assumed mean of a base reply")
    arguments.add_argument("--draft", type=int, help="which draft was posted, or is discarded")
    return arguments.parse_args()


def main() -> None:
    args = parse_args()
    load_env()
    evaluation = Evaluation.of(args.config, args.eval)
    folder = plans.folder_of(evaluation)
    if not isinstance(evaluation.eval.engine, OpenAIEngine):
        training(evaluation.run_folder)  # or else that comes first
    if line := changed_since(evaluation.run_folder, load_config(args.config, TrainConfig)):
        say(f"field: {line}")
    if args.posts is not None:
        plan = plans.write_plan(evaluation, args.posts, args.hours, args.likes)
        say(f"field: {plan.n_posts} posts can show {plan.smallest_ratio:g} times the likes. {plans.RULES}")
        say(f"wrote {folder / 'plan.json'}")
    plan = plans.read_plan(folder)
    if plan is None:
        say("\n".join(["field: no test is planned yet", *plans.power_lines()]))
        say(f"next: make field RUN={evaluation.run} POSTS=200")
        return
    log = FieldLog(folder, plan)
    drafts = Drafts(evaluation, plan, log, lru_cache(lambda: engine_of(evaluation)))
    tweet, posted, why = (os.environ.get(name, "").strip() for name in ("TWEET", "POSTED", "DISCARD"))
    if posted:
        say(shown(log.post(drafts.chosen(args.draft), posted)))
    elif why:
        say(shown(log.discard(drafts.chosen(args.draft), why)))
    elif tweet:
        say(shown(drafts.of(sys.stdin.read() if tweet == "-" else tweet)))
    elif sys.stdin.isatty() and not standing(log).is_posted and args.posts is None:
        talk(drafts, lambda prompt: input(prompt), say, lambda: standing(log).line())
    now = standing(log)
    say(f"{now.line()}\n{now.next_step()}")


def say(text: str) -> None:
    print(printable(text), flush=True)


if __name__ == "__main__":
    run(main)
