"""The quality of a pair, and the trim to the best max_pairs."""

import random
from collections import Counter
from datetime import timedelta

import pytest

from lib.base.schema import Validation
from lib.data.quality import capped, quality, topics_of, trim, with_quality
from tests.items import joined_of, pairs_of, reply_item, tweet_item


def scored(n=1, **changes):
    return with_quality(pairs_of(n, **changes))


def better(more, less):
    return quality(more) > quality(less)


def test_quality_lies_between_0_and_1():
    (worst,) = pairs_of(likeCount=0, retweetCount=0, author={"userName": "r", "followers": 0})
    (best,) = pairs_of(likeCount=10**6, retweetCount=10**6, author={"userName": "r", "followers": 10**4})
    assert 0 <= quality(worst) < 0.3
    assert quality(best.model_copy(update={"reply_time_diff_seconds": 600})) == pytest.approx(1)


def test_the_formula_is_the_documented_one():
    (pair,) = pairs_of(likeCount=30, retweetCount=1, author={"userName": "r", "followers": 800})
    # ln 33 / ln 681 and ln 33 / ln 801; ln 801 / ln 10,001; one hour after the tweet
    engagement = (3.496508 / 6.523562 + 3.496508 / 6.685861) / 2
    assert quality(pair) == pytest.approx(0.6 * engagement + 0.2 * 6.685861 / 9.210440 + 0.2, abs=1e-5)


def test_likes_retweets_and_earliness_raise_quality():
    (pair,) = pairs_of()
    assert better(pair.model_copy(update={"reply_likes": 31}), pair)
    assert better(pair.model_copy(update={"reply_retweets": 2}), pair)
    assert better(pair, pair.model_copy(update={"tweet_likes": 6000}))
    assert better(pair, pair.model_copy(update={"reply_time_diff_seconds": 7200}))


def test_the_age_of_the_account_counts_where_it_is_known():
    author = {"userName": "reader", "followers": 800}
    (unknown,) = pairs_of(author=author)
    (old,) = pairs_of(author=author | {"createdAt": "Sun Oct 26 00:00:29 +0000 2008"})
    new = old.model_copy(update={"reply_author_created_at": old.reply_created_at - timedelta(days=2)})
    assert unknown.reply_author_created_at is None
    assert quality(old) > quality(unknown) > quality(new)


def test_an_author_is_one_however_the_handle_is_spelled():
    pairs = [
        pair.model_copy(update={"reply_author": author, "reply_likes": likes})
        for pair, author, likes in zip(
            pairs_of(4), ("Reader", "@reader", "READER", "other"), (30, 20, 10, 1), strict=True
        )
    ]
    kept, dropped = capped(pairs, per_author=2, per_tweet=None)
    assert [pair.reply_author for pair in kept] == ["Reader", "@reader", "other"]
    assert [(pair.reply_author, reason) for pair, reason, _ in dropped] == [("READER", "replies_per_author")]
    assert len(capped(pairs, per_author=3, per_tweet=None)[0]) == 4


def test_the_lowest_are_trimmed():
    pairs = with_quality(
        joined_of(
            *(
                item
                for k in range(1, 7)
                for item in (
                    tweet_item(id=str(k * 100), conversationId=str(k * 100)),
                    reply_item(
                        id=str(k * 100 + 1),
                        inReplyToId=str(k * 100),
                        conversationId=str(k * 100),
                        likeCount=10 * k,
                        author={"userName": f"a{k}", "followers": 800},
                    ),
                )
            )
        ).pairs
    )
    kept, rejected = trim(pairs, 4, {})
    assert sorted(pair.reply_likes for pair in kept) == [30, 40, 50, 60]
    assert {one.reason for one in rejected} == {"max_pairs"}
    assert "quality 0." in rejected[0].detail
    assert trim(pairs, 6, {}) == (pairs, [])


def crowded():
    """30 good replies to one tweet, 10 slightly worse ones to ten tweets, in two topics."""
    (pair,) = scored()
    made = []
    for k in range(40):
        alone = k >= 30
        changes = {
            "reply_id": str(k),
            "reply_author": f"a{k}",
            "tweet_id": f"t{k}" if alone else "t",
            "source": f"{'small' if alone else 'large'}.jsonl:{k}",
            "quality": 0.5 if alone else 0.6,
        }
        made.append(pair.model_copy(update=changes))
    return made


def test_what_is_left_is_spread_over_tweets_authors_and_topics():
    kept, rejected = trim(crowded(), 20, {"large.jsonl": "soup", "small.jsonl": "boats"})
    assert Counter(pair.source[:5] for pair in kept) == {"small": 10, "large": 10}
    assert len(kept) + len(rejected) == 40


def test_the_trim_does_not_depend_on_the_order_of_pairs():
    pairs = crowded()
    kept = {pair.id for pair in trim(pairs, 13, {})[0]}
    random.Random(1).shuffle(pairs)
    assert {pair.id for pair in trim(pairs, 13, {})[0]} == kept


def test_a_topic_is_the_search_beside_the_raw_file(tmp_path):
    (tmp_path / "one.meta.json").write_text('{"query": "soup lang:en"}')
    (tmp_path / "two.meta.json").write_text("{}")
    assert topics_of(tmp_path) == {"one.jsonl": "soup lang:en"}


def test_what_has_a_bad_sign_gives_way_first_under_a_cap_and_a_trim():
    pairs = crowded()[:6]
    seen = Validation(valid=True, reasons=["filler"], validated_at=pairs[0].collected_at)
    told = seen.model_copy(update={"reasons": ["instruction_like"]})
    pairs[0] = pairs[0].model_copy(update={"validation": seen, "quality": 0.9})
    pairs[1] = pairs[1].model_copy(update={"validation": told})
    assert {pair.id for pair in trim(pairs, 5, {})[0]} == {"1", "2", "3", "4", "5"}
    assert {pair.id for pair in capped(pairs, None, 5)[0]} == {"1", "2", "3", "4", "5"}
