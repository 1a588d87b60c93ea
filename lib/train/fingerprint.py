"""Fingerprints of runs: which config and data a folder belongs to, by content and never by timestamp."""

import os
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import content_hash
from lib.base.seals import checked
from lib.base.settings import TrainConfig
from lib.model.adapters import sha256_of, whole_adapter
from lib.model.base_model import pinned, settled
from lib.model.tiny import tiny_hash
from lib.train.manifest import NOT_TRAINING, Manifest, Started, read_manifest

LATE = {
    "evals_after": 0.0,
    "max_evaluation_share": 1.0,
}  # keys that came later, with what runs were trained with before


def data_hashes(config: TrainConfig) -> dict[str, str]:
    """sha256 of the files that are trained and validated on."""
    folder = Path("data") / config.data / "processed"
    names = ("train", "val") if config.method == "sft" else ("train", "val", "preferences")
    for name in names:
        if not (folder / f"{name}.jsonl").is_file():
            raise UserError(
                f"{folder}/{name}.jsonl does not exist. Run `make data DATA={config.data}` first."
            )
    return {name: sha256_of(checked(folder / f"{name}.jsonl")) for name in names}


def fingerprint_of(config: TrainConfig) -> str:
    """Hash of all that decides the weights: settings, data, base model."""
    base = tiny_hash() if config.model == "tiny" else None
    start = [start_of(config).adapter_sha256] if config.init_adapter else []
    return content_hash(_deciding(config.model_dump(mode="json")), data_hashes(config), base, *start)


def _deciding(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that decide the weights.

    A key that came later is left out at its default, which is what runs from before it were trained with.
    """
    early = settings.get("early_stopping")
    if early and early.get("watch") == "loss":
        settings = {**settings, "early_stopping": {key: early[key] for key in early if key != "watch"}}
    late = {key for key, default in LATE.items() if settings.get(key) == default}
    return {key: value for key, value in settings.items() if key not in NOT_TRAINING | late}


def as_begun(run: str, config: TrainConfig) -> TrainConfig:
    """config with what it leaves open as the run, or the one that it starts from, has settled it."""
    folder = Path("adapters")
    return pinned(
        config, folder / run / "started.json", folder / (config.init_adapter or run) / "manifest.json"
    )


def start_of(config: TrainConfig) -> Manifest:
    """The manifest of the run that config.init_adapter names. Raises UserError if it is not finished."""
    path = Path("adapters") / str(config.init_adapter) / "manifest.json"
    if not path.is_file():
        raise UserError(
            f"init_adapter: {path.parent} holds no finished run (no manifest.json). "
            f"Run `make train RUN={config.init_adapter}` first, or copy its folder here."
        )
    return read_manifest(path)


def up_to_date(folder: Path, config: TrainConfig) -> bool:
    """True if the run is finished for exactly this config and data; its manifest is touched, for make.

    Raises UserError if the folder holds another run under this name. Needs no torch.
    """
    if not (folder / "manifest.json").is_file():
        return False
    refuse_another_run(folder, config)
    os.utime(folder / "manifest.json")
    return True


def refuse_another_run(folder: Path, config: TrainConfig) -> None:
    """Raise UserError if the folder holds a run of another config or other data, or a changed adapter."""
    advice = (
        f"Train under a new name (copy the config to configs/train-<name>.yaml), or move {folder} away to "
        "train it anew."
    )
    for record, name, what in (
        (Manifest, "manifest.json", "was trained"),
        (Started, "started.json", "was begun"),
    ):
        if not (folder / name).is_file():
            continue
        known = record.read(folder / name)
        if known.fingerprint != fingerprint_of(settled(config, known.config)):
            changed = changed_keys(known.config, config)
            raise UserError(
                f"{folder} {what} with {', '.join(changed) or 'other data'} different from now. {advice}"
            )
        if isinstance(known, Manifest):
            whole_adapter(folder / name)
            return


def changed_since(folder: Path, config: TrainConfig) -> str | None:
    """The line about a finished run that is used as it is: what has changed since; None where nothing has.

    config: the run's config as it is now.
    """
    if not (folder / "manifest.json").is_file():
        return None
    manifest = read_manifest(folder / "manifest.json")
    data = Path("data") / str(manifest.config.get("data") or config.data)
    changed = changed_keys(manifest.config, config) if manifest.config else []
    files = {name: data / "processed" / f"{name}.jsonl" for name in manifest.data_hashes}
    if any(not path.is_file() for path in files.values()):
        changed.append(f"{data} (not here any more)")
    elif any(sha256_of(path) != manifest.data_hashes[name] for name, path in files.items()):
        changed.append(f"{data} (other pairs)")
    if not changed:
        return None
    return f"{folder} is used as it was trained; changed since then: {', '.join(changed)}."


def changed_keys(before: dict[str, Any], config: TrainConfig) -> list[str]:
    """`learning_rate (0.001 -> 0.002)` for each setting that matters and differs."""
    before, now = _deciding(before), _deciding(settled(config, before).model_dump(mode="json"))
    return [f"{key} ({before.get(key)} -> {value})" for key, value in now.items() if before.get(key) != value]
