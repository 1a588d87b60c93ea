"""adapters/<run>/space: the folder of a Hugging Face Space, which replays recorded replies without a model.

The page is the demo's own: its modules are copied as they are, beside the recordings and a README. Built
afresh, scanned for leaks, then moved into place. It is uploaded by the person, not from here.
"""

from dataclasses import asdict
from importlib.metadata import packages_distributions
from pathlib import Path

from lib.base.errors import UserError
from lib.base.files import write_json, write_text
from lib.base.own_modules import ROOT, closure, foreign
from lib.evaluate.evaluation import Evaluation, training
from lib.evaluate.report import Report, read_report
from lib.model.adapters import ADAPTER_FILE, sha256_of
from lib.publish.dist_leaks import refuse_leaks
from lib.publish.permit import is_of
from lib.publish.recordings import Recordings
from lib.publish.run_files import built_afresh, copied, licence
from lib.publish.space_card import space_card

APP = ROOT / "demo" / "space_app.py"
RECORDED = "recorded.json"


def build_space(evaluation: Evaluation, recorded: Recordings) -> Path:
    """Write the run's space/ and return it. Raises UserError for whatever may not leave this machine."""
    space = evaluation.run_folder / "space"
    with built_afresh(space) as folder:
        _fill(folder, evaluation, recorded)
        refuse_leaks(folder, recorded.known)
    return space


def _fill(space: Path, evaluation: Evaluation, recorded: Recordings) -> None:
    modules = own_files()
    for path in modules:
        target = space / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        copied(path, target)
    copied(APP, space / "app.py")
    copied(licence(), space / "LICENSE")
    pins = requirements(modules)
    write_text(space / "requirements.txt", "\n".join(pins) + "\n")
    replayed = {
        "run": evaluation.run,
        "model": evaluation.config.model,
        "recorded": [asdict(one) for one in recorded.shown],
    }
    write_json(space / RECORDED, replayed)
    write_text(
        space / "README.md",
        space_card(evaluation, recorded, gradio_pin(pins), _report(evaluation)),
    )


def own_files() -> list[Path]:
    """The files of this project that the Space's page needs, with the __init__.py of their rooms."""
    needed = closure(APP) - {APP}
    rooms = {parent / "__init__.py" for path in needed for parent in path.parents if ROOT in parent.parents}
    return sorted(needed | {path for path in rooms if path.is_file()})


def requirements(modules: list[Path]) -> list[str]:
    """The lines of requirements.txt for what the modules import from elsewhere; gradio brings the rest."""
    owners = packages_distributions()
    names = {name for path in [*modules, APP] for name in foreign(path)}
    wanted = {owner.lower() for name in names for owner in owners.get(name, [])}
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.partition("#")[0].strip() for line in lines]
    return [pin for pin in pins if pin.replace(">", "=").partition("=")[0].lower() in wanted]


def gradio_pin(pins: list[str]) -> str:
    """The version of gradio, which a Space names a second time. Raises UserError where it is not exact."""
    for pin in pins:
        name, _, version = pin.partition("==")
        if name == "gradio" and version:
            return version
    raise UserError("requirements.txt: gradio has no exact version (gradio==...). Restore the line.")


def _report(evaluation: Evaluation) -> Report | None:
    """The evaluation's report if it is about this very adapter."""
    path, adapter = evaluation.folder / "report.json", evaluation.run_folder / ADAPTER_FILE
    if not path.is_file():
        return None
    report = read_report(path)
    sha256 = sha256_of(adapter) if adapter.is_file() else training(evaluation.run_folder).adapter_sha256
    return report if is_of(report, str(sha256)) else None
