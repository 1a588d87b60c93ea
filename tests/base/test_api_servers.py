"""Addresses, keys and waiting times of API servers."""

from email.utils import formatdate

import pytest

from lib.base.api_servers import api_root, bearer, is_own, retry_after, without_key
from lib.base.errors import UserError


@pytest.mark.parametrize(
    "headers, low, high",
    [
        ({"retry-after": "7"}, 7, 7),
        ({"retry-after": "0.5"}, 0.5, 0.5),
        ({"retry-after-ms": "1500"}, 1.5, 1.5),
        ({"retry-after-ms": "x", "retry-after": "3"}, 3, 3),
        ({"retry-after": formatdate(4_000_000_000, usegmt=True)}, 1e6, 4e9),
        ({"retry-after": formatdate(1_000_000_000, usegmt=True)}, 0, 0),
        ({"retry-after": "-5"}, 0, 0),
    ],
)
def test_the_time_to_wait_is_read_in_seconds_milliseconds_or_as_a_date(headers, low, high):
    assert low <= retry_after(headers) <= high


@pytest.mark.parametrize("value", ["", "soon", "nan", "Thu, 99 Foo 2026"])
def test_a_time_to_wait_that_is_none_is_left_to_the_client(value):
    assert retry_after({"retry-after": value}) is None


@pytest.mark.parametrize(
    "url, root",
    [
        ("http://localhost:8080", "http://localhost:8080/v1"),
        ("http://localhost:8080/", "http://localhost:8080/v1"),
        ("https://openrouter.ai/api/v1/", "https://openrouter.ai/api/v1"),
        ("https://example.org/openai", "https://example.org/openai"),
    ],
)
def test_an_address_without_a_path_means_v1(url, root):
    assert api_root(url) == root


@pytest.mark.parametrize(
    "host, own",
    [
        ("localhost:11434", True),
        ("127.0.0.1:8080", True),
        ("[::1]:8080", True),
        ("0.0.0.0:8000", True),
        ("192.168.1.20:1234", True),
        ("10.0.0.7", True),
        ("ollama:11434", True),
        ("host.docker.internal:11434", True),
        ("studio.local:1234", True),
        ("api.openai.com", False),
        ("openrouter.ai", False),
        ("8.8.8.8", False),
        ("local.example.com", False),
    ],
)
def test_a_server_of_ones_own_is_told_from_one_that_sends_a_bill(host, own):
    assert is_own(f"http://{host}/v1") == own


def test_a_key_comes_from_the_variable_that_is_named_and_from_nowhere_else(monkeypatch):
    assert bearer(None, "x") == {}
    monkeypatch.setenv("SOME_KEY", " abc ")
    assert bearer("SOME_KEY", "x") == {"Authorization": "Bearer abc"}
    for value in ("", "ke\ny", "kéy"):
        monkeypatch.setenv("SOME_KEY", value)
        with pytest.raises(UserError, match="x: SOME_KEY"):
            bearer("SOME_KEY", "x")


def test_a_key_is_kept_out_of_what_a_server_says_and_a_word_in_its_place_is_not():
    said = "EMPTY header, key sk-12345678"
    assert without_key(said, {"Authorization": "Bearer sk-12345678"}) == "EMPTY header, key [secret]"
    assert without_key(said, {"Authorization": "Bearer EMPTY", "x": "key"}) == said
    assert without_key(said, {"x-api-key": "sk-12345678"}) == "EMPTY header, key [secret]"
