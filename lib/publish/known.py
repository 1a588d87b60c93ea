"""The secrets of here: this machine's keys and folders, the data's texts, authors and ids."""

import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib.base.credentials import known_secrets
from lib.base.errors import UserError
from lib.base.files import read_dicts
from lib.base.seals import checked
from lib.model.qwen3 import qwen3_template
from lib.publish.views import readings
from lib.train.manifest import trained_texts

MIN_RUN = 8  # words; shorter runs are everyday phrases
MIN_HANDLE_CHARS = 4  # as a bare word; X gives out no shorter ones, and old ones read like abbreviations
WORD = re.compile(r"[^\W_]+")
TEXT_FIELDS = ("tweet", "reply", "human_reply", "chosen", "rejected", "original")


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


def known_of(data: Path, run: Path, repo: str) -> Known:
    """The secrets of this machine, of the run and of the data set in `data`.

    Pairs that a review or a newer config has taken out since the training count: they stand in interim/, in
    review/, and in the run's own record of its texts. repo: its words are public by choice.
    """
    folder = data / "processed"
    rows = [row for path in sorted(folder.glob("*.jsonl")) for row in read_dicts(checked(path))]
    if not any(row.get(key) for row in rows for key in TEXT_FIELDS):
        raise UserError(
            f"{folder} holds no texts, so nobody can tell whether the adapter's files repeat any. "
            f"Copy the folder back, or run `make data DATA={data.name}`."
        )
    earlier = [path for part in ("interim", "review") for path in sorted((data / part).glob("*.jsonl"))]
    rows += [row for path in earlier for row in read_dicts(checked(path), torn_tail="review" in path.parts)]
    rows += [{"id": one.id, "reply": one.text, "reply_author": one.author} for one in trained_texts(run)]
    named = list(_named(rows))
    texts = {value for key, value in named if key in TEXT_FIELDS and isinstance(value, str)}
    handles = {
        str(value).strip().lstrip("@").casefold().strip("_")
        for key, value in named
        if key.endswith("_author") and value
    }
    ordinary = {word.casefold().strip("_") for word in [*_public_words(), *re.findall(r"\w+", repo)]}
    here = {str(Path.cwd()), str(Path.home())} - {"/"}
    return Known(
        runs=word_runs(texts),
        secrets=known_secrets() | here,
        handles=frozenset(
            name
            for name in handles - ordinary
            if len(name) >= MIN_HANDLE_CHARS and not re.fullmatch(r"\d{1,7}", name)
        ),
        ids=frozenset(str(value) for key, value in named if key == "id" or key.endswith("_id")),
    )


def _named(rows: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """Every (key, value) of the rows and of what they hold: a rejection holds its pair."""
    for row in rows:
        for key, value in row.items():
            yield key, value
            if isinstance(value, dict):
                yield from _named([value])


@functools.cache
def _public_words() -> frozenset[str]:
    """Words of this project, its licence and Qwen3's template: no handles, even where an author bears one."""
    from jinja2 import defaults

    own = [path.read_text(encoding="utf-8") for path in Path(__file__).parents[1].rglob("*.py")]
    licence = Path(__file__).parents[2] / "LICENSE"
    texts = [*own, licence.read_text(encoding="utf-8") if licence.is_file() else "", qwen3_template()]
    jinja = [
        defaults.DEFAULT_FILTERS,
        defaults.DEFAULT_TESTS,
        defaults.DEFAULT_NAMESPACE,
        dir(str),
        dir(list),
        dir(dict),
    ]
    return frozenset(
        [word for text in texts for word in re.findall(r"\w+", text)]
        + [word for words in jinja for word in words]
    )
