"""Answer every held-out tweet with every system, and measure what the weights say about real replies.

    python -m scripts.generate --config configs/train-tiny.yaml --eval configs/eval-offline.yaml

Writes adapters/<run>/eval/<eval>/replies.jsonl and model_metrics.json. A stopped run goes on where it was;
what has not changed is kept. --then-judge: looks first whether the judge could be asked afterwards.
"""

import argparse
import sys
from pathlib import Path

from lib.base.config import load_config
from lib.base.console import load_env, parser, run
from lib.base.files import lock
from lib.base.settings import TrainConfig
from lib.evaluate.answers import make_replies
from lib.evaluate.evaluation import Evaluation
from lib.judge.judges import judge_of
from lib.train.fingerprint import changed_since


def parse_args() -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True, help="configs/train-<run>.yaml")
    arguments.add_argument("--eval", type=Path, required=True, help="configs/eval-<name>.yaml")
    arguments.add_argument("--data", help="another data set than the run's")
    arguments.add_argument("--then-judge", action="store_true", help="refuse where the judge cannot be asked")
    return arguments.parse_args()


def main() -> None:
    args = parse_args()
    evaluation = Evaluation.of(args.config, args.eval, args.data)
    folder = evaluation.folder
    load_env()
    with lock(folder / "generate.lock"):
        manifest, is_new = make_replies(evaluation, say, lambda: look_first(evaluation, args))
    if not is_new:
        print(f"generate: nothing to do, {folder / 'replies.jsonl'} is up to date")
        return
    for system, n in manifest.n.items():
        notes = [f"{manifest.n_empty[system]} empty"] if manifest.n_empty[system] else []
        notes += (
            [f"think blocks or control tokens taken out: {manifest.leaks[system]}"]
            if manifest.leaks[system]
            else []
        )
        print(f"generate: {system} {n} replies{' (' + ', '.join(notes) + ')' if notes else ''}")
    print(f"wrote {folder / 'replies.jsonl'}")


def look_first(evaluation: Evaluation, args: argparse.Namespace) -> None:
    """Say what has changed since the training; refuse what would only be found out after an hour of GPU."""
    if args.then_judge:
        judge_of(evaluation.eval.judge, evaluation.train).check()
    if line := changed_since(evaluation.run_folder, load_config(args.config, TrainConfig)):
        say(f"generate: {line}")
    if n := evaluation.n_trained_on():
        say(f"generate: {n:,} test prompts are left out: the run was trained on them or on their authors")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    run(main)
