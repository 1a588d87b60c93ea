"""Habits of style: what a judge may like for its own sake, counted in every reply as a reader counts it.

`COUNTED` are looked at always. `marks` finds further ones: whatever stands in most replies of one system and
in few of the other's ("haha", a hashtag, words in capitals) could be what the judge goes by, and so could a
set of words of which each is rare ("haha", "lol", "lmao").
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence, Set

from lib.base.characters import EMOJI, visible

Amounts = tuple[list[float], list[float]]  # of one habit: in each reply of a, in each reply of b

# habit -> its name in a sentence. Of the graded ones a reply has more or less, the others it has or has not.
# The length is counted where the outcomes are.
GRADED = {
    "length": "length",
    "overlap": "words of the tweet",
    "novelty": "wording that no other reply has",
}
COUNTED = {
    **GRADED,
    "emoji": "emoji",
    "questions": "questions",
    "exclamations": "exclamation marks",
    "flattery": "flattery",
    "second_person": "“you”",
}
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_FLATTERY = re.compile(
    r"\b(?:(?:absolutely |really )?(?:love|loving|adore) (?:this|it|that|your|how you)"
    r"|(?:great|good|excellent|fantastic|awesome|amazing|brilliant|beautiful|wonderful|incredible)"
    r" (?:point|post|tweet|take|question|thread|insight|idea|work|job|stuff|reminder|perspective|advice)s?"
    r"|(?:so|very|well|perfectly|beautifully) (?:true|said|put|well said|right)"
    r"|(?:couldn['’]?t|could not) (?:agree|have said it) (?:more|better)|thank(?:s| you) for (?:sharing|this)"
    r"|you(?:['’]re| are) (?:so |absolutely |totally )?(?:right|amazing|brilliant|awesome|a genius|the best)"
    r"|nailed it|spot on"
    r"|this is (?:gold|amazing|brilliant|so good|so true|great|awesome|incredible|beautiful))",
    re.IGNORECASE,
)
_SECOND_PERSON = re.compile(
    r"\b(?:you|your|yours|yourself|yourselves|youre|youve|u|ur|ya|y['’]?all)\b", re.IGNORECASE
)
# A link is one habit, and its letters are no words.
_LINK = re.compile(
    r"https?://\S*|\bwww\.\S+|\b(?:[\w-]+\.)+[a-z]{2,}/\S*"
    r"|\b(?:[\w-]+\.)+(?:com|org|net|io|ai|gg|ly|tv|co|me|app|dev|xyz)\b",
    re.IGNORECASE,
)
_SMILEY = re.compile(r"(?<!\w)(?:[:;=xX8][-'^o]?[)(DPp3*|/\\]+|<3|[\^oOT;>][_.][\^oOT;<])(?!\w)")
_ASKING = re.compile(
    r"(?:why|how|what|who|whose|where|when|which|is|isn['’]?t|are|aren['’]?t|do|does|did|can|should)\b"
)
_DRAWN = re.compile(r"([^\W\d_])\1\1")
_CAPITALS = re.compile(r"\b[^\W\d_a-z]{2,}\b")
# A mark is in this much larger a share of one system's replies than of the other's. Words need more: a long
# reply has more of them.
MARKED, MARKED_WORD = 0.15, 0.4
MAX_MARKS = 6
# Words that make a set: each in this many standard errors more of one system's words; the clearest of them.
CLEARLY, MAX_SET = 2.2, 12


def amounts(
    texts_a: Sequence[str], texts_b: Sequence[str], tweets: Sequence[str] | None = None
) -> dict[str, Amounts]:
    """habit -> its amount in every reply of a and of b, in the order given: COUNTED, then the marks.

    tweets: what was replied to; without them nothing is said of the words taken from them.
    """
    of_a, of_b = _counted(texts_a, tweets), _counted(texts_b, tweets)
    found = {habit: (in_a, of_b[habit]) for habit, in_a in of_a.items()}
    return found | marks(texts_a, texts_b, [have for habit, have in found.items() if habit not in GRADED])


def label(habit: str) -> str:
    """The habit's name in a sentence; a mark is its own."""
    return COUNTED.get(habit, f"“{habit}”")


def _counted(texts: Sequence[str], tweets: Sequence[str] | None) -> dict[str, list[float]]:
    shown = [_plain(text) for text in texts]
    words = [_words(text) for text in shown]
    found = {
        "novelty": _novelty(words),
        "emoji": [float(len(EMOJI.findall(text))) for text in shown],
        "questions": [float(len(re.findall(r"[?？]+", text))) for text in shown],
        "exclamations": [float(len(re.findall(r"[!！]+", text))) for text in shown],
        "flattery": [float(len(_FLATTERY.findall(text))) for text in shown],
        "second_person": [float(len(_SECOND_PERSON.findall(text))) for text in shown],
    }
    if tweets is not None:
        said = [set(_words(_plain(tweet))) for tweet in tweets]
        found["overlap"] = [
            _share(word in of_tweet for word in own) for own, of_tweet in zip(words, said, strict=True)
        ]
    return found


def _plain(text: str) -> str:
    return _LINK.sub(" ", visible(text))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _share(are: Iterable[bool]) -> float:
    values = list(are)
    return sum(values) / len(values) if values else 0.0


def _novelty(words: Sequence[Sequence[str]]) -> list[float]:
    """Share of a reply's word pairs that no other reply of its system has: what stock phrases lack."""
    pairs = [set(zip(["", *own], [*own, ""], strict=True)) for own in words]
    in_replies = Counter(pair for own in pairs for pair in own)
    return [_share(in_replies[pair] == 1 for pair in own) for own in pairs]


def marks(
    texts_a: Sequence[str], texts_b: Sequence[str], known: Sequence[Amounts] = ()
) -> dict[str, Amounts]:
    """The marks that tell the systems apart, the clearest first: sign or word -> 1 where a reply has it.

    At most MAX_MARKS, and each system's set of words. One that comes and goes with a known habit, or with a
    mark before it, is left out.
    """
    signs_a, signs_b = [_signs(text) for text in texts_a], [_signs(text) for text in texts_b]
    count_a, count_b = (Counter(sign for own in signs for sign in own) for signs in (signs_a, signs_b))
    n = max(len(texts_a), 1)
    apart = {sign: abs(count_a[sign] - count_b[sign]) / n for sign in count_a | count_b}
    seen = {_moves(have) for have in known}
    found: dict[str, Amounts] = {}
    for sign in sorted(apart, key=lambda sign: (-apart[sign], sign)):
        if apart[sign] < MARKED or len(found) == MAX_MARKS:
            break
        if apart[sign] < MARKED_WORD and _WORD.fullmatch(sign):
            continue
        have = [float(sign in own) for own in signs_a], [float(sign in own) for own in signs_b]
        if (moves := _moves(have)) not in seen:
            seen.add(moves)
            found[sign] = have
    return found | _sets(texts_a, texts_b, seen)


def _sets(texts_a: Sequence[str], texts_b: Sequence[str], seen: Set[tuple[int, ...]]) -> dict[str, Amounts]:
    """The words that a system has more of than the other, as one mark each: 1 where a reply has any of them.

    seen: how known habits and marks move. Counted per word, so that longer replies have no more of them.
    """
    words = [[_words(EMOJI.sub("", _plain(text))) for text in texts] for texts in (texts_a, texts_b)]
    counts = [Counter(word for own in side for word in own) for side in words]
    totals = [sum(count.values()) or 1 for count in counts]
    found: dict[str, Amounts] = {}
    for side in (0, 1):
        usual = totals[side] / sum(totals)
        clear = {
            word: (count - (both := counts[0][word] + counts[1][word]) * usual)
            / math.sqrt(both * usual * (1 - usual))
            for word, count in counts[side].items()
        }
        own = [word for word in sorted(clear, key=lambda word: (-clear[word], word)) if clear[word] > CLEARLY]
        own = [word for word in own if _moves(_having({word}, words)) not in seen][:MAX_SET]
        have = _having({*own}, words)
        if len(own) > 1 and abs(sum(have[0]) - sum(have[1])) >= MARKED * len(texts_a):
            found[", ".join(own[:3]) + (" …" if len(own) > 3 else "")] = have
    return found


def _having(any_of: Set[str], words: Sequence[Sequence[Sequence[str]]]) -> Amounts:
    in_a, in_b = ([float(not any_of.isdisjoint(own)) for own in side] for side in words)
    return in_a, in_b


def _moves(have: Amounts) -> tuple[int, ...]:
    """Which of the two replies has it, tweet by tweet."""
    return tuple((in_a > 0) - (in_b > 0) for in_a, in_b in zip(*have, strict=True))


def _signs(text: str) -> set[str]:
    """Words and signs of a text, and how it is written; emoji, ? and ! are habits of their own."""
    plain = EMOJI.sub("", _plain(text))
    signs = {character for character in plain if not character.isalnum() and character not in " ?!？！\n"}
    written = {
        "words in capitals": bool(_CAPITALS.search(plain)),
        "a capital at the start": plain[:1].isupper(),
        "a number": any(map(str.isdigit, plain)),
        "line breaks": "\n" in plain,
        "a link": bool(_LINK.search(visible(text))),
        "a smiley": bool(_SMILEY.search(plain)),
        "a drawn-out word": bool(_DRAWN.search(plain)),
        "a question word at the start": bool(_ASKING.match(plain.casefold())),
    }
    return signs | set(_words(plain)) | {name for name, has in written.items() if has}
