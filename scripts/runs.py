"""Every training run at a glance: settings, losses, minutes, dollars, and what its evaluations say.

python -m scripts.runs
"""

from pathlib import Path

from lib.base.console import parser, printable, run
from lib.evaluate.runs import registry, table
from lib.train.checkpoints import step_of, whole_checkpoints


def main() -> None:
    parser(__doc__).parse_args()
    print(printable(table(registry(Path(), steps_of))))


def steps_of(folder: Path) -> list[int]:
    """The steps that a run can go on from."""
    return [step_of(checkpoint) for checkpoint in whole_checkpoints(folder / "checkpoints")]


if __name__ == "__main__":
    run(main)
