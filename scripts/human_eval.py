"""Let people compare base and tuned, blind: write the page, serve it, or import the answers.

    python -m scripts.human_eval --config configs/train-tiny.yaml --eval configs/eval-offline.yaml
    python -m scripts.human_eval --config ... --eval ... --import ann.csv bob.json adapters/tiny/votes.jsonl

Writes adapters/<run>/eval/<eval>/human/: page.html (one file, opens anywhere, sends nothing), items.csv
(crowd platforms) and key.json (which side is whose: keep it here). An import writes judgments.jsonl and
report.json there; an answer is rater, item and choice (A, B, tie, both_bad), as CSV, JSON or JSON Lines.
--web asks in a browser on this machine instead; --share opens that to others through a gradio.live link and
needs a password in HUMAN_EVAL_PASSWORD (user name: rater).
"""

import sys
from pathlib import Path
from typing import Any

from lib.base.config import load_config
from lib.base.console import load_env, parser, printable, run
from lib.base.errors import UserError
from lib.base.settings import TrainConfig
from lib.evaluate.evaluation import Evaluation, training
from lib.evaluate.people_page import make_items, write_files
from lib.evaluate.people_report import take_in
from lib.train.fingerprint import changed_since


def parse_args() -> Any:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True, help="configs/train-<run>.yaml")
    arguments.add_argument("--eval", type=Path, required=True, help="configs/eval-<name>.yaml")
    arguments.add_argument("--data", help="another data set than the run's")
    arguments.add_argument("--limit", type=int, help="ask about this many tweets, drawn by hash")
    arguments.add_argument("--import", type=Path, nargs="+", dest="files", metavar="FILE", help="answers")
    arguments.add_argument("--web", action="store_true", help="serve on 127.0.0.1, then import the answers")
    arguments.add_argument("--share", action="store_true", help="a public link; needs HUMAN_EVAL_PASSWORD")
    arguments.add_argument("--port", type=int, help="with --web; default: the first free one from 7860 on")
    return arguments.parse_args()


def main() -> None:
    args = parse_args()
    if args.limit is not None and args.limit < 1:
        raise UserError(f"--limit {args.limit}: ask about one tweet or more.")
    evaluation = Evaluation.of(args.config, args.eval, args.data)
    if args.files:
        import_answers(evaluation, args.files)
        return
    if not (evaluation.folder / "replies.jsonl").is_file():
        training(evaluation.run_folder)  # or else that comes first
        raise UserError(
            f"{evaluation.folder} holds no replies yet: run `make replies RUN={evaluation.run}` first."
        )
    if line := changed_since(evaluation.run_folder, load_config(args.config, TrainConfig)):
        print(f"human-eval: {line}")
    items = make_items(evaluation, args.limit)
    human = write_files(evaluation, items)
    print(f"human-eval: {len(items):,} tweets, replies and sides in an order drawn by hash")
    page, key = human / "page.html", human / "key.json"
    print(f"wrote {page} (send it to raters), {human / 'items.csv'}, {key} (keep it)")
    print(f'next: make human-eval RUN={evaluation.run} IMPORT="answers.json", or WEB=1 to answer here')
    if args.web or args.share:
        from demo.human_app import serve

        load_env()
        answers = human / "answers.web.jsonl"
        serve(items, answers, args.port, args.share)
        if answers.exists():
            import_answers(evaluation, [answers])


def import_answers(evaluation: Evaluation, files: list[Path]) -> None:
    human = evaluation.folder / "human"
    found, report = take_in(evaluation, files)
    n_bad = len(found.rejected)
    print(f"human-eval: {found.n_new:,} new answers, {found.n_known:,} known ones, {n_bad:,} rejected")
    print(printable(f"  {report['sentence']}"))
    print(f"wrote {human / 'report.json'}; `make eval RUN={evaluation.run}` puts it into report.html")
    for row in found.rejected[:20]:
        print(printable(f"error: {row['reason']}"), file=sys.stderr)
    if n_bad:
        kept = human / "rejected.jsonl"
        raise UserError(
            f"{n_bad:,} of the lines do not count. They are kept in {kept}; mend and import them."
        )


if __name__ == "__main__":
    run(main)
