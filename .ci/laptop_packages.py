"""Does requirements.txt fit every machine that the README names, and requirements-runpod.txt an x86-64 Linux?

    .venv/bin/python .ci/laptop_packages.py     # wants .venv/uv, see .ci/run

uv resolves each file for a machine that this one is not, as pip would there: from published metadata, nothing
is installed. The first machine of a file asks the package index; the others ask it only for what is new to
them, which is seconds instead of minutes. A pod's packages beside its image's torch: .ci/pod_packages.py.
"""

import os
import subprocess
import sys
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = Path(os.environ.get("UV", ROOT / ".venv/uv/bin/uv"))
MACHINES = {
    "macOS 14, Apple silicon": "aarch64-apple-darwin",
    "Linux, x86-64": "x86_64-manylinux_2_28",
    "Linux, arm64": "aarch64-manylinux_2_28",
}
PYTHONS = ("3.11", "3.12", "3.13")


def trouble(requirements: str, machine: str, python: str, asked: bool) -> str | None:
    """Why requirements cannot be installed on that machine, in uv's words; None if they can.

    asked: the package index has been asked for this file already.
    """
    command = [UV, "pip", "compile", "--quiet", "--no-header", "--no-annotate", ROOT / requirements]
    command += ["--python-platform", MACHINES[machine], "--python-version", python]
    environment = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0"}
    for way in [["--offline"], []] if asked else [["--refresh"]]:
        done = subprocess.run([*command, *way], env=environment, capture_output=True, text=True, timeout=300)
        if done.returncode == 0:
            return None
    return f"{requirements}, {machine}, Python {python}:\n{done.stderr}"


def main() -> None:
    cases = [("requirements.txt", *case) for case in product(MACHINES, PYTHONS)]
    cases += [("requirements-runpod.txt", "Linux, x86-64", python) for python in PYTHONS]
    found = [
        trouble(*case, asked=case[0] in {earlier[0] for earlier in cases[:number]})
        for number, case in enumerate(cases)
    ]
    if failed := [problem for problem in found if problem]:
        sys.exit("error: this does not install:\n" + "\n".join(failed))
    print(f"packages: resolved for {'; '.join(MACHINES)}, each with Python {', '.join(PYTHONS)}")


if __name__ == "__main__":
    main()
