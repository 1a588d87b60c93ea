"""Likes and views from X's own analytics and from items of providers: an id is never a rounded one."""

import os

import pytest

from lib.base.errors import UserError
from lib.data.counts import read_counts

ID = "1861400000000000001"


@pytest.mark.parametrize(
    "name, text, views",
    [
        ("x.csv", f"Post id,Post Link,Impressions,Likes\n1.86E+18,https://x.com/i/status/{ID},120,7\n", 120),
        ("x.csv", f"\ufeffid;likes;views\r\n{ID};7;\r\n", None),
        ("x.csv", f"Tweet id\tTweet permalink\timpressions\tlikes\n{ID}\t\t1.2K\t7.0\n", 1200),
        ("x.json", f'[{{"id": "{ID}", "likeCount": 7, "views": {{"count": 120, "state": "Enabled"}}}}]', 120),
        ("x.jsonl", f'{{"rest_id": "{ID}", "legacy": {{"favorite_count": 7, "full_text": "hi"}}}}\n', None),
        (
            "x.json",
            f'{{"data": [{{"id": "{ID}", "text": "hi", "public_metrics": '
            '{"like_count": 7, "impression_count": 120}}]}',
            120,
        ),
    ],
)
def test_likes_and_views_are_read_as_they_come(tmp_path, name, text, views):
    (tmp_path / name).write_text(text)
    counts, rejected = read_counts(tmp_path / name)
    assert [(one.id, one.likes, one.views) for one in counts] == [(ID, 7, views)], rejected


@pytest.mark.parametrize(
    "row, why",
    [("1.86E+18,7", "id is"), (f"{ID},many", "likes is"), (f"{ID},", "likes is absent"), (",7", "id is")],
)
def test_a_row_without_an_id_or_likes_is_named_and_never_zero(tmp_path, row, why):
    (tmp_path / "x.csv").write_text(f"id,likes\n{row}\n")
    counts, rejected = read_counts(tmp_path / "x.csv")
    assert counts == []
    assert rejected[0].startswith("x.csv:2: ") and why in rejected[0]


@pytest.mark.parametrize("text", ["id,views\n1,2\n", "", 'id,likes\n"1,2\n'])
def test_a_table_that_cannot_be_read_gets_a_sentence(tmp_path, text):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(UserError, match=r"x\.csv:\d+: "):
        read_counts(tmp_path / "x.csv")


def test_filler_of_a_provider_is_no_post(tmp_path):
    (tmp_path / "x.jsonl").write_text(
        '{"noResults": true}\n{"type": "mock_tweet", "id": -1, "likeCount": 3}\n'
    )
    assert read_counts(tmp_path / "x.jsonl")[0] == []


def test_counts_are_of_the_moment_that_the_file_names_else_of_its_own(tmp_path):
    (tmp_path / "x.csv").write_text(f"id,likes\n{ID},7\n")
    os.utime(tmp_path / "x.csv", (1738656000, 1738656000))
    assert [one.at.isoformat() for one in read_counts(tmp_path / "x.csv")[0]] == ["2025-02-04T08:00:00+00:00"]
    (tmp_path / "x.meta.json").write_text('{"collected_at": "2025-03-01T00:00:00Z"}')
    assert [one.at.isoformat() for one in read_counts(tmp_path / "x.csv")[0]] == ["2025-03-01T00:00:00+00:00"]
