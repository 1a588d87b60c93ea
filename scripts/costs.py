"""Show what every paid step has cost: collecting, judging, pods, training; by set and run, with the total.

python -m scripts.costs
"""

from pathlib import Path

from lib.base.console import parser, printable, run
from lib.base.costs import costs, table
from lib.train.manifest import training_usd


def main() -> None:
    parser(__doc__).parse_args()
    print(printable(table(costs(Path(), training_usd(Path())))))


if __name__ == "__main__":
    run(main)
