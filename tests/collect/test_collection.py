import json
import os
import re
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from lib.base.config import load_config
from lib.base.console import run
from lib.base.errors import UserError
from lib.base.files import content_hash
from lib.base.ledger import Ledger
from lib.base.settings import DataConfig, FilterConfig
from lib.collect import apify as apify_source
from lib.collect import collection as collecting
from lib.collect import delivery
from lib.collect.apify_prices import n_billed
from lib.collect.collection import JUDGE_ONLY, Talk, collect, config_hash, finished
from lib.collect.delivery import file_word
from lib.collect.forecast import budget, time_left
from lib.collect.provider import Price, Run
from lib.collect.worth import count_pairs, own_files, wanted_tweet, wanted_tweets
from lib.data.forget import Forgotten
from lib.data.raw import raw_files
from scripts.collect import main
from tests.damage import DAMAGES, harm
from tests.stubs.apify_server import TOKEN, ApifyStub, Fault
from tests.stubs.tweets_world import config_text, reply, tweet, world

ROOT = Path(__file__).parents[2]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A project folder with configs/data-main.yaml; the token is the stub's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("APIFY_API_TOKEN", TOKEN)
    for name in ("YES", "MAX_USD", "AGAIN"):
        monkeypatch.delenv(name, raising=False)
    write_config(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """The client's pauses between polls and retries take no time."""
    from apify_client._resource_clients import _resource_client
    from apify_client.http_clients import _base

    no_wait = SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None})
    monkeypatch.setattr(_base, "time", no_wait)
    monkeypatch.setattr(_resource_client, "time", no_wait)


def write_config(folder, **values):
    (folder / "configs").mkdir(exist_ok=True)
    (folder / "configs/data-main.yaml").write_text(config_text(**values))


class Spoken:
    """What the job asked, said and how long it slept."""

    def __init__(self):
        self.questions, self.lines, self.slept = [], [], []
        self.talk = Talk(self.questions.append, self.lines.append, self.slept.append)


def run_job(stub, monkeypatch, again=False, max_usd=None):
    monkeypatch.setenv("APIFY_API_BASE_URL", stub.url)
    spoken, config = Spoken(), load_config(Path("configs/data-main.yaml"), DataConfig)
    provider = apify_source.connect(config)
    spoken.outcome = collect(
        Path("data/main"),
        config,
        provider,
        partial(apify_source.request, config),
        budget(config, max_usd),
        spoken.talk,
        again,
    )
    return spoken


def raw_items(folder):
    return [
        json.loads(line)
        for path in sorted((folder / "data/main/raw").glob("*.jsonl"))
        for line in path.open("rb")
    ]


def expected_ids(queries=("cats", "dogs")):
    tweets = [item["id"] for query in queries for item in world({"searchTerms": [query]})]
    return sorted(
        tweets
        + [
            item["id"]
            for id in tweets
            for item in world({"searchTerms": [f"conversation_id:{id} filter:replies"]})
        ]
    )


def assert_whole_and_once(stub, folder):
    assert set(stub.starts().values()) == {1}
    assert sorted(item["id"] for item in raw_items(folder)) == expected_ids()


# --- the job ---------------------------------------------------------------------------------------------


def test_queries_become_tweets_and_tweets_become_replies_each_in_a_raw_file_with_its_origin(
    here, monkeypatch
):
    with ApifyStub(world, polls=2) as stub:
        spoken = run_job(stub, monkeypatch)
    assert_whole_and_once(stub, here)
    assert (spoken.outcome.searches, spoken.outcome.tweets, spoken.outcome.pairs, spoken.outcome.stopped) == (
        2,
        4,
        20,
        "exhausted",
    )
    search = next(run for run in stub.runs if run["input"]["searchTerms"] == ["cats"])
    assert search["input"] == {
        "searchTerms": ["cats"],
        "sort": "Latest",
        "tweetLanguage": "en",
        "maxItems": 50,
        "minimumFavorites": 200,
        "minimumRetweets": 10,
    }
    file = next((here / "data/main/raw").glob(f"search-*-R{search['n']}.jsonl"))
    assert [json.loads(line) for line in file.open("rb")] == search["items"]
    meta = json.loads(file.with_suffix(".meta.json").read_text())
    assert (meta["query"], meta["run_id"], meta["build"], meta["status"], meta["n_items"]) == (
        "cats",
        f"R{search['n']}",
        "0.0.7",
        "SUCCEEDED",
        2,
    )
    assert meta["price"] == {"model": "pay per result", "usd_per_item": 0.0004}
    assert meta["usd"] == pytest.approx(0.0008)
    assert {"actor", "started_at", "collected_at", "n_filler"} <= meta.keys()


def test_a_query_that_is_listed_twice_is_bought_once(here, monkeypatch):
    write_config(here, queries="cats, dogs, cats")
    with ApifyStub(world) as stub:
        spoken = run_job(stub, monkeypatch)
    assert_whole_and_once(stub, here)
    assert "searches      2 x" in spoken.questions[0]


def test_every_start_has_a_time_limit_a_cap_of_items_and_a_cap_of_dollars(here, monkeypatch):
    with ApifyStub(world) as stub:
        run_job(stub, monkeypatch)
    assert {query["timeout"] for query in stub.queries} == {"1800"}  # seconds of collect.run_minutes
    for query in stub.queries:
        assert float(query["maxTotalChargeUsd"]) == pytest.approx(0.0004 * int(query["maxItems"]))
    asked = sorted(run["input"]["maxItems"] for run in stub.runs)
    assert sorted(int(query["maxItems"]) for query in stub.queries) == asked


@pytest.mark.parametrize(
    "actor, latest",
    [("apidojo/tweet-scraper", {"sort": "Latest"}), ("kaitoeasyapi/x", {"queryType": "Latest"})],
)
def test_each_family_of_actors_gets_its_own_fields(here, actor, latest):
    config = load_config(Path("configs/data-main.yaml"), DataConfig)
    config = config.model_copy(update={"collect": config.collect.model_copy(update={"actor": actor})})
    for step in ("search", "replies"):
        given = apify_source.request(config, step, "77").input
        assert {name: given[name] for name in ("sort", "queryType") if name in given} == latest


def test_a_search_asks_for_what_the_filter_would_keep_and_replies_for_one_conversation(here):
    config = load_config(Path("configs/data-main.yaml"), DataConfig)
    search, replies = (apify_source.request(config, step, "77") for step in ("search", "replies"))
    low = (config.filter.tweet_likes[0], config.filter.tweet_retweets[0])
    assert (search.input["minimumFavorites"], search.input["minimumRetweets"]) == low
    assert (search.max_items, replies.max_items) == (
        config.collect.tweets_per_query,
        config.collect.replies_per_tweet,
    )
    assert replies.input["searchTerms"] == ["conversation_id:77 filter:replies"]
    assert "minimumFavorites" not in replies.input


def test_the_cost_is_what_the_provider_reports(here, monkeypatch):
    with ApifyStub(world) as stub:
        spoken = run_job(stub, monkeypatch)
    assert spoken.outcome.usd == pytest.approx(stub.billed_usd())
    assert Ledger(here / "data/main/ledger.jsonl").spent_usd("collect") == pytest.approx(stub.billed_usd())


def test_the_cost_is_price_times_items_where_the_provider_reports_none(here, monkeypatch):
    with ApifyStub(world, report_usd=False) as stub:
        spoken = run_job(stub, monkeypatch)
    assert spoken.outcome.usd == pytest.approx(0.0004 * len(expected_ids()))


def test_the_estimate_names_price_floor_range_and_balance_and_comes_before_the_first_start(here, monkeypatch):
    with ApifyStub(world) as stub:
        monkeypatch.setenv("APIFY_API_BASE_URL", stub.url)
        config = load_config(Path("configs/data-main.yaml"), DataConfig)

        def refuse(question):
            asked.append((question, stub.posts))
            raise UserError("Stopped: not confirmed.")

        asked: list = []
        with pytest.raises(UserError, match="not confirmed"):
            request = partial(apify_source.request, config)
            collect(Path("data/main"), config, apify_source.connect(config), request, 5, Talk(refuse, print))
    [(question, n_starts)] = asked
    assert n_starts == stub.posts == 0
    for words in (
        "$0.40 per 1,000",
        "at least 50 items",
        "expected  $2.04",
        "at most $2.04",
        "$5.00",
        "$12.30 of this month's $49.00",
    ):
        assert words in question


def test_collecting_shows_pairs_dollars_and_the_time_left_as_it_goes(here, monkeypatch):
    with ApifyStub(world) as stub:
        spoken = run_job(stub, monkeypatch)
    shown = [line for line in spoken.lines if line.startswith("replies to ")]
    form = r"replies to \d+ of \d+ tweets: about \d+ pairs, \$\d+\.\d\d of \$5\.00 so far(, .* left)?"
    assert shown and all(re.fullmatch(form, line) for line in shown)
    assert shown[0].endswith("less than a minute left")
    assert f"${stub.billed_usd():.2f} of $5.00" in shown[-1]


@pytest.mark.parametrize(
    "elapsed_s, n_gained, n_missing, said",
    [
        (60, 100, 900, ", about 9 min left"),
        (60, 100, 99, ", less than a minute left"),
        (0.5, 10, 10, ", less than a minute left"),
        (7200, 10, 490, ", about 5880 min left"),
        (60, 0, 900, ""),
        (60, 100, 0, ""),
    ],
)
def test_the_time_left_follows_the_pace_so_far(elapsed_s, n_gained, n_missing, said):
    assert time_left(elapsed_s, n_gained, n_missing) == said


def test_a_finished_set_is_asked_nothing_and_costs_nothing_again(here, monkeypatch):
    write_config(here, target=3)
    with ApifyStub(world) as stub:
        first = run_job(stub, monkeypatch)
        posts = stub.posts
        second = run_job(stub, monkeypatch)
    assert first.outcome.stopped == "target"
    assert (
        finished(Path("data/main"), load_config(Path("configs/data-main.yaml"), DataConfig), 5)
        == first.outcome
        == second.outcome
    )
    assert posts == stub.posts == 3  # two searches, and replies to one tweet were enough
    assert second.questions == []


def test_a_target_that_is_met_exactly_is_reached_and_one_reply_less_is_not(here, monkeypatch):
    for target, stopped in ((20, "target"), (21, "exhausted")):
        write_config(here, target=target)
        with ApifyStub(world) as stub:
            assert run_job(stub, monkeypatch).outcome.stopped == stopped


def test_a_new_query_pays_only_for_what_is_new(here, monkeypatch):
    with ApifyStub(world) as stub:
        run_job(stub, monkeypatch)
        before = stub.starts()
        write_config(here, queries="cats, dogs, birds")
        run_job(stub, monkeypatch)
    assert stub.starts() - before == {term: 1 for term in stub.starts() if term not in before}
    assert len(stub.starts() - before) == 3  # the query, and its two tweets


def test_a_bound_that_only_judges_what_is_there_does_not_reopen_a_finished_set(here, monkeypatch):
    with ApifyStub(world) as stub:
        outcome = run_job(stub, monkeypatch).outcome
    config = load_config(Path("configs/data-main.yaml"), DataConfig)
    judging = config.model_copy(update={"filter": FilterConfig(max_toxicity=0.1, toxicity_model="none")})
    collecting_more = config.model_copy(update={"filter": FilterConfig(reply_likes=[50, 1000])})
    assert finished(Path("data/main"), judging, 5) == outcome
    assert finished(Path("data/main"), collecting_more, 5) is None


def test_the_queries_take_turns_so_that_an_early_end_has_heard_every_topic():
    found = [[tweet("1"), tweet("2", replyCount=50)], [tweet("3"), tweet("1")]]
    assert list(wanted_tweets(found, FilterConfig())) == ["2", "1", "3"]


# --- the budget ------------------------------------------------------------------------------------------


def test_no_run_is_started_that_could_exceed_the_cap(here, monkeypatch):
    with ApifyStub(
        lambda run_input: world(run_input) * 10
    ) as stub:  # 0.008 a search, 0.02 a conversation: the most that fits 50 items
        spoken = run_job(stub, monkeypatch, max_usd="0.07")
    assert spoken.outcome.stopped == "budget"
    assert stub.billed_usd() <= 0.07
    assert all(
        float(query["maxTotalChargeUsd"]) == 0.02 and query["maxItems"] == "50" for query in stub.queries
    )
    config = load_config(Path("configs/data-main.yaml"), DataConfig)
    assert finished(Path("data/main"), config, 0.07) == spoken.outcome
    assert finished(Path("data/main"), config, 0.08) is None


def test_the_question_of_a_job_that_goes_on_counts_what_is_left_of_it(here, monkeypatch):
    with ApifyStub(lambda run_input: world(run_input) * 10) as stub:
        stopped = run_job(stub, monkeypatch, max_usd="0.07")
        spoken = run_job(stub, monkeypatch)
    n_left = stopped.outcome.tweets - stopped.outcome.reply_runs
    assert 0 < n_left < stopped.outcome.tweets
    assert "searches      0 x" in spoken.questions[0]
    assert f"replies   {n_left:>5} x $0.0200   to as many tweets, {n_left} at most" in spoken.questions[0]
    assert f"spent     ${stopped.outcome.usd:.2f} of" in spoken.questions[0]


def test_runs_in_flight_count_with_their_worst_case(here, monkeypatch):
    with ApifyStub(world) as stub, pytest.raises(UserError, match="is not in the known form"):
        stub.faults = [Fault("run", "drift", times=99)]
        run_job(stub, monkeypatch, max_usd="0.03")
    assert stub.posts == 1  # 0.02 in flight and 0.02 more would be 0.04


def test_a_budget_below_one_search_is_a_sentence(here, monkeypatch):
    with (
        ApifyStub(world) as stub,
        pytest.raises(UserError, match=r"one search can cost \$0.02.*Raise collect.max_usd"),
    ):
        run_job(stub, monkeypatch, max_usd="0.01")
    assert stub.posts == 0


@pytest.mark.parametrize(("max_usd", "expected"), [(None, 5), ("2", 2), ("100", 5), ("0", 0)])
def test_max_usd_lowers_the_budget_and_never_raises_it(here, max_usd, expected):
    assert budget(load_config(Path("configs/data-main.yaml"), DataConfig), max_usd) == expected


@pytest.mark.parametrize("max_usd", ["five", "-1", "nan"])
def test_an_amount_that_is_none_is_refused(here, max_usd):
    with pytest.raises(UserError, match="MAX_USD="):
        budget(load_config(Path("configs/data-main.yaml"), DataConfig), max_usd)


EVENTS = {
    "apify-actor-start": {"eventTitle": "s", "eventPriceUsd": 0.01, "isOneTimeEvent": True},
    "tweet": {
        "eventTitle": "t",
        "eventTieredPricingUsd": {
            "FREE": {"tieredEventPriceUsd": 0.0005},
            "GOLD": {"tieredEventPriceUsd": 0.0003},
        },
    },
}


@pytest.mark.parametrize(
    ("infos", "price"),
    [
        (
            [{"pricingModel": "PRICE_PER_DATASET_ITEM", "pricePerUnitUsd": 0.0004}],
            Price("pay per result", 0.0004, floor=50),
        ),
        (
            [
                {
                    "pricingModel": "PRICE_PER_DATASET_ITEM",
                    "tieredPricing": {"A": {"tieredPricePerUnitUsd": 1}, "B": {"tieredPricePerUnitUsd": 2}},
                }
            ],
            Price("pay per result", 2, floor=50),
        ),
        (
            [
                {
                    "pricingModel": "PAY_PER_EVENT",
                    "pricingPerEvent": {"actorChargeEvents": EVENTS},
                    "minimalMaxTotalChargeUsd": 0.5,
                }
            ],
            Price("pay per event", 0.0005, 0.01, 50, 0.5, {"apify-actor-start": 0.01, "tweet": 0.0005}),
        ),
        (
            [
                {
                    "pricingModel": "PRICE_PER_DATASET_ITEM",
                    "pricePerUnitUsd": 9,
                    "startedAt": "2999-01-01T00:00:00Z",
                },
                {
                    "pricingModel": "PRICE_PER_DATASET_ITEM",
                    "pricePerUnitUsd": 2,
                    "startedAt": "2025-01-01T00:00:00Z",
                },
                {
                    "pricingModel": "PRICE_PER_DATASET_ITEM",
                    "pricePerUnitUsd": 1,
                    "startedAt": "2024-01-01T00:00:00Z",
                },
            ],
            Price("pay per result", 2, floor=50),
        ),
        (None, Price("no price listed, this one is assumed", 0.0005, floor=50)),
    ],
    ids=["flat", "tiers", "events", "in force now", "none"],
)
def test_the_price_is_read_from_the_actor_at_its_dearest_tier(infos, price):
    assert apify_source.price_of({"pricingInfos": infos}, 50) == price


def test_a_run_costs_at_worst_its_floor_and_never_less_than_the_smallest_cap():
    assert Price("pay per result", 0.0004, floor=50).worst_usd(10) == pytest.approx(0.02)
    assert Price("pay per event", 0.0005, 0.01, 0, 0.5).worst_usd(10) == 0.5


@pytest.mark.parametrize(
    ("run", "usd"),
    [(Run("R", usd=0.3), 0.3), (Run("R", events={"start": 1, "tweet": 20}), 0.03), (Run("R"), 0.02)],
)
def test_the_cost_of_a_run_is_reported_or_counted_from_its_events_or_its_items(run, usd):
    assert Price("pay per event", 0.001, 0.01, events={"start": 0.01, "tweet": 0.001}).actual_usd(
        run, 10
    ) == pytest.approx(usd)


# --- faults ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["lost", "drop_after", "drift"])
def test_a_start_whose_answer_was_lost_is_adopted(here, monkeypatch, what):
    with ApifyStub(world, faults=[Fault("start", what, times=3)]) as stub:
        spoken = run_job(stub, monkeypatch)
    assert_whole_and_once(stub, here)
    assert stub.posts == len(stub.runs)
    assert sum("adopted run" in line for line in spoken.lines) == 3


@pytest.mark.parametrize("what", [500, 503, "drop_before"])
def test_a_start_that_never_arrived_is_made_again(here, monkeypatch, what):
    with ApifyStub(world, faults=[Fault("start", what)]) as stub:
        spoken = run_job(stub, monkeypatch)
    assert_whole_and_once(stub, here)
    assert stub.posts == len(stub.runs) + 1
    assert spoken.slept == [1, 2, 3]  # it looked for the run before it tried again


def test_a_start_without_an_answer_is_looked_for_with_patience_whatever_the_clock_says(here, monkeypatch):
    """The provider's list shows a new run late, and the clock was set while nobody knew of it."""
    ledger = here / "data/main/ledger.jsonl"
    with ApifyStub(world, faults=[Fault("start", "lost")]) as stub:
        with monkeypatch.context() as patch:
            patch.setattr(apify_source._Apify, "find", lambda *_: sys.exit("killed"))
            with pytest.raises(SystemExit):
                run_job(stub, monkeypatch)
        ledger.write_text(re.sub(r"20\d\d-", "2019-", ledger.read_text()))
        real, looks = apify_source._Apify.find, []
        monkeypatch.setattr(
            apify_source._Apify,
            "find",
            lambda *given: real(*given) if looks.append(given) or len(looks) > 2 else None,
        )
        run_job(stub, monkeypatch)
        assert_whole_and_once(stub, here)


def test_a_run_of_the_same_input_from_before_the_job_is_not_adopted(here, monkeypatch):
    with ApifyStub(world) as stub:
        run_job(stub, monkeypatch)
        (here / "data/main/ledger.jsonl").unlink()  # another set, another day
        stub.faults = [Fault("start", "drop_before")]
        run_job(stub, monkeypatch)
    assert set(stub.starts().values()) == {2}


def test_a_start_that_never_gets_an_answer_ends_with_a_sentence(here, monkeypatch):
    with (
        ApifyStub(world, faults=[Fault("start", 500, times=99)]) as stub,
        pytest.raises(UserError, match="could not be started"),
    ):
        run_job(stub, monkeypatch)
    assert stub.posts == 3
    assert stub.runs == []


@pytest.mark.parametrize("type", ["actor-memory-limit-exceeded", "concurrent-runs-limit-exceeded"])
def test_a_full_account_is_waited_for(here, monkeypatch, type):
    with ApifyStub(world, faults=[Fault("start", 402, times=2, type=type)]) as stub:
        spoken = run_job(stub, monkeypatch)
    assert spoken.slept == [5, 10]
    assert_whole_and_once(stub, here)


def test_a_rate_limited_start_is_waited_for_within_a_bound(here, monkeypatch):
    with (
        ApifyStub(world, faults=[Fault("start", 429, times=99)]) as stub,
        pytest.raises(UserError, match="still busy"),
    ):
        run_job(stub, monkeypatch)
    assert stub.posts == 11
    assert stub.runs == []


@pytest.mark.parametrize("op", ["items", "run"])
@pytest.mark.parametrize("what", [429, 500, "lost", "drop_before", "drop_after", "slow"])
def test_reads_are_repeated_and_no_item_comes_twice(here, monkeypatch, op, what):
    write_config(here, target=1)
    small = partial(world, tweets_per_query=3)
    with ApifyStub(small, page_cap=2, faults=[Fault(op, what, after=1)]) as stub:
        run_job(stub, monkeypatch)
    ids = [item["id"] for item in raw_items(here)]
    assert len(ids) == len(set(ids)) == sum(len(run["items"]) for run in stub.runs)
    assert set(stub.starts().values()) == {1}


@pytest.mark.parametrize(
    ("op", "what"), [("items", "no_headers"), ("run", "drift"), ("items", 404), ("run", 403)]
)
def test_an_answer_in_an_unknown_form_is_a_sentence_and_nothing_is_lost(here, monkeypatch, op, what):
    with ApifyStub(world, faults=[Fault(op, what, times=99)]) as stub:
        with pytest.raises(UserError, match="Apify"):
            run_job(stub, monkeypatch)
        stub.faults = []
        run_job(stub, monkeypatch)
    assert_whole_and_once(stub, here)


def test_a_lost_answer_is_not_guessed_at_while_the_runs_cannot_be_listed(here, monkeypatch):
    with ApifyStub(world, faults=[Fault("list", 403, times=99), Fault("start", "lost")]) as stub:
        for _ in range(2):
            with pytest.raises(UserError, match="reading the list of runs"):
                run_job(stub, monkeypatch)
        assert stub.posts == 1
        stub.faults = []
        run_job(stub, monkeypatch)
    assert_whole_and_once(stub, here)


@pytest.mark.parametrize(
    ("status", "type", "advice"),
    [
        (400, "invalid-input", "collect.queries"),
        (402, "not-enough-usage-to-run-paid-actor", "too little credit"),
        (402, "monthly-usage-limit-too-low", "billing/limits"),
        (403, "apify-plan-required-to-use-paid-actor", "paid Apify plan"),
        (403, "insufficient-permissions", "right to run actors"),
        (404, "record-not-found", "collect.actor"),
        (400, "max-total-charge-usd-below-minimum", "higher cap"),
    ],
)
def test_a_refused_start_says_what_to_do_and_costs_nothing(here, monkeypatch, status, type, advice):
    with (
        ApifyStub(world, faults=[Fault("start", status, times=99, type=type)]) as stub,
        pytest.raises(UserError, match=advice),
    ):
        run_job(stub, monkeypatch)
    assert stub.posts == 1
    ledger = Ledger(here / "data/main/ledger.jsonl")
    assert [entry.state for entry in ledger.entries()] == ["intent", "failed"]


def test_a_refusal_in_the_middle_keeps_what_was_started(here, monkeypatch):
    with ApifyStub(
        world, faults=[Fault("start", 402, times=99, after=1, type="monthly-usage-limit-too-low")]
    ) as stub:
        with pytest.raises(UserError, match="monthly limit"):
            run_job(stub, monkeypatch)
        assert len(raw_items(here)) == 2  # the first search was finished before the job stopped
        stub.faults = []
        run_job(stub, monkeypatch)
    assert_whole_and_once(stub, here)


def test_a_wrong_token_is_a_sentence_that_does_not_show_it(here, monkeypatch):
    monkeypatch.setenv("APIFY_API_TOKEN", "apify_api_secret")
    with ApifyStub(world) as stub, pytest.raises(UserError, match="is not accepted") as caught:
        run_job(stub, monkeypatch)
    assert "apify_api_secret" not in str(caught.value)


def test_without_a_token_the_sentence_says_where_to_get_one(here, monkeypatch):
    monkeypatch.delenv("APIFY_API_TOKEN")
    with pytest.raises(UserError, match=r"APIFY_API_TOKEN is not set\. Copy \.env\.example"):
        apify_source.connect(load_config(Path("configs/data-main.yaml"), DataConfig))


def test_an_unreachable_address_is_a_sentence(here, monkeypatch):
    monkeypatch.setenv("APIFY_API_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="cannot be reached"):
        apify_source.connect(load_config(Path("configs/data-main.yaml"), DataConfig))


@pytest.mark.parametrize("status", ["FAILED", "TIMED-OUT", "ABORTED"])
def test_a_run_that_ended_badly_still_yields_its_items(here, monkeypatch, status):
    with ApifyStub(
        world, end=lambda run_input: status if run_input["searchTerms"] == ["cats"] else "SUCCEEDED"
    ) as stub:
        spoken = run_job(stub, monkeypatch)
    assert_whole_and_once(stub, here)
    assert any(f"ended as {status}; its 2 items are kept" in line for line in spoken.lines)
    metas = [json.loads(path.read_text()) for path in (here / "data/main/raw").glob("search-*.meta.json")]
    assert sorted(meta["status"] for meta in metas) == sorted(["SUCCEEDED", status])


@pytest.mark.parametrize(
    "filler", [{"noResults": True}, {"type": "mock_tweet", "id": -1, "text": "From KaitoEasyAPI"}]
)
def test_nothing_but_filler_is_an_error_whose_cost_is_booked_and_again_asks_once_more(
    here, monkeypatch, filler
):
    with ApifyStub(lambda run_input: [filler] * 10) as stub:
        for _ in range(2):  # the same command again pays for nothing
            with pytest.raises(
                UserError, match=r"20 rows and not one post .*; \$0.01 spent.*paid plan.*AGAIN=1"
            ):
                run_job(stub, monkeypatch)
            assert stub.posts == 2
        stub.world = world
        spoken = run_job(stub, monkeypatch, again=True)
    assert spoken.outcome.pairs == 20
    assert spoken.outcome.usd == pytest.approx(20 * 0.0004 + len(expected_ids()) * 0.0004)


def test_rows_that_cannot_be_read_are_no_posts_either(here, monkeypatch):
    with (
        ApifyStub(lambda run_input: [{"error": "not available"}] * 5) as stub,
        pytest.raises(UserError, match="2 searches brought 10 rows and not one post"),
    ):
        run_job(stub, monkeypatch)
    assert stub.posts == 2


def test_tweets_that_nobody_answered_are_no_filler(here, monkeypatch):
    def silent(run_input):
        return (
            [] if "conversation_id" in run_input["searchTerms"][0] else world(run_input, tweets_per_query=9)
        )

    with ApifyStub(silent) as stub:
        outcome = run_job(stub, monkeypatch).outcome
    assert (outcome.stopped, outcome.reply_runs, outcome.pairs, outcome.filler) == ("exhausted", 18, 0, 0)


def test_replies_that_are_all_filler_stop_the_job_early(here, monkeypatch):
    def throttled(run_input):
        return (
            [{"noResults": True}]
            if "conversation_id" in run_input["searchTerms"][0]
            else world(run_input, tweets_per_query=20)
        )

    with (
        ApifyStub(throttled) as stub,
        pytest.raises(UserError, match=r"Replies to 8 tweets brought 8 rows of filler"),
    ):
        run_job(stub, monkeypatch)
    assert stub.posts == 2 + 8


def test_some_filler_is_counted_and_kept_as_it_came(here, monkeypatch):
    with ApifyStub(lambda run_input: [*world(run_input), {"noResults": True}]) as stub:
        spoken = run_job(stub, monkeypatch)
    assert (spoken.outcome.filler, spoken.outcome.pairs) == (6, 20)
    assert sum(item.get("noResults", False) for item in raw_items(here)) == 6


def test_hostile_items_are_kept_as_they_came(here, monkeypatch):
    odd = [
        tweet("7", text="half \ud83d emoji", isRetweet=True),
        "a string",
        None,
        {"id": "../../x", "error": "gone"},
    ]
    with ApifyStub(
        lambda run_input: (
            [*world(run_input), *odd] if run_input["searchTerms"] == ["cats"] else world(run_input)
        )
    ) as stub:
        run_job(stub, monkeypatch)
    assert [item for item in raw_items(here) if item in odd] == odd


def test_what_was_forgotten_is_not_stored_a_second_time(here, monkeypatch):
    forgotten = Forgotten.load(Path("data/forgotten.json"))
    first, second = (item["id"] for item in world({"searchTerms": ["cats"]}))
    forgotten.add(first)
    forgotten.add("@FAN3")
    forgotten.save(Path("data/forgotten.json"))
    with ApifyStub(world) as stub:
        spoken = run_job(stub, monkeypatch)
    assert {item["id"] for item in raw_items(here)} & {first, f"{second}003"} == set()
    assert f"conversation_id:{first} filter:replies" not in stub.starts()
    assert spoken.outcome.usd == pytest.approx(stub.billed_usd())


@pytest.mark.parametrize("run_id", ["../../x", "a/b", "", ".", "x" * 65, "R\u2028"])
def test_a_run_id_that_could_leave_the_folder_is_not_used_in_a_file_name(run_id):
    assert re.fullmatch("[0-9a-f]{16}", file_word(run_id))


@pytest.mark.parametrize(
    "changes",
    [
        *(
            {"likeCount": 199},
            {"likeCount": 2001},
            {"likeCount": None},
            {"likeCount": "12.5K"},
            {"likeCount": True},
            {"retweetCount": 9},
        ),
        *(
            {"isRetweet": True},
            {"isQuote": True},
            {"isReply": True},
            {"conversationId": "1"},
            {"lang": "fr"},
            {"replyCount": 0},
        ),
        *({"id": 1.9e18}, {"id": "../x"}, {"id": None}, {"noResults": True}, {"type": "mock_tweet"}),
    ],
    ids=str,
)
def test_replies_are_not_bought_for_a_tweet_that_cannot_become_a_pair(changes):
    assert wanted_tweet(tweet("5"), FilterConfig()) == "5"
    assert not wanted_tweet(tweet("5", **changes), FilterConfig())


@pytest.mark.parametrize(
    "changes",
    [
        *(
            {"likeCount": 4},
            {"inReplyToId": "50001"},
            {"inReplyToId": ""},
            {"author": {"userName": "Author5", "followers": 700}},
        ),
        *({"author": None}, {"author": {"userName": "fan", "followers": 499}}, {"text": "@author5 short"}),
        {"createdAt": "Fri Nov 21 20:21:00 +0000 2025"},
    ],
    ids=str,
)
def test_only_direct_replies_within_the_cheap_bounds_count_towards_the_target(changes):
    replies = [reply("5", 1), reply("5", 2, **changes)]
    assert count_pairs(tweet("5"), replies, FilterConfig()) == 1


# --- rows that were paid for and do not come ---------------------------------------------------------------


PAY_PER_EVENT = [{"pricingModel": "PAY_PER_EVENT", "pricingPerEvent": {"actorChargeEvents": EVENTS}}]
TEN = {"page": lambda items, offset, limit: (items[offset:10], 10, offset), "counts": lambda items: (10, 10)}


def shrinking(items, offset, limit):
    return items[offset:10], 40 if offset == 0 else 10, offset


def rows_again(items, offset, limit):
    return (items[:10] if offset < 40 else []), 40, offset


SHORT = {
    "the page's total": {
        "page": lambda items, offset, limit: (items[offset:10], 40, offset),
        "counts": lambda items: None,
    },
    "the data set's count": {**TEN, "counts": lambda items: (40, 40)},
    "the cost": {**TEN, "report_usd": True},
    "the charged events": {
        **TEN,
        "pricing": PAY_PER_EVENT,
        "events": lambda items: {"apify-actor-start": 1, "tweet": len(items)},
    },
    "the rows that Apify charged": {
        **TEN,
        "events": lambda items: {"apify-default-dataset-item": len(items)},
    },
    "a total of zero": {"page": lambda *_: ([], 0, 0), "counts": lambda items: (0, 0), "report_usd": True},
    "a total that changes": {"page": shrinking, "counts": lambda items: (10, 10)},
    "the same rows on every page": {"page": rows_again},
    "an offset that is ignored": {"page": lambda items, offset, limit: (items[:10], 40, 0)},
    "an offset that is ignored and denied": {"page": lambda items, offset, limit: (items[:10], 40, offset)},
    "rows that are counted and not empty": {**TEN, "counts": lambda items: (40, 30)},
    "a count of empty rows that cannot be": {**TEN, "counts": lambda items: (40, 0)},
}


@pytest.fixture
def forty(here):
    """A set with one search, which finds forty tweets; its server can be told to hold rows back."""
    write_config(here, queries="cats", target=1)

    def server(page, counts=None, **fields):
        def search_only(items, offset, limit):
            return page(items, offset, limit) if len(items) == 40 else (items[offset:], len(items), offset)

        def counted(items):
            return counts(items) if counts and len(items) == 40 else (len(items), len(items))

        return ApifyStub(partial(world, tweets_per_query=40), page=search_only, counts=counted, **fields)

    return server


@pytest.mark.parametrize("fault", SHORT.values(), ids=SHORT)
def test_a_run_that_gives_fewer_rows_than_were_paid_for_stays_open_and_is_read_again_for_free(
    here, monkeypatch, forty, fault
):
    fault = {"report_usd": False, **fault}
    with forty(**fault) as stub:
        for _ in range(2):
            with pytest.raises(
                UserError, match=r"Not everything that was paid for .* paid twice: run the same command"
            ):
                run_job(stub, monkeypatch)
            assert [entry.state for entry in Ledger(here / "data/main/ledger.jsonl").latest().values()] == [
                "started"
            ]
            assert raw_items(here) == []
            assert (
                finished(Path("data/main"), load_config(Path("configs/data-main.yaml"), DataConfig), 5)
                is None
            )
        stub.page = None
        run_job(stub, monkeypatch)
        assert stub.starts()["cats"] == 1
    assert [entry.state for entry in Ledger(here / "data/main/ledger.jsonl").latest().values()] == [
        "done"
    ] * 2
    assert len([item for item in raw_items(here) if not item["isReply"]]) == 40
    [meta] = [json.loads(path.read_text()) for path in (here / "data/main/raw").glob("search-*.meta.json")]
    assert (meta["n_total"], meta["n_read"], meta["n_items"]) == (40, 40, 40)
    assert meta["n_billed"] in (40, None)


def test_rows_that_come_late_are_waited_for(here, monkeypatch, forty):
    def late(items, offset, limit):
        return (items[offset:] if len(spoken) > 4 else items[offset:10]), 40, spoken.append(offset) or offset

    spoken: list = []
    with forty(page=late) as stub:
        job = run_job(stub, monkeypatch)
    assert job.slept == [1, 2]
    assert "gave 10 rows where 40 are counted and 40 were billed: reading it again in 1 s" in job.lines[0]
    assert job.outcome.tweets == 40


def test_the_other_runs_of_a_batch_are_finished_where_one_is_short(here, monkeypatch):
    def cats_only(items, offset, limit):
        return (
            ([] if items[0]["id"] == world({"searchTerms": ["cats"]})[0]["id"] else items[offset:]),
            len(items),
            offset,
        )

    with ApifyStub(world, page=cats_only) as stub:
        with pytest.raises(UserError, match=r"run R1 \(cats\) gave 0 rows where 2 are counted"):
            run_job(stub, monkeypatch)
        states = {
            entry.id: entry.state for entry in Ledger(here / "data/main/ledger.jsonl").latest().values()
        }
        assert states == {"R1": "started", "R2": "done"}
        stub.page = None
        run_job(stub, monkeypatch)
    assert_whole_and_once(stub, here)


def whole_again(items, offset, limit):
    return items, len(items), 0


def whole_again_denied(items, offset, limit):
    return items, len(items), offset


def honest_overlap(items, offset, limit):
    start = max(0, offset - 3)
    return items[start : start + 10], len(items), start


def overlap(items, offset, limit):
    start = max(0, offset - 3)
    return items[start : start + 10], len(items), offset


@pytest.mark.parametrize("report_usd", [True, False])
@pytest.mark.parametrize("page", [honest_overlap, overlap, whole_again, whole_again_denied])
@pytest.mark.parametrize("n_tweets", [2, 7, 10, 43])
def test_rows_that_come_on_two_pages_are_kept_once(here, monkeypatch, page, n_tweets, report_usd):
    write_config(here, target=1, queries="cats")
    with ApifyStub(partial(world, tweets_per_query=n_tweets), page=page, report_usd=report_usd) as stub:
        spoken = run_job(stub, monkeypatch)
    assert sorted(item["id"] for item in raw_items(here)) == sorted(
        item["id"] for run in stub.runs for item in run["items"]
    )
    assert spoken.slept == []
    assert stub.calls["items"] < 20


def test_equal_rows_of_filler_on_several_pages_are_all_rows(here, monkeypatch):
    mock = {"type": "mock_tweet", "id": -1}
    filler = [mock, mock, mock, {"noResults": True}, {"noResults": True}]
    with ApifyStub(lambda run_input: [*world(run_input), *filler], page_cap=1) as stub:
        spoken = run_job(stub, monkeypatch)
    assert spoken.outcome.items == sum(len(run["items"]) for run in stub.runs)


def test_empty_rows_that_are_counted_and_not_sent_are_not_waited_for(here, monkeypatch):
    def with_empty(run_input):
        return [*world(run_input), {}, {}, {}]

    def filled(items, offset, limit):
        return [item for item in items if item][offset:], len(items), offset

    with ApifyStub(with_empty, page=filled) as stub:
        spoken = run_job(stub, monkeypatch)
    assert spoken.outcome.pairs == 20
    assert spoken.slept == []
    assert (
        "run R1 (cats) gave 2 rows where 5 are counted and 5 were billed; what is missing holds nothing"
        in spoken.lines[0]
    )


def test_what_was_billed_without_rows_is_done_once_every_counter_has_caught_up(here, monkeypatch, forty):
    with forty(**TEN) as stub:
        with pytest.raises(UserError, match="An hour after the end of a run"):
            run_job(stub, monkeypatch)
        stub.ended_s_ago = 4000
        spoken = run_job(stub, monkeypatch)
    assert spoken.outcome.tweets == 10
    assert "warning: run R1 (cats) gave 10 rows where 10 are counted and 40 were billed" in spoken.lines[0]
    assert set(stub.starts().values()) == {1}


@pytest.mark.parametrize(("n_late", "n_rows"), [(50, 50), (10, 10)])
def test_where_the_least_charge_was_billed_the_counters_are_given_time(here, monkeypatch, n_late, n_rows):
    write_config(here, queries="cats", target=1)
    reads: list = []

    def page(items, offset, limit):
        if len(items) != 50:
            return items[offset:], len(items), offset
        n_shown = 10 if len(reads) < 4 else n_late  # two readings of two pages
        reads.append(offset)
        return items[offset:n_shown], n_shown, offset

    with ApifyStub(partial(world, tweets_per_query=50), page=page, counts=lambda items: None) as stub:
        spoken = run_job(stub, monkeypatch)
    assert spoken.outcome.tweets == n_rows
    assert spoken.slept[:2] == [1, 2]


FLAT = {"pricingModel": "PRICE_PER_DATASET_ITEM", "pricePerUnitUsd": 0.0004}
TIERED = {
    **FLAT,
    "tieredPricing": {"A": {"tieredPricePerUnitUsd": 0.0004}, "B": {"tieredPricePerUnitUsd": 0.0002}},
}


@pytest.mark.parametrize(
    ("info", "events", "usd", "use", "n"),
    [
        (FLAT, None, 0.016, None, 40),
        (FLAT, None, 0.0161, None, None),
        (FLAT, None, 0.016, {"compute units": 0.016}, None),
        (FLAT, None, None, None, None),
        (FLAT, None, float("nan"), None, None),
        (TIERED, None, 0.016, None, None),
        (FLAT, {"apify-default-dataset-item": 7, "tweet": 9}, 0.016, None, 7),
        (PAY_PER_EVENT[0], {"apify-actor-start": 1, "tweet": 12}, 0.5, None, 12),
        (PAY_PER_EVENT[0], {"apify-actor-start": 1}, 0.5, None, None),
        ({}, {"search": 3}, 0.016, None, None),
    ],
)
def test_how_many_items_were_billed_is_known_from_events_or_a_cost_that_holds_nothing_else(
    info, events, usd, use, n
):
    run = SimpleNamespace(charged_event_counts=events, usage_total_usd=usd, usage_usd=use)
    assert n_billed({"pricingInfos": [info]}, run) == n


ENDLESS = {
    "new rows for ever": lambda items, offset, limit: (
        [tweet(str(offset + n + 1)) for n in range(7)],
        7,
        offset,
    ),
    "a total that grows along": lambda items, offset, limit: (
        [tweet(str(offset + n + 1)) for n in range(limit)],
        offset + 9999,
        offset,
    ),
    "filler for ever": lambda items, offset, limit: ([{"noResults": True}] * 100, 10**15, offset),
}


@pytest.mark.parametrize("report_usd", [True, False])
@pytest.mark.parametrize("page", ENDLESS.values(), ids=ENDLESS)
def test_pages_without_an_end_end_with_a_sentence_and_nothing_is_lost(here, monkeypatch, page, report_usd):
    write_config(here, queries="cats")
    with ApifyStub(world, page=page, report_usd=report_usd) as stub:
        with pytest.raises(
            UserError, match=r"sends rows of run R1 without an end: .* Nothing is lost or paid twice"
        ):
            run_job(stub, monkeypatch)
        assert stub.calls["items"] < 2000
        stub.page = None
        run_job(stub, monkeypatch)
    assert set(stub.starts().values()) == {1}


@pytest.mark.parametrize(
    "price", [float("nan"), float("inf"), "abc", "nan", -0.01, None, True, [], {}, 10**400], ids=str
)
@pytest.mark.parametrize(
    "info",
    [
        lambda price: {"pricingModel": "PRICE_PER_DATASET_ITEM", "pricePerUnitUsd": price},
        lambda price: {
            "pricingModel": "PRICE_PER_DATASET_ITEM",
            "tieredPricing": {"A": {"tieredPricePerUnitUsd": price}},
        },
        lambda price: {
            "pricingModel": "PRICE_PER_DATASET_ITEM",
            "pricePerUnitUsd": 1,
            "tieredPricing": {"A": {"tieredPricePerUnitUsd": 1}, "B": {"tieredPricePerUnitUsd": price}},
        },
        lambda price: {
            "pricingModel": "PAY_PER_EVENT",
            "pricingPerEvent": {"actorChargeEvents": {**EVENTS, "post": {"eventPriceUsd": price}}},
        },
        lambda price: {"pricingModel": "PAY_PER_EVENT", "pricingPerEvent": {"actorChargeEvents": price}},
        lambda price: {"pricingModel": "PAY_PER_EVENT", "pricingPerEvent": price},
    ],
    ids=["flat", "tier", "one of two tiers", "event", "events", "no events"],
)
def test_a_price_that_is_no_amount_stops_before_a_start(here, info, price):
    with pytest.raises(UserError, match=r"no amount in dollars.*Nothing was started"):
        apify_source.price_of({"pricingInfos": [info(price)]}, 0)


def test_a_listing_without_its_price_starts_nothing(here, monkeypatch):
    odd = {**PAY_PER_EVENT[0], "minimalMaxTotalChargeUsd": float("nan")}
    for listed in ([{"pricingModel": "PRICE_PER_DATASET_ITEM"}], [odd], "free"):
        with ApifyStub(world, pricing=listed) as stub, pytest.raises(UserError, match="no amount in dollars"):
            run_job(stub, monkeypatch)
        assert stub.posts == 0


@pytest.mark.parametrize("usd", [float("nan"), float("inf"), -3.0, 0.0])
def test_a_reported_cost_that_is_no_amount_is_counted_from_the_items(usd):
    assert Price("pay per result", 0.001).actual_usd(Run("R", usd=usd), 10) == pytest.approx(0.01)


def test_no_run_is_started_at_a_price_that_no_cap_holds(here, monkeypatch):
    with ApifyStub(world) as stub:
        monkeypatch.setattr(apify_source, "price_of", lambda actor, floor: Price("odd", float("nan")))
        with pytest.raises(UserError):
            run_job(stub, monkeypatch)
    assert stub.posts == 0


def test_a_set_collected_before_counts_were_compared_stays_done(here, monkeypatch):
    with ApifyStub(world) as stub:
        first = run_job(stub, monkeypatch)
        for path in (here / "data/main/raw").glob("*.meta.json"):
            meta = json.loads(path.read_text())
            for name in ("n_billed", "n_total", "n_read"):
                del meta[name]
            path.write_text(json.dumps(meta))
        (here / "data/main/raw/manifest.json").unlink()
        stub.page = lambda items, offset, limit: ([], len(items), offset)
        second = run_job(stub, monkeypatch)
    assert first.outcome == second.outcome
    assert stub.posts == 6


def test_a_finished_set_with_a_run_that_is_not_read_yet_is_not_finished(here, monkeypatch):
    filler = [{"noResults": True}]
    with ApifyStub(
        lambda run_input: filler if run_input["searchTerms"] == ["dogs"] else world(run_input)
    ) as stub:
        outcome = run_job(stub, monkeypatch).outcome
        stub.world, stub.page = world, lambda items, offset, limit: ([], len(items), offset)
        with pytest.raises(UserError, match="run the same command again"):
            run_job(stub, monkeypatch, again=True)
    config = load_config(Path("configs/data-main.yaml"), DataConfig)
    assert outcome.stopped == "exhausted"
    assert finished(Path("data/main"), config, 5) is None


def test_the_command_ends_with_an_error_where_rows_are_missing(here, monkeypatch, forty, capsys):
    monkeypatch.setattr(delivery, "WAITS_S", ())
    monkeypatch.setattr(sys, "argv", ["collect", "--config", "configs/data-main.yaml"])
    monkeypatch.setenv("YES", "1")
    with forty(**TEN) as stub, pytest.raises(SystemExit) as ended:
        monkeypatch.setenv("APIFY_API_BASE_URL", stub.url)
        run(main)
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert (
        "run R1 (cats) gave 10 rows where 10 are counted and 40 were billed. Nothing is lost or paid twice"
        in said
    )


# --- the command -----------------------------------------------------------------------------------------


def command(folder, **environment):
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    line = [sys.executable, "-m", "scripts.collect", "--config", "configs/data-main.yaml"]
    return subprocess.run(
        line, cwd=folder, env=env, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
    )


def test_the_command_asks_counts_and_says_when_there_is_nothing_to_do(here):
    write_config(here, target=3)
    with ApifyStub(world) as stub:
        unasked = command(here, APIFY_API_BASE_URL=stub.url)
        assert (unasked.returncode, stub.posts) == (1, 0)
        assert "Start? Nobody is here to answer" in unasked.stderr
        done = command(here, APIFY_API_BASE_URL=stub.url, YES="1")
        assert (done.returncode, done.stderr.count("Traceback")) == (0, 0)
        assert "about 5 of 3 pairs; the target is reached" in done.stdout
    again = command(here, APIFY_API_BASE_URL="http://127.0.0.1:9", APIFY_API_TOKEN="")
    assert again.returncode == 0
    assert "Nothing to do" in again.stdout
    assert all(
        TOKEN not in done.stdout + done.stderr + text
        for text in [p.read_text() for p in (here / "data").rglob("*.json*")]
    )


def test_two_collectors_at_once_one_works_and_one_says_so(here):
    collecting.write_json(here / "data/main/x.json", {})
    with ApifyStub(world) as stub, collecting.lock(Path("data/main/collect.lock")):
        other = command(here, APIFY_API_BASE_URL=stub.url, YES="1")
    assert (other.returncode, stub.posts) == (1, 0)
    assert f"data/main is in use by another run (process {os.getpid()})" in other.stderr


def test_source_files_collects_nothing_and_says_what_lies_there(here):
    (here / "configs/data-main.yaml").write_text("collect: {source: files}\n")
    empty = command(here)
    assert empty.returncode == 1
    assert "holds no .jsonl or .csv file" in empty.stderr
    (here / "data/main/raw").mkdir(parents=True)
    (here / "data/main/raw/mine.jsonl").write_text('{"a": 1}\n\n{"a": 2}\n')
    found = command(here)
    assert (found.returncode, found.stdout) == (
        0,
        "collect: 1 file of your own, nothing to collect\n  data/main/raw/mine.jsonl  2 lines\n",
    )


def test_a_listed_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"gone\.jsonl does not exist"):
        own_files(tmp_path, ["gone.jsonl"])


# --- tweets that were paid for --------------------------------------------------------------------------


@pytest.fixture
def collected(here, monkeypatch):
    """(stub, a raw file of a finished job)."""
    with ApifyStub(world) as stub:
        run_job(stub, monkeypatch)
        yield (
            stub,
            next(
                path for path in sorted(Path("data/main/raw").glob("replies-*.jsonl")) if path.stat().st_size
            ),
        )


def is_finished():
    return finished(Path("data/main"), load_config(Path("configs/data-main.yaml"), DataConfig), 99)


@pytest.mark.parametrize("damage", [*DAMAGES, "gone with its seal"])
def test_a_damaged_raw_file_is_read_again_from_its_run_for_free(collected, monkeypatch, damage):
    stub, path = collected
    assert is_finished()
    content, starts, usd = (
        path.read_bytes(),
        stub.starts(),
        Ledger(Path("data/main/ledger.jsonl")).spent_usd(),
    )
    if damage == "gone with its seal":
        path.with_suffix(".meta.json").unlink()
        damage = "gone"
    if not harm(path, damage):
        return
    assert not is_finished()  # so that `make data` does not say "nothing to do"
    spoken = run_job(stub, monkeypatch)
    assert path.read_bytes() == content and raw_files(path.parent)
    assert stub.starts() == starts and not spoken.questions  # nothing was started, so nothing was asked
    assert Ledger(Path("data/main/ledger.jsonl")).spent_usd() == usd
    assert is_finished()


def test_a_damaged_raw_file_whose_run_is_gone_is_refused_with_what_is_left_to_do(collected, monkeypatch):
    stub, path = collected
    starts = stub.starts()
    harm(path, "cut at a line")
    stub.faults = [Fault("items", 404, times=99, type="record-not-found")]
    with pytest.raises(
        UserError,
        match=rf"{path} holds .*copy the file back from a backup; or go on, for free, .*`(touch .*)`",
    ) as refusal:
        run_job(stub, monkeypatch)
    subprocess.run(str(refusal.value).split("`")[-2], shell=True, check=True)
    run_job(stub, monkeypatch)
    assert is_finished() and stub.starts() == starts


def test_only_keys_that_change_what_is_bought_change_the_hash_of_a_job():
    def hash_of(**bounds):
        return config_hash(DataConfig.model_validate({"collect": {"source": "files"}, "filter": bounds}))

    judging = {
        "promotion": "keep",
        "filler": "reject",
        "max_replies_per_author": 2,
        "max_replies_per_tweet": 2,
    }
    assert hash_of(**judging) == hash_of()
    assert len({hash_of(), hash_of(tweet_media=True), hash_of(tweet_url=True)}) == 3
    config = DataConfig.model_validate({"collect": {"source": "files"}})
    newer = {*JUDGE_ONLY, "tweet_media", "tweet_url"}
    older = config.filter.model_dump(exclude=newer)  # as a job wrote it before there were such keys
    unhashed = {"max_usd", "run_minutes", "files", "min_pairs", "max_pairs"}
    assert hash_of() == content_hash(config.collect.model_dump(exclude=unhashed), older)
