"""The run's own files as they are published: without folders of this machine, never through a link."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import lock, read_json, write_json
from lib.base.seals import checked
from lib.base.settings import TrainConfig
from lib.publish.dist_leaks import refuse_link
from lib.train.manifest import Manifest

ADAPTER_CONFIG = "adapter_config.json"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


@contextmanager
def built_afresh(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, which takes the place of this one if nothing fails; else nothing has changed.

    Raises UserError for a link or a file: the folder is replaced as a whole, through a link elsewhere.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    with lock(folder.with_name("publish.lock")):
        for path in (partial, folder):
            if path.is_symlink():
                raise UserError(
                    f"{path} is a link to {path.readlink()}. Delete the link, then run the same command "
                    "again; it is built here."
                )
            if path.exists() and not path.is_dir():
                raise UserError(f"{path} is not a folder. Move it away, then run the same command again.")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            yield partial
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)


def copied(source: Path, target: Path) -> None:
    """Copy a file. Raises UserError for a link."""
    refuse_link(source)
    shutil.copyfile(source, target)


def public_adapter_config(path: Path, config: TrainConfig, manifest: Manifest) -> dict[str, Any]:
    """PEFT's own, with the base model's public name and revision instead of a folder of this machine."""
    values = read_json(path)
    odd = [
        key
        for key in ("use_dora", "use_rslora", "modules_to_save", "rank_pattern", "alpha_pattern", "lora_bias")
        if values.get(key)
    ]
    if odd:
        raise UserError(
            f"{path}: {', '.join(odd)}: other engines read this differently or not at all. Train without it."
        )
    if not isinstance(values.get("r"), int):
        raise UserError(f"{path}: r, the rank, is missing. Train or copy it again.")
    revision = config.revision or manifest.revision
    named = {
        "base_model_name_or_path": config.model,
        "revision": revision,
        "auto_mapping": None,
        "inference_mode": True,
    }
    targets = values.get("target_modules")
    return {**values, **named, "target_modules": sorted(targets) if isinstance(targets, list) else targets}


def copy_tokenizer(run: Path, dist: Path) -> None:
    """Copy the tokenizer's files. Raises UserError for one that is missing, changed or a link."""
    for name in TOKENIZER:
        if not (run / name).is_file():
            raise UserError(
                f"{run / name} does not exist. Copy it back from where the training ran, or run `make train "
                f"RUN={run.name}`."
            )
        copied(checked(run / name), dist / name)
    settings = read_json(dist / "tokenizer_config.json")
    # Where the tokenizer was loaded from is a folder on this machine.
    write_json(
        dist / "tokenizer_config.json",
        {
            key: value
            for key, value in settings.items()
            if key not in ("name_or_path", "cache_dir", "local_files_only", "is_local")
        },
    )


def licence() -> Path:
    """The project's own LICENSE. Raises UserError where this folder has none."""
    path = Path("LICENSE")
    if not path.is_file():
        raise UserError("LICENSE does not exist in this folder. Publish from the project's top folder.")
    return path
