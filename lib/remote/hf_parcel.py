"""The parcel of a Hugging Face job, there and back: a private dataset repository, removed afterwards."""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from lib.base.errors import UserError
from lib.remote.hf_calls import patiently, status_of
from lib.remote.seam import Clock, Job

T = TypeVar("T")

SEND_WAITS_S = (0, 5, 15, 30, 60)


class Parcels:
    """The repositories of one account's jobs."""

    def __init__(self, api: Any, namespace: str, clock: Clock) -> None:
        self.api, self.namespace, self.clock = api, namespace, clock

    def send(self, job: Job) -> str:
        """The repository, which holds job.parcel and is private by the Hub's own word."""
        repo, kind = f"{self.namespace}/{job.name}", {"repo_type": "dataset"}
        self._ask(lambda: self.api.create_repo(repo, **kind, private=True, exist_ok=True))
        if self._ask(lambda: self.api.repo_info(repo, **kind)).private is not True:
            self.remove(job.name)
            raise UserError(
                f"{repo} could not be made private, so nothing was sent. Look at your Hub account's settings."
            )
        self._ask(
            lambda: self.api.upload_file(
                path_or_fileobj=job.parcel, path_in_repo="parcel.tar.gz", repo_id=repo, **kind
            )
        )
        return repo

    def fetch(self, job: Job) -> None:
        """Bring results.json and results.tar into job.folder. Raises UserError if the job left none."""
        repo, options = f"{self.namespace}/{job.name}", {"local_dir": job.folder, "force_download": True}
        job.folder.mkdir(parents=True, exist_ok=True)
        for name in ("results.json", "results.tar"):
            get = partial(self.api.hf_hub_download, repo, name, repo_type="dataset", **options)
            try:
                patiently(self.clock, get, may_miss=True)
            except Exception as error:
                if status_of(error) != 404:
                    raise
                raise UserError(
                    f"{job.name} left no {name}: its job failed, or met its time-out; see above."
                ) from error

    def _ask(self, ask: Callable[[], T]) -> T:
        return patiently(self.clock, ask)

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
