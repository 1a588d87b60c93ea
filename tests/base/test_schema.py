"""Records: what is written is read again."""

import importlib
import pkgutil
import re
from pathlib import Path
from typing import get_args

import lib
from lib.base.schema import Record

ROOT = Path(__file__).parents[2]


def all_below(record):
    return {record, *(one for below in record.__subclasses__() for one in all_below(below))}


def test_every_record_of_lines_is_read_without_the_fields_that_are_none():
    """A line leaves them out, so that each needs a default."""
    modules = [one.name for one in pkgutil.walk_packages(lib.__path__, "lib.")]
    for name in modules:
        importlib.import_module(name)
    source = "".join(
        path.read_text(encoding="utf-8")
        for room in ("lib/*", "demo", "scripts")
        for path in ROOT.glob(f"{room}/*.py")
    )
    read = set(re.findall(r"\bread_jsonl\(.*?, (\w+)[,)]", source))
    records = [record for record in all_below(Record) if record.__name__ in read]
    assert len(records) >= 10
    for record in records:
        for name, field in record.model_fields.items():
            is_nullable = type(None) in get_args(field.annotation)
            assert not (is_nullable and field.is_required()), f"{record.__name__}.{name}"
