"""Inputs that once went wrong in silence, each with its right outcome (the other tests hold their kinds)."""

from pathlib import Path

import pytest

from lib.base.errors import UserError
from lib.data.pairs import join
from lib.data.raw import raw_files, read_raw
from lib.data.refusals import notes, refuse_nothing

CASES = (Path(__file__).parents[2] / "../shared/cases/data").resolve()
pytestmark = pytest.mark.skipif(not CASES.exists(), reason="../shared/cases is not on this machine")

# file -> flags of every pair, reasons of what is not used
OUTCOMES = {
    "01_v2_flat.jsonl": ([[]], []),
    "02_v2_page.jsonl": ([[]], []),
    "03_v2_quote.jsonl": ([["quote", "reply_quote"]], []),
    "05_reply_without_parent_field.jsonl": ([[]], ["missing_field", "missing_field"]),
    "06_string_booleans.jsonl": ([[]], []),
    "07_apify_export.json": ([[]], []),
    "10_tweets_page.jsonl": ([[]], []),
    "11_snscrape_content.jsonl": ([[]], []),
    "12_excel_ids.csv": ([], ["bad_id"] * 3),
    "13_extra_column.csv": ([[]] * 3, []),
    "15_no_zone.csv": ([], ["bad_date"] * 3),
    "18_picture_tweet.jsonl": ([["tweet_media"]], []),  # its link is the picture's own
    "24_v11_extended_tweet.jsonl": ([[]], []),
}
OF_TEXTS = {"21_texts.jsonl", "22_langdetect_caps.jsonl"}  # not rows of raw/: test_given_texts.py


def joined_case(name):
    return join(read_raw(raw_files(CASES / "none", [str(CASES / name)])))


def test_every_file_has_its_outcome():
    assert {path.name for path in CASES.iterdir()} == {*OUTCOMES, *OF_TEXTS}


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_file_has_the_right_outcome(name):
    flags, reasons = OUTCOMES[name]
    joined = joined_case(name)
    assert [pair.flags for pair in joined.pairs] == flags
    assert [rejection.reason for rejection in joined.rejected] == reasons
    assert {tweet.tweet_id for tweet in joined.tweets} == {pair.tweet_id for pair in joined.pairs}


def test_what_is_refused_or_left_out_is_said():
    assert notes(joined_case("13_extra_column.csv")) == [
        "column notes of 13_extra_column.csv is ignored: no field of a pair"
    ]
    with pytest.raises(
        UserError, match=r"15_no_zone\.csv:2: tweet_created_at is '2025-11-20 10:00:00', .*append Z"
    ):
        refuse_nothing(joined_case("15_no_zone.csv"))
    with pytest.raises(
        UserError, match=r"12_excel_ids\.csv:2: reply_id is .* because a spreadsheet rounded them"
    ):
        refuse_nothing(joined_case("12_excel_ids.csv"))


def test_the_whole_text_of_a_cut_tweet_is_used():
    (pair,) = joined_case("24_v11_extended_tweet.jsonl").pairs
    assert pair.tweet.endswith("vigil in front of its door.")
