"""Let a paid crowd compare base and tuned, blind: plan the study for Prolific.

    python -m scripts.crowd --config configs/train-qwen3-8b.yaml --eval configs/eval-claude.yaml --people 50

Shows the price and asks, then writes human/crowd/study.json and study.txt (what to enter at Prolific, field
by field) and books the estimate; this program pays nobody. `python -m demo.crowd_app` serves the page,
scripts.crowd_export counts the answers at the end.
"""

import math
import os
from pathlib import Path
from typing import Any

from lib.base.console import confirm, parser, run
from lib.base.costs import budget_usd
from lib.base.errors import UserError
from lib.evaluate import crowd_study as studies
from lib.evaluate.evaluation import Evaluation, training
from lib.evaluate.people_page import make_items, write_files


def parse_args() -> Any:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True, help="configs/train-<run>.yaml")
    arguments.add_argument("--eval", type=Path, required=True, help="configs/eval-<name>.yaml")
    arguments.add_argument("--people", type=int, required=True, help="how many are asked")
    arguments.add_argument("--limit", type=int, default=30, help="pairs that each compares")
    arguments.add_argument("--pay", type=float, default=12.0, help="dollars an hour")
    arguments.add_argument("--fee", choices=sorted(studies.FEES), default="company", help="Prolific's tariff")
    return arguments.parse_args()


def main() -> None:
    args = parse_args()
    evaluation = Evaluation.of(args.config, args.eval)
    human = evaluation.folder / "human"
    if not (evaluation.folder / "replies.jsonl").is_file():
        training(evaluation.run_folder)  # or else that comes first
        raise UserError(
            f"{evaluation.folder} holds no replies yet: run `make replies RUN={evaluation.run}` first."
        )
    study = studies.read_study(human)
    items = make_items(evaluation)
    if study is None:
        sizes = (args.people, args.limit, args.pay, args.fee)
        study = studies.planned(evaluation.run, evaluation.folder.name, items, *sizes)
        if study.usd > (budget := budget_usd(math.inf, os.environ.get("MAX_USD"))):
            raise UserError(f"The study costs ${study.usd:.2f}, and MAX_USD={budget:g}: ask fewer people.")
        confirm(studies.price_lines(study))
        write_files(evaluation, items)
    elif study.items_sha256 != studies.hash_of(items):
        old = human / "crowd"
        raise UserError(
            f"The replies have changed since the study was planned. Move {old} away to plan anew."
        )
    studies.keep(human, study)
    text = studies.write_texts(human, study, None)
    print(f"wrote {text}: what to enter at Prolific, planned {study.created_at.date()} for {study.n_people}")
    make = f"make human-eval RUN={study.run} EVAL={study.eval} CROWD={study.n_people}"
    print(f"next: {make} WEB=1 (a trial), SHARE=1 (the study), IMPORT=<export.csv> (its end)")


if __name__ == "__main__":
    run(main)
