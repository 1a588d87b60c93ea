"""What an evaluation would need, show and cost, before a reply is written or a verdict paid.

    python -m scripts.eval_plan --config configs/train-tiny.yaml --eval configs/eval-offline.yaml

Test prompts at hand and needed for d = 0.3 at power 0.8, verdicts to be given, calibration pairs, and the
next step. Writes nothing.
"""

from pathlib import Path

from lib.base.console import parser, printable, run
from lib.evaluate.eval_plan import eval_plan
from lib.evaluate.eval_plan_text import text
from lib.evaluate.evaluation import Evaluation


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True, help="configs/train-<run>.yaml")
    arguments.add_argument("--eval", type=Path, required=True, help="configs/eval-<name>.yaml")
    args = arguments.parse_args()
    print(printable(text(eval_plan(Evaluation.of(args.config, args.eval)))))


if __name__ == "__main__":
    run(main)
