"""lib/leaks.py: what must not be published is found, named by file and line, and never repeated in the message."""

import json

import pytest

from lib.leaks import Known, Leak, scan, word_runs

NOTHING = Known()


@pytest.mark.parametrize("secret, kind", [
    ("hf_" + "a1B2" * 8, "a Hugging Face token"),
    ("sk-ant-" + "api03-abcDEF_123-xyz", "an Anthropic key"),
    ("sk-proj-" + "a1B2" * 8, "an OpenAI key"),
    ("apify_api_" + "a1B2" * 8, "an Apify token"),
    ("rpa_" + "A1B2" * 10, "a RunPod key"),
    ("ghp_" + "a1B2" * 9, "a GitHub token"),
    ("AKIA" + "A1B2" * 4, "an AWS key"),
    ("WANDB_API_KEY=" + "0a1b" * 10, "a Weights & Biases key"),
    ("-----BEGIN " + "OPENSSH PRIVATE KEY-----", "a private key"),
    ("ann.b+c@mail.example.org", "an e-mail address"),
    ("thanks @some_person!", "an @handle"),
    ("(＠some_person)", "an @handle"),
    ("https://x.com/ann/status/123", "a link to a post or profile"),
    ("twitter.com/ann", "a link to a post or profile"),
    ("https://t.co/AbC123", "a link to a post or profile"),
    ("/" + "Users/ann/project", "a path in somebody's home"),
    ('"/' + 'home/ann"', "a path in somebody's home"),
    ("C:\\" + "Users\\ann", "a path in somebody's home"),
    (json.dumps("C:\\" + "Users\\ann"), "a path in somebody's home"),
    ("/" + "workspace/adapters", "a path of this kind of machine"),
])  # fmt: skip
def test_every_kind_of_leak_is_found_with_its_line_and_without_its_text(secret, kind):
    leaks = scan("README.md", f"line one\n\nhere: {secret} end", NOTHING)
    assert Leak("README.md", 3, kind) in leaks
    assert secret not in "".join(map(str, leaks))
    assert str(leaks[0]).startswith("README.md:3: a")


@pytest.mark.parametrize("text", [
    "Qwen/Qwen3-8B at revision " + "0a1b" * 10,
    "pip install trl==1.14.2, see https://arxiv.org/abs/2106.09685 and index.com/x",
    "lr 2e-4 @ 16 per batch; user@ is cut; box.com/help; next.config",
    "the hf_hub name, risk-anthropic, /usr/lib, home/ann, the root/ of it",
])  # fmt: skip
def test_ordinary_text_passes(text):
    assert scan("README.md", text, NOTHING) == []


def test_eight_words_of_a_training_text_are_found_across_lines_case_and_punctuation():
    known = Known(word_runs(["One two three four five six seven eight nine"]))
    assert scan("README.md", "x\nTwo, three FOUR\nfive -- six seven eight nine.", known) == [
        Leak("README.md", 2, "a run of words from the training texts")
    ]
    assert scan("README.md", "two three four five six seven eight", known) == []


def test_keys_and_folders_of_this_machine_are_found_whatever_they_look_like():
    known = Known(secrets=frozenset({"odd-looking-secret", "short"}))
    assert scan("a.json", "short odd-looking-secret", known) == [Leak("a.json", 1, "a key or folder of this machine")]
    assert "odd-looking-secret" not in repr(known)


def test_a_vocabulary_may_hold_handles_but_the_rest_of_the_tokenizer_may_not():
    vocabulary = {"model": {"vocab": {"@media": 1, "/" + "home/user": 2}, "merges": []}, "added_tokens": []}
    assert scan("tokenizer.json", json.dumps(vocabulary), NOTHING) == []
    added = {**vocabulary, "added_tokens": [{"content": "@some_person"}]}
    assert [leak.kind for leak in scan("tokenizer.json", json.dumps(added), NOTHING)] == ["an @handle"]
    key = {**vocabulary, "model": {"vocab": {"hf_" + "a1B2" * 8: 1}}}
    assert [leak.kind for leak in scan("tokenizer.json", json.dumps(key), NOTHING)] == ["a Hugging Face token"]
