"""raw/ is read as it came: no line stops the others, and every line that is not used says why."""

import csv
import io
import json
import os

import pytest

from lib.base.errors import UserError
from lib.data.own_pairs import REQUIRED
from lib.data.pairs import join
from lib.data.raw import ignored_files, raw_files, read_raw
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


def test_files_are_read_in_the_order_of_their_names_then_those_of_the_config(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for path in (raw / "b.jsonl", raw / "a.json", tmp_path / "0.jsonl", tmp_path / "z.csv"):
        path.write_bytes(ITEM)
    others = [str(tmp_path / "z.csv"), str(tmp_path / "0.jsonl")]
    found = [file.path.name for file in raw_files(raw, others)]
    assert found == ["a.json", "b.jsonl", "z.csv", "0.jsonl"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.JSONL", ITEM, None), ("a.Csv", b"x", None), ("a.txt", b" \n" + ITEM, None), ("items", ITEM, None),
        ("items", b"[1]", None), ("tweets.js", b"window.YTD.tweets.part0 = []", None),
        (".DS_Store", b"x", None), ("manifest.json", b"{}", None), ("a.jsonl.meta.json", b"{}", None),
        ("account.js", b"x", None), ("follower.js", b"x", None),
        ("a.jsonl.gz", b"x", "`gunzip -k` it"), ("a.zip", b"x", "`unzip` it"),
        ("a.tar.gz", b"x", "unpack it, then move it away"), ("a.tar.xz", b"x", "unpack it, then"),
        ("a.xlsx", b"x", "a workbook"), ("a.parquet", b"x", "a table of a program"),
        ("like.js", b"x", "only tweets.js holds tweets"), ("a.txt", b"", "it is empty"),
        ("a.txt", b"hello", "neither JSON nor a table"), ("a.html", ITEM, "neither JSON nor a table"),
    ],
)  # fmt: skip
def test_what_is_not_read_is_told_and_what_systems_put_there_is_not(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    ignored = ignored_files(tmp_path)
    assert (ignored == []) if said is None else (len(ignored) == 1 and said in ignored[0])


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_either_utf16_is_told(tmp_path, encoding):
    mark = "\ufeff".encode(encoding)
    (row,) = rows(tmp_path, mark + ITEM.decode().encode(encoding))
    assert row.problem.reason == "not_utf8" and "UTF-16" in row.problem.detail


def test_lines_that_end_in_cr_alone_are_told(tmp_path):
    (row,) = rows(tmp_path, ITEM + b"\r" + ITEM + b"\r")
    assert row.problem.reason == "malformed_line" and "CR alone" in row.problem.detail


@pytest.mark.parametrize(
    ("first", "delimiter"),
    [
        ("sep=;\r\n", ";"),
        ("SEP=,\n", ","),
        ("sep=\t\n", "\t"),
        ("", ","),
        ("", ";"),
        ("", "\t"),
        ("sep=|\n", "|"),
    ],
)
def test_excels_own_first_line_names_the_delimiter_else_the_header_does(tmp_path, first, delimiter):
    found = rows(tmp_path, (first + table(records(2), delimiter=delimiter)).encode(), "mine.csv")
    assert [reason for _, reason in told(found)] == ["ok", "ok"]
    assert found[0].value["reply"] == f"@baker {GOOD_REPLY}"


HEADER = "id,text,likeCount,tags/0,tags/1,author.userName,author/followers,media.0.url"


@pytest.mark.parametrize(
    ("row", "value"),
    [
        ("1,hi,3,a,b,ann,7,u", {"tags": ["a", "b"], "author": {"userName": "ann", "followers": "7"},
                                "media": [{"url": "u"}]}),
        ('1,"[""x""]",3,,,,,', {"text": '["x"]'}),
        ('1,hi,3,"[1, 2]","{\'a\': None}",,,', {"tags": [[1, 2], {"a": None}]}),
        ("1,hi,3,[not a list,,,,", {"tags": ["[not a list"]}),
    ],
)  # fmt: skip
def test_columns_of_a_table_of_items_are_put_back_into_their_objects(tmp_path, row, value):
    (found,) = rows(tmp_path, f"{HEADER}\n{row}\n".encode(), "items.csv")
    assert found.value == {"id": "1", "text": "hi", "likeCount": "3", **value}


@pytest.mark.parametrize(
    ("row", "reason"),
    [(b"1,hi,3", "malformed_line"), (b"1,hi,3,,,,,,", "ok"), (b"1,hi,3,,,,,,x", "malformed_line"),
     (b"1,caf\xe9,3,,,,,", "not_utf8"), (b'1,"hi"x,3,,,,,', "malformed_line")],
)  # fmt: skip
def test_a_row_that_does_not_fit_its_header_is_put_aside(tmp_path, row, reason):
    found = rows(tmp_path, HEADER.encode() + b"\n" + row + b"\n1,hi,3,,,,,\n", "items.csv")
    assert told(found) == [("items.csv:2", reason), ("items.csv:3", "ok")]


ARCHIVED_TWEET = {"tweet": {"id_str": "1", "full_text": "hi"}}


@pytest.mark.parametrize(
    ("account", "follower", "author"),
    [
        ('[{"account": {"username": "lou"}}]', "[1, 2]", {"username": "lou", "followers": 2}),
        ('[{"account": {"username": "lou"}}]', "[]", {"username": "lou", "followers": 0}),
        ('[{"account": {"username": "lou"}}]', None, {"username": "lou", "followers": None}),
        ('[{"account": {"username": "lou"}}]', "broken", {"username": "lou", "followers": None}),
        (None, "[1, 2]", None), ("[]", "[1, 2]", None), ("broken", "[1, 2]", None),
    ],
)  # fmt: skip
def test_an_archive_says_beside_it_whose_it_is_and_unknown_followers_are_not_none(
    tmp_path, account, follower, author
):
    for name, text in (("account", account), ("follower", follower)):
        if text is not None:
            (tmp_path / f"{name}.js").write_text(f"window.YTD.{name}.part0 = {text}")
    (row,) = rows(
        tmp_path, b"window.YTD.tweets.part0 = " + json.dumps([ARCHIVED_TWEET]).encode(), "tweets.js"
    )
    if author is None:
        assert row.problem.reason == "missing_field" and "account.js" in row.problem.detail
    else:
        assert row.value == {**ARCHIVED_TWEET["tweet"], "user": author}
