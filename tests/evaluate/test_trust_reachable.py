"""A full collection of configs/data-main.yaml yields enough pairs of real replies for a judge to be trusted.

Real likes, not real tweets: every reply gets the likes of a real reply to a tweet with 200 to 2,000 likes,
and length, followers and time of another one, so that the simple rules are coins. What the filter, the split
and the preferences make of them is theirs.
"""

import hashlib
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from lib.base.config import load_config
from lib.base.files import content_hash
from lib.base.settings import DataConfig
from lib.data.filters import filter_pairs
from lib.data.pairs import join
from lib.data.processed import processed_part
from lib.data.raw import raw_files, read_raw
from lib.data.splits import split_of
from lib.evaluate.questions import MAX_CALIBRATION_PAIRS
from lib.evidence.calibration import calibrate

ROOT = Path(__file__).parents[2]
THREADS = ROOT.parent / "shared/real/rumoureval2017_items.jsonl"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not THREADS.exists(), reason=f"{THREADS} is not there (real tweets are not published)"
    ),
]
RUNS = 100


@pytest.fixture(scope="module")
def replies():
    """Real replies to tweets as popular as configs/data-main.yaml asks for."""
    pairs = join(read_raw(raw_files(ROOT / "none", [str(THREADS)]))).pairs
    return [pair for pair in pairs if 200 <= pair.tweet_likes <= 2000]


def thread(rng, replies, number, config, liked):
    """One tweet and the replies that are bought to it; liked: likes of a reply, times this."""
    likes, others = (rng.integers(0, len(replies), config.collect.replies_per_tweet) for _ in range(2))
    for place, (like, other) in enumerate(zip(likes, others, strict=True)):
        text, like = replies[other], replies[like].reply_likes
        yield text.model_copy(
            update={
                "tweet_id": f"9{number:05}",
                "tweet": f"A question that occurred to me, the one with number {number}: what would you do?",
                "tweet_author": f"writer{number}",
                "tweet_likes": 500,
                "tweet_retweets": 50,
                "reply_id": f"8{number:05}{place:03}",
                "reply_author": f"replier{number}x{place}",
                "reply": f"{text.reply} {number}.{place}",
                "reply_likes": like if liked == 1 else int(rng.poisson(liked * like)),
                "reply_created_at": text.tweet_created_at + timedelta(seconds=text.reply_time_diff_seconds),
                "flags": [flag for flag in text.flags if flag.startswith("reply_")],
            }
        )


def apart(texts):
    """(n, 64) unit rows, unlike each other for any two texts: nothing here is a near-duplicate."""
    seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") for text in texts]
    rows = np.array([np.random.default_rng(seed).normal(size=64) for seed in seeds], dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def english(texts):
    return [("en", 1.0)] * len(texts)


def held_out(rng, replies, config, n_tweets, liked):
    """(kept pairs per tweet, calibration pairs) of the held-out ones among n_tweets collected tweets."""
    ours = [n for n in range(n_tweets) if split_of(f"writer{n}", config.split) == "test"]
    pairs = [pair for n in ours for pair in thread(rng, replies, n, config, liked)]
    found = filter_pairs(pairs, config.filter, config.preferences, english, None)
    made = processed_part(found.kept, [], found.candidates, config, apart, english)
    return len(found.kept) / len(ours), made.calibration


@pytest.mark.parametrize(
    ("liked", "n_tweets"),
    [
        (1, 1050),  # likes as they are: all tweets are used up before there are 1,000 pairs
        (5, 450),
        (12, 250),  # four kept pairs a tweet, as the forecast of the cost assumes
    ],
)
def test_a_judge_that_is_right_on_62_percent_is_trusted_in_8_of_10_cases(replies, liked, n_tweets):
    rng = np.random.default_rng(20)
    config = load_config(ROOT / "configs/data-main.yaml", DataConfig)
    collect = config.collect
    kept_per_tweet, pairs = held_out(rng, replies, config, n_tweets, liked)
    assert n_tweets <= len(collect.queries) * collect.tweets_per_query  # so many tweets are found
    assert kept_per_tweet * n_tweets <= 1.1 * collect.target_pairs  # and it does not stop before
    pairs = sorted(pairs, key=lambda pair: content_hash([pair.chosen_id, pair.rejected_id]))
    pairs = pairs[:MAX_CALIBRATION_PAIRS]
    trusted = [calibrate(pairs, right(rng, len(pairs), 0.62), [])["trusted"] for _ in range(RUNS)]
    assert np.mean(trusted) >= 0.8
    coin = [calibrate(pairs, right(rng, len(pairs), 0.5), [])["trusted"] for _ in range(RUNS)]
    assert np.mean(coin) <= 0.02


def right(rng, n, accuracy):
    return np.where(rng.random(n) < accuracy, 1.0, -1.0).tolist()
