"""Rows that are pairs already, with counts and times as text, as a spreadsheet has them."""

import json
from datetime import UTC, datetime

import pytest

from lib.data.fields import BadItem
from lib.data.own_pairs import REQUIRED, missing_columns, pair_of
from tests.items import SEEN, pairs_of

ROW = json.loads(pairs_of()[0].model_dump_json())
ROW = {name: ROW[name] for name in REQUIRED}


def read(**changes):
    row = {name: value for name, value in {**ROW, **changes}.items() if value is not ...}
    return pair_of(row, "mine.csv:2", SEEN)


def test_the_delay_is_from_the_tweet_to_the_reply():
    found = read(tweet_created_at="2025-02-04T07:00:00Z", reply_created_at="2025-02-04T07:01:30Z")
    assert found.reply_time_diff_seconds == 90
    assert read(reply_time_diff_seconds="7").reply_time_diff_seconds == 3600  # derived, never taken over


def test_what_is_absent_is_the_files_and_what_is_there_is_the_rows():
    found = read()
    assert (found.collected_at, found.source, found.flags) == (SEEN, "mine.csv:2", [])
    assert found.reply_author_created_at is None and found.validation is None and found.quality is None
    moment = datetime(2025, 3, 1, tzinfo=UTC)
    found = read(
        collected_at="2025-03-01T00:00:00Z",
        reply_author_created_at="2025-03-01T00:00:00Z",
        source="x",
        quality="0.9",
    )
    assert (found.collected_at, found.reply_author_created_at) == (moment, moment)
    assert (found.source, found.quality) == ("mine.csv:2", None)


@pytest.mark.parametrize(
    "flags", ["quote,reply_media", "quote; reply_media", "quote reply_media", "['quote', 'reply_media']",
              '["quote","reply_media"]', ["quote", "reply_media"]],
)  # fmt: skip
def test_flags_are_a_list_or_words_in_a_cell(flags):
    assert sorted(read(flags=flags).flags) == ["quote", "reply_media"]


@pytest.mark.parametrize("flags", ["", None, [], "nan"])
def test_no_flags_are_none(flags):
    assert read(flags=flags).flags == []


def test_what_is_missing_is_named_in_the_order_of_the_record():
    assert missing_columns([]) == list(REQUIRED)
    assert missing_columns(reversed([name for name in REQUIRED if name not in ("tweet", "reply_id")])) == [
        "tweet", "reply_id",
    ]  # fmt: skip
    with pytest.raises(BadItem, match="tweet_likes, reply_id absent"):
        read(reply_id="", tweet_likes=...)


@pytest.mark.parametrize(
    "changes, reason",
    [({"reply_likes": "many"}, "bad_count"), ({"tweet_created_at": "soon"}, "bad_date"),
     ({"flags": "no_such_flag"}, "bad_field"), ({"tweet_id": "1.8E+18"}, "bad_id")],
)  # fmt: skip
def test_a_row_that_cannot_be_used_has_a_reason(changes, reason):
    with pytest.raises(BadItem) as bad:
        read(**changes)
    assert bad.value.reason == reason
