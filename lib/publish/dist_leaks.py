"""The last look at dist/ before it leaves: every file is read, whatever its encoding, or refused."""

import codecs
import json
import re
from pathlib import Path

import yaml

from lib.base.errors import UserError
from lib.publish.known import Known
from lib.publish.leaks import HEADER, Leak, scan
from lib.publish.weights_file import texts_in_weights

MAX_TEXT_BYTES = 64_000_000  # the largest tokenizer.json of a known model has 34 MB
MAX_SHOWN = 20
CODE = (
    ".py",
    ".css",
    ".js",
    ".html",
    ".txt",
)  # of this project: full of decorators and paths, which are nobody's
TEXTS = (".json", ".jinja", ".md", "LICENSE", *CODE)
BOMS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16's, which begins the same
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}
CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")  # in no text; archives and pictures are full of them
# What to do about a finding, by the file it is in.
SOURCES = {
    "README.md": "The card is made of the run's config, manifest and report: take it out there.",
    "eval/summary.json": "It is made of the evaluation's report.json: evaluate again with names that "
    "tell nothing.",
    "LICENSE": "Restore the project's own LICENSE.",
    "generation_config.json": "It is made of the eval config: take it out there.",
}
COPIED = "It is a copy of the run's own file: restore that from the base model, or train again."


def refuse_leaks(folder: Path, known: Known) -> None:
    """Raises UserError naming file, line and kind of all in the folder that is secret or cannot be read."""
    leaks: list[Leak] = []
    for path in sorted(folder.rglob("*")):
        refuse_link(path)
        if path.is_dir():
            continue
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".safetensors":
            leaks += weights_leaks(name, path, known)
        else:
            is_code = path.suffix in CODE
            leaks += [leak for text in _texts(path) for leak in scan(name, text, known, noise=is_code)]
    if leaks:
        found = list(dict.fromkeys(leaks))
        shown = [f"  {leak}" for leak in found[:MAX_SHOWN]]
        more = [f"  and {len(found) - MAX_SHOWN} more"] if len(found) > MAX_SHOWN else []
        advice = dict.fromkeys(f"{leak.file}: {SOURCES.get(leak.file, COPIED)}" for leak in found)
        raise UserError(
            "\n".join(
                [
                    (
                        f"Not published: these must not leave this machine. Remove them from {folder.parent} "
                        "first."
                    ),
                    *shown,
                    *more,
                    *advice,
                ]
            )
        )


def weights_leaks(name: str, path: Path, known: Known) -> list[Leak]:
    """Leaks in a safetensors file: in its header (metadata, names of tensors), legible among its numbers."""
    header, *runs = texts_in_weights(path)
    numbers = [leak for run in runs for leak in scan(f"{name} (numbers)", run, known, noise=True)]
    return [*scan(f"{name} {HEADER}", header, known), *numbers]


def refuse_link(path: Path) -> None:
    """Raises UserError for a link: what it leads to is not of this folder, and may change after the check."""
    if path.is_symlink() or (path.is_file() and path.stat().st_nlink > 1):
        raise UserError(f"{path} is a link. Only files of its own are published: put a copy in its place.")


def _texts(path: Path) -> list[str]:
    """The text of a file, and of the YAML values in it.

    Raises UserError for what cannot be read as what its name says.
    """
    if not path.name.endswith(TEXTS):
        raise UserError(
            f"{path} is of a kind that cannot be checked. Only {', '.join(TEXTS)} and the weights are "
            "published."
        )
    content = path.read_bytes()
    if len(content) > MAX_TEXT_BYTES:
        raise UserError(
            f"{path} has {len(content) / 1e6:.0f} MB, too much for a text. Copy or build it again."
        )
    encoding = next((name for bom, name in BOMS.items() if content.startswith(bom)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not text ({error.reason} at byte {error.start}), so it cannot be checked. Copy it "
            "again."
        ) from error
    if control := CONTROL.search(text):
        raise UserError(
            f"{path} holds the control character {control.group()!r}, so it is not the text it should be. "
            "Copy it again."
        )
    if path.suffix == ".json":
        _check_json(path, text)
    return [text, *(_front_matter(path, text) if path.suffix == ".md" else [])]


def _check_json(path: Path, text: str) -> None:
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path} is not valid JSON ({str(error)[:100]}), so it cannot be checked. Copy it again."
        ) from error


def _front_matter(path: Path, text: str) -> list[str]:
    """The values of a card's metadata: as YAML reads them, each on the line it begins on."""
    if not (match := re.match(r"---\r?\n(.*?)\r?\n---\s", text, re.DOTALL)):
        return []
    try:
        scalars = [event for event in yaml.parse(match[1]) if isinstance(event, yaml.ScalarEvent)]
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(
            f"{path}: its metadata is not valid YAML, so it cannot be checked. Publish again."
        ) from error
    return ["\n" * (event.start_mark.line + 1) + event.value for event in scalars]
