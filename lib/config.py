"""Reads a YAML file into the class that knows its keys and bounds. What the class does not know is an error."""

import difflib
import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from lib.errors import UserError
from lib.settings import Strict

C = TypeVar("C", bound=Strict)


class _Loader(yaml.SafeLoader):
    """YAML as people read it: 2e-4 is a number, and a key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(  # YAML 1.1 wants 2.0e-4; people, and the recipes they copy from, write 2e-4
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def load_config(path: Path, cls: type[C]) -> C:
    """Read, merge with what it `extends`, check. Raises UserError naming file, key and fix."""
    values = _resolved(path, ())
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        raise UserError("\n".join(_sentence(path, problem, cls) for problem in error.errors())) from error


def config_name(path: Path) -> str:
    """configs/train-qwen3-8b.yaml -> qwen3-8b. Raises UserError for a name that could leave its folder."""
    name = path.stem.partition("-")[2]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UserError(f"{path}: a config is named data-<set>.yaml, train-<run>.yaml or eval-<name>.yaml. Rename it.")
    return name


def _resolved(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    values = _read_yaml(path)
    parent = values.pop("extends", None)
    if parent is None:
        return values
    if not isinstance(parent, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", parent):
        raise UserError(f"{path}: extends: expected the name of another run, such as qwen3-8b.")
    if path in seen:
        raise UserError(f"{path}: extends: the chain comes back to this file. Remove one `extends:`.")
    base = path.with_name(f"{path.stem.partition('-')[0]}-{parent}.yaml")
    return _merge(_resolved(base, (*seen, path)), values)


def _merge(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if both else value
    return merged


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        kind = path.stem.partition("-")[0]
        there = ", ".join(sorted(other.name for other in path.parent.glob(f"{kind}-*.yaml"))) or "none"
        raise UserError(f"{path} does not exist. Files of this kind in {path.parent}: {there}.")
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())[:300]}. Fix the line named here.") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected `key: value` lines. Compare it with the examples in configs/.")
    _refuse_variables(path, values, "")
    return values


def _refuse_variables(path: Path, value: Any, key: str) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            _refuse_variables(path, inner, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            _refuse_variables(path, inner, f"{key}[{number}]")
    elif isinstance(value, str) and re.search(r"\$\{?\w+\}?", value) and "${" in value:
        raise UserError(f"{path}: {key}: ${{...}} is not expanded here. Write the value itself; secrets belong in .env.")


def _sentence(path: Path, problem: Any, cls: type[Strict]) -> str:
    names = [str(part) for part in problem["loc"]]
    key = ".".join(names) or "the file"
    if problem["type"] == "extra_forbidden":
        known = _keys_at(cls, names[:-1])
        near = difflib.get_close_matches(names[-1], known, n=1)
        hint = f"Did you mean `{near[0]}`?" if near else f"Known keys: {', '.join(known)}."
        return f"{path}: {key}: unknown key. {hint}"
    if problem["type"] == "missing":
        return f"{path}: {key}: this key is required. Add it."
    found = repr(problem["input"])[:60]
    return f"{path}: {key}: {problem['msg'].removeprefix('Value error, ')} (found {found}). Change it."


def _keys_at(cls: type[Strict], names: list[str]) -> list[str]:
    fields = cls.model_fields
    for name in names:
        inner = getattr(fields.get(name), "annotation", None)
        fields = getattr(inner, "model_fields", {})
    return list(fields)
