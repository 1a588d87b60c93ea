"""What must not leave this machine, found in a text that is about to: keys, people, paths, and pieces of the training texts."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

MIN_RUN = 8  # words; shorter runs are everyday phrases
MIN_SECRET_CHARS = 8

PATTERNS = {
    "a Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{16,}"),
    "an Anthropic key": re.compile(r"\bsk-ant-[\w-]{10,}"),
    "an OpenAI key": re.compile(r"\bsk-(?!ant-)(?:proj-|svcacct-)?[A-Za-z0-9_-]{20,}"),
    "an Apify token": re.compile(r"\bapify_api_[A-Za-z0-9]{10,}"),
    "a RunPod key": re.compile(r"\brpa_[A-Za-z0-9]{10,}"),
    "a GitHub token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,})"),
    "an AWS key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    # W&B keys are 40 hex digits, as commits are: only the name beside them tells.
    "a Weights & Biases key": re.compile(r"\bwandb_v1_\w{20,}|wandb[\w\s\"':=-]{0,40}\b[0-9a-f]{40}\b", re.IGNORECASE),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY"),
    "an e-mail address": re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}"),
    "an @handle": re.compile(r"(?<![\w@＠./+-])[@＠][A-Za-z0-9_]{1,15}\b"),
    "a link to a post or profile": re.compile(r"(?<![\w.-])(?:(?:www\.|mobile\.|m\.)?(?:x|twitter)\.com|t\.co)/\w+", re.IGNORECASE),
    "a path in somebody's home": re.compile(r"(?<![\w.])/(?:(?:Users|home)/[^/\s\"']+|root/)|\b[A-Za-z]:(?:\\{1,2}|/)Users(?:\\{1,2}|/)"),
    "a path of this kind of machine": re.compile(r"(?<![\w.])/(?:workspace|tmp|private|var/folders|mnt|Volumes|content)/[\w.-]"),
}
# A tokenizer's vocabulary is a list of common pieces of text: "@media" is one, and nobody's handle.
COMMON = {name for name in PATTERNS if name.startswith(("an @", "an e-mail", "a link", "a path"))}


@dataclass(frozen=True)
class Leak:
    """Where something was found, and what kind of thing; never the thing itself."""

    file: str
    line: int
    kind: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.kind}"


@dataclass(frozen=True)
class Known:
    """What is secret here and now. runs: every run of MIN_RUN words of the training texts. secrets: keys and paths of this machine."""

    runs: frozenset[str] = field(default_factory=frozenset, repr=False)
    secrets: frozenset[str] = field(default_factory=frozenset, repr=False)


def word_runs(texts: Iterable[str]) -> frozenset[str]:
    """Every run of MIN_RUN consecutive words in any of the texts, in small letters, one space between words."""
    return frozenset(run for text in texts for run, _ in _runs(text))


def scan(file: str, text: str, known: Known) -> list[Leak]:
    """Everything in text that must not be published, in the order of the lines."""
    leaks = {(_line(text, match.start()), kind) for kind, match in _matches(file, text)}
    leaks |= {(_line(text, at), "a run of words from the training texts") for run, at in _runs(text) if run in known.runs}
    for secret in known.secrets:
        if len(secret) >= MIN_SECRET_CHARS and (at := text.find(secret)) >= 0:
            leaks.add((_line(text, at), "a key or folder of this machine"))
    return [Leak(file, line, kind) for line, kind in sorted(leaks)]


def _matches(file: str, text: str) -> Iterator[tuple[str, re.Match[str]]]:
    outside_vocabulary = _without_vocabulary(text) if file == "tokenizer.json" else None
    for kind, pattern in PATTERNS.items():
        for match in pattern.finditer(text):
            if outside_vocabulary is None or kind not in COMMON or match.group() in outside_vocabulary:
                yield kind, match


def _without_vocabulary(text: str) -> str:
    """tokenizer.json without the entries of its vocabulary; all of it where it is not such a file."""
    try:
        values = json.loads(text)
        model = {key: value for key, value in values["model"].items() if key not in ("vocab", "merges")}
        return json.dumps({**values, "model": model}, ensure_ascii=False)
    except (ValueError, KeyError, TypeError, AttributeError):
        return text


def _runs(text: str) -> Iterator[tuple[str, int]]:
    words = [(match.group(), match.start()) for match in re.finditer(r"\w+", text.casefold())]
    for start in range(len(words) - MIN_RUN + 1):
        yield " ".join(word for word, _ in words[start : start + MIN_RUN]), words[start][1]


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
