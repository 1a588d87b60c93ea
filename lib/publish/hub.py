"""The Hugging Face Hub: one private repository with exactly the files of dist/, and a receipt for it."""

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.publish.hub_answers import in_sentences

Files = dict[str, dict[str, Any]]  # path in the repository -> {bytes, sha256}
MADE_BY_THE_HUB = {".gitattributes"}
MAX_TRIES = 5


@dataclass(frozen=True)
class Remote:
    """The repository now. commit: of its main branch. sizes, hashes: where the Hub says them."""

    private: bool
    commit: str | None
    files: frozenset[str]
    sizes: dict[str, int]
    hashes: dict[str, str]


def check_repo_name(repo: str) -> None:
    """Raises UserError unless repo is user/name as the Hub takes it."""
    part = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
    if (
        not re.fullmatch(f"{part}/{part}", repo)
        or "--" in repo
        or ".." in repo
        or len(repo) > 96
        or repo.endswith(".git")
    ):
        raise UserError(
            f"--repo {repo}: expected <user>/<name> of letters, digits, `-`, `_` and `.`, such as "
            "ann/reply-8b."
        )


def hub_token() -> str:
    """HF_TOKEN. Raises UserError if it is not set."""
    token = os.environ.get("HF_TOKEN", "").strip()
    if not token:
        raise UserError(
            "HF_TOKEN is not set. Make a fine-grained token with write access at "
            "huggingface.co/settings/tokens and put it into .env (copy .env.example)."
        )
    return token


def endpoint() -> str:
    """Address of the Hub, or of what HF_ENDPOINT puts in its place."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def _settings(repo: str) -> str:
    return f"{endpoint()}/{repo}/settings"


def publish(
    dist: Path, files: Files, repo: str, public: bool, receipt: dict[str, Any] | None
) -> dict[str, Any]:
    """Make the repository hold files, tag it, read it back. receipt: the last one. Returns the new one.

    The receipt's `uploaded` is False if nothing had changed. Raises UserError, which says whether anything
    was sent.
    """
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint(), token=hub_token())
    with in_sentences(repo, endpoint()):
        api.create_repo(repo, visibility="public" if public else "private", exist_ok=True)
        before = _remote(api, repo)
        _refuse_unfit(before, repo, public, files)
        known = receipt if receipt and receipt["repo"] == repo and receipt["endpoint"] == endpoint() else None
        if known and known["files"] == files and known["commit"] == before.commit:
            return {**known, "private": before.private, "uploaded": False}
        info = api.upload_folder(
            repo_id=repo,
            folder_path=dist,
            allow_patterns=sorted(files),  # and dist holds nothing else; upload_folder would take a .env too
            # a commit made in between, or ours sent twice, is refused instead of overwritten
            parent_commit=before.commit,
            commit_message="Publish adapter",
        )
        uploaded = info.oid != before.commit  # the Hub makes no commit of what it holds already
        same = known and known["files"] == files and not uploaded
        tag = known["tag"] if known and same else _tag(api, repo, info.oid, known)
        after = _remote(api, repo)
    _check_read_back(after, repo, public, files)
    return {
        "repo": repo,
        "endpoint": endpoint(),
        "url": f"{endpoint()}/{repo}",
        "private": after.private,
        "commit": info.oid,
        "tag": tag,
        "files": files,
        "published_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "uploaded": uploaded,
    }


def _remote(api: Any, repo: str) -> Remote:
    info = api.repo_info(repo, files_metadata=True)
    siblings = info.siblings or []
    names = (
        [sibling.rfilename for sibling in siblings]
        if info.siblings is not None
        else api.list_repo_files(repo)
    )
    return Remote(
        private=info.private is True,
        commit=info.sha,
        files=frozenset(names),
        sizes={sibling.rfilename: sibling.size for sibling in siblings if sibling.size is not None},
        hashes={
            sibling.rfilename: sibling.lfs["sha256"]
            for sibling in siblings
            if sibling.lfs and sibling.lfs.get("sha256")
        },
    )


def _refuse_unfit(remote: Remote, repo: str, public: bool, files: Files) -> None:
    if not remote.private and not public:
        raise UserError(
            f"{repo} is public, and a private one was asked for. Make it private at {_settings(repo)}, "
            "choose another REPO=, or publish to everyone with PUBLIC=1 (--public). Nothing was uploaded."
        )
    if remote.private and public:  # else the person believes that everyone sees it
        raise UserError(
            f"{repo} is private, and a public one was asked for. Make it public at {_settings(repo)} "
            "(what it holds is shown to everyone then), choose another REPO=, or leave out PUBLIC=1 "
            "(--public). Nothing was uploaded."
        )
    foreign = sorted(remote.files - set(files) - MADE_BY_THE_HUB)
    if foreign:
        raise UserError(
            f"{repo} holds files that do not belong to this adapter: {', '.join(foreign[:5])}. "
            "Delete them there, or choose another --repo. Nothing was uploaded."
        )


def _tag(api: Any, repo: str, commit: str, receipt: dict[str, Any] | None) -> str:
    """v1, v2, ...: the one that the commit has already, else the next. Tags never move; a commit gets one.

    Without a receipt (the answer got lost, another machine published) the Hub's own list tells.
    """
    from huggingface_hub.errors import HfHubHTTPError

    for _ in range(MAX_TRIES):
        tags = {
            ref.name: ref.target_commit
            for ref in api.list_repo_refs(repo).tags
            if re.fullmatch(r"v[1-9]\d{0,8}", ref.name)
        }
        ours = [name for name, target in tags.items() if target == commit]
        if ours:
            return min(ours, key=_number)
        tag = f"v{max(map(_number, [*tags, *([receipt['tag']] if receipt else [])]), default=0) + 1}"
        try:
            api.create_tag(repo, tag=tag, revision=commit)
        except HfHubHTTPError as error:
            if (
                error.response.status_code != 409
            ):  # somebody, perhaps this very request sent again, made it meanwhile: look again
                raise
        else:
            return tag
    raise UserError(
        f"{repo}: somebody else tags it at the same time. The files are there. Run the same command again "
        "for their tag."
    )


def _number(tag: str) -> int:
    return int(tag[1:])


def _check_read_back(remote: Remote, repo: str, public: bool, files: Files) -> None:
    if not remote.private and not public:
        raise UserError(
            f"{repo} is public although a private one was asked for. Make it private at {_settings(repo)} "
            "at once."
        )
    odd = sorted(remote.files - MADE_BY_THE_HUB ^ set(files))
    odd += [name for name, size in remote.sizes.items() if name in files and size != files[name]["bytes"]]
    odd += [
        name for name, sha256 in remote.hashes.items() if name in files and sha256 != files[name]["sha256"]
    ]
    if odd:
        raise UserError(
            f"{repo}: read back, these files differ from dist: {', '.join(dict.fromkeys(odd))}. Run the same "
            "command again."
        )
