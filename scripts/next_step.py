"""The last lines of a command: what stands now, where it lies, and the next command.

python -m scripts.next_step --set sample --run tiny                                                make data
python -m scripts.next_step --config configs/train-tiny.yaml --eval offline --judged               make eval
python -m scripts.next_step --config configs/train-tiny.yaml                         make help, make runs ...

Reads only.
"""

from contextlib import suppress
from pathlib import Path

from lib.base.config import config_name, load_config
from lib.base.console import parser, printable, run
from lib.base.errors import UserError
from lib.base.files import read_json
from lib.base.settings import TrainConfig
from lib.data.ready import lacking, waiting_pairs
from lib.evaluate.report import read_report
from lib.evaluate.standing import next_line
from lib.train.fingerprint import changed_since


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--set", help="a data set, after `make data`")
    arguments.add_argument("--run", default="", help="the run that RUN names")
    arguments.add_argument("--config", type=Path, help="configs/train-<run>.yaml")
    arguments.add_argument("--data", help="another data set than the config's")
    arguments.add_argument("--eval", help="another evaluation than the config's")
    arguments.add_argument("--judged", action="store_true", help="after `make eval`: its verdict and page")
    args = arguments.parse_args()
    if args.set:
        lines = after_data(args.set, args.run)
    else:
        lines = after_eval(args.config, args.eval) if args.judged else []
        lines.append(next_line(args.config, args.data, args.eval))
    print(printable("\n".join(lines)))


def after_data(name: str, wanted: str) -> list[str]:
    """For a set that is ready, or waits for the review."""
    if waiting_pairs(name):
        return [f"next: make review DATA={name}"]  # the split has said how many
    if sentence := lacking(name):
        raise UserError(sentence)
    folder = Path("data") / name
    counts = read_json(folder / "processed" / "manifest.json")
    there = ", ".join(f"{part} {counts.get(f'n_{part}', 0):,}" for part in ("train", "val", "test"))
    report = [f"report: {folder / 'report.html'}"] if (folder / "report.html").is_file() else []
    return [f"data: {folder} is up to date: {there} pairs", *report, next_of_data(name, wanted)]


def next_of_data(name: str, wanted: str) -> str:
    """`make plan` for RUN if it reads this set, else for the first run that does."""
    paths = sorted(Path("configs").glob("train-*.yaml"), key=lambda path: config_name(path) != wanted)
    for path in paths:
        with suppress(UserError):  # a config that is no business of this set
            if load_config(path, TrainConfig).data == name:
                return f"next: make plan RUN={config_name(path)}"
    return f"next: make plan RUN={wanted} DATA={name}"


def after_eval(train: Path, evaluation: str) -> list[str]:
    """For an evaluation that has its report."""
    folder = Path("adapters") / config_name(train)
    page = folder / "eval" / evaluation / "report.html"
    gate = read_report(page.with_name("report.json")).gate
    since = changed_since(folder, load_config(train, TrainConfig))
    said = [f"eval: {since}"] if since else []
    return [*said, f"eval: {folder.name} is judged, verdict {gate.verdict}", f"report: {page}"]


if __name__ == "__main__":
    run(main)
