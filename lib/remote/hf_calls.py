"""Asking the Hub: with patience where asking twice does no harm, and errors as sentences."""

from collections.abc import Callable
from typing import TypeVar

from lib.base.errors import UserError
from lib.remote.seam import Clock

T = TypeVar("T")
WAITS_S = (1, 2, 5, 15, 30)


def patiently(clock: Clock, ask: Callable[[], T], may_miss: bool = False) -> T:
    """The answer of ask. After a lost connection, a 429 or a 5xx it is asked again: a blip ends no job.

    may_miss: a 404 is raised as it came, because its meaning is the caller's. Raises UserError for all else.
    """
    import httpx

    for wait_s in (*WAITS_S, None):
        try:
            return ask()
        except (
            httpx.HTTPError,
            OSError,
            ValueError,
        ) as error:  # ValueError: hf_hub_download after a lost HEAD
            status = status_of(error)
            if status == 404 and may_miss:
                raise
            if status in (401, 403):
                raise UserError(
                    f"Hugging Face refuses HF_TOKEN ({status}). It needs write access; make one at "
                    "huggingface.co/settings/tokens."
                ) from error
            if wait_s is None or (status is not None and status < 500 and status != 429):
                said = (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
                raise UserError(
                    f"Hugging Face: {status or 'no answer'}: {said}. Run it again later."
                ) from error
        clock.sleep(wait_s)
    raise AssertionError("unreachable")


def status_of(error: BaseException | None) -> int | None:
    """The HTTP status of an error of huggingface_hub, or of its cause; None where there was no answer."""
    while error is not None:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status is not None:
            return int(status)
        error = error.__cause__
    return None
