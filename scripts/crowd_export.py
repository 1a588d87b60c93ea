"""Count the answers of a paid crowd by the rules of its study, and book what it cost.

    python -m scripts.crowd_export --config configs/train-qwen3-8b.yaml --eval configs/eval-claude.yaml \\
        --import prolific_export.csv

Reads Prolific's export of submissions and human/crowd/log.jsonl. Writes human/crowd/answers.jsonl and
result.json, human/judgments.jsonl and report.json. A later export of the same study replaces the earlier one.
"""

import sys
from pathlib import Path

from lib.base.console import parser, printable, run
from lib.base.errors import UserError
from lib.evaluate.crowd_export import RATER, take_in_export
from lib.evaluate.crowd_study import read_study
from lib.evaluate.evaluation import Evaluation
from lib.evaluate.people_report import take_in


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True, help="configs/train-<run>.yaml")
    arguments.add_argument("--eval", type=Path, required=True, help="configs/eval-<name>.yaml")
    arguments.add_argument("--import", type=Path, required=True, dest="file", help="Prolific's export")
    args = arguments.parse_args()
    evaluation = Evaluation.of(args.config, args.eval)
    human = evaluation.folder / "human"
    study = read_study(human)
    if study is None:
        raise UserError("No crowd was asked here: plan the study first, without IMPORT.")
    crowd, answers = take_in_export(human, study, args.file)
    found, report = take_in(evaluation, [answers], instead_of=RATER)
    for row in found.rejected[:20]:
        print(printable(f"not counted: {row['reason']}"), file=sys.stderr)
    left_out = "".join(f", {reason} {n}" for reason, n in crowd.left_out.items())
    print(printable(f"human-eval: {crowd.n_counted} of {crowd.n_people} people count{left_out}"))
    print(f"  cost ${crowd.usd:.2f} of about ${crowd.estimate_usd:.2f}; {crowd.n_pending} not decided yet")
    print(printable(f"  {report['sentence']}"))
    print(f"wrote {human / 'report.json'}; `make eval RUN={evaluation.run}` puts it into report.html")


if __name__ == "__main__":
    run(main)
