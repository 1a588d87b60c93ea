"""Apify: the only module that knows apify_client.

Starts are never retried by the client, everything else is.
"""

import json
import os
from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta
from decimal import ROUND_UP, Decimal
from typing import Any, NoReturn

from lib.base.errors import UserError
from lib.base.files import content_hash
from lib.base.settings import DataConfig
from lib.collect.apify_failures import ONGOING, TOKEN, hidden, reading, sentence
from lib.collect.apify_prices import n_billed, price_of
from lib.collect.provider import (
    AnswerLostError,
    BusyError,
    Delivery,
    GoneError,
    Price,
    Provider,
    RefusedError,
    Request,
    Run,
)
from lib.data.items import ID_FIELDS, is_filler

API_URL = "https://api.apify.com"
PAGE_SIZE = 1000
FLOORS = {
    "apidojo/tweet-scraper": 50
}  # items that one query is billed for at least; it stands in the actor's README, not in its pricing
ENDED = ("SUCCEEDED", "FAILED", "TIMED-OUT", "ABORTED")
CHECK = "Check that the Apify account has a paid plan: free plans get filler only."
BUSY_TYPES = ("actor-memory-limit-exceeded", "concurrent-runs-limit-exceeded", "rate-limit-exceeded")


def request(config: DataConfig, step: str, query: str) -> Request:
    """The run that searches a query, or the replies to the tweet with this id.

    One query per run: several would share one maxItems.
    """
    collect, bounds = config.collect, config.filter
    language = bounds.language.split("-")[0]
    # "Top" ignores until: and returns what is popular just now; "Latest" keeps to the query.
    latest = {"queryType": "Latest"} if collect.actor.startswith("kaitoeasyapi/") else {"sort": "Latest"}
    if step == "replies":
        run_input = {
            "searchTerms": [f"conversation_id:{query} filter:replies"],
            **latest,
            "maxItems": collect.replies_per_tweet,
        }
        return Request(step, f"replies to {query}", collect.actor, run_input, collect.replies_per_tweet)
    least = {"minimumFavorites": bounds.tweet_likes[0], "minimumRetweets": bounds.tweet_retweets[0]}
    run_input = {
        "searchTerms": [query],
        **latest,
        "tweetLanguage": language,
        **least,
        "maxItems": collect.tweets_per_query,
    }
    return Request(step, query, collect.actor, run_input, collect.tweets_per_query)


def connect(config: DataConfig) -> Provider:
    """Look up the actor's price and the account. Spends nothing.

    Raises UserError without a token or with a refused one.
    """
    token = os.environ.get(TOKEN, "").strip()
    if not token:
        raise UserError(
            f"{TOKEN} is not set. Copy .env.example to .env and paste the token from "
            "console.apify.com/settings/integrations."
        )
    return _Apify(token, config).provider()


class _Apify:
    """The two clients: starter sends a POST once (a retry would bill a second run), reader retries."""

    def __init__(self, token: str, config: DataConfig) -> None:
        from apify_client import ApifyClient

        self.url = os.environ.get("APIFY_API_BASE_URL", API_URL).rstrip("/").removesuffix("/v2")
        self.token, self.actor, self.minutes = token, config.collect.actor, config.collect.run_minutes
        self.starter = ApifyClient(token, api_url=self.url, api_public_url=self.url, max_retries=0)
        self.reader = ApifyClient(token, api_url=self.url, api_public_url=self.url)

    def provider(self) -> Provider:
        functions = (self.start, self.run_ids, self.find, self.wait, self.items)
        return Provider("apify", self.price(), *functions, account=self.account(), check=CHECK)

    def price(self) -> Price:
        """The actor's price; its list is kept to tell from a run how many items were billed."""
        self.listing = self.get(f"actors/{self.actor.replace('/', '~')}", f"the actor {self.actor}")
        return price_of(self.listing, FLOORS.get(self.actor, 0))

    def account(self) -> str:
        """This month's use and limit; "" where the token may not see them."""
        try:
            found = self.get("users/me/limits", "the account's limits")
            used, limit = (
                float(found["current"]["monthlyUsageUsd"]),
                float(found["limits"]["maxMonthlyUsageUsd"]),
            )
        except (UserError, KeyError, TypeError, ValueError):
            return ""
        return f"${used:.2f} of this month's ${limit:.2f} used"

    def start(self, request: Request, max_usd: float) -> Run:
        from apify_client.errors import ApifyApiError, ApifyClientError
        from impit import HTTPError
        from pydantic import ValidationError

        try:
            run = self.starter.actor(request.actor).start(
                run_input=request.input,
                # Caps the charge of actors paid per result, the next line that of those paid per event.
                max_items=request.max_items,
                max_total_charge_usd=Decimal(str(max_usd)).quantize(Decimal("0.0001"), ROUND_UP)
                if max_usd
                else None,
                run_timeout=timedelta(minutes=self.minutes),
                timeout=timedelta(seconds=60),
            )
        except ApifyApiError as error:
            self._sort_out(error, request.actor)
        except (ApifyClientError, HTTPError, ValidationError, ValueError, KeyError) as error:
            raise AnswerLostError(type(error).__name__) from error
        return _run(run)

    def _sort_out(self, error: Any, actor: str) -> NoReturn:
        if error.type in BUSY_TYPES or error.status_code == 429:
            raise BusyError(hidden(f"Apify: {error.message}", self.token)) from error
        if error.status_code < 400 or error.status_code >= 500 or error.status_code == 408:
            raise AnswerLostError(f"HTTP {error.status_code}") from error
        raise RefusedError(hidden(sentence(error, f"starting {actor}"), self.token)) from error

    def run_ids(self) -> list[str]:
        return [str(run.get("id")) for run in self.listed()]

    def find(self, request: Request, not_these: Collection[str]) -> Run | None:
        """The newest run whose INPUT holds what was asked.

        Apify may have added the actor's defaults to it.
        """
        for run in self.listed():
            if run.get("id") in not_these or not run.get("defaultKeyValueStoreId"):
                continue
            with reading(self.url, self.token, f"the input of run {run['id']}"):
                record = self.reader.key_value_store(run["defaultKeyValueStoreId"]).get_record("INPUT")
            given = _as_dict(record["value"] if record else None)
            if all(given.get(name) == value for name, value in request.input.items()):
                return Run(id=run["id"], status=run.get("status", ""))
        return None

    def listed(self) -> list[dict[str, Any]]:
        """The newest hundred runs of the actor, newest first."""
        found = self.get(
            f"actors/{self.actor.replace('/', '~')}/runs", "the list of runs", desc=True, limit=100
        )
        runs = [run for run in found.get("items", []) if isinstance(run, dict)]
        return sorted(runs, key=lambda run: str(run.get("startedAt")), reverse=True)

    def wait(self, run_id: str) -> Run:
        seconds = 60 * self.minutes + 300  # Apify ends the run itself; the rest is for a queue and a slow end
        with reading(self.url, self.token, f"run {run_id}"):
            run = self.reader.run(run_id).wait_for_finish(
                wait_duration=timedelta(seconds=seconds), timeout="long"
            )
        if run is None:
            raise GoneError(
                f"Run {run_id} is no longer at Apify (results are deleted after the account's retention "
                "time), so its items are lost. "
                "The same command with AGAIN=1 asks, and pays, once more."
            )
        if run.status not in ENDED:
            raise UserError(f"Run {run_id} is still {run.status} after {seconds // 60} minutes. {ONGOING}")
        return replace(
            _run(run), n_billed=n_billed(self.listing, run), ended_at=run.finished_at or run.started_at
        )

    def items(self, request: Request, run: Run) -> Delivery:
        """All rows of the run, in order, each once: to the empty page, for the total may lag."""
        items: list[Any] = []
        offset, n_total, seen = 0, 0, set()
        dataset, most = self.reader.dataset(run.dataset), 10 * max(PAGE_SIZE, request.max_items)
        while True:
            with reading(self.url, self.token, f"the items of run {run.id}"):
                page = dataset.list_items(offset=offset, limit=PAGE_SIZE)
            n_total = max(n_total, page.total)
            rows = page.items[max(0, offset - page.offset) :]
            new = [row for row in rows if _mark(row) not in seen]
            if not rows or (not new and offset >= max(n_total, run.n_billed or 0)):
                break
            ceiling = most if run.n_billed is None else max(run.n_billed, min(n_total, most))
            if offset and (len(items) >= ceiling or offset >= 2 * ceiling):
                raise UserError(
                    f"Apify sends rows of run {run.id} without an end: {len(items)} were read and more come, "
                    f"against a total of {page.total} and {run.n_billed or 'an unknown number of'} billed "
                    f"rows. {ONGOING}"
                )
            items += new
            seen |= {mark for mark in map(_mark, rows) if mark}
            offset += len(rows)
        n_held, n_empty = self.counts(run.dataset)
        return Delivery(items, offset - len(items), max(n_total, n_held), n_empty)

    def counts(self, dataset: str) -> tuple[int, int | None]:
        """Rows that the data set says it holds, and how many are empty; (0, None) where it does not say."""
        try:
            found = self.get(f"datasets/{dataset}", "the data set")
            return int(found["itemCount"]), max(0, int(found["itemCount"]) - int(found["cleanItemCount"]))
        except (UserError, KeyError, TypeError, ValueError, OverflowError):
            return 0, None

    def get(self, path: str, what: str, **params: Any) -> dict[str, Any]:
        """GET through the client's own transport (token, retries).

        Its models refuse a whole answer for one missing field.
        """
        with reading(self.url, self.token, what):
            answer = self.reader.http_client.call(method="GET", url=f"{self.url}/v2/{path}", params=params)
            return answer.json()["data"]


def _run(run: Any) -> Run:
    return Run(
        id=run.id,
        status=run.status,
        dataset=run.default_dataset_id,
        build=run.build_number or run.build_id,
        started_at=run.started_at.isoformat(),
        usd=run.usage_total_usd,
        events=run.charged_event_counts or {},
    )


def _mark(row: Any) -> str:
    """The mark of a row among pages; "" for filler and rows without an id, which may well be equal."""
    has_id = isinstance(row, dict) and not is_filler(row) and any(map(row.get, ID_FIELDS))
    return content_hash(row) if has_id else ""


def _as_dict(value: Any) -> dict[str, Any]:
    """A stored INPUT: parsed by the client where its content type says JSON, else text or bytes."""
    if isinstance(value, str | bytes):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}
