"""Apify: the only module that knows apify_client. Starts are never retried by the client, everything else is."""

import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import ROUND_UP, Decimal
from typing import Any, NoReturn

from lib.errors import UserError
from lib.provider import AnswerLostError, BusyError, GoneError, Price, Provider, RefusedError, Request, Run
from lib.settings import DataConfig

API_URL = "https://api.apify.com"
TOKEN = "APIFY_API_TOKEN"
PAGE_SIZE = 1000
FLOORS = {"apidojo/tweet-scraper": 50}  # items that one query is billed for at least; it stands in the actor's README, not in its pricing
ASSUMED_USD_PER_ITEM = 0.0005  # for actors that list no price; above what comparable ones ask
ENDED = ("SUCCEEDED", "FAILED", "TIMED-OUT", "ABORTED")
ONGOING = "Nothing is lost or paid twice: run the same command again to go on from here."
CHECK = "Check that the Apify account has a paid plan: free plans get filler only."
BUSY_TYPES = ("actor-memory-limit-exceeded", "concurrent-runs-limit-exceeded", "rate-limit-exceeded")
ADVICE = {
    "not-enough-usage-to-run-paid-actor": "The account has too little credit left for this actor: add some at console.apify.com/billing.",
    "monthly-usage-limit-too-low": "The account's monthly limit is reached: raise it at console.apify.com/billing/limits.",
    "apify-plan-required-to-use-paid-actor": "The actor needs a paid Apify plan: console.apify.com/billing, or another collect.actor.",
    "max-total-charge-usd-below-minimum": "The actor wants a higher cap per run: raise collect.max_usd or replies_per_tweet.",
    "max-total-charge-usd-must-be-greater-than-zero": "Raise collect.max_usd (or MAX_USD) above zero.",
    400: "The actor refuses its input: check collect.queries and collect.actor.",
    401: f"{TOKEN} is not accepted: copy it again from console.apify.com/settings/integrations into .env.",
    402: "The account cannot pay for this: see console.apify.com/billing.",
    403: f"{TOKEN} may not do this: give it the right to run actors at console.apify.com/settings/integrations.",
    404: "There is no such thing at Apify: check collect.actor.",
}


def request(config: DataConfig, step: str, query: str) -> Request:
    """The run that searches a query, or the replies to the tweet with this id. One query per run: several would share one maxItems."""
    collect, bounds = config.collect, config.filter
    language = bounds.language.split("-")[0]
    # "Top" ignores until: and returns what is popular just now; "Latest" keeps to the query.
    latest = {"queryType": "Latest"} if collect.actor.startswith("kaitoeasyapi/") else {"sort": "Latest"}
    if step == "replies":
        run_input = {"searchTerms": [f"conversation_id:{query} filter:replies"], **latest, "maxItems": collect.replies_per_tweet}
        return Request(step, f"replies to {query}", collect.actor, run_input, collect.replies_per_tweet)
    least = {"minimumFavorites": bounds.tweet_likes[0], "minimumRetweets": bounds.tweet_retweets[0]}
    run_input = {"searchTerms": [query], **latest, "tweetLanguage": language, **least, "maxItems": collect.tweets_per_query}
    return Request(step, query, collect.actor, run_input, collect.tweets_per_query)


def connect(config: DataConfig) -> Provider:
    """Look up the actor's price and the account. Spends nothing. Raises UserError without a token or with a refused one."""
    token = os.environ.get(TOKEN, "").strip()
    if not token:
        raise UserError(f"{TOKEN} is not set. Copy .env.example to .env and paste the token from console.apify.com/settings/integrations.")
    return _Apify(token, config).provider()


class _Apify:
    """The two clients: starter sends a POST once (a retry would start, and bill, a second run), reader retries."""

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
        return price_of(self.get(f"actors/{self.actor.replace('/', '~')}", f"the actor {self.actor}"), FLOORS.get(self.actor, 0))

    def account(self) -> str:
        """This month's use and limit; "" where the token may not see them."""
        try:
            found = self.get("users/me/limits", "the account's limits")
            used, limit = float(found["current"]["monthlyUsageUsd"]), float(found["limits"]["maxMonthlyUsageUsd"])
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
                max_items=request.max_items,  # caps the charge of actors paid per result, the next line that of those paid per event
                max_total_charge_usd=Decimal(str(max_usd)).quantize(Decimal("0.0001"), ROUND_UP) if max_usd else None,
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
            raise BusyError(self.clean(f"Apify: {error.message}")) from error
        if error.status_code < 400 or error.status_code >= 500 or error.status_code == 408:
            raise AnswerLostError(f"HTTP {error.status_code}") from error
        raise RefusedError(self.sentence(error, f"starting {actor}")) from error

    def run_ids(self) -> list[str]:
        return [str(run.get("id")) for run in self.listed()]

    def find(self, request: Request, not_these: Collection[str]) -> Run | None:
        """The newest run whose INPUT holds what was asked. Apify may have added the actor's defaults to it."""
        for run in self.listed():
            if run.get("id") in not_these or not run.get("defaultKeyValueStoreId"):
                continue
            with self.reading(f"the input of run {run['id']}"):
                record = self.reader.key_value_store(run["defaultKeyValueStoreId"]).get_record("INPUT")
            given = _as_dict(record["value"] if record else None)
            if all(given.get(name) == value for name, value in request.input.items()):
                return Run(id=run["id"], status=run.get("status", ""))
        return None

    def listed(self) -> list[dict[str, Any]]:
        """The newest hundred runs of the actor, newest first."""
        found = self.get(f"actors/{self.actor.replace('/', '~')}/runs", "the list of runs", desc=True, limit=100)
        runs = [run for run in found.get("items", []) if isinstance(run, dict)]
        return sorted(runs, key=lambda run: str(run.get("startedAt")), reverse=True)

    def wait(self, run_id: str) -> Run:
        seconds = 60 * self.minutes + 300  # Apify ends the run itself; the rest is for a queue and a slow end
        with self.reading(f"run {run_id}"):
            run = self.reader.run(run_id).wait_for_finish(wait_duration=timedelta(seconds=seconds), timeout="long")
        if run is None:
            raise GoneError(
                f"Run {run_id} is no longer at Apify (results are deleted after the account's retention time), so its items are lost. "
                "The same command with AGAIN=1 asks, and pays, once more."
            )
        if run.status not in ENDED:
            raise UserError(f"Run {run_id} is still {run.status} after {seconds // 60} minutes. {ONGOING}")
        return _run(run)

    def items(self, request: Request, run: Run) -> list[Any]:
        """All items of the run, in order. Read to the empty page: the total may lag behind."""
        items: list[Any] = []
        dataset, last = self.reader.dataset(run.dataset), None
        while True:
            with self.reading(f"the items of run {run.id}"):
                page = dataset.list_items(offset=len(items), limit=PAGE_SIZE)
            if not page.items:
                return items
            if page.items == last and page.offset != len(items):
                raise UserError(f"Apify sent the same page of run {run.id} twice. {ONGOING}")
            items, last = items + page.items, page.items

    def get(self, path: str, what: str, **params: Any) -> dict[str, Any]:
        """GET through the client's own transport (token, retries). Its models refuse a whole answer for one missing field."""
        with self.reading(what):
            answer = self.reader.http_client.call(method="GET", url=f"{self.url}/v2/{path}", params=params)
            return answer.json()["data"]

    @contextmanager
    def reading(self, what: str) -> Iterator[None]:
        """Turns what can go wrong while reading, the client's retries included, into a sentence."""
        from apify_client.errors import ApifyApiError, InvalidResponseBodyError
        from impit import HTTPError
        from pydantic import ValidationError

        try:
            yield
        except ApifyApiError as error:
            raise UserError(self.sentence(error, f"reading {what}")) from error
        except (KeyError, ValidationError, InvalidResponseBodyError, ValueError, TypeError) as error:
            first = error.errors()[0]["loc"] if isinstance(error, ValidationError) else str(error)
            raise UserError(
                self.clean(f"Apify's answer about {what} is not in the known form ({type(error).__name__}: {str(first)[:120]}). {ONGOING} ")
                + "If it happens again, update apify-client in requirements.txt."
            ) from error
        except HTTPError as error:
            raise UserError(f"Apify cannot be reached at {self.url} ({type(error).__name__}). Check the network. {ONGOING}") from error

    def sentence(self, error: Any, what: str) -> str:
        advice = ADVICE.get(error.type) or ADVICE.get(error.status_code) or ONGOING
        return self.clean(f"Apify, {what}: {str(error.message)[:300]} (HTTP {error.status_code}, {error.type}). {advice}")

    def clean(self, text: str) -> str:
        return text.replace(self.token, "***")


def price_of(actor: dict[str, Any], floor: int) -> Price:
    """The price in force, at its dearest tier. actor: as GET /v2/actors/{id} answers."""
    now = datetime.now(UTC).isoformat()
    infos = sorted(
        (info for info in actor.get("pricingInfos") or [] if isinstance(info, dict)), key=lambda info: str(info.get("startedAt"))
    )
    info = next((info for info in reversed(infos) if str(info.get("startedAt", "")) <= now), infos[-1] if infos else {})
    model = str(info.get("pricingModel", ""))
    if model == "PRICE_PER_DATASET_ITEM":
        return Price("pay per result", _dearest(info, "pricePerUnitUsd", "tieredPricing", "tieredPricePerUnitUsd"), floor=floor)
    if model == "PAY_PER_EVENT":
        events = (info.get("pricingPerEvent") or {}).get("actorChargeEvents") or {}
        return _price_per_event(events, floor, float(info.get("minimalMaxTotalChargeUsd") or 0))
    return Price("no price listed, this one is assumed", ASSUMED_USD_PER_ITEM, floor=floor)


def _price_per_event(events: dict[str, dict[str, Any]], floor: int, minimum_cap_usd: float) -> Price:
    usd = {name: _dearest(event, "eventPriceUsd", "eventTieredPricingUsd", "tieredEventPriceUsd") for name, event in events.items()}
    once = {name for name, event in events.items() if event.get("isOneTimeEvent") or name.endswith("actor-start")}
    per_item = max(usd.keys() - once, key=lambda name: (_is_item(name, events[name]), usd[name]), default=None)
    usd_per_run = sum(price for name, price in usd.items() if name != per_item)
    return Price("pay per event", usd.get(per_item or "", 0.0), usd_per_run, floor, minimum_cap_usd, usd)


def _is_item(name: str, event: dict[str, Any]) -> int:
    """2: the actor says that this event is what it sells; 1: its name says so."""
    named = any(word in name.lower() for word in ("item", "result", "tweet", "post", "row"))
    return 2 if event.get("isPrimaryEvent") else int(named)


def _dearest(info: dict[str, Any], flat: str, tiers: str, tier: str) -> float:
    """The flat price, or the highest tier's: which tier the account is on cannot be read reliably."""
    prices: list[Any] = [info.get(flat), *(entry.get(tier) for entry in (info.get(tiers) or {}).values())]
    return max((float(price) for price in prices if price is not None), default=0.0)


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


def _as_dict(value: Any) -> dict[str, Any]:
    """A stored INPUT: parsed by the client where its content type says JSON, else text or bytes."""
    if isinstance(value, str | bytes):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}
