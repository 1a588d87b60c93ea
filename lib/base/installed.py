"""Installed packages against a requirements file: from their metadata, none of them is imported."""

import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path


@dataclass(frozen=True)
class Installed:
    """One line of a requirements file and the version that is here."""

    name: str
    wanted: str  # "==2.13.0", ">=6.0.2,<7"; empty for any
    version: str | None  # None: not installed
    fits: bool


def installed(requirements: Path) -> list[Installed]:
    """The packages that the file asks of this machine, in its order."""
    try:
        from packaging.requirements import Requirement
    except ImportError:  # a Python in which nothing is set up
        names = [re.match(r"[\w.-]+", line) for line in _lines(requirements)]
        return [Installed(name[0], "", None, False) for name in names if name]
    found = []
    for line in _lines(requirements):
        wanted = Requirement(line)
        if wanted.marker is None or wanted.marker.evaluate():
            version = version_of(wanted.name)
            fits = version is not None and wanted.specifier.contains(version, prereleases=True)
            found.append(Installed(wanted.name, str(wanted.specifier), version, fits))
    return found


def _lines(requirements: Path) -> list[str]:
    lines = [line.partition("#")[0].strip() for line in requirements.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line and not line.startswith("-")]


def version_of(name: str) -> str | None:
    """The version of a package, without importing it; None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
