"""Texts that are nearly others, however they are dressed up: copies, recitals, templates.

What is compared are folded words: emoji, case, punctuation, accents, look-alike letters, digits for letters
and drawn-out vowels make no difference, nor does the order of the words.
"""

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

from lib.data.text import body, normalised

Words = list[str]
# Letters that look like Latin ones: Cyrillic, Greek (of Unicode's confusables those in use), small capitals.
LOOKALIKES = str.maketrans(
    "авекмнорстухіјѕԁһӏԛԝёαβεηικνορτυχγω" + "ᴀʙᴄᴅᴇꜰғɢʜɪᴊᴋʟᴍɴᴏᴘǫʀꜱᴛᴜᴠᴡʏᴢıɑɡ",
    "abekmhopctyxijsdhlqweabenikvoptuxyw" + "abcdeffghijklmnopqrstuvwyziag",
)
DIGITS = str.maketrans("01345789", "oieastbg")
_RUN = re.compile(r"(.)\1+")
MIN_WORDS = 5  # shorter texts are alike by chance: they count only when they are equal
RUN = 3  # words in a row that are taken over, not met
LONG_RUN = 8  # so many are a quotation, however much stands around it
MOST, NEARLY_ALL = 0.5, 0.8  # of the words
SPELLING = 0.75  # of the letters in place: the same text with a slip in every word
RARE, FEW = 0.1, 3  # a word that at most this share of the replies, or so many, have
TEMPLATE = 0.03  # of a system's replies share a run of words: more often than people do


def folded(text: str) -> Words:
    """The words of a text as they are compared, without links and mentions; [] where it has none."""
    plain = unicodedata.normalize("NFKD", normalised(body(text)))
    plain = "".join(c for c in plain if unicodedata.category(c) != "Mn").translate(LOOKALIKES)
    return [_RUN.sub(r"\1", _spelled(word)) for word in plain.split() if any(map(str.isalnum, word))]


def _spelled(word: str) -> str:
    """The word without digits for letters, and with one letter for l and i, which 1 and | stand for both."""
    return word.translate(DIGITS).replace("l", "i") if any(map(str.isalpha, word)) else word


def takes_over(source: Words, words: Words) -> bool:
    """True of words that are mostly those of the source: equal, half of them in its runs, LONG_RUN of them in
    a row, or nearly all of either among the other's in whatever order.
    """
    if not source or not words:
        return False
    if words == source:
        return True
    if len(words) < MIN_WORDS:
        return False
    blocks = SequenceMatcher(None, source, words, autojunk=False).get_matching_blocks()
    sizes = [block.size for block in blocks if block.size >= RUN]
    in_runs, longest = sum(sizes), max(sizes, default=0)
    shared = sum((Counter(source) & Counter(words)).values())
    return (
        longest >= LONG_RUN
        or (in_runs >= MIN_WORDS and in_runs >= MOST * len(words))
        or (shared > MIN_WORDS and shared >= NEARLY_ALL * min(len(words), len(source)))
    )


def respelled(source: Words, words: Words) -> bool:
    """True of the source with slips of the pen, one in every word if need be."""
    if len(words) < MIN_WORDS:
        return False
    letters = SequenceMatcher(None, " ".join(source), " ".join(words), autojunk=False)
    return letters.quick_ratio() >= SPELLING and letters.ratio() >= SPELLING


def grams(words: Words) -> set[tuple[str, ...]]:
    """Runs of RUN words, with the text's ends as words of their own."""
    ended = ["", *words, ""]
    return {tuple(ended[start : start + RUN]) for start in range(len(ended) - RUN + 1)}


class _Holders:
    """The replies that may take over a text: they share a run with it, or FEW words that are rare among
    them. Only those have to be looked at.
    """

    def __init__(self, replies: Sequence[Words]) -> None:
        self.by_gram: dict[tuple[str, ...], list[int]] = defaultdict(list)
        by_word: dict[str, list[int]] = defaultdict(list)
        for number, words in enumerate(replies):
            for gram in grams(words):
                self.by_gram[gram].append(number)
            for word in set(words):
                by_word[word].append(number)
        most = max(FEW, RARE * len(replies))
        self.by_word = {word: numbers for word, numbers in by_word.items() if len(numbers) <= most}

    def of(self, words: Words) -> set[int]:
        shared = Counter(number for word in set(words) for number in self.by_word.get(word, ()))
        return {number for gram in grams(words) for number in self.by_gram.get(gram, ())} | {
            number for number, n in shared.items() if n >= FEW
        }


def recited(replies: Sequence[Words], sources: Iterable[str]) -> list[bool]:
    """Which of the replies take over one of the sources."""
    holders, found = _Holders(replies), [False] * len(replies)
    for source in sources:
        words = folded(source)
        for number in holders.of(words):
            found[number] = found[number] or takes_over(words, replies[number])
    return found


def alike(replies: Sequence[Words]) -> list[bool]:
    """Which of one system's replies repeat the others: the same words, nearly the same, or one template.

    A reply without words is like every other one. A template is a text of which most words lie in runs that
    several other replies have as well, whatever stands in its slots.
    """
    keys = [tuple(sorted(words)) for words in replies]
    same = Counter(keys)
    of = [grams(words) for words in replies]
    shared_by = Counter(gram for own in of for gram in own)
    often = max(3, math.ceil(TEMPLATE * len(replies)))
    common = {gram for gram, n in shared_by.items() if n > often}
    near = _near_another(replies)
    return [
        same[key] > 1 or near[number] or _covered(words, common) > MOST
        for number, (key, words) in enumerate(zip(keys, replies, strict=True))
    ]


def _near_another(replies: Sequence[Words]) -> list[bool]:
    holders = _Holders(replies)
    return [
        any(takes_over(replies[other], words) for other in holders.of(words) if other != number)
        for number, words in enumerate(replies)
    ]


def _covered(words: Words, common: set[tuple[str, ...]]) -> float:
    """Share of the words that lie in one of these runs."""
    if not words:
        return 1.0
    ended, hit = ["", *words, ""], set()
    for start in range(len(ended) - RUN + 1):
        if tuple(ended[start : start + RUN]) in common:
            hit |= set(range(start, start + RUN))
    return len(hit & set(range(1, len(words) + 1))) / len(words)
