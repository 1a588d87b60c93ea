"""The collecting job: queries -> tweets -> replies, until there are enough pairs or the budget is used up.

Which provider delivers is not known here (lib/collect/provider.py), nor is how a run is bought once
(lib/collect/purchase.py).
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import content_hash, lock, read_json, write_json
from lib.base.settings import DataConfig
from lib.collect.forecast import PAIRS_PER_TWEET, Outcome, estimate, time_left
from lib.collect.provider import Provider, Request
from lib.collect.purchase import Purchases, has_open
from lib.collect.rereading import damaged, read_again
from lib.collect.worth import count_pairs, is_post, is_storable, read_items, wanted_tweets
from lib.data.forget import Forgotten
from lib.data.items import is_filler

WINDOW = 8  # tweets whose replies are asked for at a time
CHECK_FILLER = (
    "See that the queries find posts on x.com; if they do, wait a quarter of an hour (throttling). "
    "Then the same command with AGAIN=1 asks, and pays, once more."
)
JUDGE_ONLY = {
    *("toxicity_model", "max_toxicity", "min_language_confidence"),
    *("max_replies_per_author", "max_replies_per_tweet", "promotion", "filler"),
}
MakeRequest = Callable[[str, str], Request]  # step, query or tweet id


def config_hash(config: DataConfig) -> str:
    """Changes with whatever changes what is collected.

    The budget does not, nor do the bounds that only judge what is there.
    """
    bounds = config.filter.model_dump(exclude=JUDGE_ONLY)
    # Absent where false, as in jobs from before there were such keys.
    bounds = {key: value for key, value in bounds.items() if value or key not in ("tweet_media", "tweet_url")}
    asked = config.collect.model_dump(exclude={"max_usd", "run_minutes", "files", "min_pairs", "max_pairs"})
    return content_hash(asked, bounds)


def finished(folder: Path, config: DataConfig, max_usd: float) -> Outcome | None:
    """The outcome of a job under this very config that can do no more: not within max_usd, or not at all.

    A run that is paid for and not read yet (of a later job that was cut short) is something to do, and so is
    a raw file that is damaged: the job reads both again.
    """
    path = folder / "raw" / "manifest.json"
    manifest = read_json(path) if path.is_file() else {}
    if (
        manifest.get("config_hash") != config_hash(config)
        or damaged(folder)
        or has_open(folder, manifest.get("source", ""))
    ):
        return None
    outcome = Outcome(**{name: manifest[name] for name in Outcome.__dataclass_fields__ if name in manifest})
    return None if outcome.stopped == "budget" and max_usd > outcome.max_usd else outcome


@dataclass(frozen=True)
class Talk:
    """The job's voice.

    confirm: gets the estimate before the first paid start, raises UserError to stop. say: a line of progress.
    """

    confirm: Callable[[str], None]
    say: Callable[[str], None]
    sleep: Callable[[float], None] = time.sleep


def collect(
    folder: Path,
    config: DataConfig,
    provider: Provider,
    request: MakeRequest,
    max_usd: float,
    talk: Talk,
    again: bool = False,
) -> Outcome:
    """Run the job in data/<set>: go on where it stopped, start nothing that could exceed max_usd.

    again: ask (and pay) once more where only filler came back; without it that is a UserError.
    """
    with lock(folder / "collect.lock"):
        buyer = partial(Purchases, folder, provider, max_usd, again=again, sleep=talk.sleep)
        return _Job(folder, config, provider, request, talk, buyer).run()


@dataclass(frozen=True)
class Seen:
    """The replies to one tweet: pairs that count, items, and how many of these are filler."""

    pairs: int
    items: int
    filler: int


class _Job:
    """One run of the job, under the set's lock."""

    def __init__(
        self,
        folder: Path,
        config: DataConfig,
        provider: Provider,
        request: MakeRequest,
        talk: Talk,
        buyer: Callable[..., Purchases],
    ) -> None:
        self.folder, self.config, self.request, self.talk = folder, config, request, talk
        self.price, self.account = provider.price, provider.account
        self.source, self.check = provider.name, provider.check
        forgotten = Forgotten.load(folder.parent / "forgotten.json")
        keep = partial(is_storable, forgotten.holds)
        self.purchases = buyer(before_first=self.ask, say=talk.say, keep=keep)
        self.searches = [request("search", query) for query in dict.fromkeys(config.collect.queries)]
        self.tweets: dict[str, Any] = {}  # id -> item
        self.seen: dict[str, Seen] = {}  # tweet id -> its replies

    def run(self) -> Outcome:
        self.purchases.settle()
        read_again(self.folder, self.purchases)
        within_budget = self.purchases.buy(self.searches)
        self.see_tweets()
        self.start, self.n_before = time.monotonic(), self.n_pairs
        while within_budget and self.n_missing > 0 and (window := self.next_tweets()):
            within_budget = self.purchases.buy([self.request("replies", tweet_id) for tweet_id in window])
            self.see_replies(window)
            self.refuse_filler(n_runs=5)
            self.talk.say(self.progress())
        return self.close(within_budget)

    def progress(self) -> str:
        """Tweets, pairs and dollars so far, and the time left at the pace of this call."""
        left = time_left(time.monotonic() - self.start, self.n_pairs - self.n_before, self.n_missing)
        return (
            f"replies to {len(self.seen)} of {len(self.tweets)} tweets: about {self.n_pairs} pairs, "
            f"${self.purchases.spent_usd():.2f} of ${self.purchases.max_usd:.2f} so far{left}"
        )

    @property
    def n_pairs(self) -> int:
        return sum(seen.pairs for seen in self.seen.values())

    @property
    def n_missing(self) -> int:
        return self.config.collect.target_pairs - self.n_pairs

    def items_of(self, request: Request) -> list[Any] | None:
        """Items that were bought for a request, None if none were."""
        entry = self.purchases.done(request)
        if not entry:
            return None
        # No file: the provider had deleted the run's results before they were read.
        return read_items(self.folder / "raw" / entry.note["file"]) if entry.note["file"] else []

    def see_tweets(self) -> None:
        """Read what the searches found. Raises UserError where they were billed for nothing but filler."""
        found = [items for request in self.searches if (items := self.items_of(request)) is not None]
        if found and not any(is_post(item) for items in found for item in items):
            raise UserError(
                f"{len(found)} searches brought {sum(map(len, found))} rows and not one post (what there is, "
                "is filler or cannot be read); "
                f"${self.purchases.spent_usd():.2f} spent so far. {self.check} {CHECK_FILLER}"
            )
        self.tweets = wanted_tweets(found, self.config.filter)
        self.see_replies(list(self.tweets))

    def see_replies(self, tweet_ids: Sequence[str]) -> None:
        for tweet_id in tweet_ids:
            items = self.items_of(self.request("replies", tweet_id))
            if items is not None:
                n_filler = sum(map(is_filler, items))
                self.seen[tweet_id] = Seen(
                    count_pairs(self.tweets[tweet_id], items, self.config.filter), len(items), n_filler
                )

    def refuse_filler(self, n_runs: int) -> None:
        """Stop paying for filler: n_runs reply runs are enough to know."""
        n_filler, n_items = (
            sum(getattr(seen, name) for seen in self.seen.values()) for name in ("filler", "items")
        )
        if len(self.seen) >= n_runs and 0 < n_filler == n_items:
            raise UserError(
                f"Replies to {len(self.seen)} tweets brought {n_filler} rows of filler and not one reply; "
                f"${self.purchases.spent_usd():.2f} spent so far. {self.check} {CHECK_FILLER}"
            )

    def next_tweets(self) -> list[str]:
        """Few enough not to overshoot the target by much: every one is paid for."""
        n = min(WINDOW, max(1, math.ceil(self.n_missing / PAIRS_PER_TWEET)))
        missing, ask_for = self.purchases.missing, partial(self.request, "replies")
        return list(islice((tweet_id for tweet_id in self.tweets if missing([ask_for(tweet_id)])), n))

    def close(self, within_budget: bool) -> Outcome:
        self.refuse_filler(n_runs=1)
        found = [items for request in self.searches if (items := self.items_of(request)) is not None]
        outcome = Outcome(
            stopped="target" if self.n_missing <= 0 else "exhausted" if within_budget else "budget",
            pairs=self.n_pairs,
            target_pairs=self.config.collect.target_pairs,
            searches=len(found),
            tweets=len(self.tweets),
            reply_runs=len(self.seen),
            items=sum(map(len, found)) + sum(seen.items for seen in self.seen.values()),
            filler=sum(is_filler(item) for items in found for item in items)
            + sum(seen.filler for seen in self.seen.values()),
            usd=round(self.purchases.spent_usd(), 6),
            max_usd=self.purchases.max_usd,
        )
        if outcome.stopped == "budget" and not outcome.searches:
            worst_usd = self.price.worst_usd(self.searches[0].max_items)
            raise UserError(
                f"Nothing was collected: one search can cost ${worst_usd:.2f}, and ${outcome.usd:.2f} of "
                f"${outcome.max_usd:.2f} "
                "are spent. Raise collect.max_usd (or MAX_USD), or lower collect.tweets_per_query."
            )
        manifest = {
            "set": self.folder.name,
            "source": self.source,
            "config_hash": config_hash(self.config),
            **asdict(outcome),
        }
        write_json(
            self.folder / "raw" / "manifest.json",
            {**manifest, "finished_at": datetime.now(UTC).isoformat(timespec="seconds")},
        )
        return outcome

    def ask(self) -> None:
        """Show what is left to pay for and ask; called before the first start."""
        if not self.price.worst_usd(1):
            return
        self.talk.confirm(
            estimate(
                self.config,
                self.price,
                n_searches=len(self.purchases.missing(self.searches)),
                n_tweets=len(self.tweets) - len(self.seen) if self.tweets else None,
                n_pairs=self.n_pairs,
                spent_usd=self.purchases.spent_usd(),
                max_usd=self.purchases.max_usd,
                account=self.account,
            )
        )
