"""The locks: every package that requirements.txt and requirements-runpod.txt bring, with its files' hashes.

    make lock     # wants the package index

uv resolves for every machine and Python of the README at once, from published metadata; `make setup` installs
from what it writes. Three files come of requirements.txt, for torch has two builds on Linux:

    requirements.lock         everything, with torch as the package index has it
    requirements-cuda.lock    the libraries that this torch wants on Linux
    requirements-cpu.lock     torch's build for CPUs, which wants none: kept by hand, the index lacks it

A pod's packages stand beside its image's torch, so each torch has a file: requirements-runpod-<torch>.lock.
What is installed beside .venv's own packages, without its dependencies, is locked as it is listed (APART).
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from pod_packages import ROOT, images, xformers_of

OF_TORCH = re.compile(r"(nvidia|cuda)-.*|triton")
OF_THE_IMAGE = re.compile(rf"torch|torchvision|{OF_TORCH.pattern}")
UV = ROOT / ".venv/uv/bin/uv"
APART = ("requirements-scale", "tests/engines", "tests/unsloth-cpu", ".ci/uv")
HEADER = "# Written by `make lock` from {}: what it needs, and the files that may be installed.\n"


def packages(requirements: str, constraints: str = "", *options: str) -> dict[str, list[str]]:
    """{package: its entries in the lock}, a version with its hashes each; several where machines differ."""
    with tempfile.TemporaryDirectory() as folder:
        constraint = Path(folder) / "constraints.txt"
        constraint.write_text(constraints)
        command = [UV, "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"]
        command += ["--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url"]
        done = subprocess.run(
            [*command, *options, "-c", constraint, ROOT / requirements],
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
    if done.returncode:
        sys.exit(f"error: {requirements} cannot be resolved:\n{done.stderr}")
    found: dict[str, list[str]] = {}
    for entry in re.findall(r"^\S.*\n(?:    .*\n)*", done.stdout, re.MULTILINE):
        found.setdefault(entry.partition("==")[0], []).append(entry)
    return found


def write(name: str, requirements: str, entries: dict[str, list[str]]) -> None:
    lock = ROOT / name
    lock.write_text(HEADER.format(requirements) + "".join(entry for one in entries.values() for entry in one))
    print(f"wrote {name}: {len(entries)} packages")


def main() -> None:
    found = packages("requirements.txt")
    cuda = {name: entries for name, entries in found.items() if OF_TORCH.fullmatch(name)}
    write("requirements.lock", "requirements.txt", {name: found[name] for name in found if name not in cuda})
    write("requirements-cuda.lock", "requirements.txt", cuda)
    for torch in sorted({torch for torch, _ in images().values()}):
        found = packages("requirements-runpod.txt", f"torch=={torch}\n{xformers_of(torch)}\n")
        beside = {name: found[name] for name in found if not OF_THE_IMAGE.fullmatch(name)}
        write(f"requirements-runpod-{torch}.lock", "requirements-runpod.txt", beside)
    for name in APART:
        write(f"{name}.lock", f"{name}.txt", packages(f"{name}.txt", "", "--no-deps"))
    torch = re.findall(r"^torch==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)[0]
    if f"torch=={torch}+cpu " not in (ROOT / "requirements-cpu.lock").read_text():
        sys.exit(
            f"error: requirements-cpu.lock is of another torch than {torch}: write its wheels' hashes there"
        )


if __name__ == "__main__":
    main()
