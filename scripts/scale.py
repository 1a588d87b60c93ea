"""`make data` after collecting, for more pairs than one process can hold: on datatrove, in shards.

    python -m scripts.scale --config configs/data-main.yaml [--workers 8] [--executor local|slurm|ray]

Reads data/<set>/raw and review/decisions.jsonl; writes the files of pair, filter, clean and split.
Killed, the same command goes on. --slurm "partition=cpu time=4:00:00" holds the options of sbatch.
"""

import importlib.util
import os
import sys
from functools import partial
from pathlib import Path

from lib.base.config import config_name, load_config
from lib.base.console import parser, printable, run
from lib.base.errors import UserError
from lib.base.settings import DataConfig
from lib.scale.build import build
from lib.scale.executors import Engine, end_forks_with_parent


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True, help="configs/data-<set>.yaml")
    arguments.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="tasks at once")
    arguments.add_argument("--executor", choices=("local", "slurm", "ray"), default="local")
    arguments.add_argument(
        "--slurm", default="", metavar="OPTIONS", help="partition=... time=... [account=...]"
    )
    args = arguments.parse_args()
    config, name = load_config(args.config, DataConfig), config_name(args.config)
    if importlib.util.find_spec("datatrove") is None:
        raise UserError(
            "datatrove is not here. `make data ENGINE=datatrove` brings it (requirements-scale.txt)."
        )
    if args.executor == "local":
        end_forks_with_parent()
    engine = Engine(args.executor, max(1, args.workers), _slurm_options(args.slurm, args.executor))
    say = partial(print, file=sys.stderr, flush=True)
    counts, missing, notes = build(Path.cwd(), name, config, engine, say)

    for stage, n in counts.items():
        print(f"{stage}: kept {n['kept']:,} of {n['in']:,}")
        width = max(map(len, n["reasons"]), default=0)
        for reason, n_pairs in n["reasons"].items():
            print(f"  {reason:<{width}}  {n_pairs:>9,}")
    for sentence in notes:
        print(printable(f"  note: {sentence}"))
    for sentence in missing:
        print(f"  warning: {sentence}")
    print(f"wrote {Path('data') / name / 'processed' / 'manifest.json'}")


def _slurm_options(text: str, executor: str) -> dict[str, str]:
    options = dict(option.partition("=")[::2] for option in text.split())
    if executor == "slurm" and not {"partition", "time"} <= set(options):
        raise UserError('EXECUTOR=slurm needs SLURM="partition=<name> time=<hours>:00:00", as for sbatch.')
    return options


if __name__ == "__main__":
    run(main)
