"""Sixty made-up pairs in the shape of a processed data set, and a workspace folder that holds them."""

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lib.base.files import write_jsonl
from lib.base.schema import Pair, TestPrompt
from lib.base.settings import TrainConfig
from lib.train.job import Batch, Job
from lib.train.schedule import schedule

PLACES = ["the kitchen", "the harbour", "our office", "a small garden", "the night train", "my old school"]
THINGS = ["bread", "bicycle", "piano", "report", "lemon tree", "tent", "camera", "sourdough"]
DEEDS = ["fixed", "painted", "lost", "borrowed", "finally understood", "dropped", "sold"]
ANSWERS = [
    "That is how my uncle began too, and now he owns nine.",
    "The second one is easier, the third one is a habit.",
    "Bold of you.",
]
START = datetime(2026, 3, 1, 12, tzinfo=UTC)

CONFIG = """\
data: sample
eval: offline
model: tiny
backend: peft
quantization: none
lora: {rank: 4, alpha: 8, dropout: 0.1}
max_length: 256
epochs: 3
learning_rate: 5e-3
effective_batch: 8
evals_per_run: 5
early_stopping: {patience: 3, threshold: 0.0}
keep_best: 2
usd_per_hour: 0
seed: 17
"""


def pairs(n_authors: int = 20, per_tweet: int = 3) -> list[Pair]:
    """n_authors tweets with per_tweet replies each; the same every time."""
    draw, made = random.Random(5), []
    for author in range(n_authors):
        tweet = (
            f"I {draw.choice(DEEDS)} the {draw.choice(THINGS)} in {draw.choice(PLACES)}, "
            f"and day {author} was {draw.choice(THINGS)}."
        )
        for number in range(per_tweet):
            reply = (
                f"{draw.choice(ANSWERS)} Mine was a {draw.choice(THINGS)} in {draw.choice(PLACES)}, "
                f"{draw.choice(DEEDS)} twice."
            )
            made.append(
                Pair(
                    tweet_id=f"10{author:03}",
                    tweet=tweet,
                    tweet_author=f"author{author}",
                    tweet_likes=300,
                    tweet_retweets=20,
                    tweet_created_at=START,
                    reply_id=f"20{author:03}{number}",
                    reply=reply,
                    reply_author=f"replier{author}x{number}",
                    reply_author_followers=900,
                    reply_likes=5 + draw.randrange(200),
                    reply_retweets=1,
                    reply_created_at=START + timedelta(minutes=20),
                    reply_time_diff_seconds=1200,
                    collected_at=START + timedelta(days=3),
                    source="items.jsonl:1",
                )
            )
    return made


def write_workspace(folder: Path, config: str = CONFIG) -> Path:
    """configs/, data/sample/raw (what the tiny model is built from) and data/sample/processed (what is
    trained on).
    """
    made = pairs()
    processed = folder / "data" / "sample" / "processed"
    splits = {"train": made[:42], "val": made[42:51], "test": made[51:]}
    for name, part in splits.items():
        write_jsonl(processed / f"{name}.jsonl", part)
    prompts = {pair.tweet_id: pair for pair in splits["test"]}.values()
    fields = ("tweet_id", "tweet", "tweet_author", "tweet_likes")
    write_jsonl(
        processed / "test_prompts.jsonl",
        [TestPrompt(**{name: getattr(pair, name) for name in fields}) for pair in prompts],
    )
    raw = folder / "data" / "sample" / "raw" / "items.jsonl"
    raw.parent.mkdir(parents=True)
    raw.write_text("".join(json.dumps(item) + "\n" for item in _items(made)))
    (folder / "configs").mkdir()
    (folder / "configs" / "train-tiny.yaml").write_text(config)
    return folder


def job_of(folder: Path, config: TrainConfig, **parts: Any) -> Job:
    """A job as far as tests without a model need one."""
    made = pairs()
    splits = {"train": made[:42], "val": made[42:51], "test": made[51:]}
    settled = {
        "run": folder.name,
        "config": config,
        "base": config,
        "folder": folder,
        "backend": "peft",
        "backend_reason": "",
        "quantization_reason": "",
        "device": "cpu",
        "tokenizer": None,
        "splits": splits,
        "rows": {name: [{"input_ids": [1, 2], "labels": [-100, 2]}] * len(splits[name]) for name in splits},
        "plan": schedule(config, len(splits["train"])),
        "batch": Batch(config.effective_batch, 1, checkpointing=False),
    }
    return Job(**settled | parts)


def _items(made: list[Pair]) -> list[dict]:
    tweets = {
        pair.tweet_id: {"id": pair.tweet_id, "text": pair.tweet, "author": {"userName": pair.tweet_author}}
        for pair in made
    }
    replies = [
        {"id": pair.reply_id, "text": pair.reply, "isReply": True, "author": {"userName": pair.reply_author}}
        for pair in made
    ]
    return [*tweets.values(), *replies]
