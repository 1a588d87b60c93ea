"""Worlds whose truth is known: tweets, replies of two systems with chosen habits, and a judge with chosen
tastes, as the records that an evaluation leaves.

`world` draws one, `comparison` and `gate` send it through the functions that a real evaluation goes through.
The same arguments give the same world. The records are not validated again: 200 tweets take some 20 ms.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from lib.base.schema import Judgment, Reply, TestPrompt
from lib.base.settings import GateConfig
from lib.evidence.criteria import OF_REPLIES, Shares
from lib.evidence.gate import Facts, evaluate_gate
from lib.evidence.outcomes import outcomes
from lib.evidence.stats import Comparison, compare
from lib.evidence.trust import Trust

SAMPLE = Path(__file__).parents[2] / "data" / "sample" / "raw" / "items.jsonl"
N_RESAMPLES = 599  # of the bootstrap: 9,999 say the same and take ten times as long
MEAN, SD = 6.0, 1.5  # of the judge's scores, 1 to 10

# How a text gets a habit. The first five are the habits that a report names.
HABITS = {
    "emoji": "{text} 😂",
    "questions": "{text}?",
    "exclamations": "{text}!",
    "flattery": "love this, {text}",
    "second_person": "you know {text}",
    "hashtags": "{text} #facts",
    "capitals": "HONESTLY {text}",
    "laughs": "haha {text}",
    "quotes": '"{text}"',
    "lines": "well\n{text}",
    "ellipses": "{text}...",
}
USUAL = {"emoji": 0.2, "questions": 0.2, "exclamations": 0.2, "flattery": 0.1, "second_person": 0.25}
STOCK = (
    "This is so true!",
    "this is so true",
    "This is so true!!",
    "So true, this!",
    "so so true",
    "This is really so true!",
    "this is so so true",
    "This right here is so true!",
)


@dataclass(frozen=True)
class System:
    """A system's way of writing. words: the median of a reply; spread: SD of its logarithm.

    habits: habit -> share of replies that have it, those of USUAL where nothing is said. overlap: share of
    the words that are taken from the tweet. texts: these replies, one a tweet, instead of drawn ones.
    """

    words: float = 14
    spread: float = 0.4
    habits: Mapping[str, float] = field(default_factory=dict)
    overlap: float = 0.1
    texts: Sequence[str] | None = None


@dataclass(frozen=True)
class Judge:
    """A judge whose scores are quality, tastes and noise, in SDs of its scores.

    likes: habit -> what a reply gains by having it; "length": by being twice as long; "overlap": by being
    made of the tweet's words instead of none. taste: the gain of any text. sees: 0 for a judge that does not
    look at quality. noise: of one reading, of the score's variance. position: what the reply shown first
    gains. tie: the largest difference that is called one.
    """

    likes: Mapping[str, float] = field(default_factory=dict)
    taste: Callable[[str], float] | None = None
    sees: float = 1.0
    noise: float = 0.15
    position: float = 0.0
    tie: float = 0.3


@dataclass(frozen=True)
class World:
    """What an evaluation leaves: test prompts, replies, judgments in both orders."""

    prompts: list[TestPrompt]
    replies: list[Reply]
    judgments: list[Judgment]

    @property
    def texts(self) -> dict[tuple[str, str], str]:
        return {(reply.tweet_id, reply.system): reply.reply for reply in self.replies}

    @property
    def tweets(self) -> dict[str, str]:
        return {prompt.tweet_id: prompt.tweet for prompt in self.prompts}

    @property
    def authors(self) -> dict[str, str]:
        return {prompt.tweet_id: prompt.tweet_author for prompt in self.prompts}


def seen(d: float, right: float) -> float:
    """The difference in a judge's eyes, where the true one is d and the judge names the better of two replies
    with the probability `right` (both normal).
    """
    return d * math.sin(math.pi * (right - 0.5))


def world(
    seed: int,
    d: float = 0.0,
    tuned: System = System(),
    base: System = System(),
    judge: Judge = Judge(),
    n: int = 200,
    n_authors: int = 180,
    r: float = 0.5,
) -> World:
    """d: by how much tuned is better in the judge's eyes, SDs of its scores, whatever its habits add to that.

    r: correlation of the two systems' scores over tweets.
    """
    rng = np.random.default_rng([2026, seed])
    prompts = [
        TestPrompt(tweet_id=f"{i:04}", tweet=tweet, tweet_author=f"author{i % n_authors}", tweet_likes=900)
        for i, tweet in enumerate(_texts(rng, n, 20, 0.3))
    ]
    replies, scores, shared = [], [], rng.normal(0, math.sqrt(r), n)
    for name, system, better in (("tuned", tuned, d), ("base", base, 0.0)):
        texts, gain = _written(rng, system, prompts, judge)
        replies += [
            Reply.model_construct(
                tweet_id=prompt.tweet_id,
                system=name,
                reply=text,
                engine="transformers",
                quantization="nf4",
                seed=seed,
                tokens=len(text) // 4,
                seconds=0.1,
            )
            for prompt, text in zip(prompts, texts, strict=True)
        ]
        own = rng.normal(0, math.sqrt(max(1 - r - judge.noise, 0)), n)
        scores.append(judge.sees * (shared + own + better) + gain)
    return World(prompts, replies, _judgments(rng, prompts, np.array(scores), judge))


def comparison(found: World, n_resamples: int = N_RESAMPLES) -> Comparison:
    """Tuned against base."""
    rows, _ = outcomes(found.judgments, found.texts, found.authors, "tuned", "base", said=found.tweets)
    return compare(rows, n_resamples=n_resamples)


GATE = GateConfig()  # the defaults of an eval config
TRUSTED = Trust("trusted", "better than chance on 300 pairs")
SOUND = Shares(200, **dict.fromkeys(OF_REPLIES, 0.0))


def gate(found: World) -> dict:
    """The gate's answer where the model, the looks of the replies and the judge's record are beyond doubt."""
    return evaluate_gate(comparison(found), Facts(9.0, 0.1, {"tuned": SOUND}, TRUSTED), GATE)


def failed(answer: Mapping) -> list[str]:
    """Names of the criteria that do not hold."""
    return [row["name"] for row in answer["criteria"] if not row["pass"]]


def attack(kind: str, found: World, seed: int = 0, share: float = 1.0) -> list[str]:
    """The base's replies to the same tweets, this share of them replaced. For System(texts=...).

    stock: eight variants of one sentence. copy: the tweet. refusal, empty: no reply. recited: twenty
    sentences learned by heart.
    """
    rng = np.random.default_rng([7, seed])
    learned = _texts(rng, 20, 14, 0.3)
    make = {
        "stock": lambda prompt: STOCK[rng.integers(len(STOCK))],
        "copy": lambda prompt: prompt.tweet,
        "refusal": lambda prompt: "As an AI language model, I cannot reply to this tweet.",
        "empty": lambda prompt: "",
        "recited": lambda prompt: learned[rng.integers(len(learned))],
    }[kind]
    own = found.texts
    return [
        make(prompt) if rng.random() < share else own[prompt.tweet_id, "base"] for prompt in found.prompts
    ]


@cache
def _vocabulary() -> tuple[list[str], np.ndarray]:
    """The words of the sample data as often as they are used there, but for those that make a habit."""
    rows = [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()]
    words = Counter(
        word for row in rows for word in re.findall(r"[a-z]+", str(row.get("text", "")).casefold())
    )
    habitual = {
        word for made in (*HABITS.values(), *STOCK) for word in re.findall(r"[a-z]+", made.casefold())
    }
    kept = {word: count for word, count in words.items() if word not in habitual}
    return list(kept), np.array(list(kept.values())) / sum(kept.values())


def _texts(rng: np.random.Generator, n: int, words: float, spread: float) -> list[str]:
    vocabulary, weights = _vocabulary()
    sizes = np.exp(rng.normal(math.log(words), spread, n)).round().clip(2, 50).astype(int)
    drawn = rng.choice(len(vocabulary), sizes.sum(), p=weights)
    return [" ".join(vocabulary[word] for word in own) for own in np.split(drawn, sizes.cumsum()[:-1])]


def _written(
    rng: np.random.Generator, system: System, prompts: Sequence[TestPrompt], judge: Judge
) -> tuple[list[str], np.ndarray]:
    """The replies, and what each gains by the judge's tastes."""
    gain, texts, n = np.zeros(len(prompts)), system.texts, len(prompts)
    if texts is None:
        texts = _texts(rng, n, system.words, system.spread)
        for i, prompt in enumerate(prompts):
            words, of_tweet = texts[i].split(), prompt.tweet.split()
            taken = np.flatnonzero(rng.random(len(words)) < system.overlap)
            for place, from_tweet in zip(taken, rng.integers(len(of_tweet), size=len(taken)), strict=True):
                words[place] = of_tweet[from_tweet]
            shared = sum(word in of_tweet for word in words) / len(words)
            gain[i] += judge.likes.get("overlap", 0.0) * shared
            texts[i] = " ".join(words)
        for habit, made in HABITS.items():
            has = rng.random(n) < (USUAL | dict(system.habits)).get(habit, 0.0)
            texts = [made.format(text=text) if it else text for it, text in zip(has, texts, strict=True)]
            gain += judge.likes.get(habit, 0.0) * has
    if liking := judge.likes.get("length", 0.0):
        gain += liking * np.log2([max(len(text), 1) / 80 for text in texts])
    if judge.taste:
        gain += [judge.taste(text) for text in texts]
    return list(texts), gain


def _judgments(
    rng: np.random.Generator, prompts: Sequence[TestPrompt], scores: np.ndarray, judge: Judge
) -> list[Judgment]:
    found = []
    for order, first in (("ab", 1), ("ba", -1)):
        read = scores + rng.normal(0, math.sqrt(judge.noise), scores.shape)
        gap = read[0] - read[1] + first * judge.position
        step = np.sign(gap) * np.where(abs(gap) <= judge.tie, 0, np.where(abs(gap) < 1.5, 0.5, 1))
        marks = np.clip(np.round(MEAN + SD * read), 1, 10)
        found += [
            Judgment.model_construct(
                tweet_id=prompt.tweet_id,
                a="tuned",
                b="base",
                order=order,
                repeat=0,
                verdict=float(step[i]),
                scores={"tuned": {"all": float(marks[0, i])}, "base": {"all": float(marks[1, i])}},
                model="a judge of this world",
                key=f"{prompt.tweet_id}{order}",
            )
            for i, prompt in enumerate(prompts)
        ]
    return found
