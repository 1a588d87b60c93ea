"""The manifest of a finished run, and the note of a begun one: what later steps know of a training.

Their JSON carries a version. The files of runs made before it had one are still read: what they lack is None,
or empty.
"""

import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import ValidationError

from lib.base.errors import UserError
from lib.base.files import read_json, write_json
from lib.base.schema import Record

VERSION = 1


class Sample(Record):
    """A reply to a fixed validation tweet, written while the run trained."""

    step: int
    epoch: int
    tweet_id: str
    reply: str


class Memorisation(Record):
    """Shares of n answers that repeat `words` or more words of a training reply; None: none was written."""

    words: int
    n: int
    base: float | None
    tuned: float | None


class BeforeAfter(Record):
    """A number of the validation pairs before the first step and at the best one; None: not measured."""

    before: float | None
    after: float | None


class Versioned(Record):
    """A record that is one JSON file. Another version of it is upgraded or refused, never guessed."""

    version: Literal[1] = VERSION

    @classmethod
    def of_older(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The values of a file without a version, as this one has them."""
        known = {name: values[name] for name in cls.model_fields if name in values}
        return {name: None for name, field in cls.model_fields.items() if field.is_required()} | known

    @classmethod
    def read(cls, path: Path) -> Self:
        """The record in path.

        Raises UserError naming the field that is missing or wrong, or the newer version.
        """
        values = read_json(path)
        if not isinstance(values, dict):
            raise UserError(f"{path}: expected a JSON object. Copy the file again from where it was written.")
        version = values.get("version")
        if version is not None and version != VERSION:
            raise UserError(
                f"{path} has version {version!r}, and this code reads version {VERSION}. Update the code "
                "(`git pull`)."
            )
        try:
            return cls.model_validate_json(json.dumps(cls.of_older(values) if version is None else values))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or cls.__name__
            raise UserError(
                f"{path}: {field}: {first['msg']}. Copy the file again from where it was written."
            ) from error

    def write(self, path: Path) -> None:
        """Replace path as a whole; fields that were never set are left out."""
        write_json(path, {"version": self.version, **self.model_dump(mode="json", exclude_unset=True)})


class Started(Versioned):
    """started.json: what a run was begun with."""

    fingerprint: str | None  # None in the files of the first runs
    config: dict[str, Any]  # TrainConfig as it was; its keys change with the versions
    revision: str | None

    @classmethod
    def of_older(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Without a config the run has an empty one."""
        return super().of_older({"config": {}, **values})


class Manifest(Versioned):
    """manifest.json, written last: what a finished run was made of, how it went and what it is.

    None: not measured, not there (no GPU, no git), or not known to the version that wrote it.
    """

    run: str | None
    config: dict[str, Any]  # TrainConfig as it was; its keys change with the versions
    backend: str | None
    backend_reason: str | None
    model: str | None
    base_model: str | None
    revision: str | None  # commit of the base model
    adapter_sha256: str | None
    data_hashes: dict[str, str]
    n_train: int | None
    n_val: int | None
    steps: int | None
    best_step: int | None
    train_loss: float | None
    eval_loss: float | None
    eval_losses: list[tuple[int, float]]  # (step, validation loss); step 0 is the base model
    train_eval_gap: float | None
    perplexity: float | None
    memorisation: Memorisation | None
    method: str | None
    init_adapter: str | None = None  # from here to reward_accuracy: dpo and kto only
    init_adapter_sha256: str | None = None
    n_preferences: int | None = None
    n_contradictory_replies: int | None = None
    reward_margin: BeforeAfter | None = None
    reward_accuracy: BeforeAfter | None = None
    alerts: list[str]
    micro_batch: int | None
    gradient_checkpointing: bool | None
    seconds: float | None
    minutes: float | None
    processes: int | None
    usd: float | None
    seed: int | None
    device: str | None
    gpu: str | None
    versions: dict[str, str]
    git_commit: str | None
    fingerprint: str | None
    created_at: str | None
    samples: list[Sample]

    @classmethod
    def of_older(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Lists and tables that an older manifest lacks are empty."""
        empty = {
            "config": {},
            "data_hashes": {},
            "eval_losses": [],
            "alerts": [],
            "versions": {},
            "samples": [],
        }
        return super().of_older(empty | values)


def read_manifest(path: Path) -> Manifest:
    """The manifest of a finished run, also of one made before manifests had a version. Raises UserError."""
    return Manifest.read(path)


def training_usd(root: Path) -> dict[str, float]:
    """Run -> what its training cost, of the finished runs below root that say it."""
    paths = sorted(root.glob("adapters/*/manifest.json"))
    found = {path.parent.name: read_manifest(path).usd for path in paths}
    return {run: usd for run, usd in found.items() if usd is not None}
