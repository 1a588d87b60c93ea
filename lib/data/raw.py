"""Reads raw/ as it came: every line is a row or a reason why not, and no line stops the others."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from lib.base.errors import UserError
from lib.base.seals import checked, missing_raw
from lib.base.text_files import refuse_no_file
from lib.data.json_rows import ARCHIVED_TWEETS, read_json_rows
from lib.data.sources import BOM, RawFile, Row, collected_at
from lib.data.tables import read_table

TABLES = (".csv", ".tsv")
LINES = (".jsonl", ".ndjson", ".jsonlines", ".jl")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_BESIDE_ARCHIVE = ("account.js", "follower.js")  # read with the tweets.js beside them
_UNPACK = "it is packed, and `make forget` could take nothing out of it: `{}` it, then move it away"
_REASONS = {
    ".gz": _UNPACK.format("gunzip -k"),
    ".zip": _UNPACK.format("unzip") + " (of X's archive: tweets.js, account.js and follower.js)",
    **dict.fromkeys(
        (".bz2", ".xz", ".zst", ".7z", ".rar", ".tar", ".tgz"),
        "it is packed: unpack it, then move it away",
    ),
    **dict.fromkeys(
        (".xlsx", ".xls", ".xlsm", ".ods", ".numbers"),
        "a workbook: save it as CSV (UTF-8), its columns of ids formatted as text, or their last digits go",
    ),
    **dict.fromkeys(
        (".parquet", ".feather", ".arrow", ".pkl"), "a table of a program: write it as JSON Lines"
    ),
}


def raw_files(folder: Path, others: Iterable[str] = ()) -> list[RawFile]:
    """The item files of raw/ in the order of their names, then `collect.files`.

    Raises UserError if one of those is missing, or if a file that was collected is not the one that its
    .meta.json knows.
    """
    for path in missing_raw(folder):
        checked(path)
    inside = [path for path in _candidates(folder) if _why_not(path) is None]
    outside = [Path(name) for name in others]
    for path in outside:
        if not path.is_file():
            raise UserError(
                f"{path} does not exist. Correct collect.files in the data config; it is relative to the "
                "project's folder."
            )
        if reason := _why_not(path):
            raise UserError(f"{path} (collect.files) cannot be read: {reason}.")
    return [RawFile(checked(path), collected_at(path)) for path in (*inside, *outside)]


def ignored_files(folder: Path) -> list[str]:
    """A sentence for everything in raw/ that is not read: what it is, and what to do."""
    named = [(path, reason) for path in _candidates(folder) if (reason := _why_not(path))]
    return [f"{path} is not read: {reason}." for path, reason in named]


def _candidates(folder: Path) -> list[Path]:
    """All that users put into raw/: not what this project writes beside it, nor what systems hide there."""
    return [
        path
        for path in sorted(folder.glob("*"))
        if not path.name.startswith(".")
        and not path.name.endswith(".meta.json")
        and path.name not in ("manifest.json", *_BESIDE_ARCHIVE)
    ]


def _why_not(path: Path) -> str | None:
    """The reason why a file of raw/ is not read, or None. Raises UserError for a link to nothing."""
    if path.is_dir():
        return "it is a folder: move its files up into raw/"
    refuse_no_file(path, "Mend it, or move it away, then run this again.")
    suffix = path.suffix.lower()
    if suffix in (*TABLES, *LINES, ".json"):
        return None
    if suffix in _REASONS:
        return _REASONS[".tar" if ".tar" in path.suffixes else suffix]
    head = _head(path)
    if ARCHIVED_TWEETS.match(head) or (suffix in (".txt", "") and head.lstrip()[:1] in (b"{", b"[")):
        return None
    if suffix == ".js":
        return "of X's archive only tweets.js holds tweets, and account.js and follower.js say whose they are"
    if not head:
        return "it is empty"
    return "it is neither JSON nor a table: save it as .jsonl, .json or .csv"


def _head(path: Path) -> bytes:
    with path.open("rb") as handle:
        return handle.read(4096).removeprefix(BOM)


def read_raw(files: Iterable[RawFile]) -> Iterator[Row]:
    """Every item of every file, one at a time. Raises UserError for a table of unknown columns."""
    for file in files:
        head = _head(file.path)
        if head.startswith(_UTF16):
            yield file.bad(1, "not_utf8", "the file is UTF-16; save it as UTF-8")
        elif file.path.suffix.lower() in TABLES:
            yield from read_table(file)
        else:
            yield from read_json_rows(file, head)
