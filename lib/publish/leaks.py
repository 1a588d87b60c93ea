"""Leaks in a text, in any of its readings: keys, people, ids, paths, and pieces of the training texts."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from lib.publish.known import MIN_RUN, WORD, Known
from lib.publish.patterns import KEY_PATTERNS, PEOPLE_PATTERNS, SHARE
from lib.publish.views import View, readings

MIN_RUN_LETTERS = (
    20  # runs of fewer letters must also be separate words here: "a b c d e f g h" stands in every alphabet
)
MIN_SECRET_CHARS = 8
LONG_NUMBER = re.compile(r"(?<!\d)\d{10,}(?!\d)")  # an id of a post; shorter numbers are counts
MIN_KEY_CHARS = 15  # of a vocabulary's entry that can hold a key

JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|(?<![\w.])\d{10,}(?![\w.])', re.DOTALL)
NAME = re.compile(r"\w{4,}", re.ASCII)
HEADER = "(header)"  # of a safetensors file, which is JSON
OWN, RUN = "a key or folder of this machine", "a run of words from the training texts"
AUTHOR, POST = "the handle of an author in the data", "an id of a post in the data"


@dataclass(frozen=True)
class Leak:
    """A finding: where, what kind of thing, and its first letters; never the thing itself."""

    file: str
    line: int
    kind: str
    shown: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.kind}" + (f" ({self.shown})" if self.shown else "")


def scan(file: str, text: str, known: Known, noise: bool = False) -> list[Leak]:
    """All of text that must not be published, by line. noise: among numbers, chance makes some handles."""
    found: dict[tuple[int, str], str] = {}
    for line, part, as_written, common in _parts(file, text):
        for at, kind, value in _found(part, known, as_written, common or noise):
            found.setdefault((line + (part.count("\n", 0, at) if as_written else 0), kind), value)
    return [Leak(file, line, kind, _shown(kind, value)) for (line, kind), value in sorted(found.items())]


def _parts(file: str, text: str) -> Iterator[tuple[int, str, bool, bool]]:
    """(line, text, are its lines the file's, is it a vocabulary's entry) of the whole and each JSON string.

    A tokenizer's vocabulary is a list of common pieces of text: "@media" is one, and nobody's handle.
    """
    if not file.endswith((".json", HEADER)):
        yield 1, text, True, False
        return
    vocabulary = _vocabulary(text) if file == "tokenizer.json" else frozenset()
    if not vocabulary:
        yield 1, text, True, False
    line, last = 1, 0
    for match in JSON_TOKEN.finditer(text):
        line, last = line + text.count("\n", last, match.start()), match.start()
        value = _value(match.group())
        if value not in vocabulary:
            yield line, value, False, False
        elif len(value) >= MIN_SECRET_CHARS:
            yield (
                line,
                value.replace("Ġ", " ").replace("Ċ", " ").replace("▁", " "),
                False,
                True,
            )  # how they spell spaces


def _value(token: str) -> str:
    try:
        return str(json.loads(token, strict=False))
    except ValueError:
        return token


def _vocabulary(text: str) -> frozenset[str]:
    """The strings in a tokenizer's vocabulary and merges that stand nowhere else in its file."""
    try:
        values = json.loads(text)
        model = values["model"]
        common = {string for key in ("vocab", "merges") for string in _strings(model.get(key))}
        rest = {key: value for key, value in model.items() if key not in ("vocab", "merges")}
        return frozenset(common - set(_strings({**values, "model": rest})))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return frozenset()


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _found(text: str, known: Known, as_written: bool, common: bool) -> Iterator[tuple[int, str, str]]:
    """(where in text, kind, value) of all that some reading of it holds."""
    if common and len(text) < MIN_KEY_CHARS:  # most of a vocabulary
        yield from _own(View(text, range(len(text))), known)
        return
    read = readings(text)
    for view in (*read.spelled, *read.packed):
        yield from _matches(view, KEY_PATTERNS)
        yield from _runs(view, known)
    for view in (*read.spelled, *read.joined, *read.packed):
        yield from _own(view, known)
    # Glued lines make words that nobody wrote; keys are told from them by their digits.
    for view in read.joined:
        yield from (match for match in _matches(view, KEY_PATTERNS) if re.search(r"\d", match[2]))
    if common:
        return
    for view in (*read.spelled, *read.packed):
        yield from _matches(view, PEOPLE_PATTERNS)
        if not as_written:
            yield from _matches(view, {"a path of this kind of machine": SHARE})
    for view in (*read.spelled, *read.joined, *read.packed):
        words = NAME.finditer(view.text)
        yield from (
            (view.at[word.start()], AUTHOR, word.group())
            for word in words
            if _plain(word.group()) in known.handles
        )


def _plain(word: str) -> str:
    """A handle in small letters, without the underscores of emphasis where it has none itself."""
    return word.casefold().strip("_")


def _matches(view: View, patterns: dict[str, re.Pattern[str]]) -> Iterator[tuple[int, str, str]]:
    for kind, pattern in patterns.items():
        yield from ((view.at[match.start()], kind, match.group()) for match in pattern.finditer(view.text))


def _own(view: View, known: Known) -> Iterator[tuple[int, str, str]]:
    """This machine's keys and folders, and the data's ids."""
    for secret in known.secrets:
        if len(secret) >= MIN_SECRET_CHARS and (at := view.text.find(secret)) >= 0:
            yield view.at[at], OWN, secret
    for match in LONG_NUMBER.finditer(view.text):
        if match.group() in known.ids:
            yield view.at[match.start()], POST, match.group()


def _runs(view: View, known: Known) -> Iterator[tuple[int, str, str]]:
    """Runs of words of the training texts, whatever line breaks, markup and punctuation stand in them."""
    letters = [
        (letter, at)
        for at, character in enumerate(view.text)
        for letter in character.casefold()
        if WORD.match(letter)
    ]
    squeezed = "".join(letter for letter, _ in letters)
    for start in range(len(squeezed) - MIN_RUN + 1):
        for run in known.runs_by_start.get(squeezed[start : start + MIN_RUN], ()):
            if squeezed.startswith(run, start):
                first, last = letters[start][1], letters[start + len(run) - 1][1]
                if len(run) >= MIN_RUN_LETTERS or len(WORD.findall(view.text[first : last + 1])) >= MIN_RUN:
                    yield view.at[first], RUN, ""


def _shown(kind: str, value: str) -> str:
    """So much of a value that its owner knows it, and nobody else can use it."""
    value = value.strip()
    return f"{value[: min(4, len(value) // 3)]}..., {len(value)} characters" if value and kind != OWN else ""
