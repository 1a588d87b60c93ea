"""What each step is made of: its script, the modules that it imports, the templates that they name.

    python -m scripts.prerequisites --out .venv/deps.mk

Writes one line of make per step, MODULES_<step> := ..., from the imports as they are: inside functions too,
and modules of modules. The Makefile includes it, so a free stage is rebuilt when any of its code changes.
"""

import ast
import os
import re
from functools import cache
from pathlib import Path

from lib.base.console import parser, run

ROOT = Path(__file__).resolve().parents[1]


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


def closure(path: Path) -> set[Path]:
    """The file, and every file of lib/ that it needs, directly or through others."""
    found, left = set(), {path}
    while left:
        found |= left
        left = set().union(*(imports(file) | _assets(file) for file in left)) - found
    return found


@cache
def imports(path: Path) -> frozenset[Path]:
    """The files of this project that a file's import statements name, wherever in the file they stand."""
    found: set[Path | None] = set()
    for node in _nodes(path):
        if isinstance(node, ast.Import):
            found |= {_module(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = path.relative_to(ROOT).parts[: -node.level] if node.level else ()
            package = ".".join([*above, node.module or ""]).strip(".")
            # `from lib.data import pairs` names a module, `from lib.data.pairs import join` what is in one.
            found |= {_module(f"{package}.{alias.name}") or _module(package) for alias in node.names}
        elif isinstance(node, ast.Constant) and re.fullmatch(r"lib(\.\w+)+", str(node.value)):
            found.add(_module(node.value))  # for importlib
    return frozenset(file for file in found if file)


def _module(name: str) -> Path | None:
    if name.partition(".")[0] not in ("lib", "scripts", "demo", "tests"):
        return None
    path = ROOT.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


@cache
def _assets(path: Path) -> frozenset[Path]:
    """The files in lib/ that a file names: "data.html", or ".js" for the one that has its own name."""
    if path.suffix == ".py":
        strings = [str(node.value) for node in _nodes(path) if isinstance(node, ast.Constant)]
    else:
        strings = re.findall(r"[\"']([^\"'\n]+)[\"']", path.read_text(encoding="utf-8"))
    names = {text.rpartition("/")[2] for text in strings} | {path.stem + text for text in strings}
    return frozenset(file for file in _other_files() if file.name in names)


@cache
def _other_files() -> list[Path]:
    return [file for file in (ROOT / "lib").rglob("*.*") if file.suffix not in (".py", ".pyc")]


@cache
def _nodes(path: Path) -> list[ast.AST]:
    code = path.read_text(encoding="utf-8") if path.suffix == ".py" else ""
    return list(ast.walk(ast.parse(code, filename=str(path))))


if __name__ == "__main__":
    run(main)
