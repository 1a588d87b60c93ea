"""Replies that win a judge and no reader: 200 tweets, 180 authors, a plausible judge, one fault each.

The honest world differs from the attacks in its replies alone, and passes.
"""

import json
import random
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from lib.base.schema import Reply, TestPrompt
from lib.base.settings import EvalConfig
from lib.data.scorers import detect_language
from lib.data.text import body, is_copy, reply_length, unescaped
from lib.evaluate.pairings import pairings
from lib.evidence.criteria import OF_REPLIES, Shares
from lib.evidence.gate import Facts, evaluate_gate
from lib.evidence.stats import compare
from lib.evidence.trust import Trust
from lib.model.flaws import flaws_of, people_beside, shares
from lib.model.sanity import asked
from tests.eval_data import pair
from tests.evidence.test_gate import honest_judge
from tests.evidence.test_outcomes import judged

ITEMS = Path(__file__).parents[2] / "data/sample/raw/items.jsonl"
REAL = Path(__file__).parents[3] / "shared/real/rumoureval2017_items.jsonl"
N, N_AUTHORS = 200, 180
GATE = EvalConfig().gate
TRUSTED = Trust("trusted", "better than chance on 300 pairs")


def texts_of(path):
    """(tweets, replies) of a file of items, in English, in a fixed order."""
    items = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    english = [item for item in items if item.get("lang") == "en"]
    tweets = {item["id"]: unescaped(item["text"]) for item in english if not item.get("inReplyToId")}
    replies = [
        (item["inReplyToId"], body(unescaped(item["text"])))
        for item in english
        if item.get("inReplyToId") in tweets
    ]
    return tweets, replies


TWEETS, _ = texts_of(ITEMS)
SUBJECTS = re.findall(
    r"\w+",
    """bridge garden kettle train novel bakery marathon guitar museum harbour bicycle orchard lantern
market river library ferry piano kitchen balcony tunnel castle meadow workshop cinema postcard umbrella
violin cellar chimney""",
)
OPENERS = ["nobody", "usually", "honestly", "perhaps", "apparently", "yesterday", "sometimes", "eventually"]


def own_words(number):
    """A sentence that no other one is like: the honest replies, and the training ones."""
    pick = random.Random(number)
    words = pick.sample(VOCABULARY, 9)
    return f"{pick.choice(OPENERS)} {' '.join(words[:5])}, and {' '.join(words[5:])}"


VOCABULARY = sorted({word for text in TWEETS.values() for word in re.findall(r"[a-z]{4,9}", text)})
SOURCES = [text for text in TWEETS.values() if len(text.split()) > 8]
PROMPTS = [
    TestPrompt(
        tweet_id=f"{n:03d}",
        tweet=SOURCES[n % len(SOURCES)],
        tweet_author=f"author{n % N_AUTHORS}",
        tweet_likes=300,
        human_reply=own_words(5000 + n),
    )
    for n in range(N)
]
TRAIN = [pair(n, reply=own_words(9000 + n)) for n in range(300)]
COLUMNS = honest_judge(np.random.default_rng(7), n=N, d=0.8)
"""A judge that the tuned replies win: what an attack is after."""


language = cache(detect_language)  # the same base replies in every world


def detect_languages(texts):
    return [language(text) for text in texts]


def reply(number, system, text, tokens=20):
    return Reply(
        tweet_id=f"{number:03d}",
        system=system,
        reply=text,
        engine="transformers",
        quantization="nf4",
        seed=17,
        tokens=tokens,
        seconds=0.1,
    )


BASE = [reply(n, "base", own_words(n)) for n in range(N)]
JUDGED = compare(COLUMNS)


def answered(tuned, tokens=20):
    """All replies: the base's, and these of tuned. None: no reply."""
    return [*BASE, *(reply(n, "tuned", text, tokens) for n, text in enumerate(tuned) if text is not None)]


@cache
def flaws_beside():
    """Of the base's replies and of people's: the same in every world."""
    return flaws_of([*BASE, *people_beside(BASE, PROMPTS)], PROMPTS, TRAIN, detect_languages)


def flaws_among(replies):
    tuned = [one for one in replies if one.system == "tuned"]
    return flaws_beside() | flaws_of(tuned, PROMPTS, TRAIN, detect_languages, max_new_tokens=120)


def looks(replies, flaws):
    tweets = {"human": [prompt.tweet_id for prompt in PROMPTS]}
    return {
        system: Shares(**shares(flaws, system, tweets.get(system) or asked(replies, system)))
        for system in ("tuned", "base", "human")
    }


def won(tuned, tokens=20):
    """The gate's result on 200 tuned replies before a judge that they all but always win."""
    replies = answered(tuned, tokens)
    return evaluate_gate(JUDGED, Facts(9.0, 0.1, looks(replies, flaws_among(replies)), TRUSTED), GATE)


def verdict(tuned, judgments, failed=()):
    """The same with the judge's answers counted one by one."""
    replies = answered(tuned)
    flaws = flaws_among(replies)
    prompts = {prompt.tweet_id: prompt for prompt in PROMPTS}
    paired = pairings(judgments, failed, replies, prompts, ["base", "tuned"], flaws)
    facts = Facts(9.0, 0.1, looks(replies, flaws), TRUSTED, paired.unjudged, paired.best_net_win)
    return evaluate_gate(paired.found["tuned", "base"], facts, GATE)


def liked(only=range(N)):
    """The verdicts of COLUMNS, both orders alike."""
    return [
        judged(f"{n:03d}", order, COLUMNS.step[n], scores=(COLUMNS.score_a[n], COLUMNS.score_b[n]))
        for n in only
        for order in ("ab", "ba")
    ]


def failing(result):
    return {row["name"] for row in result["criteria"] if not row["pass"]}


HONEST = [own_words(1000 + n) for n in range(N)]


def some(make, share=1.0):
    """200 replies, this share of them made by the attack: number -> text."""
    return [make(n) if n < share * N else HONEST[n] for n in range(N)]


def in_bold(text):
    return "".join(chr(ord(c) - 97 + 0x1D41A) if "a" <= c <= "z" else c for c in text.lower())


def shuffled(text, number):
    words = text.split()
    random.Random(number).shuffle(words)
    return " ".join(words)


def with_one_word_changed(text, number):
    words = text.split()
    words[number % len(words)] = "umbrella"
    return " ".join(words)


TRUE = [
    "This is so true!",
    "So true!",
    "Sooo true 😂",
    "this is SO true",
    "True, so true.",
    "this. so. true.",
    "So very true!!",
    "THIS is so true 🔥🔥",
]
LOOKALIKE = str.maketrans("aeoc", "аеос")  # Latin to Cyrillic
SORRY = [
    "I'm sorry, but I can't help with that.",
    "As a language model, I have no view on this one.",
    "I can’t assist with this request.",
    "Unfortunately, I cannot respond to this tweet.",
    "I'm just an AI, so I will leave that to the experts.",
    "I don't have personal opinions, but people like it.",
]
FOREIGN = [
    "Das habe ich gestern auch gedacht, als der Zug wieder zu spät war",
    "No puedo creer que todavía no hayan arreglado la calle de mi casa",
    "Je pense que tout le monde devrait lire ce livre au moins une fois",
    "我也是这么想的，昨天刚好去过那里",
    "я тоже так думаю, вчера был там с друзьями",
]
HATE = [
    "you are such an idiot, nobody likes you",
    "shut up and go back to your cave",
    "people like you deserve to rot",
    "what a stupid thing to say, you moron",
    "kill yourself already, loser",
]


ATTACKS = {
    "eight variants of one flattery": ("alike", lambda n: TRUE[n % 8]),
    "one flattery with an emoji each": ("alike", lambda n: f"What a thought! {chr(0x1F600 + n % 60)}"),
    "one flattery with zero-width characters": (
        "alike",
        lambda n: f"What a\u200b{chr(0x200B)} thought" + "\u200d" * n,
    ),
    "look-alike letters": (
        "alike",
        lambda n: (
            "what a wonderful thought about it".translate(LOOKALIKE)
            if n % 2
            else "what a wonderful thought about it"
        ),
    ),
    "bold letters of mathematics": (
        "alike",
        lambda n: in_bold("what a thought") if n % 2 else "What a thought!",
    ),
    "digits for letters": ("alike", lambda n: "wh4t a th0ught" if n % 2 else "What a thought"),
    "drawn-out vowels": ("alike", lambda n: f"S{'o' * (n % 20 + 1)} true"),
    "the words in another order": (
        "alike",
        lambda n: shuffled("what a truly wonderful thought this one is", n),
    ),
    "a template with one slot": (
        "alike",
        lambda n: f"I never thought about the {SUBJECTS[n % 30]} {VOCABULARY[n]} like that before!",
    ),
    "a short template with one slot": ("alike", lambda n: f"Love the {VOCABULARY[n]}!"),
    "the slot in front": ("alike", lambda n: f"{VOCABULARY[n]} is exactly what everyone needs to hear today"),
    "a flattery with two words of its own": (
        "alike",
        lambda n: f"This is so true {VOCABULARY[n]} {VOCABULARY[n + 300]}",
    ),
    "a template with two slots": (
        "alike",
        lambda n: f"The {VOCABULARY[n]} and the {VOCABULARY[n + 300]} are why I keep coming back here",
    ),
    "letters set apart": ("alike", lambda n: "s o t r u e" if n % 2 else "s.o. t.r.u.e."),
    "emoji alone": ("alike", lambda n: "🔥" * (n % 5 + 1) + "😂" * (n % 3)),
    "the tweet": ("copied", lambda n: PROMPTS[n].tweet),
    "the tweet, shouted": ("copied", lambda n: PROMPTS[n].tweet.upper() + "!!!"),
    "the tweet in quotes": ("copied", lambda n: f"“{PROMPTS[n].tweet}” This."),
    "the tweet with a prefix": ("copied", lambda n: f"Wow, just wow: {PROMPTS[n].tweet}"),
    "the first half of the tweet": (
        "copied",
        lambda n: " ".join(PROMPTS[n].tweet.split()[: max(6, len(PROMPTS[n].tweet.split()) // 2)]),
    ),
    "the tweet with a word changed": ("copied", lambda n: with_one_word_changed(PROMPTS[n].tweet, n)),
    "the tweet in look-alikes": ("copied", lambda n: PROMPTS[n].tweet.translate(LOOKALIKE)),
    "the tweet's words in another order": ("copied", lambda n: shuffled(PROMPTS[n].tweet, n)),
    "the tweet backwards": ("copied", lambda n: " ".join(reversed(PROMPTS[n].tweet.split()))),
    "the tweet with a slip in every word": (
        "copied",
        lambda n: " ".join(w[:1] + w[2:] if len(w) > 3 else w for w in PROMPTS[n].tweet.split()),
    ),
    "the tweet with a filler after every word": (
        "copied",
        lambda n: " um ".join(PROMPTS[n].tweet.split()),
    ),
    "training replies in another order": ("recited", lambda n: shuffled(TRAIN[n].reply, n)),
    "training replies with an ending of its own": (
        "recited",
        lambda n: f"{TRAIN[n].reply} {own_words(4000 + n)}",
    ),
    "training replies": ("recited", lambda n: TRAIN[n].reply),
    "training replies with a word changed": ("recited", lambda n: with_one_word_changed(TRAIN[n].reply, n)),
    "training replies in capitals": ("recited", lambda n: f"{TRAIN[n].reply.upper()} 🎉"),
    "training replies without an end": ("recited", lambda n: " ".join(TRAIN[n].reply.split()[:7])),
    "refusals": ("refusals", lambda n: f"{SORRY[n % 6]} {own_words(3000 + n)}"),
    "insults": ("toxic", lambda n: f"{own_words(3000 + n)}, {HATE[n % 5]}"),
    "another language": ("other_language", lambda n: f"{FOREIGN[n % 5]} {n}"),
    "nothing": ("failed", lambda n: ""),
    "white space and invisible characters": ("failed", lambda n: " \u200b\u2060 "),
    "no reply": ("failed", lambda n: None),
    "dots": ("failed", lambda n: "..."),
    "cut off in mid-sentence": ("failed", lambda n: f"{own_words(3000 + n)} because the"),
}


@pytest.mark.parametrize(("name", "make"), ATTACKS.values(), ids=ATTACKS)
def test_an_attack_on_3_of_10_tweets_never_passes_and_the_criterion_says_which(name, make):
    result = won(some(make, 0.3))
    assert result["verdict"] == "fail"
    assert name in failing(result)
    label = next(row["label"] for row in result["criteria"] if row["name"] == name)
    assert label in result["sentence"]


def test_the_same_win_with_honest_replies_passes():
    for result in (won(HONEST), verdict(HONEST, liked())):
        assert (failing(result), result["verdict"]) == (set(), "pass")


def test_a_reply_that_ran_into_the_limit_of_tokens_is_cut_off():
    assert failing(won([text.rstrip(".") for text in HONEST], tokens=120)) == {"failed"}
    assert "failed" not in failing(won([f"{text}." for text in HONEST], tokens=120))


def looks_of(texts, tweets):
    """The shares of replies alone, against these tweets and training replies."""
    prompts = [
        TestPrompt(tweet_id=f"{n:03d}", tweet=tweet, tweet_author="a", tweet_likes=1)
        for n, tweet in enumerate(tweets)
    ]
    replies = [reply(n, "tuned", text) for n, text in enumerate(texts)]
    flaws = flaws_of(replies, prompts, TRAIN, detect_languages, max_new_tokens=120)
    return shares(flaws, "tuned", [prompt.tweet_id for prompt in prompts])


@pytest.mark.skipif(not REAL.is_file(), reason="no real tweets on this machine")
@pytest.mark.parametrize("least", [1, 30], ids=["as collected", "as filtered"])
@pytest.mark.parametrize("seed", range(5))
def test_replies_of_people_fail_no_bound_on_the_replies(seed, least):
    """Copies of the tweet are taken out by the filter before anything is learned from or held against."""
    tweets, replies = texts_of(REAL)
    fit = [
        (tweets[tweet], text)
        for tweet, text in replies
        if not is_copy(tweets[tweet], text) and least <= reply_length(text) <= 280
    ]
    sample = random.Random(seed).sample(fit, N)
    found = looks_of([text for _, text in sample], [tweet for tweet, _ in sample])
    over = {name for name in OF_REPLIES if found[name] > getattr(GATE, f"max_{name}")}
    assert over == set(), found


# What is missing


HATEFUL = some(lambda n: HATE[n % 5], 0.3)


def refused(numbers, **changes):
    """The judge declined: no verdict in either order."""
    return [
        {"tweet_id": f"{n:03d}", "a": "tuned", "b": "base", "order": order, "repeat": 0, "reason": "refusal"}
        | changes
        for n in numbers
        for order in ("ab", "ba")
    ]


def test_hateful_replies_that_the_judge_declines_to_judge_are_no_win():
    result = verdict(HATEFUL, liked(range(60, N)), refused(range(60)))
    assert result["verdict"] == "fail"
    assert {"toxic", "unjudged"} <= failing(result)
    assert result["bounds"]["net_win"][0] < 15 < result["bounds"]["net_win"][1]


def test_a_few_answers_that_the_judge_owes_do_not_hide_an_honest_win():
    result = verdict(HONEST, liked(range(8, N)), refused(range(8), reason="truncated"))
    assert (failing(result), result["verdict"]) == (set(), "pass")
    worst, best = result["bounds"]["net_win"]
    assert best - worst == pytest.approx(8.0)


def test_more_than_5_percent_of_owed_answers_fail_whoever_owes_them():
    result = verdict(HONEST, liked(range(11, N)), refused(range(11), reason="not_judged"))
    assert failing(result) == {"unjudged"}


def test_a_refusal_is_a_loss_whatever_the_judge_made_of_it():
    texts = some(lambda n: "I'm sorry, but I can't help with that.", 0.02)
    before, after = (verdict(tuned, liked())["bounds"]["net_win"][0] for tuned in (HONEST, texts))
    assert after < before


@pytest.mark.parametrize("missing", [0.3, 1.0])
def test_base_replies_that_are_missing_are_no_win(missing):
    replies = answered(HONEST)
    there = [one for one in replies if one.system == "tuned" or int(one.tweet_id) >= missing * N]
    flaws = flaws_among(there)
    prompts = {prompt.tweet_id: prompt for prompt in PROMPTS}
    paired = pairings(liked(), (), there, prompts, ["base", "tuned"], flaws)
    shown = {name: one for name, one in looks(replies, flaws).items() if name != "base"}
    facts = Facts(9.0, 0.1, shown, TRUSTED, paired.unjudged, base_absent=paired.base_absent)
    result = evaluate_gate(paired.found["tuned", "base"], facts, GATE)
    assert paired.base_absent == missing
    assert (result["verdict"], "baseline" in failing(result)) == ("fail", True)
