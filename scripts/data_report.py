"""The report of a data set: funnel with reasons, targets, spread, examples of drops, cost per kept pair.

python -m scripts.data_report --config configs/data-main.yaml

Writes data/<set>/report.html.
"""

from lib.base.console import made, printable, run
from lib.base.files import write_text
from lib.data.interim import building
from lib.data.ready import waiting_pairs
from lib.data.report import console, page, read_report


def main() -> None:
    with building(__doc__) as (_, config, folder):
        name = folder.name
        if waiting_pairs(name):
            return  # the split has said so; the report comes after the review
        report = read_report(folder, config)
        write_text(folder / "report.html", page(name, report, config))
        print(printable(console(name, report)))
        made(folder / "report.html")


if __name__ == "__main__":
    run(main)
