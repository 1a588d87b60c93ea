"""Judge the replies in pairs, both orders, and the judge itself on real replies whose likes are known.

    python -m scripts.judge --config configs/train-tiny.yaml --eval configs/eval-offline.yaml

Writes judgments.jsonl, judgments.failed.jsonl, calibration.jsonl and calibration.json in
adapters/<run>/eval/<eval>/. What has been judged is never judged (or paid) again: a stopped run goes on where
it was. A paid judge shows its estimate and asks first; YES=1 answers, MAX_USD lowers judge.max_usd, AGAIN=1
asks once more for what was given up (it says what that risks).
"""

import argparse
import signal
import sys
from pathlib import Path

from lib.base.console import load_env, parser, printable, run
from lib.base.files import lock
from lib.evaluate.evaluation import Evaluation
from lib.evaluate.verdicts import make_judgments, summary


def parse_args() -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True, help="configs/train-<run>.yaml")
    arguments.add_argument("--eval", type=Path, required=True, help="configs/eval-<name>.yaml")
    arguments.add_argument("--data", help="another data set than the run's")
    return arguments.parse_args()


def main() -> None:
    args = parse_args()
    evaluation = Evaluation.of(args.config, args.eval, args.data)
    folder = evaluation.folder
    load_env()
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # like Ctrl-C: what is under way is paid for, so it is waited for
    with lock(folder / "judge.lock"):
        manifest, is_new = make_judgments(evaluation, _say)
    if not is_new:
        print(f"judge: nothing to do, {folder / 'judgments.jsonl'} is up to date")
        return
    print(printable(summary(folder, manifest)))


def _say(line: str) -> None:
    print(f"judge: {printable(line)}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    run(main)
