"""The model that is built on the spot: a real Qwen3, only small."""

import json
import threading
from pathlib import Path

import pytest

from lib.base.errors import UserError
from lib.data.splits import split_of
from lib.model import tiny
from lib.model.chat import rendered


def test_tiny_is_a_qwen3_with_qwen3s_tokens_and_template(workspace):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tiny.ensure_tiny()
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert type(model).__name__ == "Qwen3ForCausalLM"
    assert model.get_input_embeddings().num_embeddings == len(tokenizer)
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    assert model.generation_config.eos_token_id == tokenizer.convert_tokens_to_ids(
        ["<|im_end|>", "<|endoftext|>"]
    )
    assert len(tokenizer("<|im_start|><think></think><tool_call><|im_end|>")["input_ids"]) == 5
    chat = [{"role": "user", "content": "hello"}]
    prompt = rendered(tokenizer, chat, is_prompt=True)
    assert prompt == "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


@pytest.mark.parametrize("text", ["Größe 👩‍👩‍👧 ¿qué?", "a\n\n b  c", "\u2028 \t x", "日本語 العربية"])
def test_the_tokenizer_gives_every_text_back(workspace, text):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny.ensure_tiny())
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_base_model_has_read_no_reply_and_nothing_that_the_sample_holds_out(workspace):
    items = [json.loads(line) for line in tiny.CORPUS.read_text().splitlines()]
    tweets = {
        item["text"]: split_of(item["author"]["userName"], tiny.HELD_OUT)
        for item in items
        if not item.get("isReply")
    }
    assert set(tiny._texts(tiny.CORPUS)) == {text for text, split in tweets.items() if split == "train"}
    assert set(tweets.values()) == {"train", "val", "test"}


def test_two_builders_at_the_same_time_build_it_once(workspace, monkeypatch):
    built = []

    def build(corpus, folder):
        built.append(folder)
        folder.mkdir()
        (folder / "manifest.json").write_text("{}")

    monkeypatch.setattr(tiny, "_build", build)
    monkeypatch.setattr(tiny, "VERSION", "of this test")
    threads = [threading.Thread(target=tiny.ensure_tiny) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1


def test_a_build_that_was_killed_is_built_again(workspace, monkeypatch):
    monkeypatch.setitem(tiny.SETTINGS, "passes", 1)
    torn = Path("data/cache") / f"tiny-{tiny.tiny_hash()[:16]}"
    torn.mkdir()
    (torn / "model.safetensors").write_bytes(b"half")
    assert tiny.ensure_tiny() == torn
    assert (torn / "manifest.json").is_file()
    assert (torn / "model.safetensors").stat().st_size > 1_000_000


def test_the_same_corpus_gives_the_same_weights(workspace, monkeypatch, tmp_path):
    monkeypatch.setitem(tiny.SETTINGS, "passes", 1)
    files = []
    for name in ("a", "b"):
        tiny._build(tiny.CORPUS, tmp_path / name)
        files.append(
            [(tmp_path / name / file).read_bytes() for file in ("model.safetensors", "tokenizer.json")]
        )
    assert files[0] == files[1]


def test_a_changed_corpus_is_another_model(workspace):
    before = tiny.tiny_hash()
    with tiny.CORPUS.open("a") as corpus:
        corpus.write("\n")
    assert tiny.tiny_hash() != before


def test_a_corpus_without_text_is_a_sentence(workspace):
    tiny.CORPUS.write_text("not json\n[]\n3\n")
    with pytest.raises(UserError, match="holds no text to train the model `tiny` on"):
        tiny.ensure_tiny()
