"""Sentences of pairing: which rows could not be used, why, where, and what to do."""

import json

import pytest

from lib.base.errors import UserError
from lib.base.schema import Rejection
from lib.data.pairs import join
from lib.data.raw import raw_files, read_raw
from lib.data.refusals import notes, reasons_with_examples, refuse_nothing, refuse_unknown
from tests.items import reply_item, tweet_item


def rejection(reason, line, detail="d"):
    return Rejection(
        id=str(line), stage="pair", reason=reason, detail=detail, pair={"source": f"a.jsonl:{line}"}
    )


def joined_files(folder, **files):
    for name, items in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    return join(read_raw(raw_files(folder)))


def test_each_reason_has_its_number_its_first_example_and_its_fix_the_most_frequent_first():
    rejected = [
        rejection("bad_date", 2, "of 2"), rejection("bad_count", 3), rejection("zzz", 4),
        rejection("bad_date", 5, "of 5"), rejection("bad_date", 6), rejection("bad_count", 7),
    ]  # fmt: skip
    assert reasons_with_examples(rejected) == [
        "bad_date: 3, first a.jsonl:2: of 2. Fix: write it as 2025-01-31T12:00:00Z.",
        "bad_count: 2, first a.jsonl:3: d. Fix: write it as a whole number, such as 1025.",
        "zzz: 1, first a.jsonl:4: d. Fix: see the row.",
    ]


UNKNOWN = {"foo": 1, "bar": 2}


def test_a_file_of_which_one_row_has_a_known_shape_is_no_unknown_one(tmp_path):
    refuse_unknown(joined_files(tmp_path, a=[UNKNOWN, tweet_item(), UNKNOWN]))
    refuse_unknown(joined_files(tmp_path, a=[UNKNOWN, {"text": "x", "likeCount": "many"}]))
    with pytest.raises(UserError, match=r"^raw/b\.jsonl: no known shape: .*foo, bar"):
        refuse_unknown(joined_files(tmp_path, a=[tweet_item()], b=[UNKNOWN, UNKNOWN]))


@pytest.mark.parametrize(
    "items, said",
    [
        ([{"noResults": True}, {"type": "mock_tweet"}], "all 2 rows of raw/ are the provider's filler"),
        ([{"noResults": True}, tweet_item()], "nothing usable in raw/: 2 rows, 1 tweets"),
        ([{"noResults": True}, "x"], "nothing usable in raw/: 2 rows, 0 tweets"),
        ([tweet_item()], "nothing usable in raw/: 1 rows, 1 tweets and no reply to one of them. Put items"),
    ],
)
def test_nothing_usable_is_told_for_what_it_is(tmp_path, items, said):
    with pytest.raises(UserError) as caught:
        refuse_nothing(joined_files(tmp_path, a=items))
    assert str(caught.value).startswith(said)


def test_one_pair_is_enough(tmp_path):
    refuse_nothing(joined_files(tmp_path, a=[tweet_item(), reply_item(), {"noResults": True}]))


def test_what_could_be_bought_and_what_is_ignored_is_noted(tmp_path):
    joined = joined_files(tmp_path, a=[reply_item(inReplyToId="99", conversationId="99")])
    assert any("replies answer 1 tweets that are not in raw/" in note for note in notes(joined))
    joined.ignored_fields.update({"x.csv": ["one"], "y.csv": ["one", "two"]})
    assert notes(joined)[:2] == [
        "column one of x.csv is ignored: no field of a pair",
        "columns one, two of y.csv are ignored: no field of a pair",
    ]
