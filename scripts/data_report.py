"""The report of a data set: funnel with reasons, targets, spread, examples of drops, cost per kept pair.

python -m scripts.data_report --config configs/data-main.yaml

Writes data/<set>/report.html.
"""

from pathlib import Path

from lib.base.config import config_name, load_config
from lib.base.console import made, parser, printable, run
from lib.base.files import write_text
from lib.base.settings import DataConfig
from lib.data.ready import waiting_pairs
from lib.data.report import console, page, read_report


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True, help="configs/data-<set>.yaml")
    args = arguments.parse_args()
    name, config = config_name(args.config), load_config(args.config, DataConfig)
    folder = Path("data") / name
    if waiting_pairs(name):
        return  # the split has said so; the report comes after the review
    report = read_report(folder, config)
    write_text(folder / "report.html", page(name, report, config))
    print(printable(console(name, report)))
    made(folder / "report.html")


if __name__ == "__main__":
    run(main)
