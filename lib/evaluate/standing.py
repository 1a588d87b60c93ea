"""Where a run stands: the command that comes next, from the files that are there. Reads only."""

from contextlib import suppress
from pathlib import Path

from lib.base.config import config_name, load_config
from lib.base.errors import UserError
from lib.base.settings import TrainConfig
from lib.data.ready import command_in, lacking
from lib.evaluate.report import read_report

MADE = ("data/*/interim", "data/*/processed", "adapters/*/manifest.json")


def next_line(train: Path, data: str | None = None, evaluation: str | None = None, done: str = "") -> str:
    """`next: make eval RUN=tiny`: the first step of the way to a published run that is not taken yet.

    train: configs/train-<run>.yaml. data, evaluation: as given, or what that config says. done: the command
    that asks, which is not named again.
    """
    config, run = load_config(train, TrainConfig), config_name(train)
    others = (("DATA", data, config.data), ("EVAL", evaluation, config.eval))
    given = "".join(f" {name}={value}" for name, value, usual in others if value not in (None, usual))
    if not Path("adapters", run, "manifest.json").is_file():
        return f"next: {_to_train(run, data or config.data, given, done)}"
    return f"next: {_of_finished(run, evaluation or config.eval, given, done)}"


def _to_train(run: str, data: str, given: str, done: str) -> str:
    if done != "plan" and not any(True for pattern in MADE for _ in Path().glob(pattern)):
        return "make quickstart"
    try:
        sentence = lacking(data)
    except UserError:  # a file of the set is damaged: the command that mends it says so
        return f"make data DATA={data}"
    if sentence:
        return command_in(sentence)
    return f"make {'train' if done == 'plan' else 'plan'} RUN={run}{given}"


def _of_finished(run: str, evaluation: str, given: str, done: str) -> str:
    folder = Path("adapters", run)
    verdict = None
    with suppress(UserError):  # a report that cannot be read is written again
        verdict = read_report(folder / "eval" / evaluation / "report.json").gate.verdict
    if verdict is None:
        return f"make eval RUN={run}{given}"
    if verdict == "pass" and not (folder / "publish.json").is_file():
        return f"make publish RUN={run} REPO=<you>/<name>"
    if done != "demo" and verdict != "unproven":  # that asks for people
        return f"make demo RUN={run}"
    return f"make human-eval RUN={run}{given}"
