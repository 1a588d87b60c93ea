"""Do the locks fit every machine that the README names? Those of a pod: an x86-64 Linux with its Python.

    .venv/bin/python .ci/laptop_packages.py     # wants .venv/uv, see .ci/run

uv looks for a file of each locked package that a machine takes, for machines that this one is not; nothing is
installed. A pod's packages beside its image's torch: .ci/pod_packages.py.
"""

import os
import subprocess
import sys
from itertools import product

from pod_packages import ROOT, images

MACHINES = {
    "macOS 14, Apple silicon": "aarch64-apple-darwin",
    "Linux, x86-64": "x86_64-manylinux_2_28",
    "Linux, arm64": "aarch64-manylinux_2_28",
}
POD = "x86_64-manylinux_2_35"
PYTHONS = ("3.11", "3.12", "3.13")
SOURCES = ("langdetect", "rouge-score")  # Python alone, published as source


def trouble(lock: str, machine: str, python: str) -> str | None:
    """Why this lock cannot be installed on that machine, in uv's words; None if it can."""
    command = [
        ROOT / ".venv/uv/bin/uv",
        "pip",
        "install",
        "--dry-run",
        "--quiet",
        "--target",
        ROOT / ".venv/none",
    ]
    command += ["--require-hashes", "--no-deps", "--python-platform", machine, "--python-version", python]
    command += ["--only-binary", ":all:", *(word for name in SOURCES for word in ("--no-binary", name))]
    done = subprocess.run(
        [*command, "-r", ROOT / lock],
        env={**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return f"{lock}, {machine}, Python {python}:\n{done.stderr}" if done.returncode else None


def main() -> None:
    everywhere = ("requirements.lock", "requirements-scale.lock")
    cases = list(product(everywhere, MACHINES.values(), PYTHONS))
    linux = [machine for machine in MACHINES.values() if "linux" in machine]
    cases += [("requirements-cuda.lock", *case) for case in product(linux, PYTHONS)]
    cases += [(f"requirements-runpod-{torch}.lock", POD, python) for torch, python in images().values()]
    if failed := [found for case in cases if (found := trouble(*case))]:
        sys.exit("error: this does not install:\n" + "\n".join(failed))
    print(
        f"packages: the locks fit {'; '.join(MACHINES)}, each with Python {', '.join(PYTHONS)}, and the pods"
    )


if __name__ == "__main__":
    main()
