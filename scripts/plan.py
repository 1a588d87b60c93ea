"""What training would do, need and cost: rows, tokens, steps, checks, a preview, memory, minutes, dollars.

Loads no weights. Without data, or while they wait for the review, it reckons with assumed rows and says so.

python -m scripts.plan --config configs/train-qwen3-8b.yaml
"""

import os
import sys
from pathlib import Path

from lib.base.config import config_name, given, load_config
from lib.base.console import parser, run
from lib.base.errors import UserError
from lib.base.settings import TrainConfig
from lib.data.ready import lacking
from lib.evaluate.standing import next_line
from lib.model.base_model import local_tokenizer
from lib.train.assumed import assumed_page
from lib.train.fingerprint import as_begun, refuse_another_run
from lib.train.plan import page, preference_plan, processed_splits, row_tokens
from lib.train.rows import all_checks, token_rows


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True, help="configs/train-<run>.yaml")
    arguments.add_argument("--data", help="another data set than the config's")
    args = arguments.parse_args()
    run, config = config_name(args.config), given(load_config(args.config, TrainConfig), data=args.data)
    if config.quantization == "auto":
        config = as_begun(run, config)
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    if why := lacking(config.data):
        print(assumed_page(run, config, why.rstrip("."), colour))
        return 0
    splits = processed_splits(config.data)
    tokenizer = local_tokenizer(config)
    if config.method == "sft":
        rows = (
            {name: token_rows(config, splits[name], tokenizer) for name in ("train", "val")}
            if tokenizer
            else None
        )
        tokens = {name: row_tokens(config, splits[name], rows and rows[name]) for name in ("train", "val")}
        found = all_checks(
            config,
            splits,
            {name: [sum(row) for row in counted] for name, counted in tokens.items()},
            rows,
            tokenizer,
        )
    else:
        splits, tokens, found = preference_plan(config, splits["test"], tokenizer)
    print(page(run, config, splits["train"], tokens, tokenizer, found, colour))
    problems = [check.problem for check in found if check.problem]
    if not problems:
        print(f"\n{after(args.config, args.data, Path('adapters') / run, config)}")
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


def after(train: Path, data: str | None, folder: Path, config: TrainConfig) -> str:
    """The next command; for a run that is there already, that it is, or why it would not be trained anew."""
    try:
        refuse_another_run(folder, config)
    except UserError as error:
        return f"note: {error}\nnext: make plan RUN=<name>"
    return next_line(train, data, done="plan")


if __name__ == "__main__":
    run(main)
