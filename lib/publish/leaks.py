"""Leaks in a text, in any of its readings: keys, people, ids, paths, and pieces of the training texts."""

import functools
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from lib.publish.views import View, readings

MIN_RUN = 8  # words; shorter runs are everyday phrases
MIN_RUN_LETTERS = (
    20  # runs of fewer letters must also be separate words here: "a b c d e f g h" stands in every alphabet
)
MIN_SECRET_CHARS = 8
MIN_HANDLE_CHARS = 4  # as a bare word; X gives out no shorter ones, and old ones read like abbreviations
LONG_NUMBER = re.compile(r"(?<!\d)\d{10,}(?!\d)")  # an id of a post; shorter numbers are counts
MIN_KEY_CHARS = 15  # of a vocabulary's entry that can hold a key

KEYS = {
    "a Hugging Face token": r"(?<![A-Za-z0-9])(?:hf|api_org)_[A-Za-z0-9]{16,}",
    "an Anthropic key": r"(?<![A-Za-z0-9])sk-ant-[\w-]{10,}",
    "an OpenAI key": r"(?<![A-Za-z0-9])sk-(?!ant-)(?:proj-|svcacct-|admin-|or-v1-)?[A-Za-z0-9_-]{20,}",
    "an Apify token": r"(?<![A-Za-z0-9])apify_api_[A-Za-z0-9]{10,}",
    "a RunPod key": r"(?<![A-Za-z0-9])rpa_[A-Za-z0-9]{10,}",
    "a GitHub token": r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,})",
    "a GitLab token": r"(?<![A-Za-z0-9])gl(?:pat|ptt|dt|rt|cbt|soat)-[\w-]{20,}",
    "an AWS key": r"(?<![A-Za-z0-9])(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}\b"
    r"|(?i:aws\w*|secret_?access)[\w\s\"':=.-]{0,40}(?<![A-Za-z0-9/+=])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])",
    "a Google key": r"(?<![A-Za-z0-9])(?:AIza[\w-]{35}|GOCSPX-[\w-]{20,}|ya29\.[\w-]{20,})",
    "a Slack token": r"(?<![A-Za-z0-9])(?:xox[a-z]-[\w.-]{10,}|xapp-[\w-]{10,})"
    r"|\bhooks\.slack\.com/services/[\w/]{20,}",
    "a Stripe key": r"(?<![A-Za-z0-9])"
    r"(?:(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/]{16,})",
    "a key of a model provider": r"(?<![A-Za-z0-9])(?:gsk|r8|pplx|xai|nvapi|fw|csk|tgp_v1)[_-][\w-]{30,}",
    "a package registry's token": r"(?<![A-Za-z0-9])npm_[A-Za-z0-9]{30,}|\bpypi-[\w-]{40,}",
    "a key of a service": r"(?<![A-Za-z0-9])"
    r"(?:SG\.[\w-]{16,}\.[\w-]{16,}|dop_v1_[0-9a-f]{32,}|\d{8,10}:AA[\w-]{33}"
    r"|AAAA[A-Za-z0-9%]{60,}|AccountKey=[\w+/=]{40,})",
    "a signed token (JWT)": r"(?<![A-Za-z0-9])eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*",
    # W&B keys are 40 hex digits, as commits are: only the name beside them tells.
    "a Weights & Biases key": r"(?<![A-Za-z0-9])wandb_v1_\w{20,}"
    r"|(?i:wandb[\w\s\"':=-]{0,40}\b[0-9a-f]{40}\b)",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY",
    "a password in an address": r"(?<![A-Za-z0-9])"
    r"[a-z][a-z0-9+.-]{1,20}://[^\s/:@\"'<>]{1,80}:[^\s/@\"'<>]{3,200}@",
    "a value named as a secret": r"(?i:"
    r"(?:api|access|auth|secret|private)[_ -]?(?:key|token)|_token|_secret|_key|password|passwd)"
    r"[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?=[\w/+-]*\d)(?=[\w/+-]*[A-Za-z])[\w/+-]{20,}",
}
PEOPLE = {
    "an e-mail address": r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,8}\.[A-Za-z]{2,}",
    "an @handle": r"(?<![\w@./+-])@[A-Za-z0-9_]{1,15}\b",
    "a link to a post or profile": r"(?i:"
    r"(?<![\w.-])(?:(?:www\.|mobile\.|m\.)?(?:x|twitter)\.com|t\.co|nitter\.\w+)/\w+)",
    "an id of a post": r"(?i:"
    r"(?<![A-Za-z])(?:status|tweet|post|reply|conversation)\w*\W{1,8}(?:id\W{1,3})?)\d{15,19}\b",
    "a path in somebody's home": r"(?<![\w.])/(?:(?:Users|home)/[^/\s\"']+|root/)"
    r"|\b[A-Za-z]:(?:\\{1,2}|/)Users(?:\\{1,2}|/)"
    r"|(?<![\w~/])~\w*/[\w.]",
    "a path of this kind of machine": r"(?<![\w.])/"
    r"(?:workspace|tmp|private|var/\w+|mnt|Volumes|content|srv|data|opt|media|scratch"
    r"|nfs|dev/shm|kaggle|models?|checkpoints|datasets|storage|net|gpfs|lustre|runpod-volume|teamspace|notebooks)/[\w.-]"
    r"|(?<![\w./])\.{1,2}/\w|(?<![\w?])[A-Z]:(?:\\{1,2}|/)[\w.]|\bfile:/+[\w.~]",
}
SHARE = re.compile(
    r"(?<![\\\w])\\\\[\w.-]{2,}\\[\w$.-]{2,}"
)  # in no JSON as it is written: there every backslash is two
# ASCII: in "谢@ann的" the handle ends where the Latin letters do.
KEY_PATTERNS = {kind: re.compile(pattern, re.ASCII) for kind, pattern in KEYS.items()}
PEOPLE_PATTERNS = {kind: re.compile(pattern, re.ASCII) for kind, pattern in PEOPLE.items()}
JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|(?<![\w.])\d{10,}(?![\w.])', re.DOTALL)
NAME = re.compile(r"\w{4,}", re.ASCII)
WORD = re.compile(r"[^\W_]+")
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


@dataclass(frozen=True)
class Known:
    """The secrets of here and now.

    runs: every run of MIN_RUN words of the training texts. secrets: keys and paths of this machine.
    handles, ids: of the data set's authors and posts; handles in small letters, without ordinary words.
    """

    runs: frozenset[str] = field(default_factory=frozenset, repr=False)
    secrets: frozenset[str] = field(default_factory=frozenset, repr=False)
    handles: frozenset[str] = field(default_factory=frozenset, repr=False)
    ids: frozenset[str] = field(default_factory=frozenset, repr=False)

    @functools.cached_property
    def runs_by_start(self) -> dict[str, set[str]]:
        """First MIN_RUN letters -> the runs that begin so, without their spaces."""
        by_start: dict[str, set[str]] = {}
        for run in self.runs:
            letters = run.replace(" ", "")
            by_start.setdefault(letters[:MIN_RUN], set()).add(letters)
        return by_start


def word_runs(texts: Iterable[str]) -> frozenset[str]:
    """Every run of MIN_RUN consecutive words of the texts, in small letters, one space between words."""
    words = (WORD.findall(view.text.casefold()) for text in texts for view in readings(text).spelled)
    return frozenset(
        " ".join(some[start : start + MIN_RUN]) for some in words for start in range(len(some) - MIN_RUN + 1)
    )


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
