"""Refusals of the Hub and faults of the network, each as a sentence that says what to do."""

import contextlib
from collections.abc import Iterator
from typing import Any

from lib.base.errors import UserError


@contextlib.contextmanager
def in_sentences(repo: str, endpoint: str) -> Iterator[None]:
    """Turn what the Hub and the network answer into a sentence each. Tokens stand in none of them."""
    from huggingface_hub import errors

    try:
        yield
    except (OSError, RuntimeError, ValueError, errors.HTTPError) as error:
        chain = [error]
        while (cause := chain[-1].__cause__) is not None:  # uploads wrap what went wrong
            chain.append(cause)
        for cause in chain:
            if isinstance(cause, errors.HfHubHTTPError):
                raise UserError(_answer(repo, cause)) from error
        if any(isinstance(cause, errors.OfflineModeIsEnabled) for cause in chain):
            raise UserError(
                "HF_HUB_OFFLINE is set, so nothing can be uploaded. Unset it, then run the same command "
                "again."
            ) from error
        if any(isinstance(cause, errors.HTTPError | ConnectionError | TimeoutError) for cause in chain):
            raise UserError(
                f"The connection to {endpoint} broke ({type(chain[-1]).__name__}); whether the commit "
                "arrived is not known. Run the same command again: it finds out, and sends nothing twice."
            ) from error
        if "metadata in README.md" in str(error):
            raise UserError(
                f"The Hub refused the model card's metadata: {' '.join(str(error).split())[:300]}"
            ) from error
        raise


def _answer(repo: str, error: Any) -> str:
    status, again = (
        error.response.status_code,
        "Run the same command again: what has arrived is not sent twice.",
    )
    known = {
        401: "HF_TOKEN was refused (401). Is it complete and not revoked? huggingface.co/settings/tokens "
        "shows it.",
        403: f"HF_TOKEN may not write to {repo} (403). Give it write access to that repository, or choose "
        "another --repo.",
        404: f"{repo} is not there, or HF_TOKEN may not see it (404). Check the part before the slash and "
        "the token's access.",
        409: f"The Hub is busy with another change of {repo} (409). Wait a minute. {again}",
        412: f"{repo} was changed while this ran (412), perhaps by this very upload whose answer got lost. "
        f"{again}",
        429: "The Hub asks to wait (429). Run the same command again in a few minutes; what has arrived is "
        "not sent twice.",
    }
    if status in known:
        return known[status]
    if status >= 500:
        return f"The Hub failed with {status}; whether the commit arrived is not known. {again}"
    said = " ".join(str(error.server_message or "no reason given").split())[:200]
    return f"The Hub refused the upload to {repo} ({status}: {said}). Nothing was published."
