"""What a Hugging Face job is given and gives back: a private dataset repository, removed afterwards."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lib.errors import UserError
from lib.remote.seam import Clock, Job

SEND_WAITS_S = (0, 5, 15, 30, 60)


class Parcels:
    """The repositories of one account's jobs."""

    def __init__(self, api: Any, namespace: str, clock: Clock) -> None:
        self.api, self.namespace, self.clock = api, namespace, clock

    def send(self, job: Job) -> str:
        """The repository, which holds job.parcel and is private by the Hub's own word."""
        repo = f"{self.namespace}/{job.name}"
        with sentences():
            self.api.create_repo(repo, repo_type="dataset", private=True, exist_ok=True)
            if self.api.repo_info(repo, repo_type="dataset").private is not True:
                self.api.delete_repo(repo, repo_type="dataset", missing_ok=True)
                raise UserError(
                    f"{repo} could not be made private, so nothing was sent. Check your account's settings "
                    "on the Hub."
                )
            self.api.upload_file(
                path_or_fileobj=job.parcel, path_in_repo="parcel.tar.gz", repo_id=repo, repo_type="dataset"
            )
        return repo

    def fetch(self, job: Job) -> None:
        """Bring results.json and results.tar into job.folder. Raises UserError if the job left none."""
        repo = f"{self.namespace}/{job.name}"
        job.folder.mkdir(parents=True, exist_ok=True)
        for name in ("results.json", "results.tar"):
            with sentences():
                try:
                    self.api.hf_hub_download(
                        repo, name, repo_type="dataset", local_dir=job.folder, force_download=True
                    )
                except Exception as error:
                    if status_of(error) == 404:
                        raise UserError(
                            f"{job.name} left no {name}: its job failed, or met its time-out. Read the lines "
                            "above."
                        ) from error
                    raise

    def remove(self, name: str) -> None:
        """Raises UserError if the repository is not gone: it holds tweets."""
        repo = f"{self.namespace}/{name}"
        for wait_s in SEND_WAITS_S:
            self.clock.sleep(wait_s)
            try:
                self.api.delete_repo(repo, repo_type="dataset", missing_ok=True)
                return
            except Exception as error:  # of the network or the Hub: tried again
                if status_of(error) == 404:
                    return
        raise UserError(
            f"{repo} (private) could not be removed. Run `make rented END=1`, or delete it in its settings "
            "on the Hub."
        )


def send_results(tar: Path, repo: str) -> None:
    """On the job's machine: results.tar, then results.json. What is not sent is lost with the machine."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=os.environ.get("HF_TOKEN"))
    for path in (tar, tar.with_name("results.json")):
        for wait_s in (*SEND_WAITS_S[1:], None):
            try:
                api.upload_file(
                    path_or_fileobj=path, path_in_repo=path.name, repo_id=repo, repo_type="dataset"
                )
                break
            except Exception:
                if wait_s is None:
                    raise
                time.sleep(wait_s)


def status_of(error: BaseException) -> int | None:
    """The HTTP status of an error of huggingface_hub, None where there was no answer."""
    return getattr(getattr(error, "response", None), "status_code", None)


@contextlib.contextmanager
def sentences() -> Iterator[None]:
    """What the Hub or the network refuses, as a UserError."""
    import httpx
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except HfHubHTTPError as error:
        status = status_of(error)
        if status in (401, 403):
            raise UserError(
                f"Hugging Face refuses HF_TOKEN ({status}). It needs write access; make one at "
                "huggingface.co/settings/tokens."
            ) from error
        reason = str(error).strip().splitlines() or [""]
        raise UserError(
            f"Hugging Face answers {status}: {reason[-1][:200]}. Run the same command again."
        ) from error
    except (httpx.HTTPError, OSError) as error:
        raise UserError(
            f"Hugging Face does not answer ({type(error).__name__}). Run the same command again."
        ) from error
