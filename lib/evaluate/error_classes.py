"""The tuned replies that lost or tied, grouped by what is wrong with them, by rule.

A paid judge's answer gives a reason in words and no label; to ask it for one would be another question, and
every kept verdict would have to be paid again.
"""

import re
from collections.abc import Mapping

from lib.data.heuristics import signs
from lib.data.text import LINKS, normalised
from lib.evaluate.report import Flawed
from lib.evidence.outcomes import Counted
from lib.model.flaws import Flaws

SYSTEM = "tuned"
OF_FLAW = {  # the worst first: a reply is counted once
    "empty": "empty",
    "unreadable": "unreadable",
    "refusal": "refusal",
    "truncated": "truncated",
    "copy": "copy",
    "recited": "copy",
    "toxic": "hostile",
    "other_language": "another language",
    "alike": "generic",
}
GENERIC, INVENTED, OFF_TOPIC, OTHER = "generic", "invented detail", "off topic", "none of these"
NAMES = (*dict.fromkeys(OF_FLAW.values()), INVENTED, OFF_TOPIC, OTHER)
N_EXAMPLES = 3
MIN_CONTENT = 4  # words that carry a subject: of fewer nobody can tell whether it is the tweet's
_DETAIL = re.compile(r"\d[\d.,]*\s?%?|[@＠]\w+")
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{2,}")
_COMMON_WORDS = """
    about after again against also always another because been before being both could does doing done down
    each even every everyone from going gonna have having here into just know like little made make makes many
    maybe might more most much must need never only other over people really right same should since some
    someone something still such take than that their them then there these they thing things think this those
    through time very want well were what when where which while will with without would your youre dont cant
    thats isnt
"""
_COMMON = frozenset(_COMMON_WORDS.split())


def flawed(
    rows: Counted, texts: Mapping[tuple[str, str], str], tweets: Mapping[str, str], flaws: Flaws
) -> list[Flawed]:
    """The kinds of flaw of tuned's replies, those that cost it most first, with examples.

    rows: tuned against base. texts: (tweet, system) -> reply. tweets: id -> text.
    """
    groups: dict[str, dict[int, list[str]]] = {}
    for tweet, step in zip(rows.tweets, rows.rows.step, strict=True):
        text = texts.get((tweet, SYSTEM), "")
        name = error_class(text, tweets.get(tweet, ""), flaws.get((tweet, SYSTEM), frozenset()))
        groups.setdefault(name, {-1: [], 0: [], 1: []})[(step > 0) - (step < 0)].append(tweet)
    found = [
        Flawed(
            name=name,
            losses=len(of[-1]),
            ties=len(of[0]),
            wins=len(of[1]),
            examples=[*of[-1], *of[0]][:N_EXAMPLES],
        )
        for name, of in groups.items()
    ]
    return sorted(found, key=lambda one: (one.name == OTHER, -one.losses, -one.ties, NAMES.index(one.name)))


def error_class(reply: str, tweet: str, flaws: frozenset[str] = frozenset()) -> str:
    """The kind of flaw of one reply. flaws: those of lib.model.flaws."""
    if not reply.strip():
        return "empty"
    for flaw, name in OF_FLAW.items():
        if flaw in flaws:
            return name
    if any(sign in ("filler", "promotion") for sign, _ in signs(reply)):
        return GENERIC
    if _invents(reply, tweet):
        return INVENTED
    own, given = _subjects(reply), _subjects(tweet)
    return OFF_TOPIC if len(own) >= MIN_CONTENT and given and not own & given else OTHER


def _invents(reply: str, tweet: str) -> bool:
    """True of a number, a name, a handle or a link that the tweet does not give."""
    known = normalised(tweet)
    told = [*_DETAIL.findall(reply), *_NAME.findall(reply)]
    return bool(LINKS.search(reply)) or any(
        detail.strip(" .,").casefold() not in tweet.casefold()
        and (normalised(detail) not in known or not normalised(detail))  # a handle is no word
        for detail in told
    )


def _subjects(text: str) -> set[str]:
    """The beginnings of the words that carry a subject: "bridges" is about the bridge."""
    words = normalised(text.replace("'", "").replace("’", "")).split()
    return {word[:5] for word in words if len(word) > 3 and word not in _COMMON}
