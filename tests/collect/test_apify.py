"""Apify by itself: what a start is given, which run is found and waited for, what an answer means."""

from datetime import timedelta
from types import SimpleNamespace

import pytest

from lib.base.errors import UserError
from lib.base.settings import DataConfig
from lib.collect import apify
from lib.collect.apify_failures import ADVICE, sentence
from lib.collect.provider import AnswerLostError, BusyError, RefusedError
from tests.collect.test_collection import impatient  # noqa: F401
from tests.stubs.apify_server import PAY_PER_RESULT, TOKEN, ApifyStub, Fault
from tests.stubs.tweets_world import world


def config(language="en", **collect):
    values = {"collect": {"queries": ["cats"], **collect}, "filter": {"language": language}}
    return DataConfig.model_validate(values)


@pytest.fixture
def connect(monkeypatch):
    monkeypatch.setenv("APIFY_API_TOKEN", TOKEN)

    def connected(stub, path="", **collect):
        monkeypatch.setenv("APIFY_API_BASE_URL", stub.url + path)
        return apify.connect(config(**collect))

    return connected


@pytest.mark.parametrize(("language", "asked"), [("en", "en"), ("en-gb", "en"), ("de", "de")])
def test_a_search_is_for_the_language_without_its_region(language, asked):
    assert apify.request(config(language), "search", "cats").input["tweetLanguage"] == asked


@pytest.mark.parametrize("path", ["", "/", "/v2", "/v2/"])
def test_the_address_may_end_in_the_version(connect, path):
    with ApifyStub(world) as stub:
        assert connect(stub, path).price.usd_per_item == 0.0004


@pytest.mark.parametrize("what", [403, 500, "drop_before"])
def test_a_balance_that_cannot_be_read_stops_nothing(connect, what):
    with ApifyStub(world, faults=[Fault("limits", what, times=99)]) as stub:
        assert connect(stub).account == ""


def test_the_cap_of_a_run_is_never_below_what_it_may_cost(connect):
    with ApifyStub(world, pricing=[{**PAY_PER_RESULT[0], "pricePerUnitUsd": 0.00012345}]) as stub:
        provider, request = connect(stub), apify.request(config(), "search", "cats")
        worst_usd = provider.price.worst_usd(request.max_items)
        provider.start(request, worst_usd)
        provider.start(request, 0.0)  # of an actor that is free
    capped, free = stub.queries
    assert worst_usd <= float(capped["maxTotalChargeUsd"]) <= worst_usd + 0.0001
    assert "maxTotalChargeUsd" not in free


@pytest.mark.parametrize(
    ("status", "type", "error"),
    [
        (400, "invalid-input", RefusedError),
        (402, "not-enough-usage-to-run-paid-actor", RefusedError),
        (402, "actor-memory-limit-exceeded", BusyError),
        (408, "request-timeout", AnswerLostError),
        (429, "rate-limit-exceeded", BusyError),
        (429, "odd", BusyError),
        (499, "odd", RefusedError),
        (500, "internal-server-error", AnswerLostError),
        (503, "odd", AnswerLostError),
    ],
)
def test_a_start_is_refused_not_now_or_unknown_and_never_sent_again_by_the_client(
    connect, status, type, error
):
    with ApifyStub(world) as stub:
        provider = connect(stub)
        stub.faults = [Fault("start", status, times=9, type=type)]
        with pytest.raises(error):
            provider.start(apify.request(config(), "search", "cats"), 1.0)
    assert stub.posts == 1


def test_the_newest_run_with_the_same_input_is_found_whatever_the_order_of_the_list(connect):
    request = apify.request(config(), "search", "cats")
    with ApifyStub(world) as stub:
        provider = connect(stub)
        for at in range(3):
            provider.start(request, 1.0)
            stub.runs[at]["at"] -= timedelta(minutes=(5, 1, 9)[at])
        provider.start(apify.request(config(), "search", "dogs"), 1.0)
        assert provider.find(request, []).id == "R2"
        assert provider.find(request, ["R2"]).id == "R1"
        assert provider.find(request, ["R1", "R2", "R3"]) is None


def test_a_run_that_is_listed_without_an_input_is_passed_over(connect):
    request = apify.request(config(), "search", "cats")
    with ApifyStub(world) as stub:
        source = connect(stub).find.__self__
        source.start(request, 1.0)
        listed = source.listed()
        source.listed = lambda: [{"id": "R9"}, *listed]
        assert source.find(request, []).id == "R1"


def test_a_run_is_waited_for_five_minutes_longer_than_apify_lets_it_run(connect):
    waits = []
    running = SimpleNamespace(status="RUNNING")

    def wait_for_finish(wait_duration, timeout):
        waits.append(wait_duration)
        return running

    with ApifyStub(world) as stub:
        wait = connect(stub, run_minutes=30).wait
        wait.__self__.reader = SimpleNamespace(
            run=lambda run_id: SimpleNamespace(wait_for_finish=wait_for_finish)
        )
        with pytest.raises(UserError, match="still RUNNING after 35 minutes"):
            wait("R1")
    assert waits == [timedelta(minutes=35)]


def test_counters_lag_from_the_end_of_a_run_on_not_from_its_start(connect):
    with ApifyStub(world, ended_s_ago=60) as stub:
        provider = connect(stub)
        provider.start(apify.request(config(), "search", "cats"), 1.0)
        stub.runs[0]["at"] -= timedelta(hours=2)
        run = provider.wait("R1")
    assert run.has_ended_for(50) and not run.has_ended_for(3600)


@pytest.mark.parametrize("type", [name for name in ADVICE if isinstance(name, str)])
@pytest.mark.parametrize("status", [400, 402, 403])
def test_the_advice_for_the_very_error_comes_before_that_for_its_status(type, status):
    error = SimpleNamespace(type=type, status_code=status, message="no")
    assert sentence(error, "starting a/b").endswith(ADVICE[type])
    assert sentence(SimpleNamespace(**{**vars(error), "type": "odd"}), "").endswith(ADVICE[status])
