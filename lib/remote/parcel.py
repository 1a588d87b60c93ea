"""Parcels between home and a rented machine: project and data go out, a run comes back, every file checked.

tar instead of rsync: macOS brings its own, older rsync, Hugging Face Jobs have none, and a parcel of a few
megabytes needs no delta.
"""

import hashlib
import os
import re
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import IO, Any

from lib.base.errors import UserError
from lib.base.files import read_json, write_bytes, write_json

# What a copy without git (a downloaded zip) consists of.
HOUSE = (
    "Makefile",
    "README.md",
    "requirements*",
    "configs/**/*",
    "lib/**/*",
    "scripts/**/*",
    "demo/**/*",
    "data/sample/raw/*",
)
NEVER = re.compile(r"(^|/)(\.env[^/]*|\.git|\.venv|__pycache__|.*\.pyc)(/|$)")
NOT_RESULTS = {
    "checkpoints",
    "remote",
    "dist",
    "ledger.jsonl",
    ".lock",
}  # of a run's folder: they stay where they are
ADAPTER = ("manifest.json", "adapter_*", "tokenizer*", "chat_template*", "special_tokens_map.json")
MAX_FILE_BYTES = 4 * 2**30


def pack_project(root: Path, out: Path, data: str, adapters: Iterable[str] = ()) -> int:
    """Write tracked files, configs, processed data and these runs' adapters. Returns their number.

    No raw data but the bundled sample, no ledger, no `.env`, no other run.
    """
    processed = root / "data" / data / "processed"
    if not (processed / "train.jsonl").is_file():
        raise UserError(f"{processed}/train.jsonl does not exist. Run `make data DATA={data}` first.")
    files = {
        *project_files(root),
        *(path.relative_to(root) for path in processed.iterdir() if path.is_file()),
    }
    for run in adapters:
        folder = root / "adapters" / run
        sealed = (
            read_json(folder / "manifest.json").get("files", {})
            if (folder / "manifest.json").is_file()
            else {}
        )
        found = (path for pattern in (*ADAPTER, *sealed) for path in folder.glob(pattern))
        files |= {path.relative_to(root) for path in found}
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    with tarfile.open(partial, "w:gz", compresslevel=6) as tar:
        for path in sorted(files):
            tar.add(root / path, arcname=str(path), recursive=False, filter=_nobody)
    partial.replace(out)
    return len(files)


def project_files(root: Path) -> list[Path]:
    """Files of the project below root, relative: the tracked ones and all configs; without git, HOUSE."""
    try:
        listed = subprocess.run(
            ["git", "-C", str(root), "ls-files", "-z", "--full-name", "."], capture_output=True, check=True
        )
        top = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "--show-toplevel"],
            capture_output=True,
            check=True,
            text=True,
        )
        is_top = Path(top.stdout.strip()).resolve() == root.resolve()
    except (OSError, subprocess.CalledProcessError):
        is_top = False
    if is_top:
        found = {Path(os.fsdecode(name)) for name in listed.stdout.split(b"\0") if name}
        found |= {
            path.relative_to(root) for path in (root / "configs").glob("*.yaml")
        }  # a run of one's own need not be committed
    else:
        found = {path.relative_to(root) for pattern in HOUSE for path in root.glob(pattern)}
    return sorted(
        path
        for path in found
        if (root / path).is_file() and not NEVER.search(path.as_posix()) and _may_leave(path)
    )


def _may_leave(path: Path) -> bool:
    """Of data/ only the bundled sample's raw items, of adapters/ nothing: what is needed is added by name."""
    return path.parts[0] not in ("data", "adapters") or path.parts[:3] == ("data", "sample", "raw")


def _nobody(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


def pack_results(folder: Path, out: Path, exit_code: int) -> None:
    """On the machine: what the run in folder made as out (results.tar), and results.json with every hash."""
    files = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
    files = {name: path for name, path in files.items() if _is_result(PurePosixPath(name))}
    with tarfile.open(out, "w") as tar:
        for name, path in files.items():
            tar.add(path, arcname=name, recursive=False, filter=_nobody)
    hashes = {name: _sha256(path) for name, path in files.items()}
    write_json(
        out.with_name("results.json"),
        {"exit": exit_code, "bytes": out.stat().st_size, "sha256": _sha256(out), "files": hashes},
    )


def _is_result(path: PurePosixPath) -> bool:
    is_inside = not path.is_absolute() and ".." not in path.parts
    return is_inside and not set(path.parts) & NOT_RESULTS and not path.name.endswith((".lock", ".partial"))


def is_whole(folder: Path) -> bool:
    """True if results.tar is what results.json says."""
    tar = folder / "results.tar"
    return tar.is_file() and _sha256(tar) == listing(folder)["sha256"]


def listing(folder: Path) -> dict[str, Any]:
    """results.json of folder. Raises UserError if it is not one: a rented machine wrote it."""
    found = read_json(folder / "results.json")
    fits = (
        isinstance(found, dict)
        and isinstance(found.get("files"), dict)
        and isinstance(found.get("sha256"), str)
    )
    if not fits or not isinstance(found.get("exit"), int) or not isinstance(found.get("bytes"), int):
        raise UserError(
            f"{folder / 'results.json'}: not a list of results. The machine's log says what went wrong there."
        )
    return found


def unpack_results(parcel: Path, folder: Path) -> list[str]:
    """At home: put what came in parcel/ into the run's folder, every file checked first. Returns their names.

    manifest.json comes last: where it is, everything is.
    Raises UserError for a file that is not what the machine said, or that has no business in a run's folder.
    """
    hashes, path = listing(parcel)["files"], parcel / "results.tar"
    try:
        with tarfile.open(path) as tar:
            members = {member.name: member for member in tar.getmembers()}
            if set(members) != set(hashes):
                raise UserError(f"{path}: holds other files than its list. Nothing was taken over.")
            for name, member in members.items():
                if (
                    not member.isfile()
                    or not _is_result(PurePosixPath(name))
                    or not 0 <= member.size < MAX_FILE_BYTES
                ):
                    raise UserError(
                        f"{path}: {name!r} has no business in a run's folder. Nothing was taken over."
                    )
                if _sha256_of(_content(tar, member)) != hashes[name]:
                    raise UserError(f"{path}: {name} is damaged. Nothing was taken over.")
            for name in sorted(hashes, key=lambda name: (name == "manifest.json", name)):
                write_bytes(folder / name, _content(tar, members[name]).read())
    except tarfile.TarError as error:
        raise UserError(f"{path}: not a parcel ({error}). Nothing was taken over.") from error
    return list(hashes)


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return _sha256_of(handle)


def _sha256_of(handle: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := handle.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    handle = tar.extractfile(member)
    assert handle is not None, "a regular file"
    return handle
