"""Raw items as the collector sees them: what is stored, asked for replies, listed."""

import json

import pytest

from lib.base.settings import FilterConfig
from lib.collect.worth import is_storable, own_files, read_items, wanted_tweet, wanted_tweets
from lib.data.forget import Forgotten
from tests.stubs.tweets_world import reply, tweet


@pytest.mark.parametrize(
    ("forgotten", "item"),
    [
        ("7", tweet("7")),
        ("7", reply("7", 1)),
        ("@author7", tweet("7")),
        ("7001", reply("7", 1)),
        ("@FAN1", reply("7", 1)),
    ],
)
def test_neither_what_was_forgotten_nor_a_reply_to_it_is_stored(tmp_path, forgotten, item):
    book = Forgotten.load(tmp_path / "forgotten.json")
    book.add(forgotten)
    assert not is_storable(book.holds, item)
    for other in (tweet("8"), reply("8", 2), {"noResults": True}, "a string"):
        assert is_storable(book.holds, other)


def test_the_most_discussed_comes_first_and_a_count_that_is_none_counts_nothing():
    found = [tweet("1", replyCount="many"), tweet("2", replyCount=3), tweet("3", replyCount=9)]
    assert list(wanted_tweets([found], FilterConfig())) == ["3", "2", "1"]


def test_a_reply_among_the_search_results_is_not_asked_for_its_replies():
    assert wanted_tweet(tweet("1"), FilterConfig()) == "1"
    assert wanted_tweet(tweet("1", conversationId="2"), FilterConfig()) is None
    assert wanted_tweet(tweet("1", conversationId=None), FilterConfig()) == "1"


def test_lines_that_hold_nothing_or_nothing_readable_are_passed_over(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id": "1"}\n\n  \n{"id":\n\xff\n[1]\n' + b"[" * 100_000 + b"\n")
    assert read_items(path) == [{"id": "1"}, [1]]
    assert read_items(tmp_path / "none.jsonl") == []
    path.write_text(json.dumps(tweet("1")) + "\n\n \n")
    assert f"{path}  1 lines" in own_files(tmp_path, [])
