"""Apify's failures as sentences: what went wrong, and what to do about it. No sentence holds the token."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lib.base.errors import UserError

TOKEN = "APIFY_API_TOKEN"
ONGOING = "Nothing is lost or paid twice: run the same command again to go on from here."
ADVICE = {
    "not-enough-usage-to-run-paid-actor": (
        "The account has too little credit left for this actor: add some at console.apify.com/billing."
    ),
    "monthly-usage-limit-too-low": (
        "The account's monthly limit is reached: raise it at console.apify.com/billing/limits."
    ),
    "apify-plan-required-to-use-paid-actor": (
        "The actor needs a paid Apify plan: console.apify.com/billing, or another collect.actor."
    ),
    "max-total-charge-usd-below-minimum": (
        "The actor wants a higher cap per run: raise collect.max_usd or replies_per_tweet."
    ),
    "max-total-charge-usd-must-be-greater-than-zero": "Raise collect.max_usd (or MAX_USD) above zero.",
    400: "The actor refuses its input: check collect.queries and collect.actor.",
    401: f"{TOKEN} is not accepted: copy it again from console.apify.com/settings/integrations into .env.",
    402: "The account cannot pay for this: see console.apify.com/billing.",
    403: (
        f"{TOKEN} may not do this: give it the right to run actors at "
        "console.apify.com/settings/integrations."
    ),
    404: "There is no such thing at Apify: check collect.actor.",
}


@contextmanager
def reading(url: str, token: str, what: str) -> Iterator[None]:
    """Turns what can go wrong while reading, the client's retries included, into a sentence."""
    from apify_client.errors import ApifyApiError, InvalidResponseBodyError
    from impit import HTTPError
    from pydantic import ValidationError

    try:
        yield
    except ApifyApiError as error:
        raise UserError(hidden(sentence(error, f"reading {what}"), token)) from error
    except (KeyError, ValidationError, InvalidResponseBodyError, ValueError, TypeError) as error:
        first = error.errors()[0]["loc"] if isinstance(error, ValidationError) else str(error)
        problem = hidden(f"{type(error).__name__}: {str(first)[:120]}", token)
        raise UserError(
            f"Apify's answer about {what} is not in the known form ({problem}). {ONGOING} "
            "If it happens again, update apify-client in requirements.txt."
        ) from error
    except HTTPError as error:
        raise UserError(
            f"Apify cannot be reached at {url} ({type(error).__name__}). Check the network. {ONGOING}"
        ) from error


def sentence(error: Any, what: str) -> str:
    """An error of Apify's API, with the advice that fits it."""
    advice = ADVICE.get(error.type) or ADVICE.get(error.status_code) or ONGOING
    return f"Apify, {what}: {str(error.message)[:300]} (HTTP {error.status_code}, {error.type}). {advice}"


def hidden(text: str, token: str) -> str:
    """The text without the token, which an answer may repeat."""
    return text.replace(token, "***")
