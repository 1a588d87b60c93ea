"""Records: which ids, moments and verdicts there are, and what is written is read again."""

import importlib
import json
import pkgutil
import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

import lib
from lib.base.schema import Judgment, Record, Tweet

ROOT = Path(__file__).parents[2]
TWEET = {
    "tweet_id": "1",
    "tweet": "A thought",
    "tweet_author": "ann",
    "tweet_likes": 3,
    "tweet_retweets": 0,
    "tweet_created_at": "2025-02-04T08:00:00+02:00",
    "collected_at": "2025-02-05T00:00:00Z",
    "source": "items.jsonl:1",
}
JUDGMENT = {"tweet_id": "1", "a": "tuned", "b": "base", "order": "ab", "repeat": 0, "model": "m", "key": "k"}


def read(record, **changes):
    return (Tweet if record is TWEET else Judgment).model_validate_json(json.dumps(record | changes))


@pytest.mark.parametrize(
    ("record", "changes", "is_one"),
    [
        (TWEET, {"tweet_id": "a-Z_9" + "0" * 59}, True),
        (TWEET, {"tweet_id": "0" * 65}, False),
        (TWEET, {"tweet_id": ""}, False),
        (TWEET, {"tweet_id": "../x"}, False),
        (TWEET, {"tweet_id": "1\n"}, False),
        (TWEET, {"tweet_id": 1}, False),
        (TWEET, {"tweet": ""}, False),
        (TWEET, {"tweet_likes": -1}, False),
        (TWEET, {"tweet_likes": "3"}, False),
        (TWEET, {"tweet_likes": True}, False),
        (TWEET, {"tweet_created_at": "2025-02-04T08:00:00"}, False),  # of which zone?
        (TWEET, {"another": 1}, False),
        (JUDGMENT, {"verdict": 1}, True),
        (JUDGMENT, {"verdict": -1}, True),
        (JUDGMENT, {"verdict": None}, True),
        (JUDGMENT, {"verdict": 1.5}, False),
        (JUDGMENT, {"verdict": -1.5}, False),
        (JUDGMENT, {"order": "aa"}, False),
        (JUDGMENT, {"repeat": -1}, False),
    ],
)
def test_a_record_is_within_its_bounds_or_none(record, changes, is_one):
    try:
        read(record, **changes)
    except ValidationError:
        assert not is_one
    else:
        assert is_one


def test_a_moment_is_kept_in_utc_whatever_its_zone():
    assert read(TWEET).model_dump(mode="json")["tweet_created_at"] == "2025-02-04T06:00:00Z"


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
