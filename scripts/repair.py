"""Mend the ledgers of a data set and of an evaluation's judge and crowd, from what lies beside them.

    python -m scripts.repair --data data/main --run adapters/qwen3-8b --eval adapters/qwen3-8b/eval/claude

Lines that cannot be read are put into <name>.damaged beside the file. Nothing is asked of anybody, so it
costs nothing; what stays unknown counts as possibly paid and is asked for again only with AGAIN=1.
"""

import os
from pathlib import Path

from lib.base.console import parser, printable, run
from lib.base.files import lock
from lib.base.repair_ledger import repair_run, repair_set
from lib.judge.repair_judge import repair_judge


def main() -> None:
    arguments = parser(__doc__)
    for name in ("data", "run", "eval"):
        arguments.add_argument(f"--{name}", type=Path, required=True)
    args = arguments.parse_args()
    os.umask(0o077)  # books are for their owner's eyes
    said: list[str] = []
    if args.data.is_dir():
        with lock(args.data / "collect.lock"):
            repair_set(args.data, said.append)
    if args.run.is_dir():
        repair_run(args.run, said.append)
    if args.eval.is_dir():
        with lock(args.eval / "judge.lock"):
            repair_judge(args.eval, said.append)
        repair_run(args.eval / "human", said.append)  # what a paid crowd was booked for
    there = [str(folder) for folder in (args.data, args.run, args.eval) if folder.is_dir()]
    for line in said:
        print(printable(f"repair: {line}"))
    if not there:
        print(f"repair: nothing to mend: there is neither {args.data} nor {args.run}")
    elif not said:
        print(f"repair: nothing to mend in {', '.join(there)}")


if __name__ == "__main__":
    run(main)
