"""Addresses, keys and waiting times of API servers, OpenAI-compatible ones above all."""

import email.utils
import ipaddress
import os
import time
from collections.abc import Mapping
from datetime import UTC
from urllib.parse import urlsplit

from lib.base.credentials import MASK, MIN_CHARS
from lib.base.errors import UserError

CHAT = "/chat/completions"
OWN_NAMES = (".local", ".lan", ".internal", ".home.arpa", ".localhost")  # no name of the public internet


def api_root(base_url: str) -> str:
    """The address that paths are appended to; http://localhost:8080 means /v1 to all of these servers."""
    root = base_url.rstrip("/")
    return root if urlsplit(root).path else root + "/v1"


def is_own(base_url: str) -> bool:
    """True for a server on this machine or in its own network, which sends no bill."""
    host = urlsplit(base_url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(OWN_NAMES)
    return address.is_loopback or address.is_private or address.is_link_local


def bearer(variable: str | None, whose: str) -> dict[str, str]:
    """The header with the key that the environment variable holds; none for a server without one.

    whose: begins the sentence of a key that is missing or cannot be one (UserError).
    """
    if not variable:
        return {}
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UserError(
            f"{whose}: {variable} is not set. Put the server's key into .env, or remove api_key_env."
        )
    if not key.isascii() or not key.isprintable():
        raise UserError(f"{whose}: {variable} holds characters that no key has. Paste it again.")
    return {"Authorization": f"Bearer {key}"}


def without_key(text: str, headers: Mapping[str, str]) -> str:
    """Words of a server, some of which quote the request back. A key like EMPTY is no secret, but a word."""
    keys = [value.removeprefix("Bearer ") for value in headers.values()]
    for key in filter(lambda key: len(key) >= MIN_CHARS, keys):
        text = text.replace(key, MASK)
    return text


def key_advice(variable: str | None) -> str:
    """A sentence for whom a server has refused."""
    return (
        f"Check {variable} in .env."
        if variable
        else "The server wants a key: set api_key_env to the name of the variable that holds it."
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from milliseconds, a number of seconds or a date; None where there is nothing to read."""
    for name, factor in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            seconds = float(headers.get(name, "")) / factor
        except ValueError:
            continue
        return max(seconds, 0.0) if seconds == seconds else None
    try:
        moment = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(moment.timestamp() - time.time(), 0.0)
    except (TypeError, ValueError, OverflowError):
        return None
