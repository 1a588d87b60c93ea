"""Posts by their addresses: asked for once, in the words of the actor, within the cap."""

import pytest

from lib.base.errors import UserError
from lib.base.settings import DataConfig
from lib.collect.posts import buy_posts, requests_of
from tests.collect.test_purchase import FILLER, Shop, refuse

LINKS = [f"https://x.com/ann/status/{10**17 + n}" for n in range(250)]


def config(actor="a/b"):
    return DataConfig.model_validate({"collect": {"source": "files", "actor": actor}})


def buy(shop, folder, requests, max_usd=5.0, again=False):
    asked = []
    files = buy_posts(folder, shop.provider, requests, max_usd, asked.append, lambda line: None, again)
    return files, asked


@pytest.mark.parametrize("actor", ["kaitoeasyapi/tweets", "apidojo/tweet-scraper"])
def test_every_family_of_actors_is_asked_in_its_own_words(actor):
    found = requests_of(config(actor), LINKS[:2])
    asked = {"tweetIDs": [str(10**17), str(10**17 + 1)]} if "kaito" in actor else {"startUrls": LINKS[:2]}
    assert [one.input for one in found] == [asked | {"maxItems": 2}]


def test_the_question_counts_only_what_is_not_there_yet(tmp_path):
    shop, requests = Shop(), requests_of(config(), LINKS)
    files, asked = buy(shop, tmp_path, requests[:1])
    assert len(files) == 1 and "of 100 posts from a/b: at most $0.1000 of the $5.00" in asked[0]
    files, asked = buy(shop, tmp_path, requests)
    assert len(files) == 3 and "of 150 posts from a/b: at most $0.2000 of the $5.00" in asked[0]
    assert buy(shop, tmp_path, requests) == (files, [])


def test_a_run_that_was_cut_short_is_read_before_anything_is_asked(tmp_path):
    shop, requests = Shop(), requests_of(config(), LINKS[:1])
    items, shop.deliver = shop.deliver, lambda query: refuse("cut short")
    with pytest.raises(UserError, match="cut short"):
        buy(shop, tmp_path, requests)
    shop.deliver = items
    files, asked = buy(shop, tmp_path, requests)
    assert len(files) == 1 and asked == [] and len(shop.runs) == 1


def test_a_budget_that_ends_first_is_an_error_and_filler_is_bought_again_only_where_that_is_said(tmp_path):
    shop, requests = Shop(deliver=lambda query: [FILLER]), requests_of(config(), LINKS[:1])
    with pytest.raises(UserError, match=r"next run can cost \$0\.1000, and \$0\.0000 of \$0\.05 are spent"):
        buy(shop, tmp_path, requests, max_usd=0.05)
    assert not shop.runs
    for again, n_runs in ((False, 1), (False, 1), (True, 2)):
        buy(shop, tmp_path, requests, again=again)
        assert len(shop.runs) == n_runs
