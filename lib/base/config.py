"""Reads a YAML file into the class that knows its keys and bounds.

What the class does not know is an error.
"""

import difflib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import ValidationError

from lib.base.errors import UserError
from lib.base.settings import Strict, TrainConfig
from lib.base.text_files import read_text

C = TypeVar("C", bound=Strict)
MAX_CHARS = 500_000  # of one config: the longest here has some 3,000
MAX_PROBLEMS = 20  # said at once


class _Loader(yaml.SafeLoader):
    """YAML as people read it: 2e-4 is a number; 0200, 3:20, yes and 2025-01-31 are words.

    YAML 1.1 makes 128, 200, true and a date of those without a word. Tags, merges and a key given twice are
    errors.
    """

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}
    yaml_constructors: ClassVar[dict[str, Any]] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if getattr(event, "tag", None):
            raise _unreadable(
                f"the tag {event.tag.replace(_TAG, '!!')[:40]} is not read here; write the value alone", event
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag == f"{_TAG}merge":
                raise _unreadable("<< is not read here; write the keys out, or use `extends`", key)
            if key.tag != f"{_TAG}str":
                raise _unreadable("a key is one word; put any other into quotes", key)
            if key.value in seen:
                raise _unreadable(f"the key {key.value[:60]!r} is given twice", key)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> float:
        value = float(node.value)
        if abs(value) >= 2**63 or (value == 0 and re.match(r"[-+0.]*[1-9]", node.value)):
            raise _unreadable(f"the number {node.value[:40]} is too {'large' if value else 'small'}", node)
        return int(node.value) if node.tag == f"{_TAG}int" else value

    def construct_text(self, node: yaml.ScalarNode) -> str:
        if found := re.search("[\0\ud800-\udfff]", node.value):
            raise _unreadable(f"\\u{ord(found[0]):04x} is no character of a text", node)
        return node.value


_TAG = "tag:yaml.org,2002:"
_DIGIT, _NUMBER = list("-+0123456789"), "(0|[1-9][0-9]*)"
for _kind, _pattern, _first, _construct in (  # the first that fits: an integer before a float
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""], _Loader.construct_yaml_null),
    ("bool", "true|True|TRUE|false|False|FALSE", list("tTfF"), _Loader.construct_yaml_bool),
    ("int", f"[-+]?{_NUMBER}", _DIGIT, _Loader.construct_number),
    (
        "float",
        rf"[-+]?(\.[0-9]+|{_NUMBER}(\.[0-9]*)?)([eE][-+]?[0-9]+)?",
        [*_DIGIT, "."],
        _Loader.construct_number,
    ),
    ("merge", "<<", ["<"], None),
):
    _Loader.add_implicit_resolver(_TAG + _kind, re.compile(f"^({_pattern})$"), _first)
    _Loader.add_constructor(_TAG + _kind, _construct)
_Loader.add_constructor(f"{_TAG}str", _Loader.construct_text)
_Loader.add_constructor(f"{_TAG}seq", _Loader.construct_yaml_seq)
_Loader.add_constructor(f"{_TAG}map", _Loader.construct_yaml_map)


def _unreadable(problem: str, at: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)


def load_config(path: Path, cls: type[C]) -> C:
    """Read, merge with what it `extends`, check. Raises UserError naming file, key and fix."""
    values = _resolved(path, ())
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        sentences = [_sentence(path, problem, cls) for problem in error.errors()[:MAX_PROBLEMS]]
        more = error.error_count() - len(sentences)
        raise UserError("\n".join(sentences) + (f"\nand {more:,} more" if more else "")) from error


def given(config: TrainConfig, **names: str | None) -> TrainConfig:
    """The settings of a run, with the data set and evaluation that the command line names (DATA=, EVAL=).

    Raises UserError for a name that could leave its folder.
    """
    named = {key: config_name(Path(f"{key}-{name}.yaml")) for key, name in names.items() if name is not None}
    return config.model_copy(update=named)


def config_name(path: Path) -> str:
    """configs/train-qwen3-8b.yaml -> qwen3-8b. Raises UserError for a name that could leave its folder."""
    name = path.stem.partition("-")[2]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UserError(
            f"{path}: a config is named data-<set>.yaml, train-<run>.yaml or eval-<name>.yaml. Rename it."
        )
    return name


def did_you_mean(name: str, there: Sequence[str]) -> str:
    """The nearest of the names that there are, or all of them."""
    near = difflib.get_close_matches(name, there, n=1) or [other for other in there if name and name in other]
    names = ", ".join(sorted(there)) or "none"
    return f"Did you mean {near[0]}? There are: {names}." if near else f"There are: {names}."


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
    if not os.path.lexists(path):
        kind = path.stem.partition("-")[0]
        there = sorted(other.stem.partition("-")[2] for other in path.parent.glob(f"{kind}-*.yaml"))
        raise UserError(f"{path} does not exist. {did_you_mean(path.stem.partition('-')[2], there)}")
    values = _parsed(path, read_text(path, MAX_CHARS))
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected `key: value` lines. Compare it with the examples in configs/.")
    _refuse_variables(path, values, "")
    return values


def _parsed(path: Path, text: str) -> Any:
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        _refuse_endless(node)
        return loader.construct_document(node) if node else None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        said = ", ".join(part for part in (error.context, error.problem) if part)[:200]
        raise UserError(f"{path}:{line}: not valid YAML: {said}. Fix this line.") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(
            f"{path}:{line}: not valid YAML: the control character #x{error.character:02x}. Delete it."
        ) from error
    except (
        ValueError,
        OverflowError,
        RecursionError,
    ) as error:  # an escape beyond Unicode; brackets without end
        said = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:100]
        raise UserError(
            f"{path}: not valid YAML: {said}. Compare it with the examples in configs/."
        ) from error
    finally:
        if loader:
            loader.dispose()


def _refuse_endless(node: yaml.Node | None) -> None:
    """A few aliases (*name) of aliases stand for billions of values, and one can hold itself."""
    n_chars, waiting = 0, [node] if node else []
    while waiting:
        inner = waiting.pop()
        n_chars += 1 + (len(inner.value) if isinstance(inner, yaml.ScalarNode) else 0)
        if n_chars + len(waiting) > MAX_CHARS:
            raise _unreadable(
                f"it holds itself, or with its aliases written out more than {MAX_CHARS:,} characters", node
            )
        if isinstance(inner, yaml.MappingNode):
            waiting += [one for pair in inner.value for one in pair]
        elif isinstance(inner, yaml.SequenceNode):
            waiting += inner.value


def _refuse_variables(path: Path, value: Any, key: str) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            _refuse_variables(path, inner, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            _refuse_variables(path, inner, f"{key}[{number}]")
    elif isinstance(value, str) and re.search(r"\$\{?\w+\}?", value) and "${" in value:
        raise UserError(
            f"{path}: {key}: ${{...}} is not expanded here. Write the value itself; secrets belong in .env."
        )


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
