"""Let people compare base and tuned, blind: write the page, or import the answers.

    python -m scripts.human_eval --config configs/train-tiny.yaml --eval configs/eval-offline.yaml
    python -m scripts.human_eval --config ... --eval ... --import ann.csv bob.json adapters/tiny/votes.jsonl

Writes adapters/<run>/eval/<eval>/human/: page.html (one file, opens anywhere, sends nothing), items.csv
(crowd platforms) and key.json (which side is whose: keep it here). An import writes judgments.jsonl and
report.json there; an answer is rater, item and choice (A, B, tie, both_bad), as CSV, JSON or JSON Lines.
The same page, served and imported: `python -m demo.human_app`.
"""

from pathlib import Path
from typing import Any

from lib.base.config import load_config
from lib.base.console import parser, run
from lib.base.errors import UserError
from lib.base.settings import TrainConfig
from lib.evaluate.asking import named, taken_in, written
from lib.evaluate.evaluation import Evaluation
from lib.train.fingerprint import changed_since


def parse_args() -> Any:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True, help="configs/train-<run>.yaml")
    arguments.add_argument("--eval", type=Path, required=True, help="configs/eval-<name>.yaml")
    arguments.add_argument("--data", help="another data set than the run's")
    arguments.add_argument("--limit", type=int, help="ask about this many tweets, drawn by hash")
    arguments.add_argument("--import", type=Path, nargs="+", dest="files", metavar="FILE", help="answers")
    return arguments.parse_args()


def main() -> None:
    args = parse_args()
    evaluation = Evaluation.of(args.config, args.eval, args.data)
    if args.files:
        said, problem = taken_in(evaluation, args.files)
        print(said)
        if problem:
            raise UserError(problem)
        return
    _, said = written(evaluation, args.limit)
    if line := changed_since(evaluation.run_folder, load_config(args.config, TrainConfig)):
        print(f"human-eval: {line}")
    print(said)
    run = named(evaluation)
    print(f'next: make human-eval RUN={run} IMPORT="answers.json", or WEB=1 to answer here')


if __name__ == "__main__":
    run(main)
