"""adapters/<run>/export/<format>: built beside, moved into place whole, manifest.json written last."""

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from lib.base.errors import UserError
from lib.base.files import content_hash, lock, sync_folder, write_text
from lib.base.schema import Record
from lib.base.settings import SamplingConfig
from lib.export.base_weights import fetch_weights, weights_here
from lib.export.gguf_file import write_adapter, write_base
from lib.export.lora import Lora
from lib.export.merged import TOKENIZER, write_merged
from lib.export.mlx_file import write_mlx
from lib.export.ollama import TAGS, answer_begins, modelfile
from lib.model.adapters import sha256_of
from lib.model.base_model import load_tokenizer
from lib.train.manifest import Versioned

Format = Literal["gguf", "mlx", "merged", "base"]
DTYPES = {"gguf": ("f16", "f32"), "mlx": ("f16", "f32"), "merged": ("bf16", "f16"), "base": ("f32", "f16")}
RECIPE = 1  # goes up when the same adapter is to be written differently


class File(Record):
    bytes: int
    sha256: str


class Exported(Versioned):
    """manifest.json of an export: of which adapter, how, and every file beside it."""

    run: str
    format: Format
    dtype: str
    model: str
    revision: str | None
    architecture: str
    rank: int
    alpha: float
    adapter_sha256: str
    fingerprint: str
    files: dict[str, File]
    created_at: str


def export_folder(run: Path, kind: Format) -> Path:
    """Where an export lies."""
    return run / "export" / kind


def export(
    lora: Lora, kind: Format, dtype: str | None, sampling: SamplingConfig, confirm: Callable[[str], None]
) -> tuple[Exported, bool]:
    """(the export's manifest, whether it was written now: one of the same adapter, whole, is left as it is).

    dtype: None is the first of DTYPES. confirm: asked before a download.
    Raises UserError for what cannot be exported.
    """
    dtype = dtype or DTYPES[kind][0]
    if dtype not in DTYPES[kind]:
        raise UserError(f"DTYPE={dtype}: FORMAT={kind} is written as {' or '.join(DTYPES[kind])}.")
    folder = export_folder(lora.run, kind)
    fingerprint = _fingerprint(lora, kind, dtype, sampling)
    with lock(folder.with_name(f"{kind}.lock")):
        done = _done(folder, fingerprint)
        if done is not None:
            return done, False
        partial = folder.with_name(f"{kind}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            _fill(partial, lora, kind, dtype, sampling, confirm)
            exported = Exported(
                run=lora.run.name,
                format=kind,
                dtype=dtype,
                model=lora.config.model,
                revision=lora.config.revision,
                architecture=lora.architecture,
                rank=lora.rank,
                alpha=lora.alpha,
                adapter_sha256=lora.sha256,
                fingerprint=fingerprint,
                files=_files(partial),
                created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            )
            exported.write(partial / "manifest.json")
            _into_place(partial, folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    return exported, True


def _fingerprint(lora: Lora, kind: Format, dtype: str, sampling: SamplingConfig) -> str:
    tokenizer = [lora.run / name for name in TOKENIZER if (lora.run / name).is_file()]
    shape = {key: value for key, value in lora.shape.to_dict().items() if key != "_name_or_path"}
    of_base = [lora.config.model, lora.config.revision, shape]
    if kind == "base":
        return content_hash(RECIPE, kind, dtype, of_base)
    chosen = sampling.model_dump() if kind != "mlx" else None
    return content_hash(RECIPE, kind, dtype, of_base, lora.sha256, lora.rank, lora.alpha, chosen, *tokenizer)


def _done(folder: Path, fingerprint: str) -> Exported | None:
    """The manifest of a whole export of the same things, or None: then it is written again, at no cost."""
    try:
        done = Exported.read(folder / "manifest.json")
    except UserError:
        return None
    if done.fingerprint != fingerprint or not all((folder / name).is_file() for name in done.files):
        return None
    return done if done.files == _files(folder) else None


def _files(folder: Path) -> dict[str, File]:
    paths = sorted(path for path in folder.iterdir() if path.name != "manifest.json")
    return {path.name: File(bytes=path.stat().st_size, sha256=sha256_of(path)) for path in paths}


def _into_place(partial: Path, folder: Path) -> None:
    """Between the two renames a crash leaves no export, never half of one."""
    for path in partial.iterdir():
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
    old = folder.with_name(f"{folder.name}.old.partial")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _fill(
    folder: Path,
    lora: Lora,
    kind: Format,
    dtype: str,
    sampling: SamplingConfig,
    confirm: Callable[[str], None],
) -> None:
    if kind == "mlx":
        write_mlx(lora, folder, dtype)
    elif kind == "merged":
        write_merged(lora, fetch_weights(lora.config, confirm), folder, dtype, sampling)
    elif kind == "base":
        source = weights_here(lora.config)
        if source is None:
            raise UserError(
                f"The weights of {lora.config.model} are not on this machine; a GGUF of it is published."
            )
        write_base(lora, source, folder / f"base-{dtype}.gguf", dtype)
    else:
        adapter = f"adapter-{dtype}.gguf"
        write_adapter(lora, folder / adapter, dtype)
        suffix = answer_begins(load_tokenizer(lora.config))
        if (
            suffix is not None
        ):  # another kind of chat: llama.cpp reads its template from the base model's file
            base = TAGS.get(lora.config.model, "./base.gguf")
            write_text(folder / "Modelfile", modelfile(f"./{adapter}", base, suffix, sampling))
            write_text(folder / "Modelfile.base", modelfile(None, base, suffix, sampling))
