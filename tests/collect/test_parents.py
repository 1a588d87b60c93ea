"""Tweets that replies answer and raw/ lacks: listed, bought by id, each once."""

import asyncio
import json
import os
from itertools import chain
from types import SimpleNamespace

import pytest

from lib.base.config import load_config
from lib.base.ledger import Ledger
from lib.base.settings import DataConfig
from lib.collect import apify as apify_source
from lib.collect import twscrape as twscrape_source
from lib.collect.parents import buy_missing, ids_of, missing_tweets, request
from lib.data.forget import Forgotten
from tests.collect.test_collection import Spoken, impatient  # noqa: F401
from tests.items import stage, write_items
from tests.stubs.apify_server import TOKEN, ApifyStub, Fault
from tests.stubs.tweets_world import reply, tweet

GONE = "700"
CONFIG = "collect: {source: files, max_usd: 5, actor: ACTOR}\nreview: optional\n"


def by_id(run_input):
    """What X still has of the tweets that are asked for."""
    asked = run_input.get("tweetIDs") or [address.split("/")[-1] for address in run_input["startUrls"]]
    return [tweet(tweet_id) for tweet_id in asked if tweet_id != GONE] or [{"noResults": True}]


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A set of one's own replies, whose tweets are not there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("APIFY_API_TOKEN", TOKEN)
    monkeypatch.setenv("YES", "1")
    for name in ("MAX_USD", "AGAIN"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "configs").mkdir()
    write_config(tmp_path)
    answers = [reply("500", 1), reply("600", 2), reply(GONE, 3), reply("500", 4)]
    write_items(tmp_path / "data/x/raw", answers)
    return tmp_path


def write_config(folder, actor="apidojo/tweet-scraper"):
    (folder / "configs/data-x.yaml").write_text(CONFIG.replace("ACTOR", actor))


def collect(folder, stub, monkeypatch, **variables):
    monkeypatch.setenv("APIFY_API_BASE_URL", stub.url)
    monkeypatch.setenv("PARENTS", "1")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return stage(folder, "collect")


def asked_for(stub):
    return [ids_of(SimpleNamespace(input=run["input"])) for run in stub.runs]


def test_nothing_is_bought_unless_it_is_asked_for(archive, monkeypatch):
    with ApifyStub(by_id) as stub:
        for not_asked in ("", "0"):
            done = collect(archive, stub, monkeypatch, PARENTS=not_asked)
            assert (done.returncode, stub.posts) == (0, 0)


def test_missing_tweets_are_bought_by_id_and_their_replies_become_pairs(archive, monkeypatch):
    with ApifyStub(by_id) as stub:
        done = collect(archive, stub, monkeypatch)
    assert done.returncode == 0, done.stderr
    assert asked_for(stub) == [["500", "600", GONE]]
    assert "2 of 3 missing tweets found by id" in done.stdout
    assert "1 did not come: deleted" in done.stdout
    assert stage(archive, "pair").returncode == 0
    pairs = [json.loads(line) for line in (archive / "data/x/interim/pairs.jsonl").open()]
    assert sorted(pair["tweet_id"] for pair in pairs) == ["500", "500", "600"]
    listed = (archive / "data/x/interim/missing_tweets.txt").read_text()
    assert listed == f"https://x.com/i/status/{GONE}\n"


def test_the_question_names_the_number_and_the_price(archive, monkeypatch):
    monkeypatch.setenv("YES", "")
    with ApifyStub(by_id) as stub:
        monkeypatch.setenv("APIFY_API_BASE_URL", stub.url)
        config = load_config(archive / "configs/data-x.yaml", DataConfig)
        spoken = Spoken()
        buy_missing(archive / "data/x", config, apify_source.connect(config), 5, spoken.talk)
        assert collect(archive, stub, monkeypatch).returncode == 0  # nothing is left to ask
    (question,) = spoken.questions
    for words in ("$0.40 per 1,000", "3 tweets that replies", "at most $0.02", "$0.00 of the $5.00"):
        assert words in question


def test_an_id_is_paid_for_once_found_or_not(archive, monkeypatch):
    with ApifyStub(by_id) as stub:
        collect(archive, stub, monkeypatch)
        stage(archive, "pair")
        again = collect(archive, stub, monkeypatch)
        assert stub.posts == 1
        assert "0 of 0 missing tweets" in again.stdout
        assert "1 more are missing: asked for before" in again.stdout
        write_items(archive / "data/x/raw", [reply("800", 1)], "more.jsonl")
        collect(archive, stub, monkeypatch)
    assert asked_for(stub) == [["500", "600", GONE], ["800"]]
    assert Ledger(archive / "data/x/ledger.jsonl").spent_usd("collect") == pytest.approx(stub.billed_usd())


def buy(folder, stub, monkeypatch):
    monkeypatch.setenv("APIFY_API_BASE_URL", stub.url)
    config = load_config(folder / "configs/data-x.yaml", DataConfig)
    return buy_missing(folder / "data/x", config, apify_source.connect(config), 5, Spoken().talk)


def test_ids_are_asked_for_a_hundred_at_a_time_none_left_out(archive, monkeypatch):
    more = [str(1000 + n) for n in range(200)]
    write_items(archive / "data/x/raw", [reply(tweet_id, 1) for tweet_id in more], "more.jsonl")
    with ApifyStub(by_id) as stub:
        assert "202 of 203 missing tweets found by id" in buy(archive, stub, monkeypatch)
    assert sorted(map(len, asked_for(stub))) == [3, 100, 100]
    assert sorted(chain(*asked_for(stub))) == sorted([*more, "500", "600", GONE])


def test_make_sees_that_raw_holds_more_than_before(archive, monkeypatch):
    manifest = archive / "data/x/raw/manifest.json"
    manifest.write_text('{"source": "apify"}')
    os.utime(manifest, (0, 0))
    with ApifyStub(by_id) as stub:
        buy(archive, stub, monkeypatch)
    (bought,) = (archive / "data/x/raw").glob("parents-*.jsonl")
    assert manifest.stat().st_mtime_ns >= bought.stat().st_mtime_ns
    assert json.loads(manifest.read_text()) == {"source": "apify"}


def test_a_bought_file_that_is_damaged_is_read_again_before_it_is_asked_what_is_missing(archive, monkeypatch):
    with ApifyStub(by_id) as stub:
        buy(archive, stub, monkeypatch)
        (bought,) = (archive / "data/x/raw").glob("parents-*.jsonl")
        whole = bought.read_bytes()
        bought.write_bytes(whole[:-9])
        assert "0 of 0 missing tweets" in buy(archive, stub, monkeypatch)
    assert (bought.read_bytes(), stub.posts) == (whole, 1)


@pytest.mark.parametrize("what", ["lost", "drop_after"])
def test_a_start_whose_answer_was_lost_is_adopted(archive, monkeypatch, what):
    with ApifyStub(by_id) as stub:
        stub.faults = [Fault("start", what)]
        done = collect(archive, stub, monkeypatch)
    assert (done.returncode, stub.posts) == (0, 1)
    assert "2 of 3 missing tweets found" in done.stdout


def test_a_run_that_was_paid_for_and_not_read_is_read_by_the_next_call(archive, monkeypatch):
    with ApifyStub(by_id) as stub:
        stub.faults = [Fault("items", "drift", times=99)]
        assert collect(archive, stub, monkeypatch).returncode == 1
        stub.faults = []
        done = collect(archive, stub, monkeypatch)
    assert (done.returncode, stub.posts) == (0, 1)
    assert "2 of 3 missing tweets found" in done.stdout


def test_filler_is_asked_for_again_only_where_that_is_said(archive, monkeypatch):
    with ApifyStub(lambda run_input: [{"noResults": True}] * 3) as stub:
        assert "AGAIN=1" in collect(archive, stub, monkeypatch).stdout
        for no in ("", "0"):
            collect(archive, stub, monkeypatch, AGAIN=no)
            assert stub.posts == 1
        stub.world = by_id
        done = collect(archive, stub, monkeypatch, AGAIN="1")
    assert stub.posts == 2
    assert "2 of 3 missing tweets found" in done.stdout


def test_what_is_itself_a_reply_or_forgotten_is_not_asked_for(archive, monkeypatch):
    forgotten = Forgotten.load(archive / "data/forgotten.json")
    forgotten.add("600")
    forgotten.save(archive / "data/forgotten.json")
    nested = reply("900", 1, inReplyToId="901", conversationId="900")
    write_items(archive / "data/x/raw", [nested], "nested.jsonl")
    with ApifyStub(by_id) as stub:
        collect(archive, stub, monkeypatch)
    assert asked_for(stub) == [["500", GONE]]


def test_no_run_is_started_above_the_cap(archive, monkeypatch):
    with ApifyStub(by_id) as stub:
        done = collect(archive, stub, monkeypatch, MAX_USD="0.01")
    assert (done.returncode, stub.posts) == (1, 0)
    assert "No missing tweet was bought: a run can cost $0.04" in done.stderr


def test_the_list_of_pairing_is_used_while_raw_has_not_changed(archive, monkeypatch):
    stage(archive, "pair")
    listed = archive / "data/x/interim/missing_tweets.txt"
    listed.write_text("https://x.com/i/status/500\n")
    config = load_config(archive / "configs/data-x.yaml", DataConfig)
    nobody = Forgotten("salt")
    assert missing_tweets(archive / "data/x", config, nobody) == ["500"]
    write_items(archive / "data/x/raw", [reply("800", 1)], "more.jsonl")
    assert missing_tweets(archive / "data/x", config, nobody) == ["500", "600", GONE, "800"]


@pytest.mark.parametrize(
    ("actor", "source", "wanted"),
    [
        ("kaitoeasyapi/tweets", "apify", {"tweetIDs": ["5", "6"], "maxItems": 2}),
        (
            "apidojo/tweet-scraper",
            "apify",
            {"startUrls": ["https://x.com/i/status/5", "https://x.com/i/status/6"], "maxItems": 2},
        ),
        ("apidojo/tweet-scraper", "twscrape", {"tweet_ids": ["5", "6"]}),
    ],
)
def test_every_source_is_asked_in_its_own_words(actor, source, wanted):
    config = DataConfig.model_validate({"collect": {"source": "files", "actor": actor}})
    one = request(config, source, ["5", "6"])
    assert (one.input, one.max_items, ids_of(one)) == (wanted, 2, ["5", "6"])


def test_twscrape_gives_the_tweets_that_are_still_there(archive):
    class Api:
        async def tweet_details(self, tweet_id):
            return None if tweet_id == int(GONE) else tweet_id

    async def read():
        scrape = twscrape_source.scraper(Api())
        one = request(DataConfig.model_validate({"collect": {"source": "files"}}), "twscrape", ["500", GONE])
        return [found async for found in scrape(one)]

    assert asyncio.run(read()) == [500]
