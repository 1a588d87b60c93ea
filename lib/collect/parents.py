"""Tweets that replies in raw/ answer and raw/ does not hold, bought by their ids: each is asked for once."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from lib.base.errors import UserError
from lib.base.files import lock, read_json, write_json
from lib.base.ledger import COLLECT, Ledger
from lib.base.settings import DataConfig
from lib.collect.collection import Talk
from lib.collect.provider import Provider, Request
from lib.collect.purchase import Purchases, request_of
from lib.collect.rereading import read_again
from lib.collect.worth import is_storable, post_in, read_items
from lib.data.forget import Forgotten
from lib.data.pairs import join
from lib.data.raw import raw_files, read_raw
from lib.data.signs import status_id

STEP = "parents"
BATCH = 100  # ids of one run
ADDRESS = "https://x.com/i/status/"


def request(config: DataConfig, source: str, ids: Sequence[str]) -> Request:
    """The run that fetches the tweets with these ids, in the words of the source or of its actor."""
    n, query = len(ids), f"{len(ids):,} tweets by id"
    if source == "twscrape":
        return Request(STEP, query, source, {"tweet_ids": list(ids)}, n)
    if config.collect.actor.startswith("kaitoeasyapi/"):
        return Request(STEP, query, config.collect.actor, {"tweetIDs": list(ids), "maxItems": n}, n)
    addresses = [ADDRESS + tweet_id for tweet_id in ids]
    return Request(STEP, query, config.collect.actor, {"startUrls": addresses, "maxItems": n}, n)


def buy_missing(
    folder: Path, config: DataConfig, provider: Provider, max_usd: float, talk: Talk, again: bool = False
) -> str:
    """Buy into data/<set>/raw what its replies answer. Returns what came of it, in words.

    The question names the number and the price. No id is asked for twice, found or not; again: but for those
    of runs that brought nothing but filler. Raises UserError where max_usd does not allow one run.
    """
    with lock(folder / "collect.lock"):
        forgotten = Forgotten.load(folder.parent / "forgotten.json")

        def ask() -> None:
            if provider.price.worst_usd(1):
                talk.confirm(_question(purchases, purchases.missing(wanted), provider))

        keep = partial(is_storable, forgotten.holds)
        purchases = Purchases(folder, provider, max_usd, ask, talk.say, keep, again, talk.sleep)
        before = _requests_before(folder, provider.name)
        unread = purchases.missing(before)
        purchases.settle()
        read_again(folder, purchases)
        asked = {tweet_id for one in before for tweet_id in ids_of(one)}
        missing = missing_tweets(folder, config, forgotten)
        ids = [one for one in missing if one not in asked and not forgotten.holds(one)]
        new = [request(config, provider.name, ids[at : at + BATCH]) for at in range(0, len(ids), BATCH)]
        wanted, spent_usd = [*before, *new], purchases.spent_usd()
        n_to_buy = len(purchases.missing(wanted))
        purchases.buy(wanted)
        bought = [one for one in (*unread, *new) if not purchases.missing([one])]
        if n_to_buy and not bought:
            raise UserError(
                f"No missing tweet was bought: a run can cost ${provider.price.worst_usd(BATCH):.2f}, and "
                f"${spent_usd:.2f} of ${max_usd:.2f} are spent. Raise collect.max_usd (or MAX_USD)."
            )
        _touch(folder)
        return _outcome(folder, purchases, bought, missing, spent_usd)


def missing_tweets(folder: Path, config: DataConfig, forgotten: Forgotten) -> list[str]:
    """Ids that replies answer and raw/ lacks: as pairing listed them, if raw/ has not changed since."""
    files = raw_files(folder / "raw", config.collect.files)
    listed = folder / "interim" / "missing_tweets.txt"
    newest = max((file.path.stat().st_mtime for file in files), default=0.0)
    if listed.is_file() and listed.stat().st_mtime > newest:
        return list(filter(None, map(status_id, listed.read_text(encoding="utf-8").split())))
    return join(read_raw(files), forgotten.holds).missing_tweets


def ids_of(one: Request) -> list[str]:
    """The ids that a request asks for, under whichever name its actor takes them."""
    names = ("tweet_ids", "tweetIDs", "startUrls")
    given: list[str] = next((one.input[name] for name in names if name in one.input), [])
    return [status_id(value) or value for value in given]


def _requests_before(folder: Path, source: str) -> list[Request]:
    intents = [entry for entry in Ledger(folder / "ledger.jsonl").entries() if entry.state == "intent"]
    mine = [one for one in intents if one.kind == COLLECT and one.note.get("source") == source]
    requests = [request_of(one) for one in mine if one.note.get("step") == STEP]
    return [one for place, one in enumerate(requests) if one not in requests[:place]]


def _question(purchases: Purchases, requests: Sequence[Request], provider: Provider) -> str:
    price, n_ids = provider.price, sum(len(ids_of(one)) for one in requests)
    floor = f", at least {price.floor} items billed per run" if price.floor else ""
    left_usd = max(0.0, purchases.max_usd - purchases.spent_usd())
    most_usd = min(left_usd, sum(price.worst_usd(one.max_items) for one in requests))
    lines = [
        f"{requests[0].actor}: ${1000 * price.usd_per_item:.2f} per 1,000 items ({price.model}{floor})",
        f"  missing   {n_ids:>5,} tweets that replies in raw/ answer, by id, in {len(requests):,} runs",
        f"  cost      at most ${most_usd:.2f}",
        f"  spent     ${purchases.spent_usd():.2f} of the ${purchases.max_usd:.2f} that this set may cost",
    ]
    account = [f"  account   {provider.account}"] if provider.account else []
    return "\n".join([*lines, *account, "Start?"])


def _touch(folder: Path) -> None:
    """Let make see that raw/ may hold more: pairs are made when raw/manifest.json is newer."""
    path = folder / "raw" / "manifest.json"
    if path.is_file():
        write_json(path, read_json(path))


def _outcome(
    folder: Path, purchases: Purchases, bought: Sequence[Request], missing: Sequence[str], spent_usd: float
) -> str:
    asked = {tweet_id for one in bought for tweet_id in ids_of(one)}
    files = [entry.note["file"] for one in bought if (entry := purchases.done(one))]
    items = [item for name in files if name for item in read_items(folder / "raw" / name)]
    found = asked & {post.id for item in items if (post := post_in(item))}
    lines = [f"collect: {len(found):,} of {len(asked):,} missing tweets found by id"]
    if n := len(asked - found):
        lines.append(
            f"  {n:,} did not come: deleted, private, or the provider gave filler only (then AGAIN=1 asks, "
            "and pays, once more)"
        )
    if n := len(set(missing) - asked):
        lines.append(f"  {n:,} more are missing: asked for before and not found, or the budget is used up")
    return "\n".join([*lines, f"  cost      ${purchases.spent_usd() - spent_usd:.4f}"])
