"""What an evaluation would need, show and cost, before a reply is written or a verdict paid.

    python -m scripts.eval_plan --config configs/train-tiny.yaml --eval configs/eval-offline.yaml

Test prompts at hand and needed for d = 0.3 at power 0.8, verdicts to be given, calibration pairs, and the
next step. Writes nothing.
"""

from pathlib import Path

from lib.base.config import config_name
from lib.base.console import parser, printable, run
from lib.data.ready import refuse_unready
from lib.evaluate.eval_plan import eval_plan
from lib.evaluate.eval_plan_text import text
from lib.evaluate.evaluation import Evaluation
from lib.evaluate.standing import next_line


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True, help="configs/train-<run>.yaml")
    arguments.add_argument("--eval", type=Path, required=True, help="configs/eval-<name>.yaml")
    arguments.add_argument("--data", help="another data set than the run's")
    args = arguments.parse_args()
    evaluation = Evaluation.of(args.config, args.eval, args.data)
    if not (evaluation.processed / "test_prompts.jsonl").is_file():
        refuse_unready(evaluation.config.data)
    print(printable(text(eval_plan(evaluation))))
    print(f"\n{next_line(args.config, args.data, config_name(args.eval))}")


if __name__ == "__main__":
    run(main)
