"""De-duplication of replies: which one stays, why the others go, and that it holds at scale."""

import random
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.base.schema import Pair
from lib.data import greedy
from lib.data.dedup import drop_duplicates, greedy_keep, same_words_key

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def pair(reply_id: str, reply: str, likes: int = 10, retweets: int = 0, tweet_id: str = "1") -> Pair:
    return Pair(
        tweet_id=tweet_id, tweet="Coffee or tea?", tweet_author="ann", tweet_likes=300, tweet_retweets=20,
        tweet_created_at=MOMENT, reply_id=reply_id, reply=reply, reply_author="bob",
        reply_author_followers=900, reply_likes=likes, reply_retweets=retweets, reply_created_at=MOMENT,
        reply_time_diff_seconds=600, collected_at=MOMENT, source="items.jsonl:1",
    )  # fmt: skip


def one_hot(texts):
    """Vectors that make no two texts alike."""
    return np.eye(len(texts), dtype=np.float32)


def by_first_letter(texts):
    """Vectors that make texts alike (cosine 0.95) that start with the same letter."""
    letters = sorted({text[0] for text in texts})
    vectors = np.zeros((len(texts), len(letters) + len(texts)), dtype=np.float32)
    for row, text in enumerate(texts):
        vectors[row, letters.index(text[0])] = np.sqrt(0.95)
        vectors[row, len(letters) + row] = np.sqrt(0.05)
    return vectors


def naive_keep(vectors, threshold):
    vectors = vectors.astype(np.float64)
    dropped_by = np.full(len(vectors), -1)
    for row in range(len(vectors)):
        for earlier in range(row):
            if dropped_by[earlier] < 0 and vectors[earlier] @ vectors[row] >= threshold:
                dropped_by[row] = earlier
                break
    return dropped_by < 0, dropped_by


def unit(vectors):
    vectors = np.asarray(vectors, dtype=np.float64)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


# --- which reply stays -----------------------------------------------------------------------------


def test_of_equal_texts_the_most_liked_stays_whichever_tweet_it_answers():
    kept, rejected = drop_duplicates(
        [pair("7", "so true", likes=5), pair("8", "so true", likes=9, tweet_id="2")], one_hot, 0.9
    )
    assert [p.reply_id for p in kept] == ["8"]
    assert [(r.id, r.stage, r.reason, r.detail) for r in rejected] == [
        ("7", "clean", "exact_duplicate", "the same text as reply 8")
    ]
    assert rejected[0].pair["reply"] == "so true"


def test_equal_likes_are_decided_by_retweets_then_by_id():
    replies = [pair("9", "ha", 5, 1), pair("8", "ha", 5, 2), pair("7", "ha", 5, 2)]
    assert [p.reply_id for p in drop_duplicates(replies, one_hot, 0.9)[0]] == ["7"]
    likes_first = [pair("6", "ha", 6, 0), pair("7", "ha", 5, 90)]
    assert [p.reply_id for p in drop_duplicates(likes_first, one_hot, 0.9)[0]] == ["6"]


@pytest.mark.parametrize(
    "one, other",
    [
        ("So true!!!", "so true"),
        ("so true 😂😂", "so, TRUE"),
        ("sotrue", "so true"),
        ("it\u2019s", "its"),
        ("STRASSE", "straße"),
        ("caf\u00e9", "cafe\u0301"),
        ("❤\ufe0f yes", "❤ yes"),
        ("😂 😂", "😂😂"),
        ("so\u200b true", "so true"),
    ],
)
def test_texts_that_differ_in_case_spaces_punctuation_or_emoji_are_the_same_words(one, other):
    kept, rejected = drop_duplicates([pair("1", one), pair("2", other)], one_hot, 0.9)
    assert [p.reply_id for p in kept] == ["1"]
    assert [(r.id, r.reason, r.detail) for r in rejected] == [
        ("2", "normalised_duplicate", "the same words as reply 1")
    ]


@pytest.mark.parametrize(
    "one, other", [("😂", "🔥"), ("!!!", "???"), ("yes 1", "yes 2"), ("कि", "की"), ("so true", "so trues")]
)
def test_different_words_or_different_emoji_alone_are_not_the_same(one, other):
    assert same_words_key(one) != same_words_key(other)
    assert len(drop_duplicates([pair("1", one), pair("2", other)], one_hot, 0.9)[0]) == 2


def test_of_near_duplicates_the_most_liked_stays_and_the_detail_names_it_and_the_cosine():
    kept, rejected = drop_duplicates(
        [pair("1", "apple", 5), pair("2", "avocado", 6), pair("3", "beet", 1)], by_first_letter, 0.9
    )
    assert [p.reply_id for p in kept] == ["2", "3"]
    assert [(r.id, r.reason, r.detail) for r in rejected] == [
        ("1", "near_duplicate", "cosine 0.950 with reply 2")
    ]


def test_a_detail_leads_to_the_reply_that_is_kept():
    replies = [
        pair("1", "apple", 1),
        pair("2", "Apple", 2),
        pair("3", "apple", 3),
        pair("4", "avocado", 4),
        pair("5", "apple!", 0),
    ]
    kept, rejected = drop_duplicates(replies, by_first_letter, 0.9)
    assert [p.reply_id for p in kept] == ["4"]
    near = "cosine 0.950 with reply 4"
    assert {r.id: (r.reason, r.detail) for r in rejected} == {
        "3": ("near_duplicate", near),
        "1": ("exact_duplicate", f"the same text as reply 3, itself dropped: {near}"),
        "2": ("normalised_duplicate", f"the same words as reply 3, itself dropped: {near}"),
        "5": ("normalised_duplicate", f"the same words as reply 3, itself dropped: {near}"),
    }


def test_one_reply_that_came_twice_is_kept_once():
    kept, rejected = drop_duplicates([pair("1", "so true", 3), pair("1", "so true", 3)], one_hot, 0.9)
    assert ([p.reply_id for p in kept], [r.id for r in rejected]) == (["1"], ["1"])


def test_a_threshold_above_the_similarity_keeps_both():
    assert len(drop_duplicates([pair("1", "apple"), pair("2", "avocado")], by_first_letter, 0.96)[0]) == 2


def test_no_order_of_the_input_changes_the_result():
    texts = [
        "apple",
        "Apple!",
        "apple",
        "avocado",
        "beet",
        "BEET",
        "berry",
        "carrot",
        "so true",
        "so true",
        "🔥",
    ]
    pairs = [pair(str(100 + i), text, likes=i % 4, tweet_id=str(i % 3)) for i, text in enumerate(texts)]
    expected = drop_duplicates(pairs, by_first_letter, 0.9)
    assert len(expected[0]) + len(expected[1]) == len(pairs)
    for seed in range(20):
        shuffled = random.Random(seed).sample(pairs, len(pairs))
        assert drop_duplicates(shuffled, by_first_letter, 0.9) == expected


def test_one_pair_or_none_needs_no_vectors():
    def fail(texts):
        raise AssertionError("asked for vectors")

    assert drop_duplicates([], fail, 0.9) == ([], [])
    assert len(drop_duplicates([pair("1", "a"), pair("2", "a")], fail, 0.9)[0]) == 1


def test_too_few_vectors_are_a_bug_that_shows():
    with pytest.raises(ValueError, match="2 replies have 1 vectors"):
        drop_duplicates([pair("1", "a"), pair("2", "b")], lambda texts: one_hot(texts)[:1], 0.9)


# --- the greedy rule -------------------------------------------------------------------------------


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks so small that a few hundred rows meet every seam, and a rotation even for few rows."""
    monkeypatch.setattr(greedy, "BLOCK", 16)
    monkeypatch.setattr(greedy, "CHUNK", 32)
    monkeypatch.setattr(greedy, "MIN_PRUNED", 64)
    monkeypatch.setattr(
        greedy, "CHECK_COST", 10
    )  # take narrow products even where they raise many false alarms


def clustered(rng, n, d, spread):
    centres = rng.standard_normal((max(1, n // 8), d))
    return unit(centres[rng.integers(0, len(centres), n)] + spread * rng.standard_normal((n, d)))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 220),
    d=st.sampled_from([2, 5, 40, 90]),
    spread=st.sampled_from([0.0, 0.1, 0.3, 3.0]),
    threshold=st.sampled_from([0.2, 0.7, 0.9, 0.97, 0.999]),
)
def test_the_kept_rows_are_those_of_the_naive_rule(seed, n, d, spread, threshold):
    vectors = clustered(np.random.default_rng(seed), n, d, spread)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("BLOCK", 16), ("CHUNK", 32), ("MIN_PRUNED", 64), ("CHECK_COST", 10)):
            patch.setattr(greedy, name, value)
        keep, dropped_by = greedy_keep(vectors, threshold)
    expected_keep, expected_by = naive_keep(vectors, threshold - greedy.TIE)
    assert (keep == expected_keep).all()
    assert (dropped_by == expected_by).all()


@pytest.mark.parametrize("offset", [-3e-6, 0, 3e-6])
def test_hundreds_of_cosines_within_float32_noise_of_the_threshold_are_told_apart(small_blocks, offset):
    rng = np.random.default_rng(3)
    rest = unit(rng.standard_normal((300, 80)))
    base = 0.99985 + offset
    vectors = unit(np.column_stack([np.full(300, np.sqrt(base)), np.sqrt(1 - base) * rest]))
    keep, dropped_by = greedy_keep(vectors, 0.99985)
    expected = naive_keep(vectors, 0.99985 - greedy.TIE)
    assert 1 < keep.sum() < 300
    assert (keep == expected[0]).all() and (dropped_by == expected[1]).all()


@pytest.mark.parametrize("threshold", [0.5, 0.9, 1.0])
def test_of_rows_that_are_all_the_same_the_first_stays(small_blocks, threshold):
    rng = np.random.default_rng(1)
    row = rng.standard_normal((1, 384)).astype(np.float32)
    vectors = np.repeat(
        row / np.linalg.norm(row), 500, axis=0
    )  # normalised in float32: unit to seven digits only
    keep, dropped_by = greedy_keep(vectors, threshold)
    assert keep.nonzero()[0].tolist() == [0]
    assert set(dropped_by[1:]) == {0}


def test_a_row_near_to_a_dropped_row_only_is_kept():
    angles = np.radians([0, 20, 40])
    keep, dropped_by = greedy_keep(unit(np.column_stack([np.cos(angles), np.sin(angles)])), 0.9)
    assert keep.tolist() == [True, False, True]
    assert dropped_by.tolist() == [-1, 0, -1]


def test_a_cosine_of_exactly_the_threshold_counts():
    vectors = unit([[1, 0], [0.9, np.sqrt(0.19)]])
    assert greedy_keep(vectors, 0.9)[0].tolist() == [True, False]


@pytest.mark.parametrize(
    "vectors, message",
    [
        ([[1, 0], [0, 2]], "row 1 has length 2"),
        ([[1, 0], [float("nan"), 1]], "row 1 has length nan"),
        ([[1, 0], [float("inf"), 1]], "row 1 has length inf"),
        ([[0, 0]], "row 0 has length 0"),
        ([1, 0], r"must be \(n, d\)"),
    ],
)
def test_rows_that_are_not_unit_length_are_refused(vectors, message):
    with pytest.raises(ValueError, match=message):
        greedy_keep(np.array(vectors, dtype=np.float32), 0.9)


@pytest.mark.parametrize("threshold", [1.1, -2, float("nan")])
def test_a_threshold_that_is_no_cosine_is_refused(threshold):
    with pytest.raises(ValueError, match="threshold"):
        greedy_keep(unit([[1, 0]]), threshold)


def test_no_rows_keep_none():
    keep, dropped_by = greedy_keep(np.empty((0, 384), dtype=np.float32), 0.9)
    assert keep.shape == dropped_by.shape == (0,)


@pytest.mark.parametrize("spread", [0.35, 5.0], ids=["near copies", "no two alike"])
def test_twelve_thousand_rows_give_what_the_products_over_everything_give(spread):
    vectors = clustered(np.random.default_rng(5), 12_000, 384, spread)
    keep, dropped_by = greedy_keep(vectors, 0.9)
    cosines = np.concatenate(
        [vectors[start : start + 2000] @ vectors.T >= 0.9 for start in range(0, 12_000, 2000)]
    )
    expected = np.zeros(12_000, dtype=bool)
    for row in range(12_000):
        expected[row] = not (cosines[row, :row] & expected[:row]).any()
    assert (keep == expected).all()
    dropped = np.flatnonzero(~keep)
    assert (keep[dropped_by[dropped]]).all() and (dropped_by[dropped] < dropped).all()
    assert (np.einsum("ij,ij->i", vectors[dropped], vectors[dropped_by[dropped]]) >= 0.9 - 1e-5).all()
