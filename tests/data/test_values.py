"""Values as spreadsheets and exports write them, files of every kind, and what is said of those not used."""

import json

import pytest

from lib.base.errors import UserError
from lib.collect.worth import own_files
from lib.data.fields import BadItem, is_absent, is_true, to_count, to_id, to_moment
from lib.data.own_pairs import REQUIRED
from lib.data.pairs import join
from lib.data.raw import ignored_files, raw_files, read_raw
from lib.data.refusals import notes, refuse_nothing
from tests.items import joined_of, reply_item, stage, tweet_item, write_items

ROW = {
    "tweet_id": "1871234567890123456",
    "tweet": "Who feeds the swans?",
    "tweet_author": "kim",
    "tweet_likes": "400",
    "tweet_retweets": "30",
    "tweet_created_at": "2025-03-01T09:00:00Z",
    "reply_id": "1871234567890129999",
    "reply": "Nobody does.",
    "reply_author": "lou",
    "reply_author_followers": "800",
    "reply_likes": "12",
    "reply_retweets": "0",
    "reply_created_at": "2025-03-01T10:00:00Z",
}


def table(*rows, separator=",", first="", names=REQUIRED):
    lines = [separator.join(names), *(separator.join(row.get(name, "") for name in names) for row in rows)]
    return first + "\n".join(lines) + "\n"


def joined_file(folder, content, name="mine.csv"):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return join(read_raw(raw_files(folder)))


def test_what_spreadsheets_and_pandas_write_for_nothing_is_absent():
    assert all(
        map(is_absent, [None, "", " ", "nan", "NaN", "None", "null", "NULL", "undefined", "<NA>", [], {}])
    )
    assert not any(map(is_absent, [0, "0", "no", "nanny", "none of us", [0], "a"]))
    assert not any(
        map(
            is_true,
            [
                "false",
                "False",
                "FALSE",
                "0",
                "0.0",
                "no",
                "No",
                "nan",
                "",
                0,
                None,
                {"a": []},
                "FALSCH",
                "off",
                "-",
            ],
        )
    )
    assert all(map(is_true, ["true", "1", "yes", 1, "5", "abc", [1], {"a": {"b": 1}}]))


def test_counts_of_pandas_are_whole_numbers():
    assert [to_count(value, "n") for value in ("500.0", "0.0", "1,025.0", "500", 500.0)] == [
        500,
        0,
        1025,
        500,
        500,
    ]
    for value in ("500.5", "0.1"):
        with pytest.raises(BadItem, match="bad_count"):
            to_count(value, "n")
    short = {"1.2K": 1200, "3k": 3000, "1.5M": 1_500_000, "2 m": 2_000_000, "1B": 10**9, "999": 999}
    assert {value: to_count(value, "n") for value in short} == short
    for value in ("nan", "None", "null", " "):
        with pytest.raises(BadItem, match="missing_field"):
            to_count(value, "n")


def test_an_id_that_was_kept_as_text_is_read():
    for value in ('="1871234567890123456"', "'1871234567890123456", " 1871234567890123456 "):
        assert to_id(value, "id") == "1871234567890123456"
    for value in (1.7e18, "1.7e18", "1.7E+18", "1,87E+18", "1871234567890123456.0"):
        with pytest.raises(BadItem, match="bad_id"):
            to_id(value, "id")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("2025-03-01 09:00:00", "without a time zone: append Z if it is UTC"),
        ("2025-03-01T09:00:00", "without a time zone: append Z if it is UTC"),
        ("3/1/2025 9:00", "its day and month may be either way round: write it as 2025-01-31T12:00:00Z"),
        ("01.03.2025 09:00", "its day and month may be either way round"),
        ("45717.375", "a spreadsheet's number of a day, without a time zone: write it as"),
        (45717.375, "a spreadsheet's number of a day"),
        ("45717", "a spreadsheet's number of a day"),
        ("yesterday", "posted is 'yesterday'"),
    ],
)
def test_a_date_that_cannot_be_placed_says_column_value_and_fix(value, says):
    with pytest.raises(BadItem) as bad:
        to_moment(value, "posted")
    assert bad.value.reason == "bad_date"
    assert bad.value.detail.startswith("posted is ")
    assert str(value) in bad.value.detail and says in bad.value.detail


@pytest.mark.parametrize("moment", ["2006-03-21T00:00:00Z", "2025-03-01T09:00:00Z", "2099-12-31T23:59:59Z"])
def test_a_moment_is_read_from_seconds_and_milliseconds_since_1970(moment):
    expected = to_moment(moment, "t")
    seconds = int(expected.timestamp())
    for value in (seconds, float(seconds), str(seconds), 1000 * seconds, str(1000 * seconds)):
        assert to_moment(value, "t") == expected


@pytest.mark.parametrize(
    "value", [0, 1_000_000, "2006-03-20T23:59:59Z", 10**15, True, "2100-01-02T00:00:00Z"]
)
def test_a_moment_at_which_nobody_posted_is_none(value):
    with pytest.raises(BadItem, match="bad_date"):
        to_moment(value, "t")


def test_a_date_that_names_utc_is_read():
    assert (
        len(
            {
                to_moment(f"2025-03-01 09:00:00{zone}", "t")
                for zone in (" UTC", "Z", "+00:00", " GMT", "+0000")
            }
        )
        == 1
    )


@pytest.mark.parametrize(
    "content",
    [
        table(ROW, separator=";", first="sep=;\n"),
        table(ROW, separator="|", first="SEP=|\r\n"),
        table(ROW, separator="\t", first="sep=\t\n"),
        "\ufeff" + table(ROW, first="sep=,\n"),
        "\ufeff" + table(ROW),
        table(ROW).replace("400", "400.0"),
        table(ROW).replace("\n", ",\n"),  # an empty column at the end
        table(ROW).replace("Nobody does.\n", "Nobody does.\r\n"),
    ],
)
def test_a_table_is_read_as_spreadsheets_save_it(tmp_path, content):
    (pair,) = joined_file(tmp_path, content).pairs
    assert (pair.tweet_likes, pair.reply, pair.reply_author_followers) == (400, "Nobody does.", 800)


def test_an_extra_column_is_a_note(tmp_path):
    text = table({**ROW, "notes": "good one", "mine": "1"}, names=(*REQUIRED, "notes", "mine"))
    joined = joined_file(tmp_path, text)
    assert len(joined.pairs) == 1
    assert notes(joined) == ["columns notes, mine of mine.csv are ignored: no field of a pair"]
    more = joined_file(tmp_path, json.dumps({**ROW, "reply_id": "7", "stars": 5}), "mine.jsonl")
    assert "column stars of mine.jsonl is ignored: no field of a pair" in notes(more)


def test_absent_cells_are_missing_and_named(tmp_path):
    (rejection,) = joined_file(
        tmp_path, table({**ROW, "reply_likes": "nan", "reply_author": "None"})
    ).rejected
    assert (rejection.reason, rejection.detail) == ("missing_field", "reply_author, reply_likes absent")


def rounded(value):
    return str(round(int(value), -4))


ROWS = [{**ROW, "reply_id": str(1871234567890120000 + n), "reply": f"No. {n}"} for n in range(0, 90000, 7001)]
ITEMS = [reply_item(id=row["reply_id"], text=row["reply"]) for row in ROWS]


@pytest.mark.parametrize("column", ["reply_id", "tweet_id"])
def test_rows_whose_ids_a_spreadsheet_rounded_are_refused_and_never_merged(tmp_path, column):
    rows = [{**row, "tweet": row["tweet"] + str(n // 3)} for n, row in enumerate(ROWS)]
    joined = joined_file(tmp_path, table(*({**row, column: rounded(row[column])} for row in rows)))
    assert joined.pairs == []
    assert {one.reason for one in joined.rejected} == {"bad_id"}
    assert len(joined.rejected) == joined.n_rows == len(rows)
    with pytest.raises(UserError, match=rf"{column} is \d+0000: .* because a spreadsheet rounded them"):
        refuse_nothing(joined)


@pytest.mark.parametrize("field", ["id", "inReplyToId"])
def test_items_whose_ids_a_spreadsheet_rounded_are_refused_too(field):
    answered = [
        tweet_item(),
        *({**item, "inReplyToId": row["reply_id"]} for item, row in zip(ITEMS, ROWS, strict=True)),
    ]
    tweet, *replies = answered
    joined = joined_of(tweet, *({**item, field: rounded(item[field])} for item in replies))
    assert (joined.pairs, joined.tweets, {one.reason for one in joined.rejected}) == ([], [], {"bad_id"})


def test_a_single_row_with_both_ids_rounded_is_refused(tmp_path):
    row = {**ROW, "tweet_id": rounded(ROW["tweet_id"]), "reply_id": rounded(ROW["reply_id"])}
    assert joined_file(tmp_path, table(row)).pairs == []


def test_a_rounded_file_does_not_spoil_the_others_and_is_told(tmp_path):
    joined_file(
        tmp_path, table(*({**row, "reply_id": rounded(row["reply_id"])} for row in ROWS)), "excel.csv"
    )
    joined = joined_file(tmp_path, table(*ROWS[1:]), "text.csv")
    assert len(joined.pairs) == len(ROWS) - 1
    assert any(note.startswith("no row of excel.csv is used: reply_id is ") for note in notes(joined))


def test_one_id_that_happens_to_end_in_0000_is_an_id(tmp_path):
    assert len(joined_file(tmp_path, table(*ROWS)).pairs) == len(ROWS)  # ROWS[0] does
    assert len(joined_file(tmp_path, table(ROWS[0])).pairs) == 1


NAMED = {
    "a.xlsx": (b"PK\x03\x04", "a workbook: save it as CSV"),
    "a.gz": (b"\x1f\x8b", "`gunzip -k` it"),
    "a.ZIP": (b"PK\x03\x04", "tweets.js, account.js and follower.js"),
    "a.parquet": (b"PAR1", "write it as JSON Lines"),
    "notes.txt": (b"call mum", "neither JSON nor a table"),
    "deleted-tweets.js": (b"window.YTD.deleted_tweets.part0 = []", "only tweets.js holds tweets"),
    "like.js": (b"window.YTD.like.part0 = []", "only tweets.js holds tweets"),
    "a.tar.gz": (b"\x1f\x8b", "unpack it, then move it away"),
    "a.7z": (b"7z", "unpack it, then move it away"),
    "a.json.bak": (b"[]", "save it as .jsonl, .json or .csv"),
    "items": (b"\x00\x01", "neither JSON nor a table"),
    "items.txt": (b"", "it is empty"),
    "picture.png": (b"\x89PNG", "neither JSON nor a table"),
}


@pytest.mark.parametrize("name", NAMED)
def test_a_file_that_is_not_read_is_named_with_the_reason(tmp_path, name):
    content, reason = NAMED[name]
    (tmp_path / name).write_bytes(content)
    (tmp_path / "a.meta.json").write_text("{}")
    (tmp_path / "manifest.json").write_text("{}")
    (sentence,) = ignored_files(tmp_path)
    assert name in sentence and reason in sentence
    assert raw_files(tmp_path) == []


def test_a_folder_in_raw_is_named(tmp_path):
    (tmp_path / "more").mkdir()
    assert "more is not read: it is a folder" in ignored_files(tmp_path)[0]


def test_collect_and_pair_share_one_list(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/data-x.yaml").write_text("collect: {source: files}\n")
    raw = tmp_path / "data/x/raw"
    for name in ("a.JSONL", "b.ndjson", "c.json", "d.txt", "e.jl"):
        write_items(raw, [tweet_item(), reply_item()], name)
    (raw / "f.TSV").write_text(table(ROW, separator="\t"))
    (raw / "g.xlsx").write_bytes(b"PK")
    read = [file.path.name for file in raw_files(raw)]
    assert read == ["a.JSONL", "b.ndjson", "c.json", "d.txt", "e.jl", "f.TSV"]
    said = own_files(raw, [])
    assert all(name in said for name in read) and "g.xlsx is not read" in said
    done = stage(tmp_path, "pair")
    assert "g.xlsx is not read: a workbook" in done.stdout and "6 raw file(s)" in done.stdout, done.stderr
    assert "kept 2 of" in done.stdout


def test_nothing_usable_prints_counts_examples_values_and_fixes(tmp_path):
    rows = [
        {**ROW, "tweet_created_at": "2025-03-01 09:00"},
        {**ROW, "reply_likes": "many"},
        {**ROW, "reply_likes": "x"},
    ]
    with pytest.raises(UserError) as refused:
        refuse_nothing(joined_file(tmp_path, table(*rows)))
    first, *lines = str(refused.value).split("\n  ")
    assert first.startswith(
        "nothing usable in raw/: 3 rows, 0 tweets and no reply to one of them. Reasons: bad_count"
    )
    assert lines[0].startswith(
        "bad_count: 2, first mine.csv:3: reply_likes is 'many'. Fix: write it as a whole number"
    )
    assert lines[1].startswith(
        "bad_date: 1, first mine.csv:2: tweet_created_at is '2025-03-01 09:00', without a time"
    )
    assert "Fix: " in lines[1]


def test_tweets_that_are_missing_are_counted_and_listed_for_buying(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/data-x.yaml").write_text("collect: {source: files}\n")
    lost = [reply_item(id=str(n), inReplyToId="500", conversationId="500") for n in (501, 502)]
    write_items(tmp_path / "data/x/raw", [tweet_item(), reply_item(), *lost])
    done = stage(tmp_path, "pair")
    assert "replies answer 1 tweets that are not in raw/" in done.stdout
    assert (tmp_path / "data/x/interim/missing_tweets.txt").read_text() == "https://x.com/i/status/500\n"
