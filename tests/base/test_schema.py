"""Records as they are read: which ids, moments and verdicts there are."""

import json

import pytest
from pydantic import ValidationError

from lib.base.schema import Judgment, Tweet

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
