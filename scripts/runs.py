"""Every training run at a glance: settings, losses, minutes, dollars, what its evaluations say, and where.

    python -m scripts.runs

Writes the same with links, data sets and costs to data/index.html and adapters/index.html (OPEN=1 opens it).
"""

from pathlib import Path

from lib.base.console import made, parser, printable, run
from lib.base.costs import Cost, costs
from lib.base.errors import UserError
from lib.base.files import write_text
from lib.evaluate.overview import page
from lib.evaluate.runs import registry, table
from lib.train.checkpoints import step_of, whole_checkpoints
from lib.train.manifest import training_usd


def main() -> None:
    parser(__doc__).parse_args()
    runs = registry(Path(), steps_of)
    try:
        paid: list[Cost] | str = costs(Path(), training_usd(Path()))
    except UserError as error:  # a damaged ledger hides no run
        paid = str(error)
    overview = page(Path(), runs, paid)
    folders = [folder for folder in (Path("data"), Path("adapters")) if folder.is_dir()]
    for folder in folders:
        write_text(folder / "index.html", overview)
    print(printable(table(runs)))
    for folder in folders[-1:]:
        made(folder / "index.html")


def steps_of(folder: Path) -> list[int]:
    """The steps that a run can go on from."""
    return [step_of(checkpoint) for checkpoint in whole_checkpoints(folder / "checkpoints")]


if __name__ == "__main__":
    run(main)
