"""lib/publish/leaks.py: what must not be published is found, named by file and line, and never repeated in
the message."""

import base64
import html
import json
import string
from urllib.parse import quote

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lib.publish.known import Known, word_runs
from lib.publish.leaks import Leak, scan

NOTHING = Known()


@pytest.mark.parametrize("secret, kind", [
    ("hf_" + "a1B2" * 8, "a Hugging Face token"),
    ("sk-ant-" + "api03-abcDEF_123-xyz", "an Anthropic key"),
    ("sk-proj-" + "a1B2" * 8, "an OpenAI key"),
    ("apify_api_" + "a1B2" * 8, "an Apify token"),
    ("rpa_" + "A1B2" * 10, "a RunPod key"),
    ("ghp_" + "a1B2" * 9, "a GitHub token"),
    ("github_pat_" + "a1B2" * 9, "a GitHub token"),
    ("gho_" + "a1B2" * 9, "a GitHub token"),
    ("AKIA" + "A1B2" * 4, "an AWS key"),
    ("aws_secret_access_key = " + "wJ/+" * 10, "an AWS key"),
    ("AIza" + "a1B-_" * 7, "a Google key"),
    ("xoxb-" + "1234567890-abcDEF", "a Slack token"),
    ("hooks.slack.com/services/" + "T000/B000/" + "a1B2" * 6, "a Slack token"),
    ("sk_live_" + "a1B2" * 6, "a Stripe key"),
    ("rk_live_" + "a1B2" * 6, "a Stripe key"),
    ("glpat-" + "a1B2-" * 4, "a GitLab token"),
    ("npm_" + "a1B2" * 9, "a package registry's token"),
    ("eyJ" + "hbGciOiJI" + ".eyJ" + "zdWIiOiIx" + ".c2ln", "a signed token (JWT)"),
    ("postgres://ann:" + "s3cret@db/x", "a password in an address"),
    ('"service_api_key": "' + "a1B2" * 6 + '"', "a value named as a secret"),
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
    ("/srv/" + "models/x", "a path of this kind of machine"),
    ("/data/" + "x", "a path of this kind of machine"),
    ("D:\\" + "models\\x", "a path of this kind of machine"),
    ("file:" + "///x/y", "a path of this kind of machine"),
    ("~/" + "models/x", "a path in somebody's home"),
    ("../" + "models/x", "a path of this kind of machine"),
    ("tweet_id: 1799999999999999999", "an id of a post"),
    ('"in_reply_to_status_id": "1799999999999999999"', "an id of a post"),
    ("\u8c22\u8c22@some_person\u7684", "an @handle"),
])  # fmt: skip
def test_every_kind_of_leak_is_found_with_its_line_and_without_its_text(secret, kind):
    leaks = scan("README.md", f"line one\n\nhere: {secret} end", NOTHING)
    assert Leak("README.md", 3, kind) in leaks
    assert secret not in "".join(map(str, leaks))
    assert str(leaks[0]).startswith("README.md:3: a")


def kinds(text):
    return {leak.kind for leak in scan("README.md", f"here: {text} end", NOTHING)}


SHORTEST = {
    "a Hugging Face token": {"hf_": 16, "api_org_": 16},
    "an Anthropic key": {"sk-ant-": 10},
    "an OpenAI key": {"sk-": 20},
    "an Apify token": {"apify_api_": 10},
    "a RunPod key": {"rpa_": 10},
    "a GitHub token": {f"gh{of}_": 20 for of in "pousr"} | {"github_pat_": 20},
    "a GitLab token": {f"gl{of}-": 20 for of in ("pat", "ptt", "dt", "rt", "cbt", "soat")},
    "a Google key": {"AIza": 35, "GOCSPX-": 20, "ya29.": 20},
    "a Slack token": {"xoxb-": 10, "xoxp-": 10, "xapp-": 10},
    "a Stripe key": {f"{of}_{mode}_": 10 for of in ("sk", "rk", "pk") for mode in ("live", "test")}
    | {"whsec_": 16},
    "a key of a model provider": dict.fromkeys(
        ("gsk_", "r8_", "pplx-", "xai-", "nvapi-", "fw_", "csk-", "tgp_v1_"), 30
    ),
    "a package registry's token": {"npm_": 30, "pypi-": 40},
    "a Weights & Biases key": {"wandb_v1_": 20},
    "a key of a service": {"dop_v1_": 32, "12345678:AA": 33, "AAAA": 60, "AccountKey=": 40},
    "a signed token (JWT)": {"eyJhbGciOiJI.eyJ": 8},
}


@pytest.mark.parametrize("kind", SHORTEST)
def test_a_key_is_one_from_its_shortest_length_on(kind):
    for prefix, n in SHORTEST[kind].items():
        letters = ("a1b2" * 20)[:n]
        ending = "." if kind == "a signed token (JWT)" else ""
        assert kind in kinds(prefix + letters + ending), prefix
        assert kind not in kinds(prefix + letters[:-1] + ending), prefix


@pytest.mark.parametrize("prefix", ["AKIA", "ASIA", "ABIA", "ACCA"])
def test_an_aws_key_has_sixteen_letters_and_no_more(prefix):
    assert "an AWS key" in kinds(prefix + "A1B2" * 4)
    assert not {"an AWS key"} & (kinds(prefix + "A1B2" * 4 + "C") | kinds(prefix + "A1B2" * 3 + "A1B"))


ROOTS = (
    "workspace tmp private var/log mnt Volumes content srv data opt media scratch nfs dev/shm kaggle model "
    "models checkpoints datasets storage net gpfs lustre runpod-volume teamspace notebooks"
)


@pytest.mark.parametrize("folder", [f"/{root}/x" for root in ROOTS.split()] + ["./x", "file:/x", "C:/x"])
def test_a_folder_of_this_kind_of_machine_is_one(folder):
    assert "a path of this kind of machine" in kinds(folder)
    assert "a path of this kind of machine" not in kinds(f"see{folder.replace('file:', '').lstrip('C:')}")


@pytest.mark.parametrize(
    "link", ["x.com/ann", "www.twitter.com/a", "mobile.x.com/a", "m.twitter.com/a", "t.co/A1", "nitter.net/a"]
)
def test_a_link_to_a_profile_is_one_wherever_x_is_read(link):
    assert "a link to a post or profile" in kinds(link)
    assert "a link to a post or profile" not in kinds(f"box{link}")


@pytest.mark.parametrize("name", ["status", "tweet", "post", "reply", "conversation", "reply_id"])
def test_an_id_of_a_post_has_15_to_19_digits_behind_its_name(name):
    for n, is_one in ((14, False), (15, True), (19, True), (20, False)):
        assert ("an id of a post" in kinds(f"{name}: {'1' * n}")) == is_one, n


@pytest.mark.parametrize("text", [
    "Qwen/Qwen3-8B at revision " + "0a1b" * 10,
    "pip install trl==1.14.2, see https://arxiv.org/abs/2106.09685 and index.com/x",
    "lr 2e-4 @ 16 per batch; user@ is cut; box.com/help; next.config",
    '{"model_max_length": 1000000000000000019884624838656, "p": 0.1234567890123456789, "seed": 3407, '
    '"eos_token": "<|im_end|>"}',
    "x_key: value, password: none, 12 tokens = 30; (?i:'s|'t)|[^\\r\\n\\p{L}]?\\p{L}+",
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
    assert scan("a.json", "short odd-looking-secret", known) == [
        Leak("a.json", 1, "a key or folder of this machine")
    ]
    assert scan("a.json", "short", known) == []  # too short to be told from a word
    assert "odd-looking-secret" not in repr(known)


@pytest.mark.parametrize("text", ["by Elon_Musk", "ELON_MUSK.", "_elon_musk_"])
def test_an_author_of_the_data_is_found_in_any_case_and_within_emphasis(text):
    assert [leak.kind for leak in scan("README.md", text, Known(handles=frozenset({"elon_musk"})))] == [
        "the handle of an author in the data"
    ]


def test_a_vocabulary_may_hold_handles_but_the_rest_of_the_tokenizer_may_not():
    vocabulary = {"model": {"vocab": {"@media": 1, "/" + "home/user": 2}, "merges": []}, "added_tokens": []}
    assert scan("tokenizer.json", json.dumps(vocabulary), NOTHING) == []
    merged = {"model": {"vocab": {"@media": 1}, "merges": [["@media", "x"]]}}
    assert scan("tokenizer.json", json.dumps(merged), NOTHING) == []
    added = {**vocabulary, "added_tokens": [{"content": "@some_person"}]}
    assert [leak.kind for leak in scan("tokenizer.json", json.dumps(added), NOTHING)] == ["an @handle"]
    key = {**vocabulary, "model": {"vocab": {"hf_" + "a1B2" * 8: 1}}}
    assert [leak.kind for leak in scan("tokenizer.json", json.dumps(key), NOTHING)] == [
        "a Hugging Face token"
    ]


KEY = "hf_" + "a1B2" * 8
TEXT = "One two three four five six seven eight nine ten eleven"
KNOWN = Known(
    word_runs([TEXT]),
    frozenset({"odd-looking-secret/1"}),
    frozenset({"elon_musk"}),
    frozenset({"1799999999999999999"}),
)
PLANTED = [
    KEY,
    "@some_person",
    "odd-looking-secret/1",
    "elon_musk",
    "1799999999999999999",
    TEXT,
    "ann@example.org",
    "sk_live_" + "a1B2" * 6,
]
PACKABLE = [
    KEY,
    "odd-looking-secret/1",
    "1799999999999999999",
    TEXT,
]  # what is worth a look into base64 and hexadecimal numbers


def _escaped(text):
    return "".join(f"\\u{ord(character):04x}" for character in text)


def _between(text, what, every):
    return what.join(text[at : at + every] for at in range(0, len(text), every))


ENCODINGS = [
    lambda text, n: text,
    lambda text, n: _between(text, "\u200b", n),
    lambda text, n: _between(text, "\u00ad", n),
    lambda text, n: _between(text, "**", n),
    lambda text, n: _between(text, "<b></b>", n),
    lambda text, n: _between(text, "<!-- -->", n),
    lambda text, n: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
    lambda text, n: text.replace(" ", " [](/x) "),
    lambda text, n: _escaped(text),
    lambda text, n: "".join(f"&#{ord(c)};" for c in text),
    lambda text, n: "".join(f"&#x{ord(c):X};" for c in text),
    lambda text, n: html.escape(text),
    lambda text, n: quote(text, safe=""),
    lambda text, n: "".join(f"%{ord(c):02x}" for c in text),
    lambda text, n: json.dumps(json.dumps({"note": [text]})),
    lambda text, n: _escaped(quote(text)),
    lambda text, n: "".join(f"\\x{ord(c):02x}" for c in text),
]
PACKINGS = [
    lambda text: base64.b64encode(text.encode()).decode(),
    lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    lambda text: base64.encodebytes(text.encode()).decode(),
    lambda text: text.encode().hex(),
]
PLACES = [
    ("README.md", lambda text: f"# Title\n\nSome words: {text}\n"),
    ("README.md", lambda text: "---\n" + yaml.safe_dump({"note": text}) + "---\n"),
    ("LICENSE", lambda text: f"a licence ({text})"),
    ("chat_template.jinja", lambda text: "{# " + text + " #}"),
    ("adapter_config.json", lambda text: json.dumps({"a": {text: 1}})),
    ("tokenizer_config.json", lambda text: json.dumps({"a": [1, {"b": text}]}, indent=2)),
    ("eval/summary.json", lambda text: '{"a": "' + "".join(f"\\u{ord(c):04X}" for c in text) + '"}'),
    (
        "tokenizer.json",
        lambda text: json.dumps({"model": {"vocab": {"a": 1}}, "added_tokens": [{"content": text}]}),
    ),
]


@given(st.sampled_from(PLANTED), st.sampled_from(ENCODINGS), st.integers(2, 9), st.sampled_from(PLACES))
def test_what_is_planted_is_found_in_every_spelling_in_every_file(planted, encode, every, place):
    file, put = place
    leaks = scan(file, put(encode(planted, every)), KNOWN)
    assert leaks
    assert planted not in "".join(map(str, leaks))


@given(st.sampled_from(PACKABLE), st.sampled_from(PACKINGS), st.sampled_from(PLACES))
def test_what_is_planted_is_found_in_base64_and_hexadecimal_numbers(planted, pack, place):
    file, put = place
    assert scan(file, put(pack(planted)), KNOWN)


@given(st.sampled_from([*PACKABLE, "elon_musk"]), st.integers(1, 60), st.sampled_from(PLACES))
def test_what_is_planted_is_found_across_a_line_break(planted, at, place):
    file, put = place
    at = 1 + at % (len(planted) - 1)
    for line_break in ("\n", "\r\n  ", "\n> ", "\n# "):
        assert scan(file, put(planted[:at] + line_break + planted[at:]), KNOWN), line_break


@given(
    st.text(string.ascii_letters + string.digits, min_size=34, max_size=34),
    st.sampled_from(["hf_", "rpa_", "apify_api_", "ghp_"]),
)
def test_any_key_of_a_known_kind_is_found_and_only_hinted_at(letters, prefix):
    leaks = scan("README.md", f"key={prefix}{letters}", NOTHING)
    assert leaks
    assert letters[4:] not in "".join(map(str, leaks))


WORDS = [
    "the",
    "model",
    "of",
    "a",
    "tuned",
    "reply,",
    "12",
    "steps",
    "0.00012",
    "r=16",
    "(see",
    "Qwen/Qwen3-8B);",
    "q_proj",
    "@",
    "-",
]


@given(st.lists(st.sampled_from(WORDS), max_size=60))
def test_words_of_a_card_in_any_order_pass(words):
    assert scan("README.md", " ".join(words) + "\n" + "\n".join(words), KNOWN) == []


def test_a_tokenizer_of_common_words_passes_and_a_text_in_it_does_not():
    vocabulary = {
        f"Ġ{first}{second}": n
        for n, (first, second) in enumerate((a, b) for a in "abcdefgh" for b in ("elon_musk", "=" * 40))
    }
    assert (
        scan("tokenizer.json", json.dumps({"model": {"vocab": vocabulary, "merges": [["a", "b"]]}}), KNOWN)
        == []
    )
    for planted in (TEXT.replace(" ", "Ġ"), "xyodd-looking-secret/1", "1799999999999999999"):
        assert scan("tokenizer.json", json.dumps({"model": {"vocab": {**vocabulary, planted: 99}}}), KNOWN), (
            planted
        )
