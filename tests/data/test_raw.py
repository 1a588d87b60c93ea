"""raw/ is read as it came: no line stops the others, and every line that is not used says why."""

import csv
import io
import json
import os

import pytest

from lib.base.errors import UserError
from lib.data.own_pairs import REQUIRED
from lib.data.pairs import join
from lib.data.raw import raw_files, read_raw
from tests.items import GOOD_REPLY, pairs_of, reply_item, tweet_item

ITEM = json.dumps(tweet_item()).encode()


def rows(tmp_path, content, name="items.jsonl"):
    (tmp_path / name).write_bytes(content)
    return list(read_raw(raw_files(tmp_path)))


def told(found):
    """(file:line, reason or "ok") of every row."""
    return [(row.where, row.problem.reason if row.problem else "ok") for row in found]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"id": NaN}', "malformed_line"),
        (b'{"id": Infinity}', "malformed_line"),
        (b"[" * 100_000, "malformed_line"),
        (b'{"id": ' + b"9" * 5000 + b"}", "malformed_line"),
        (b'{"text": "caf\xe9"}', "not_utf8"),
        (b'{"a": 1}{"b": 2}', "malformed_line"),
        (b"not json", "malformed_line"),
    ],
)
def test_a_bad_line_is_put_aside_and_the_others_are_used(tmp_path, line, reason):
    found = rows(tmp_path, ITEM + b"\n" + line + b"\n" + ITEM + b"\n")
    assert told(found) == [("items.jsonl:1", "ok"), ("items.jsonl:2", reason), ("items.jsonl:3", "ok")]


def test_a_torn_last_line_is_put_aside_and_a_whole_one_without_newline_is_used(tmp_path):
    assert told(rows(tmp_path, ITEM + b"\n" + ITEM[:50])) == [
        ("items.jsonl:1", "ok"),
        ("items.jsonl:2", "torn_line"),
    ]
    assert told(rows(tmp_path, ITEM + b"\n" + ITEM)) == [("items.jsonl:1", "ok"), ("items.jsonl:2", "ok")]


def test_line_separators_inside_a_tweet_end_no_line(tmp_path):
    item = json.dumps(tweet_item(text="one\u2028two\u0085three"), ensure_ascii=False).encode()
    (row,) = rows(tmp_path, item + b"\n")
    assert row.value["text"] == "one\u2028two\u0085three"


def test_bom_crlf_and_blank_lines_do_not_matter(tmp_path):
    found = rows(tmp_path, b"\xef\xbb\xbf" + ITEM + b"\r\n\r\n" + ITEM + b"\r\n")
    assert told(found) == [("items.jsonl:1", "ok"), ("items.jsonl:3", "ok")]


def test_utf16_is_named_for_what_it_is(tmp_path):
    (row,) = rows(tmp_path, ITEM.decode().encode("utf-16"))
    assert "UTF-16" in row.problem.detail


def test_a_json_array_is_read_as_its_items(tmp_path):
    for text in (
        json.dumps([tweet_item(), reply_item()]),
        json.dumps([tweet_item(), reply_item()], indent=2),
    ):
        assert [reason for _, reason in told(rows(tmp_path, text.encode()))] == ["ok", "ok"]
    assert len(rows(tmp_path, json.dumps([tweet_item()], indent=1).encode(), "more.json")) == 3


def test_a_torn_array_gives_what_comes_before_the_break(tmp_path):
    text = json.dumps([tweet_item(), reply_item(), tweet_item()], indent=2)
    assert [reason for _, reason in told(rows(tmp_path, text[:-80].encode()))] == [
        "ok",
        "ok",
        "malformed_line",
    ]


def test_an_array_a_line_loses_nothing(tmp_path):
    line = json.dumps([tweet_item()] * 40).encode()
    assert len(rows(tmp_path, line + b"\n" + line + b"\n")) == 80


def test_a_line_of_16_mb_is_put_aside(tmp_path):
    found = rows(tmp_path, ITEM + b"\n" + b'{"a": "' + b"x" * (40 * 2**20) + b'"}\n' + ITEM + b"\n")
    assert told(found) == [
        ("items.jsonl:1", "ok"),
        ("items.jsonl:2", "malformed_line"),
        ("items.jsonl:3", "ok"),
    ]


def test_notes_beside_the_items_are_no_items(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / "items.meta.json").write_text('{"collected_at": "2025-03-01T00:00:00Z"}')
    (row,) = rows(tmp_path, ITEM)
    assert row.collected_at.isoformat() == "2025-03-01T00:00:00+00:00"


def test_without_a_note_the_time_of_the_file_counts(tmp_path):
    (tmp_path / "items.jsonl").write_bytes(ITEM)
    os.utime(tmp_path / "items.jsonl", (1738656000, 1738656000))
    (row,) = read_raw(raw_files(tmp_path))
    assert row.collected_at.isoformat() == "2025-02-04T08:00:00+00:00"


def test_a_file_outside_raw_is_read_in_place_and_missed_if_absent(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "far.jsonl").write_bytes(ITEM)
    (row,) = read_raw(raw_files(tmp_path / "raw", [str(tmp_path / "far.jsonl")]))
    assert row.where == "far.jsonl:1"
    with pytest.raises(UserError, match=r"no\.jsonl does not exist. Correct collect.files"):
        raw_files(tmp_path / "raw", ["no.jsonl"])


def table(records, columns=REQUIRED, delimiter=","):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerows([columns, *([record.get(name, "") for name in columns] for record in records)])
    return text.getvalue()


def records(n=1, **changes):
    return [{**json.loads(pair.model_dump_json(exclude_none=True)), **changes} for pair in pairs_of(n)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_of_pairs_is_read(tmp_path, delimiter):
    text = table(
        records(2, reply='she said "no,\nnever" and left the building', reply_likes="1,025"),
        delimiter=delimiter,
    )
    pairs = join(rows(tmp_path, b"\xef\xbb\xbf" + text.encode(), "mine.csv")).pairs
    assert [(pair.reply, pair.reply_likes, pair.reply_time_diff_seconds) for pair in pairs] == [
        ('she said "no,\nnever" and left the building', 1025, 3600)
    ] * 2


def test_a_table_without_the_columns_is_refused_with_their_names(tmp_path):
    with pytest.raises(
        UserError,
        match=r"mine\.csv: not a table of pairs: it lacks the columns reply_author_followers, reply_likes\.",
    ):
        columns = [name for name in REQUIRED if name not in ("reply_likes", "reply_author_followers")]
        rows(tmp_path, table(records(), columns).encode(), "mine.csv")


def test_a_bad_row_of_a_table_is_put_aside(tmp_path):
    lines = table(records(3)).encode().splitlines(keepends=True)
    lines[1] = b"only,three,cells\n"
    lines[2] = lines[2].replace(b"Half", b"H\xe9lf")
    joined = join(rows(tmp_path, b"".join(lines), "mine.csv"))
    assert [rejection.reason for rejection in joined.rejected] == ["malformed_line", "not_utf8"]
    assert len(joined.pairs) == 1


def test_a_file_of_pair_records_is_recognised(tmp_path):
    good, other = records(2)
    lines = [
        good,
        {**other, "reply_likes": None},
        {**other, "reply_id": "7", "reply": "mine", "verdict": "x"},
        {**other, "reply_created_at": "yesterday"},
    ]
    joined = join(rows(tmp_path, "\n".join(map(json.dumps, lines)).encode(), "pairs.jsonl"))
    assert sorted(pair.reply for pair in joined.pairs) == [f"@baker {GOOD_REPLY}", "mine"]
    assert joined.ignored_fields == {"pairs.jsonl": ["verdict"]}
    assert sorted(rejection.reason for rejection in joined.rejected) == [
        "bad_date",
        "missing_field",
    ]
    assert [tweet.tweet_id for tweet in joined.tweets] == [good["tweet_id"]]
