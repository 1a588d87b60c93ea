"""Show what every paid step has cost: collecting, judging, pods, training; by set and run, with the total.

python -m scripts.costs
"""

from pathlib import Path

from lib.cli import parser, printable, run
from lib.costs import costs, table


def main() -> None:
    parser(__doc__).parse_args()
    print(printable(table(costs(Path()))))


if __name__ == "__main__":
    run(main)
