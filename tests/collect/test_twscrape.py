import asyncio
import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from lib.base.config import load_config
from lib.base.errors import UserError
from lib.base.settings import DataConfig
from lib.collect import twscrape as twscrape_source
from lib.collect.collection import Talk, collect
from lib.collect.twscrape import item_of, provider, request, scraper
from lib.data.items import post_of

NOW = datetime(2025, 11, 22, tzinfo=UTC)


def user(name="ann", **changes):
    fields = {
        "id": 7,
        "username": name,
        "displayname": "Ann",
        "followersCount": 900,
        "friendsCount": 3,
        "created": NOW,
        "rawDescription": "hi",
    }
    return SimpleNamespace(**{**fields, **changes})


def tweet(tweet_id, **changes):
    """What twscrape's parser returns: a Tweet, as far as this project reads it."""
    fields = {
        "id": tweet_id,
        "url": f"https://x.com/ann/status/{tweet_id}",
        "date": datetime(2025, 11, 21, 20, 20, tzinfo=UTC),
        "user": user(),
        "lang": "en",
        "rawContent": "What nobody tells you about tests",
        "replyCount": 4,
        "retweetCount": 20,
        "likeCount": 300,
        "quoteCount": 1,
        "viewCount": None,
        "conversationId": tweet_id,
        "inReplyToTweetId": None,
        "inReplyToUser": None,
        "retweetedTweet": None,
        "quotedTweet": None,
        "hashtags": ["tests"],
        "links": [
            SimpleNamespace(url="https://example.org/a", text="example.org/a", tcourl="https://t.co/1")
        ],
        "mentionedUsers": [SimpleNamespace(id=8, username="bob", displayname="Bob")],
        "media": SimpleNamespace(photos=[SimpleNamespace(url="https://pbs/1.jpg")], videos=[], animated=[]),
    }
    return SimpleNamespace(**{**fields, **changes})


def reply(tweet_id, n):
    return tweet(
        tweet_id * 100 + n,
        rawContent=f"@ann the {n}th thing that nobody would want to say out loud",
        conversationId=tweet_id,
        inReplyToTweetId=tweet_id,
        inReplyToUser=SimpleNamespace(id=7, username="ann"),
        user=user(f"fan{n}"),
        date=datetime(2025, 11, 21, 21, 20, tzinfo=UTC),
        links=[],
        media=None,
    )


class Api:
    """twscrape.API as far as it is called; fail_at: the call that finds no free account."""

    def __init__(self, fail_at=0):
        self.calls, self.closed, self.fail_at = [], 0, fail_at

    async def search(self, query, limit):
        async for found in self._answer(("search", query, limit), [tweet(1), tweet(2)]):
            yield found

    async def tweet_replies(self, tweet_id, limit):
        async for found in self._answer(("replies", tweet_id, limit), [reply(tweet_id, n) for n in range(5)]):
            yield found

    async def _answer(self, call, tweets):
        self.calls.append(call)
        if len(self.calls) == self.fail_at:
            raise type("NoAccountError", (Exception,), {})("No account available for queue")
        for found in tweets:
            yield found


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "data-main.yaml"
    path.write_text(
        "collect: {source: twscrape, queries: [cats], target_pairs: 1000, min_pairs: 1, tweets_per_query: 2, "
        "replies_per_tweet: 3}\nfilter: {tweet_media: true, tweet_url: true}"
    )
    return load_config(path, DataConfig)


def run_job(api, config):
    def never(question):
        raise AssertionError("nothing is paid, so nothing is asked")

    return collect(
        Path("data/main"), config, provider(scraper(api)), partial(request, config), 0.0, Talk(never, print)
    )


def test_a_tweet_becomes_an_item_that_the_pair_stage_reads():
    post = post_of(item_of(tweet(1)), "x:1", NOW)
    assert (post.id, post.author, post.followers, post.likes, post.retweets, post.lang) == (
        "1",
        "ann",
        900,
        300,
        20,
        "en",
    )
    assert post.created_at == datetime(2025, 11, 21, 20, 20, tzinfo=UTC)
    assert (post.parent, post.conversation, post.is_retweet, post.is_quote) == (None, "1", False, False)
    assert set(post.marks) == {"media", "url"}


def test_a_reply_names_what_it_answers():
    item = item_of(reply(1, 3))
    assert (item["isReply"], item["inReplyToId"], item["inReplyToUsername"], item["conversationId"]) == (
        True,
        "1",
        "ann",
        "1",
    )


def test_retweets_quotes_and_unknown_counts_stay_visible():
    item = item_of(tweet(1, retweetedTweet=tweet(2), quotedTweet=tweet(3), likeCount=None))
    assert (item["isRetweet"], item["isQuote"], "likeCount" in item) == (True, True, False)
    json.dumps(item)


def test_a_quote_is_one_although_what_it_quotes_is_gone():
    assert item_of(tweet(1, isQuoteStatus=True))["isQuote"] is True
    assert item_of(tweet(1))["isQuote"] is False


def test_pictures_and_the_stills_of_whatever_moves_are_media():
    photo, still = SimpleNamespace(url="p"), [SimpleNamespace(thumbnailUrl=name) for name in ("v", "g")]
    media = SimpleNamespace(photos=[photo], videos=still[:1], animated=still[1:])
    assert item_of(tweet(1, media=media))["media"] == ["p", "v", "g"]
    assert item_of(tweet(1, media=SimpleNamespace(photos=None)))["media"] == []


def test_a_link_has_the_address_that_stands_in_the_text_and_the_one_it_leads_to():
    [link] = item_of(tweet(1))["entities"]["urls"]
    assert link == {
        "url": "https://t.co/1",
        "expanded_url": "https://example.org/a",
        "display_url": "example.org/a",
    }
    bare = SimpleNamespace(url="https://example.org/a", text=None, tcourl=None)
    [link] = item_of(tweet(1, links=[bare]))["entities"]["urls"]
    assert set(link.values()) == {"https://example.org/a"}


def test_an_author_has_followers_and_those_that_it_follows():
    author = item_of(tweet(1))["author"]
    assert (author["followers"], author["following"], author["userName"]) == (900, 3, "ann")
    assert "statusesCount" not in author  # unknown is absent, not zero


def test_requests_of_x_follow_each_other():
    assert provider(scraper(Api())).n_parallel == 1


@pytest.mark.parametrize(
    ("raised", "says"),
    [
        (type("GqlFeaturesOutdatedError", (Exception,), {})("x"), "pip install --upgrade twscrape"),
        (type("NoAccountError", (Exception,), {})("x"), "No account of data/accounts.db was free"),
        (ConnectionResetError(), r"X cannot be reached \(ConnectionResetError\)"),
        (TimeoutError(), "X cannot be reached"),
    ],
)
def test_what_a_person_can_mend_is_a_sentence_and_a_bug_of_the_package_keeps_its_own(raised, says):
    async def fails(wanted):
        raise raised
        yield

    wanted = twscrape_source.Request("search", "cats", "twscrape", {"search": "cats"}, 4)
    with pytest.raises(UserError, match=says):
        asyncio.run(twscrape_source._scraped(fails, wanted))
    raised = KeyError("a bug")
    with pytest.raises(KeyError, match="a bug"):
        asyncio.run(twscrape_source._scraped(fails, wanted))


def test_the_search_carries_the_filter_bounds_once(config):
    assert request(config, "search", "cats").input == {
        "search": "cats lang:en min_faves:200 min_retweets:10",
        "limit": 2,
    }
    assert (
        request(config, "search", "cats lang:en min_faves:500").input["search"]
        == "cats lang:en min_faves:500 min_retweets:10"
    )


def test_queries_become_the_same_raw_files_at_no_cost(config, tmp_path):
    api = Api()
    outcome = run_job(api, config)
    assert (outcome.searches, outcome.tweets, outcome.pairs, outcome.usd) == (1, 2, 6, 0.0)
    assert api.calls == [
        ("search", "cats lang:en min_faves:200 min_retweets:10", 2),
        ("replies", 1, 3),
        ("replies", 2, 3),
    ]
    metas = [
        json.loads(path.read_text()) for path in sorted((tmp_path / "data/main/raw").glob("*.meta.json"))
    ]
    assert [
        (meta["actor"], meta["n_items"], meta["usd"]) for meta in metas if "replies" in meta["query"]
    ] == [("twscrape", 3, 0.0)] * 2


def test_without_a_free_account_it_says_so_and_goes_on_later_where_it_stopped(config, tmp_path):
    with pytest.raises(UserError, match=r"No account of data/accounts\.db was free for 15 minutes"):
        run_job(Api(fail_at=3), config)
    api = Api()
    outcome = run_job(api, config)
    assert api.calls == [("replies", 2, 3)]  # the search and the first replies were there
    items = [
        json.loads(line)["id"]
        for path in (tmp_path / "data/main/raw").glob("*.jsonl")
        for line in path.open("rb")
    ]
    assert len(items) == len(set(items)) == 8
    assert outcome.pairs == 6


def test_a_long_answer_is_cut_at_the_limit_and_its_generator_closed():
    closed = []

    async def endless(wanted):
        try:
            while True:
                yield tweet(1)
        finally:
            closed.append(wanted.step)

    wanted = twscrape_source.Request("search", "cats", "twscrape", {"search": "cats"}, 4)
    assert len(asyncio.run(twscrape_source._scraped(endless, wanted))) == 4
    assert closed == ["search"]


def test_without_the_package_the_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install twscrape==0\.20\.1"):
        twscrape_source.connect()


def test_without_accounts_the_sentence_says_how_to_add_one(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    with pytest.raises(UserError, match=r"data/accounts\.db does not exist.*add_cookies"):
        twscrape_source.connect()


def test_the_package_is_loaded_with_telemetry_off_and_a_bounded_wait(monkeypatch, tmp_path):
    seen = {}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/accounts.db").touch()
    monkeypatch.delenv("TWS_TELEMETRY", raising=False)

    def make_api(path, **options):
        seen.update(path=path, telemetry=twscrape_source.os.environ["TWS_TELEMETRY"], **options)

    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setitem(twscrape_source.os.sys.modules, "twscrape", SimpleNamespace(API=make_api))
    assert twscrape_source.connect().name == "twscrape"
    assert seen == {
        "path": "data/accounts.db",
        "telemetry": "0",
        "raise_when_no_account": True,
        "wait_timeout": 900,
        "wait_interval": 5,
    }
