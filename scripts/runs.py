"""Every training run at a glance: settings, losses, minutes, dollars, and what its evaluations say.

python -m scripts.runs
"""

from pathlib import Path

from lib.base.console import parser, printable, run
from lib.evaluate.runs import registry, table


def main() -> None:
    parser(__doc__).parse_args()
    print(printable(table(registry(Path()))))


if __name__ == "__main__":
    run(main)
