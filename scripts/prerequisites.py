"""What each step is made of: its script, the modules that it imports, the templates that they name.

    python -m scripts.prerequisites --out .venv/deps.mk

Writes one line of make per step, MODULES_<step> := ..., from the imports as they are: inside functions too,
and modules of modules. The Makefile includes it, so a free stage is rebuilt when any of its code changes.
"""

import os
from pathlib import Path

from lib.base.console import parser, run
from lib.base.own_modules import ROOT, closure


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--out", type=Path, required=True, help="the file that make includes")
    out = arguments.parse_args().out
    steps = sorted(path for path in (ROOT / "scripts").glob("*.py") if path.stem != "__init__")
    needs = {step.stem: sorted(path.relative_to(ROOT).as_posix() for path in closure(step)) for step in steps}
    lines = [f"MODULES_{step} := {' '.join(files)}\n" for step, files in needs.items()]
    out.write_text("".join(lines), encoding="utf-8")
    # Where a source's clock is ahead, the file would stay older than it, and make would begin again for ever.
    newest = max(path.stat().st_mtime_ns for path in [out, *steps, *(ROOT / "lib").rglob("*.py")])
    os.utime(out, ns=(newest, newest))


if __name__ == "__main__":
    run(main)
