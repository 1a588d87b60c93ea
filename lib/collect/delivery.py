"""Reading a run until it is whole: what was billed, what the provider counts and what was read are compared."""

from collections.abc import Callable
from dataclasses import replace

from lib.base.errors import UserError
from lib.collect.provider import Delivery, Provider, Request, Run

LAG_S = 10  # by which a data set's counters may lag (github.com/apify/apify-docs/issues/1309)
WAITS_S = (1, 2, 4, 8, 15)


def read_whole(
    provider: Provider, request: Request, run: Run, say: Callable[[str], None], sleep: Callable[[float], None]
) -> tuple[Delivery, str]:
    """What the run delivered, read again while rows are missing; and a sentence where they still are, else ""."""
    floor, n_total = provider.price.floor, 0
    for seconds in (*WAITS_S, None):
        delivery = provider.items(request, run)
        n_total = max(
            n_total, delivery.n_total
        )  # a count that shrinks is believed as little as one that lags
        delivery = replace(delivery, n_total=n_total)
        billed = "" if run.n_billed is None else f" and {run.n_billed} were billed"
        counts = f"run {run.id} ({request.query}) gave {len(delivery.items)} rows where {n_total} are counted{billed}"
        # Where the least charge was billed only the counters can tell, and not before they have caught up.
        in_doubt = run.n_billed == floor > len(delivery.items) and not run.has_ended_for(LAG_S)
        if delivery.is_whole(run, floor) and not (in_doubt and seconds):
            if len(delivery.items) < delivery.n_expected(run, floor):
                say(f"warning: {counts}; what is missing holds nothing, or was billed without rows")
            return delivery, ""
        if seconds is not None:
            say(f"{counts}: reading it again in {seconds} s")
            sleep(seconds)
    return delivery, counts


def refuse_short(missing: list[str]) -> None:
    """Stop where runs are not whole. missing: their sentences, "" for those that are. Raises UserError."""
    if missing := [sentence for sentence in missing if sentence]:
        raise UserError(
            f"Not everything that was paid for could be read: {'; '.join(missing)}. "
            "Nothing is lost or paid twice: run the same command again in a few minutes, it reads the same runs again for free. "
            "An hour after the end of a run, what its data set then says it holds is taken as all."
        )
