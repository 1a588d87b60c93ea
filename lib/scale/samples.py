"""Synthetic items by the million, as a provider returns them, to measure with and to test on."""

import itertools
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

FILE_ROWS = 25_000
CONFIG = """collect: {source: files, max_pairs: 10000000}
filter: {toxicity_model: none}
clean: {embedding_model: char-ngrams}
review: optional
"""
WORDS = [
    words.split("|")
    for words in (
        "my sister|the old coach|our neighbour|a nurse I know|the whole team|this city|my first boss",
        "always forgets|never talks about|secretly loves|quietly rebuilt|argued for hours about|gave away",
        "the blue bicycle|winter tomatoes|that broken printer|the night train|cheap coffee",
        "because nobody asked|and it shows|which says a lot|before breakfast|after ten years",
        "honestly|for once|I think|in the end|as usual|somehow|these days|on a Monday|again",
        "and I still smile|so we laughed|but it hurts|and that is fine|which is odd|and it worked",
    )
]


def sentence(rng: random.Random) -> str:
    """One of some hundred million English sentences, so that few are alike by chance."""
    who, does, what, *rest = (rng.choice(words) for words in WORDS)
    more = f"{rng.randint(2, 99)} times, like {rng.choice(WORDS[0])} and {rng.choice(WORDS[2])}"
    return f"{who} {does} {what} {' '.join(rest)}, {more}"


def items(n_pairs: int) -> Iterator[dict[str, Any]]:
    """Tweets with twenty replies each, as a provider returns them: one reply in twelve (nearly) a copy."""
    rng, start = random.Random(17), datetime(2026, 3, 1, tzinfo=UTC)
    said = [sentence(rng) for _ in range(200)]
    ids = itertools.count(1_900_000_000_000_000_001)

    def item(text: str, author: str, likes: int, at: datetime, **rest: object) -> dict[str, Any]:
        user = {"userName": author, "followers": rng.randint(300, 60_000)}
        counts = {"likeCount": likes, "retweetCount": rng.randint(8, 300)}
        post = {"id": str(next(ids)), "fullText": text, "author": user, "lang": "en"}
        return {**post, **counts, "createdAt": at.isoformat(), **rest}

    for n in range(-(-n_pairs // 20)):
        at = start + timedelta(minutes=n % 200_000)
        tweet = item(sentence(rng), f"author{n % (n_pairs // 60 + 9)}", rng.randint(150, 2200), at)
        yield {**tweet, "conversationId": tweet["id"]}
        for _ in range(20):
            kind = rng.random()
            text = rng.choice(said) if kind < 0.05 else sentence(rng)
            text = f"{rng.choice(said)} {rng.choice('!?')} ok" if 0.05 < kind < 0.08 else text
            text += " https://example.com/x" if 0.08 < kind < 0.11 else ""
            likes, when = int(rng.lognormvariate(0.8, 1.2)), at + timedelta(seconds=rng.randint(200, 80_000))
            parent = {"inReplyToId": tweet["id"], "conversationId": tweet["id"]}
            yield item(text, f"reader{rng.randrange(n_pairs // 4 + 9)}", likes, when, **parent)


def write_set(root: Path, n_pairs: int) -> None:
    """The data set `bench` and its config, in an empty folder; its files are like those of collecting."""
    raw = root / "data" / "bench" / "raw"
    raw.mkdir(parents=True)
    (root / "configs").mkdir()
    (root / "configs" / "data-bench.yaml").write_text(CONFIG)
    rows = items(n_pairs)
    for number in itertools.count():
        lines = [json.dumps(row) + "\n" for row in itertools.islice(rows, FILE_ROWS)]
        if not lines:
            return
        (raw / f"items-{number:04d}.jsonl").write_text("".join(lines))
