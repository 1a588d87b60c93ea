"""Rows of raw/ -> the shards of their conversations, and what only a whole file shows of itself."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable

from lib.base.errors import UserError
from lib.base.files import read_json, write_json
from lib.base.schema import Pair
from lib.data.fields import BadItem
from lib.data.forget import Forgotten
from lib.data.items import Post
from lib.data.own_pairs import extra_fields
from lib.data.pairs import Joined, read_row
from lib.data.raw import read_raw
from lib.data.rounding import Columns, note_ids, rounded_in
from lib.data.sources import RawFile, Row
from lib.scale.shards import Router, Work


def refuse_namesakes(files: tuple[RawFile, ...]) -> None:
    """Raise UserError if two files have one name: a row says by it where it came from."""
    names = Counter(file.path.name for file in files)
    if twice := [name for name, n in names.items() if n > 1]:
        raise UserError(
            f"two files are named {twice[0]}, and ENGINE=datatrove tells files by their names. Rename the "
            "one that collect.files names, or leave ENGINE out."
        )


def scatter(work: Work, task: int) -> None:
    """The rows of one file to the shards of their conversations: a reply meets its tweet there."""
    is_forgotten = forgotten(work).holds
    columns: Columns = defaultdict(set)
    ignored: dict[str, None] = {}
    unknown, is_known = None, False
    with Router(work, "rows", task) as out:
        for row in read_raw([work.files[task]]):
            problem = [row.problem.reason, row.problem.detail] if row.problem else None
            collected_at = row.collected_at.isoformat()
            value = {"where": row.where, "collected_at": collected_at, "value": row.value, "problem": problem}
            read = usable(row, is_forgotten)
            out.add(conversation_of(row, read), value)
            if isinstance(read, BadItem) and read.reason == "unknown_shape":
                unknown = unknown or read.detail
                continue
            is_known = True
            if not isinstance(read, BadItem):
                note_ids(columns, read, _short)
            if isinstance(read, Pair):
                ignored |= dict.fromkeys(extra_fields(row.value))
    facts = {
        "name": work.files[task].path.name,
        "ignored": list(ignored),
        "rounded": rounded_in(columns),
        "unknown": None if is_known else unknown,
    }
    write_json(work.folder / "files" / f"{task:05d}.json", facts)


def forgotten(work: Work) -> Forgotten:
    """The list of what is never collected again."""
    return Forgotten.load(work.root / "data" / "forgotten.json")


def usable(row: Row, is_forgotten: Callable[..., bool]) -> Post | Pair | BadItem:
    """The content of a row, or why it cannot be used."""
    try:
        return read_row(row, is_forgotten)
    except BadItem as bad:
        return bad


def conversation_of(row: Row, read: Post | Pair | BadItem) -> str:
    """The conversation that a row belongs to; its place in raw/ where it cannot be used anyway."""
    if isinstance(read, BadItem):
        return row.where
    return read.tweet_id if isinstance(read, Pair) else read.conversation or read.parent or read.id


def _short(text: str) -> str:
    """A stand-in for a text: those of a whole file would take much memory."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def refuse_unknown_files(work: Work) -> None:
    """Raise UserError for a file of which no row has a known shape."""
    for path in sorted((work.folder / "files").glob("*.json")):
        if (facts := read_json(path))["unknown"]:
            raise UserError(f"raw/{facts['name']}: {facts['unknown']}.")


def of_files(work: Work) -> Joined:
    """The ignored fields and the rounded ids of all files; no rows."""
    joined = Joined()
    for path in sorted((work.folder / "files").glob("*.json")):
        facts = read_json(path)
        joined.rounded |= facts["rounded"]
        joined.ignored_fields |= {facts["name"]: facts["ignored"]} if facts["ignored"] else {}
    return joined
