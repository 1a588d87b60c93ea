"""Language, toxicity and meaning: real libraries on models that are small enough to be here."""

import os
from types import SimpleNamespace

import pytest

from lib.base.errors import UserError
from lib.data.scorers import detect_language, detect_languages, score_toxicity

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


@pytest.mark.parametrize(
    "text", ["DELETE THIS BEFORE MY BOSS SEES IT", "LANDLORD PAINTED OVER THE PLUG AGAIN", "WHO ATE MY SOUP?"]
)
def test_english_in_capitals_is_english(text):
    language, confidence = detect_language(text)
    assert (language, confidence > 0.8) == ("en", True)


@pytest.mark.parametrize("text", ["", "   ", "😂😂😂", "12345 !!!", "\ud83d"])
def test_a_text_without_letters_has_no_language(text):
    assert detect_languages([text]) == [("", 0.0)]


@pytest.mark.parametrize("found, kept", [(1.0000002, 1.0), (0.9, 0.9)])
def test_the_rounding_of_langdetect_makes_no_confidence_above_1(monkeypatch, found, kept):
    best = SimpleNamespace(lang="en", prob=found)
    monkeypatch.setattr("langdetect.detect_langs", lambda text: [best])
    assert detect_language("whatever it says") == ("en", kept)


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
        match=r"toxicity_model: original could not be loaded.*toxicity_model: none.*local Detoxify check",
    ):
        score_toxicity(["hello"], "original")
