"""How a target leaves the bytes of one file: found under every name and spelling, and nothing else goes."""

import html
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.data.redaction import Target, editor_of, redacted

TEXT = 'a "reply" & a half, by somebody'
POST, AUTHOR = Target("201", None), Target(None, "Bob_1")
WITH_TEXT = Target("201", None, frozenset({TEXT}))


def left_of(content, target, name="raw/a.jsonl"):
    """(what is left of a file's content, how much of it went)"""
    path = Path("data/main") / name
    content = content if isinstance(content, bytes) else content.encode()
    return editor_of(path, content)(content, target)


def lines(*rows):
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


KEPT = {"id": "100", "text": "a tweet that stays where it is", "author": {"userName": "ann"}}


# --- what is found -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        {"id": "201"},
        {"id": 201},
        {"tweet_id": 201, "text": "x"},
        {"deep": [{"er": {"reply_id": "201"}}]},
        {"url": "https://x.com/ann/status/201"},
        {"text": "see 201, or not"},
    ],
)
def test_an_id_is_found_as_a_text_a_number_and_inside_a_text(row):
    assert left_of(lines(KEPT, row), POST) == (lines(KEPT), 1)


@pytest.mark.parametrize(
    "row",
    [
        *({"id": "2010"}, {"id": 1201}, {"at": "12:20:1"}, {"n": True}, {"n": 201.5}, {"text": "a201b"}),
    ],
)
def test_a_longer_number_is_another_id(row):
    assert left_of(lines(row), POST) == (lines(row), 0)


@pytest.mark.parametrize(
    "row",
    [
        {"author": {"userName": "BOB_1"}},
        {"reply_author": "bob_1"},
        {"tweet_author": "@Bob_1"},
        {"user": {"screen_name": "bob_1"}},
        {"author_username": "Bob_1"},
        {"text": "so says @bOB_1!"},
        {"text": "http://twitter.com/bob_1"},
        {"text": "X.COM/Bob_1/status/1"},
    ],
)
def test_a_handle_is_found_in_any_case_wherever_people_are_named(row):
    assert left_of(lines(KEPT, row), AUTHOR) == (lines(KEPT), 1)


@pytest.mark.parametrize(
    "row",
    [
        *({"text": "bob_1 without a sign"}, {"text": "@bob_12"}, {"author": {"userName": "bob"}}),
        *({"text": "mail.com/bob_1"}, {"title": "Bob_1"}),
    ],
)
def test_a_longer_handle_and_a_word_are_somebody_else(row):
    assert left_of(lines(row), AUTHOR) == (lines(row), 0)


@pytest.mark.parametrize(
    "record",
    [
        {"id": "201", "text": TEXT},
        {"id": 201, "full_text": TEXT},
        {"tweet_id": "201", "tweet": TEXT},
        {"reply_id": "201", "reply": TEXT},
        {"reply_id": "201", "human_reply": TEXT},
        {
            "chosen_id": "201",
            "chosen": TEXT,
            "rejected_id": "9",
            "rejected": "not this text, of another reply",
        },
        {
            "rejected_id": "201",
            "rejected": TEXT,
            "chosen_id": "9",
            "chosen": "not this text, of another reply",
        },
        {"pair": {"reply_id": "201", "reply": TEXT}},
    ],
)
def test_the_texts_of_a_post_are_known_under_every_field_and_depth(record):
    assert set(POST.own_texts(record)) == {TEXT}


@pytest.mark.parametrize(
    "record",
    [
        {"author": {"userName": "bob_1"}, "text": TEXT},
        {"author": {"screen_name": "BOB_1"}, "full_text": TEXT},
        {"author": "@Bob_1", "text": TEXT},
        {
            "tweet_author": "bob_1",
            "tweet": TEXT,
            "reply_author": "ann",
            "reply": "not this text, of another one",
        },
        {
            "reply_author": "Bob_1",
            "reply": TEXT,
            "tweet_author": "ann",
            "tweet": "not this text, of another one",
        },
        {"pair": {"reply_author": "Bob_1", "reply": TEXT}},
    ],
)
def test_the_texts_of_an_author_are_known_whatever_names_him(record):
    assert set(AUTHOR.own_texts(record)) == {TEXT}


def test_a_short_text_may_be_anybodys():
    for n, known in ((19, set()), (20, {"x" * 20})):
        assert set(POST.own_texts({"id": "201", "text": "x" * n})) == known


@pytest.mark.parametrize("shown", [TEXT, html.escape(TEXT), html.escape(TEXT, quote=False)])
def test_a_text_is_found_on_a_page_however_it_is_escaped(shown):
    assert WITH_TEXT.in_text(f"<p>{shown}</p>")
    assert not WITH_TEXT.in_text("<p>another one</p>")


# --- how it goes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", [b'{"id": "201", "text": ', b"201 of a broken line", b'{"a": "x"} by @201'])
def test_a_broken_line_is_searched_as_text(line):
    assert left_of(lines(KEPT) + line + b"\n", POST) == (lines(KEPT), 1)


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_of_a_table_the_rows_go_and_its_first_bytes_stay(bom, separator):
    rows = [["reply_id", "reply"], ["201", "gone"], ["9", 'stays, "he" said; so']]
    whole, kept = (
        bom
        + "".join(
            separator.join(
                '"' + cell.replace('"', '""') + '"' if set(cell) & set(',;"\t') else cell for cell in row
            )
            + "\n"
            for row in some
        ).encode()
        for some in (rows, rows[::2])
    )
    left, n_removed = left_of(whole, POST, "raw/a.csv")
    assert (left.startswith(bom), n_removed) == (True, 1)
    assert left.removeprefix(bom).decode().replace('"', "") == kept.removeprefix(bom).decode().replace(
        '"', ""
    )


def test_of_a_page_of_posts_only_the_post_goes_and_of_another_file_the_line():
    page = {"data": [KEPT, {"id": "201", "text": "gone"}, {**KEPT, "id": "300"}], "includes": {"users": []}}
    left, _ = left_of(lines(page), POST)
    assert [post["id"] for post in json.loads(left)["data"]] == ["100", "300"]
    assert left_of(lines(page), POST, "interim/a.jsonl") == (b"", 1)


def test_a_ledger_keeps_every_line_and_loses_the_name():
    content = lines({"key": "k", "note": {"query": "conversation_id:201"}}, {"key": "l", "usd": 1})
    left, n_redacted = left_of(content, POST, "ledger.jsonl")
    assert (left, n_redacted) == (content.replace(b"201", b"forgotten"), 1)
    assert left_of(content, POST, "ledger.jsonl") == redacted(content, POST)


def test_what_is_no_file_of_records_can_only_go_as_a_whole():
    for name in ("report.html", "curves.svg", "notes.md"):
        assert editor_of(Path(name), b"201") is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["201", "2010", "300", "@Bob_1", "@bob_12", "bob_1", "x"]), max_size=8))
def test_of_any_lines_exactly_those_with_the_target_go(words):
    rows = [{"id": str(n), "text": f"it says {word} here"} for n, word in enumerate(words, 500)]
    for target, name in ((POST, "201"), (AUTHOR, "@Bob_1")):
        kept = [row for row, word in zip(rows, words, strict=True) if word != name]
        assert left_of(lines(*rows), target, "interim/a.jsonl") == (lines(*kept), len(rows) - len(kept))
