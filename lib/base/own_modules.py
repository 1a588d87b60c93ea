"""Modules of this project: the files that a file needs by its imports, and the files it names."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("lib", "scripts", "demo", "tests")


def closure(path: Path) -> set[Path]:
    """The file, and every file of this project that it needs, directly or through others."""
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
    if name.partition(".")[0] not in ROOMS:
        return None
    path = ROOT.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


@cache
def _assets(path: Path) -> frozenset[Path]:
    """The files in lib/ and demo/ that a file names: "data.html", ".js" for the one that has its own name."""
    if path.suffix == ".py":
        strings = [str(node.value) for node in _nodes(path) if isinstance(node, ast.Constant)]
    else:
        strings = re.findall(r"[\"']([^\"'\n]+)[\"']", path.read_text(encoding="utf-8"))
    names = {text.rpartition("/")[2] for text in strings} | {path.stem + text for text in strings}
    return frozenset(file for file in _other_files() if file.name in names)


@cache
def _other_files() -> list[Path]:
    files = [file for folder in ("lib", "demo") for file in (ROOT / folder).rglob("*.*")]
    return [file for file in files if file.suffix not in (".py", ".pyc")]


def foreign(path: Path) -> frozenset[str]:
    """The top-level names that a file imports from elsewhere: the standard library and other packages."""
    named = {alias.name for node in _nodes(path) if isinstance(node, ast.Import) for alias in node.names}
    named |= {
        node.module or "" for node in _nodes(path) if isinstance(node, ast.ImportFrom) and not node.level
    }
    return frozenset({name.partition(".")[0] for name in named} - {*ROOMS, ""})


@cache
def _nodes(path: Path) -> list[ast.AST]:
    code = path.read_text(encoding="utf-8") if path.suffix == ".py" else ""
    return list(ast.walk(ast.parse(code, filename=str(path))))
