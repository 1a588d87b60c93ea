"""Real tweets that nobody wrote for this project: the counts that are documented beside them.

Nothing of their text is here.
"""

import json
from collections import Counter
from pathlib import Path

import pytest

from lib.base.files import read_dicts, read_jsonl
from lib.base.schema import Pair, Preference, Rejection
from lib.base.settings import FilterConfig, PreferencesConfig
from lib.data.filters import filter_pairs
from lib.data.items import post_of
from lib.data.pairs import join
from lib.data.raw import raw_files, read_raw
from lib.data.text import clean_text, unescaped
from tests.items import all_stages, stage

ROOT = Path(__file__).parents[2]
REAL = (ROOT / "../shared/real").resolve()
THREADS = REAL / "rumoureval2017_items.jsonl"
pytestmark = pytest.mark.skipif(
    not THREADS.exists(), reason="../shared/real is not on this machine: real tweets are never distributed"
)

RELAXED = {
    "tweet_likes": [20, 2000],
    "tweet_retweets": [10, 5000],
    "reply_likes": [1, 1000],
    "reply_author_followers": [50, 100_000],
    "reply_delay_seconds": [60, 604_800],
    "reply_chars": [30, 280],
    "toxicity_model": "none",
}
# The checks that the documented counts were made without.
OFF = {
    "tweet_media": True,
    "tweet_url": True,
    "max_replies_per_author": None,
    "max_replies_per_tweet": None,
    "promotion": "keep",
    "filler": "keep",
}
# What the documented count does not include: it was made before these checks.
AFTER = {
    "language",
    "low_language_confidence",
    "no_language",
    "toxicity",
    "copy_of_tweet",
    "hashtags",
    "pii",
    "control_tokens",
    "mixed_script",
}


def english_to_all(texts):
    return [("en", 1.0)] * len(texts)


@pytest.fixture(scope="module")
def joined():
    return join(read_raw(raw_files(REAL / "none", [str(THREADS)])))


def test_2182_replies_answer_their_tweet_directly(joined):
    assert len(joined.pairs) == 2182
    assert Counter(rejection.reason for rejection in joined.rejected) == {"nested_reply": 1273}
    assert (len(joined.tweets), joined.n_rows) == (214, 3669)


@pytest.mark.parametrize(("bounds", "n_left"), [(RELAXED, 318), ({}, 2)])
def test_the_documented_number_passes_the_filters_before_language_and_text(joined, bounds, n_left):
    result = filter_pairs(
        joined.pairs,
        FilterConfig(**bounds, **OFF),
        PreferencesConfig(),
        english_to_all,
        None,
    )
    assert len(result.kept) + len(result.rejected) == 2182
    assert len(result.kept) + sum(rejection.reason in AFTER for rejection in result.rejected) == n_left


def test_real_text_is_cleaned_once_and_for_all(joined):
    for pair in joined.pairs:
        once = clean_text(unescaped(pair.reply))
        assert clean_text(once) == once
        assert not once.startswith("@") or "’s" in once.split()[0] or "'s" in once.split()[0]


def test_untouched_actor_output_is_understood():
    rows = list(read_raw(raw_files(REAL / "none", [str(REAL / "tweet_scraper_items.jsonl")])))
    posts = [post_of(row.value, row.where, row.collected_at) for row in rows]
    assert len(posts) == 60
    assert sum(post.is_quote for post in posts) == 7
    assert sum("media" in post.marks for post in posts) == 38
    assert all(
        len(post.text) >= max(len(row.value["text"]), len(row.value["fullText"]))
        for post, row in zip(posts, rows, strict=True)
    )
    assert sum(post.parent is not None for post in posts) == 6


CONFIG = f"""
collect: {{source: files, files: ["{THREADS}"], target_pairs: 200, min_pairs: 100}}
filter: {json.dumps(RELAXED | OFF)}
clean: {{embedding_model: char-ngrams}}
review: optional
split: {{val: 0.1, test: SHARE, min_test_prompts: 20, seed: 17}}
preferences: {{min_likes: 0, like_ratio: 2.0, max_per_tweet: 5, max_follower_ratio: 10}}
"""


@pytest.mark.parametrize(
    ("share", "name", "n_wanted"), [(0.2, "preferences", 100), (0.6, "calibration", 100)]
)
def test_the_stages_run_on_real_tweets_and_find_preferences(tmp_path, share, name, n_wanted):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/data-real.yaml").write_text(CONFIG.replace("SHARE", str(share)))
    all_stages(tmp_path, "configs/data-real.yaml")
    data = tmp_path / "data/real"
    reasons = Counter(
        rejection.reason for rejection in read_jsonl(data / "interim/filtered.rejected.jsonl", Rejection)
    )
    kept = read_jsonl(data / "interim/filtered.jsonl", Pair)
    assert len(kept) + sum(reasons[reason] for reason in AFTER) == 318
    assert len(kept) > 250
    assert len(read_jsonl(data / f"processed/{name}.jsonl", Preference)) >= n_wanted
    manifest = json.loads((data / "processed/manifest.json").read_text())
    assert manifest["counts"]["pair"]["kept"] == 2182
    assert manifest["n_train"] == len(read_dicts(data / "processed/train.jsonl")) > 50


def test_with_the_defaults_the_new_reasons_take_pairs_that_the_old_ones_left(joined):
    def kept(**keys):
        config = FilterConfig(**RELAXED | OFF | keys)
        return {
            pair.id
            for pair in filter_pairs(joined.pairs, config, PreferencesConfig(), english_to_all, None).kept
        }

    everything = kept()
    taken = {
        "tweet_media": len(everything - kept(tweet_media=False)),
        "tweet_url": len(everything - kept(tweet_url=False)),
        "max_replies_per_tweet": len(everything - kept(max_replies_per_tweet=10)),
        "filler": len(everything - kept(filler="reject")),
    }
    assert taken["tweet_media"] > 50
    assert taken["tweet_url"] > 50
    assert 0 < taken["max_replies_per_tweet"] < 50
    assert 0 < taken["filler"] < 40


def test_with_the_defaults_the_report_shows_what_every_new_reason_took(tmp_path):
    (tmp_path / "configs").mkdir()
    defaults = CONFIG.replace(json.dumps(RELAXED | OFF), json.dumps(RELAXED)).replace("SHARE", "0.2")
    (tmp_path / "configs/data-real.yaml").write_text(defaults)
    all_stages(tmp_path, "configs/data-real.yaml")
    assert stage(tmp_path, "data_report", "configs/data-real.yaml").returncode == 0
    html = (tmp_path / "data/real/report.html").read_text()
    for row in ("tweet media", "tweet url", "replies per tweet", "attack", "support question"):
        assert f"{row}</th>" in html
    for note in ("looks like filler", "speaks to its own followers (.@)"):
        assert f"{note}</th>" in html
