"""A small data set and run folder for the tests of the evaluation: 30 training pairs, 8 held-out tweets."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lib.base.files import write_json, write_jsonl
from lib.base.schema import Pair, Preference, TestPrompt

START = datetime(2026, 5, 1, 12, tzinfo=UTC)
TOPICS = ["bike", "coffee", "novel", "garden", "marathon", "guitar"]
LIKED, IGNORED = "tell us what surprised you most about it", "nice post thanks for sharing with all"


def pair(number, **changes):
    """Replies that ask about something are liked, flat ones are not: the ranker has something to find."""
    topic, asks = TOPICS[number % len(TOPICS)], number % 2 == 0
    values = {
        "tweet_id": f"{1000 + number}",
        "tweet": f"I finally finished my {topic} project number {number}",
        "tweet_author": f"author{number}",
        "tweet_likes": 300 + number,
        "tweet_retweets": 20,
        "tweet_created_at": START,
        "reply_id": f"{2000 + number}",
        "reply": f"The {topic} again, {LIKED if asks else IGNORED} {number}",
        "reply_author": f"replier{number}",
        "reply_author_followers": 1000 + 10 * number,
        "reply_likes": 200 + number if asks else 6,
        "reply_retweets": 0,
        "reply_created_at": START + timedelta(hours=1),
        "reply_time_diff_seconds": 3600,
        "collected_at": START,
        "source": f"raw.jsonl:{number}",
    }
    return Pair(**(values | changes))


def prompt(number, human=True):
    return TestPrompt(
        tweet_id=f"{5000 + number}",
        tweet=f"My {TOPICS[number % len(TOPICS)]} broke today, day {number}",
        tweet_author=f"tester{number}",
        tweet_likes=400,
        human_reply=f"Oh no, how did number {number} break, can it be mended?" if human else None,
        human_reply_likes=12 if human else None,
    )


def preference(number, chosen=None, rejected=None, **changes):
    values = {
        "tweet_id": f"{7000 + number // 2}",
        "tweet": f"Everybody talks about day {number}",
        "tweet_author": f"someone{number}",
        "chosen": chosen or f"{LIKED} on day {number}",
        "rejected": rejected or f"{IGNORED} on day {number}",
        "chosen_id": f"{8000 + number}",
        "rejected_id": f"{9000 + number}",
        "chosen_likes": 40,
        "rejected_likes": 5,
        "chosen_created_at": START + timedelta(hours=2),
        "rejected_created_at": START + timedelta(hours=1),
        "chosen_followers": 1000,
        "rejected_followers": 900 + number,
        "chosen_first": number % 2 == 0,
    }
    return Preference(**(values | changes))


def write_data(root: Path, n_prompts=8, n_preferences=0):
    processed = root / "data" / "small" / "processed"
    write_jsonl(processed / "train.jsonl", [pair(n) for n in range(30)])
    write_jsonl(processed / "test.jsonl", [pair(n) for n in range(100, 104)])
    write_jsonl(processed / "test_prompts.jsonl", [prompt(n, human=n % 2 == 0) for n in range(n_prompts)])
    write_jsonl(processed / "preferences.jsonl", [preference(n) for n in range(n_preferences)])
    write_jsonl(processed / "calibration.jsonl", [preference(500 + n) for n in range(n_preferences)])
    write_json(processed / "manifest.json", {"embedding_model": "char-ngrams", "toxicity_model": "none"})
    return processed


def write_configs(root: Path, run="mine", evaluation=None, **train):
    """configs/train-<run>.yaml and configs/eval-quick.yaml; JSON is YAML."""
    config = {
        "data": "small",
        "eval": "quick",
        "model": "base-folder",
        "backend": "peft",
        "quantization": "none",
        **train,
    }
    quick = {"judge": {"kind": "offline"}, "sampling": {"max_new_tokens": 12}, **(evaluation or {})}
    (root / "configs").mkdir(exist_ok=True)
    (root / "configs" / f"train-{run}.yaml").write_text(json.dumps(config))
    (root / "configs" / "eval-quick.yaml").write_text(json.dumps(quick))
    return ["--config", f"configs/train-{run}.yaml", "--eval", "configs/eval-quick.yaml"]


def words(texts):
    """(n, 64) unit rows of hashed words: enough of an embedding for these tests."""
    import zlib

    import numpy as np

    rows = np.zeros((len(texts), 64), dtype=np.float32)
    for row, text in zip(rows, texts, strict=True):
        for word in text.lower().split():
            row[zlib.crc32(word.encode()) % 64] += 1
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
