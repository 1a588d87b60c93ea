"""Answer every held-out tweet with every system, and measure what the weights say about real replies.

    python -m scripts.generate --config configs/train-tiny.yaml --eval configs/eval-offline.yaml

Writes adapters/<run>/eval/<eval>/replies.jsonl and model_metrics.json. A stopped run goes on where it was;
what has not changed is kept.
"""

import argparse
import sys
from pathlib import Path

from lib.base.console import load_env, parser, run
from lib.base.files import lock
from lib.evaluate.answers import make_replies
from lib.evaluate.evaluation import Evaluation


def parse_args() -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True, help="configs/train-<run>.yaml")
    arguments.add_argument("--eval", type=Path, required=True, help="configs/eval-<name>.yaml")
    return arguments.parse_args()


def main() -> None:
    args = parse_args()
    evaluation = Evaluation.of(args.config, args.eval)
    folder = evaluation.folder
    load_env()
    with lock(folder / "generate.lock"):
        manifest, is_new = make_replies(evaluation, lambda line: print(line, file=sys.stderr, flush=True))
    if not is_new:
        print(f"generate: nothing to do, {folder / 'replies.jsonl'} is up to date")
        return
    for system, n in manifest.n.items():
        notes = [f"{manifest.n_empty[system]} empty"] if manifest.n_empty[system] else []
        notes += (
            [f"{manifest.leaks[system]} think blocks or control tokens taken out"]
            if manifest.leaks[system]
            else []
        )
        print(f"generate: {system} {n} replies{' (' + ', '.join(notes) + ')' if notes else ''}")
    print(f"wrote {folder / 'replies.jsonl'}")


if __name__ == "__main__":
    run(main)
