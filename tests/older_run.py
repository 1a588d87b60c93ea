"""A run of November 2026, before manifests and reports had a version: data set, adapter, evaluation."""

import json
import shutil
import tarfile
from pathlib import Path

from lib.train.manifest import Manifest, read_manifest

ROOT = Path(__file__).parents[1]
ARCHIVE = ROOT / "tests" / "fixtures" / "run-2026-11.tar.gz"
RUN = Path("adapters/tiny")
EVALUATION = RUN / "eval/offline"


def unpack(folder: Path) -> Path:
    """The folder as the project was when the run had been evaluated."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    shutil.copytree(ROOT / "configs", folder / "configs")
    offline = folder / "configs/eval-offline.yaml"  # people's replies were not among the systems then
    offline.write_text(offline.read_text().replace("tuned, human]", "tuned]"))
    shutil.copytree(ROOT / "data/sample/raw", folder / "data/sample/raw", dirs_exist_ok=True)
    shutil.copy(ROOT / "LICENSE", folder)
    return folder


def older_manifest(folder: Path) -> Manifest:
    """The run's manifest. folder: an empty one."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extract(str(RUN / "manifest.json"), folder, filter="data")
    return read_manifest(folder / RUN / "manifest.json")


def older_report() -> dict:
    """report.json as the evaluation wrote it, to be changed freely."""
    with tarfile.open(ARCHIVE) as archive:
        return json.load(archive.extractfile(str(EVALUATION / "report.json")))
