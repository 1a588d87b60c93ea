"""Posts by their addresses, bought once: what the field test asks of a provider to learn likes and views."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.settings import DataConfig
from lib.collect.provider import Provider, Request
from lib.collect.purchase import Purchases
from lib.collect.worth import read_items
from lib.data.signs import status_id

PER_RUN = 100


def requests_of(config: DataConfig, links: Sequence[str]) -> list[Request]:
    """One run for every hundred posts, in the words of the config's actor."""
    actor, links = config.collect.actor, sorted(links)
    found = []
    for start in range(0, len(links), PER_RUN):
        some = links[start : start + PER_RUN]
        ids = [status_id(link) for link in some]
        asked = {"tweetIDs": ids} if actor.startswith("kaitoeasyapi/") else {"startUrls": some}
        query = f"{len(some)} posts from {ids[0]} on"
        found.append(Request("counts", query, actor, {**asked, "maxItems": len(some)}, len(some)))
    return found


def buy_posts(
    folder: Path,
    provider: Provider,
    requests: Sequence[Request],
    max_usd: float,
    confirm: Callable[[str], None],
    say: Callable[[str], None],
    again: bool = False,
) -> list[Path]:
    """The files that hold the items of the requests, bought where they were not yet; folder/ledger.jsonl.

    again: ask, and pay, once more where only filler came back. Raises UserError where the budget ends first.
    """

    def ask() -> None:
        n = sum(request.max_items for request in purchases.missing(requests))
        usd = sum(provider.price.worst_usd(request.max_items) for request in purchases.missing(requests))
        account = f" ({provider.account})" if provider.account else ""
        confirm(
            f"Likes and views of {n:,} posts from {requests[0].actor}: at most ${usd:.4f} of the "
            f"${max_usd:.2f} that this may cost{account}. Buy?"
        )

    purchases = Purchases(folder, provider, max_usd, ask, say, keep=lambda item: True, again=again)
    purchases.settle()
    if not purchases.buy(requests):
        usd = provider.price.worst_usd(requests[0].max_items)
        raise UserError(
            f"The next run can cost ${usd:.4f}, and ${purchases.spent_usd():.4f} of ${max_usd:.2f} are "
            "spent. Raise collect.max_usd (or MAX_USD)."
        )
    entries: list[Any] = [purchases.done(request) for request in requests]
    files = [folder / "raw" / entry.note["file"] for entry in entries if entry and entry.note["file"]]
    return [path for path in files if read_items(path)]
