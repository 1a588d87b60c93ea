"""Seals: count and hash that a step leaves of every file it writes, and the check before one is believed.

A file without a seal (a user's own in raw/, or one that an earlier version wrote) is read as it is.
"""

import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from lib.base.errors import UserError
from lib.base.files import content_hash, jsonl_bytes, sync_folder, write_bytes, write_json

OUTDATED_S = 10**9  # the year 2001: older than every file of this project
OF_EVAL = {"replies.jsonl": "replies", "model_metrics.json": "replies", "judgments.jsonl": "judgments"}
OF_EVAL["candidates.jsonl"] = "replies"
OF_EVAL |= dict.fromkeys(("judgments.failed.jsonl", "calibration.jsonl", "calibration.json"), "judgments")


@dataclass(frozen=True)
class Place:
    """A file's place.

    manifest: holds its seal. target: the file that make builds again to mend it. advice: a sentence.
    """

    manifest: Path
    target: Path
    advice: str


def seal_of(content: bytes) -> dict[str, Any]:
    """{rows, sha256}: lines that are not blank, and the hash of the bytes."""
    return {"rows": sum(1 for line in content.split(b"\n") if line.strip()), "sha256": content_hash(content)}


def write_sealed(
    path: Path, records: Iterable[BaseModel | dict[str, Any]], target: Path | None = None
) -> None:
    """Write a JSON Lines file of interim/ and its seal.

    target: what make takes for the step's output, if that is another file.
    The seal goes first: killed between the two, the output is older than what it is made from, so make runs
    the step again.
    """
    content, manifest = jsonl_bytes(records), path.parent / "manifest.json"
    seal = seal_of(content) | {"target": os.path.relpath(target or path, path.parent)}
    files = _files(manifest) if manifest.is_file() else {}
    write_json(manifest, {"files": {**(files or {}), path.name: seal}})
    write_bytes(path, content)


def seal_file(path: Path) -> dict[str, Any]:
    """seal_of the bytes of a file that may be larger than the memory."""
    return {"rows": _rows(path), "sha256": content_hash(path)}


def seal_written(path: Path, target: Path) -> dict[str, Any]:
    """Put what was written as <name>.partial in its place, sealed like a file of write_sealed."""
    partial, manifest = path.with_name(path.name + ".partial"), path.parent / "manifest.json"
    seal = seal_file(partial)
    files = _files(manifest) if manifest.is_file() else {}
    entry = seal | {"target": os.path.relpath(target, path.parent)}
    write_json(manifest, {"files": {**(files or {}), path.name: entry}})
    partial.replace(path)
    sync_folder(path.parent)
    return seal


def checked(path: Path) -> Path:
    """The same path, once the file is known to be what its step wrote.

    Raises UserError that says what to run and what that costs.
    What mends it is made to look outdated: make compares times, and would not run a step whose output is new
    and damaged.
    """
    problem = damage(path)
    if problem:
        place = place_of(path)
        _look_outdated(place.target)
        raise UserError(f"{path} {problem}. {place.advice}")
    return path


def damage(path: Path) -> str:
    """Damage to a file, as the rest of a sentence; empty if it is whole, or if nothing is known of it."""
    manifest = place_of(path).manifest
    if not manifest.is_file():
        return ""
    files = _files(manifest)
    if files is None:
        return f"cannot be checked: {manifest} is damaged"
    seal = files.get(path.name)
    if seal is None:
        return ""
    if not path.is_file():
        return f"does not exist, and {manifest} knows it"
    rows, sha256 = seal.get("rows"), seal.get("sha256")
    if sha256 is None and (path.parent.parent.parent / "forgotten.json").is_file():
        return ""  # `forget` of an earlier version removed lines and left the count
    if sha256 is None or sha256 == content_hash(path):
        found = _rows(path) if sha256 is None else rows
        return "" if found == rows else _counted(path, rows)
    return _counted(path, rows)


def _counted(path: Path, rows: int | None) -> str:
    found = _rows(path)
    if path.suffix == ".jsonl" and rows is not None and rows != found:
        return f"holds {found:,} lines, and {rows:,} were written: it was cut or changed"
    return "was changed after it was written (another sha256)"


def _rows(path: Path) -> int:
    with path.open("rb") as handle:
        return sum(1 for line in handle if line.strip())


def manifest_in(path: Path) -> dict[str, Any] | None:
    """A manifest that may be damaged: None if it is, or is missing."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _files(manifest: Path) -> dict[str, dict[str, Any]] | None:
    """name -> seal. Also understands what earlier versions wrote. None if the manifest is damaged."""
    value = manifest_in(manifest)
    if value is None:
        return None
    if manifest.name.endswith(".meta.json"):
        rows = value.get("n_items")
        return (
            {_of_meta(manifest).name: {"rows": rows, "sha256": value.get("sha256")}}
            if isinstance(rows, int)
            else {}
        )
    older = dict(value["sha256"]) if isinstance(value.get("sha256"), dict) else {}
    if "replies_sha256" in value:
        older["replies.jsonl"] = value["replies_sha256"]
    files = value.get("files") if isinstance(value.get("files"), dict) else {}
    return {name: {"sha256": sha256} for name, sha256 in older.items()} | {
        k: v for k, v in files.items() if isinstance(v, dict)
    }


def seal_in(manifest: Path, name: str) -> dict[str, Any]:
    """The seal of a file in a manifest; empty if it has none."""
    return (_files(manifest) or {}).get(name, {})


def _of_meta(meta: Path) -> Path:
    return meta.with_name(meta.name.removesuffix(".meta.json") + ".jsonl")


def missing_raw(raw: Path) -> list[Path]:
    """Files whose .meta.json says that they were collected, and that are not there."""
    metas = [meta for meta in sorted(raw.glob("*.meta.json")) if _files(meta)]
    return [_of_meta(meta) for meta in metas if not _of_meta(meta).exists()]


def reseal(path: Path, content: bytes) -> None:
    """Make the seal of path that of its coming content, if path is whole: a damaged file is not blessed."""
    place = place_of(path)
    if not place.manifest.is_file() or damage(path):
        return
    files, value = _files(place.manifest) or {}, manifest_in(place.manifest) or {}
    if path.name not in files:
        return
    if place.manifest.name.endswith(".meta.json"):
        seal = seal_of(content)
        value |= {"n_items": seal["rows"], "sha256": seal["sha256"]}
    else:
        value["files"] = {**(value.get("files") or {}), path.name: files[path.name] | seal_of(content)}
    write_json(place.manifest, value)


def place_of(path: Path) -> Place:
    """The place of a file of data/<set>/, adapters/<run>/ or its eval/<eval>/: its seal, how it is mended.

    In another folder a file is taken for one of raw/: it has a seal if a .meta.json beside it says n_items.
    """
    folder = path.parent
    name = folder.parent.name
    if folder.name in ("interim", "processed"):
        return _of_data(path, name)
    if folder.name == "human":
        run = folder.parents[2].name
        again = f"`make human-eval RUN={run} IMPORT=...` with the answers writes it again, for free."
        return Place(folder / "manifest.json", path, again)
    if name == "adapters" and folder.name != "raw":
        return _of_run(path)
    return _of_eval(path) if path.name in OF_EVAL and folder.name != "raw" else _of_raw(path, name)


def _of_data(path: Path, name: str) -> Place:
    folder = path.parent
    again = f"`make data DATA={name}` builds it again, for free."
    if not (folder.parent / "raw").is_dir():
        again = f"Copy {folder} again from where it was built."
    if folder.name == "processed":
        return Place(folder / "manifest.json", folder / "manifest.json", again)
    target = seal_in(folder / "manifest.json", path.name).get("target", "pairs.jsonl")
    return Place(folder / "manifest.json", folder / str(target), again)


def _of_run(path: Path) -> Place:
    """No command trains again because of it, so the file itself stands for what is built anew."""
    run = path.parent
    without = f"delete {run} and train again: `make plan RUN={run.name}` says what that costs."
    if path.name == "metrics.jsonl":
        without = "delete it: only the curves are lost."
    advice = f"Copy it again from where it was trained, for free. Without a copy, {without}"
    return Place(run / "manifest.json", path, advice)


def _of_eval(path: Path) -> Place:
    folder = path.parent
    step = OF_EVAL[path.name]
    anew = "generated anew" if step == "replies" else "asked again, after a question where that costs money"
    advice = (
        f"`make eval RUN={folder.parent.parent.name} EVAL={folder.name}` writes it again from "
        f"{folder / 'work'}, for free; "
    )
    return Place(
        folder / f"{step}.manifest.json",
        folder / f"{step}.jsonl",
        f"{advice}only what is missing there too is {anew}.",
    )


def _of_raw(path: Path, name: str) -> Place:
    meta = path.with_suffix(".meta.json")
    own = f"If you changed it yourself, delete {meta}: then it is read as it is."
    run_id = (manifest_in(meta) or {}).get("run_id")
    if not run_id:
        return Place(meta, path.parent / "manifest.json", f"Copy it again from where it came. {own}")
    again = f"`make data DATA={name}` reads run {run_id} again, for free, as long as the provider keeps it."
    return Place(meta, path.parent / "manifest.json", f"{again} {own}")


def _look_outdated(target: Path) -> None:
    with contextlib.suppress(OSError):  # not there, or not ours to touch: make or the sentence will do
        os.utime(target, (OUTDATED_S, OUTDATED_S))
