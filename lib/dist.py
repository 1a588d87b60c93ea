"""adapters/<run>/dist: the one folder that is ever uploaded. Built afresh from an allow-list, checked, then moved into place."""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from lib.card import model_card
from lib.errors import UserError
from lib.files import read_dicts, read_json, write_json, write_text
from lib.leaks import Known, scan, word_runs
from lib.seals import checked
from lib.settings import SamplingConfig, TrainConfig

ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
ALLOWED = frozenset({ADAPTER, ADAPTER_CONFIG, *TOKENIZER, "README.md", "LICENSE", "generation_config.json", "eval/summary.json"})

LORA_NAME = re.compile(r"base_model\.model\.(?:\w+\.)+lora_[AB]\.weight")
SIZES = {"F32": 4, "F16": 2, "BF16": 2}  # bytes a number
# What of report.json says nothing about any single tweet.
SUMMARY = ["n_prompts", "systems", "win_rate", "net_win", "wilcoxon_p", "mannwhitney_p", "cohens_d", "ci95", "mde"]
SUMMARY += ["judge", "metrics", "gate"]
SECRETS = ("HF_TOKEN", "ANTHROPIC_API_KEY", "APIFY_API_TOKEN", "RUNPOD_API_KEY", "WANDB_API_KEY", "OPENAI_API_KEY")


def build_dist(run: Path, config: TrainConfig, repo: str, sampling: SamplingConfig | None) -> Path:
    """Write run/dist and return it. Raises UserError naming file (and line) for whatever may not or cannot be published."""
    manifest = _manifest(run, config)
    report = _report(run, config, manifest)
    partial = run / "dist.partial"
    for path in (partial, run / "dist"):
        _refuse_link(path)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        shutil.copyfile(run / ADAPTER, partial / ADAPTER)
        adapter_config = _adapter_config(run / ADAPTER_CONFIG, config, manifest)
        header = check_adapter(partial / ADAPTER, manifest.get("adapter_sha256"), adapter_config["r"])
        write_json(partial / ADAPTER_CONFIG, adapter_config)
        _copy_tokenizer(run, partial)
        shutil.copyfile(_license(), partial / "LICENSE")
        write_text(partial / "README.md", model_card(repo, config, manifest, report))
        if report is not None and sampling is not None:
            write_json(partial / "generation_config.json", {"do_sample": sampling.temperature > 0, **sampling.model_dump(exclude={"seed"})})
        if report is not None:
            write_json(partial / "eval" / "summary.json", {key: _aggregates(report[key]) for key in SUMMARY if key in report})
        refuse_leaks(partial, header, _known(config))
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(run / "dist", ignore_errors=True)
    return partial.rename(run / "dist")


def _refuse_link(path: Path) -> None:
    """What is published is built here and replaced as a whole: through a link that would write and delete elsewhere."""
    if path.is_symlink():
        raise UserError(f"{path} is a link to {path.readlink()}. Delete the link, then publish again; it is built here.")
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is not a folder. Move it away, then publish again.")


def dist_files(dist: Path) -> dict[str, dict[str, Any]]:
    """{path in the repository: {bytes, sha256}}. Raises UserError for a file that is not on the allow-list."""
    paths = sorted(path for path in dist.rglob("*") if path.is_symlink() or not path.is_dir())
    files = {}
    for path in paths:
        name = path.relative_to(dist).as_posix()
        if name not in ALLOWED or path.is_symlink():
            raise UserError(f"{path} is not on the list of files that may be published. Delete it, then publish again.")
        files[name] = {"bytes": path.stat().st_size, "sha256": _sha256(path)}
    return files


def check_adapter(path: Path, sha256: str | None, rank: int) -> str:
    """Check that path is what training wrote: finite LoRA matrices of this rank, hash as in the manifest. Returns the header's metadata."""
    import numpy as np

    if sha256 is not None and _sha256(path) != sha256:
        raise UserError(f"{path.name} is not the file that training wrote (its sha256 differs from manifest.json). Train or copy it again.")
    content = np.memmap(path, dtype=np.uint8, mode="r") if path.stat().st_size else np.zeros(0, np.uint8)
    tensors, data = _tensors(path.name, content)
    metadata = tensors.pop("__metadata__", {})
    if not tensors:
        raise UserError(f"{path.name} holds no weights. Train or copy it again.")
    for name, tensor in tensors.items():
        _check_tensor(path.name, name, tensor, data, rank)
    return json.dumps(metadata, ensure_ascii=False)


def _tensors(file: str, content: Any) -> tuple[dict[str, Any], Any]:
    """The header and the bytes behind it. Format: 8 bytes length, JSON header, numbers (github.com/huggingface/safetensors)."""
    n_header = int.from_bytes(content[:8].tobytes(), "little")
    try:
        header = json.loads(content[8 : 8 + n_header].tobytes()) if 0 < n_header <= len(content) - 8 else None
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise UserError(f"{file} is not a whole safetensors file. Train or copy it again.")
    return header, content[8 + n_header :]


def _check_tensor(file: str, name: str, tensor: Any, data: Any, rank: int) -> None:
    import numpy as np

    if not LORA_NAME.fullmatch(name):
        raise UserError(f"{file} holds {name[:80]!r}, which is no LoRA matrix. Only those are published.")
    try:
        kind, shape, (start, end) = tensor["dtype"], tensor["shape"], tensor["data_offsets"]
        whole = end - start == SIZES[kind] * shape[0] * shape[1] and 0 <= start <= end <= len(data) and len(shape) == 2
    except (KeyError, TypeError, ValueError, IndexError):
        whole, shape, kind, start, end = False, [], "", 0, 0
    if not whole:
        raise UserError(f"{file}: {name} is damaged or not in F32, F16 or BF16. Train or copy it again.")
    if rank != shape[0 if "lora_A" in name else 1]:
        raise UserError(
            f"{file}: {name} has shape {shape}, {ADAPTER_CONFIG} says rank {rank}. They are of different runs; copy both again."
        )
    raw = data[start:end].tobytes()
    if kind == "BF16":
        finite = bool(((np.frombuffer(raw, "<u2") & 0x7F80) != 0x7F80).all())
    else:
        finite = bool(np.isfinite(np.frombuffer(raw, "<f4" if kind == "F32" else "<f2")).all())
    if not finite:
        raise UserError(f"{file}: {name} holds NaN or infinity: the training diverged. Lower the learning rate and train again.")


def refuse_leaks(folder: Path, header: str, known: Known) -> None:
    """Raises UserError naming file:line of everything in the folder's texts that must not be published."""
    leaks = scan(f"{ADAPTER} (header)", header, known)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != ADAPTER:
            leaks += scan(path.relative_to(folder).as_posix(), path.read_text(encoding="utf-8", errors="replace"), known)
    if leaks:
        shown = "\n".join(f"  {leak}" for leak in leaks[:20]) + (f"\n  and {len(leaks) - 20} more" if len(leaks) > 20 else "")
        raise UserError(f"Not published: these must not leave this machine. Remove them from {folder.parent} first.\n{shown}")


def _known(config: TrainConfig) -> Known:
    folder = Path("data") / config.data / "processed"
    rows = [row for path in sorted(folder.glob("*.jsonl")) for row in read_dicts(checked(path))]
    texts = [str(row[key]) for row in rows for key in ("tweet", "reply", "human_reply", "chosen", "rejected") if row.get(key)]
    if not texts:
        raise UserError(
            f"{folder} holds no texts, so nobody can tell whether the adapter's files repeat any. "
            f"Copy the folder back, or run `make data DATA={config.data}`."
        )
    here = {str(Path.cwd()), str(Path.home())} - {"/"}
    return Known(word_runs(texts), frozenset({os.environ[name] for name in SECRETS if os.environ.get(name)} | here))


def _manifest(run: Path, config: TrainConfig) -> dict[str, Any]:
    if not (run / ADAPTER).is_file():
        raise UserError(f"{run} has no trained adapter: run `make train RUN={run.name}`.")
    if not (run / "manifest.json").is_file():
        raise UserError(f"{run} has no manifest.json, so its training did not finish: run `make train RUN={run.name}`.")
    manifest = read_json(run / "manifest.json")
    if manifest.get("model", config.model) != config.model:
        raise UserError(f"{run} was trained on {manifest['model']}, its config now says {config.model}. Restore it, or train again.")
    return manifest


def _report(run: Path, config: TrainConfig, manifest: dict[str, Any]) -> dict[str, Any] | None:
    path = run / "eval" / config.eval / "report.json"
    if not path.is_file():
        return None
    report = read_json(path)
    judged = (report.get("hashes") or {}).get("adapter") or manifest.get("adapter_sha256")
    if judged != manifest.get("adapter_sha256"):
        raise UserError(f"{path} is about an older adapter than {run / ADAPTER}. Run `make eval RUN={run.name}`, or delete the report.")
    return report


def _adapter_config(path: Path, config: TrainConfig, manifest: dict[str, Any]) -> dict[str, Any]:
    """PEFT's own, with the base model's public name and revision instead of whatever folder it was loaded from."""
    values = read_json(path)
    odd = [key for key in ("use_dora", "use_rslora", "modules_to_save", "rank_pattern", "alpha_pattern", "lora_bias") if values.get(key)]
    if odd:
        raise UserError(f"{path}: {', '.join(odd)}: other engines read this differently or not at all. Train without it.")
    if not isinstance(values.get("r"), int):
        raise UserError(f"{path}: r, the rank, is missing. Train or copy it again.")
    revision = config.revision or manifest.get("revision")
    return {**values, "base_model_name_or_path": config.model, "revision": revision, "auto_mapping": None, "inference_mode": True}


def _copy_tokenizer(run: Path, dist: Path) -> None:
    for name in TOKENIZER:
        if not (run / name).is_file():
            raise UserError(f"{run / name} does not exist. Copy it back from where the training ran, or run `make train RUN={run.name}`.")
        shutil.copyfile(run / name, dist / name)
    settings = read_json(dist / "tokenizer_config.json")
    # Where the tokenizer was loaded from is a folder on this machine.
    write_json(
        dist / "tokenizer_config.json",
        {key: value for key, value in settings.items() if key not in ("name_or_path", "cache_dir", "local_files_only", "is_local")},
    )


def _license() -> Path:
    path = Path("LICENSE")
    if not path.is_file():
        raise UserError("LICENSE does not exist in this folder. Publish from the project's top folder.")
    return path


def _aggregates(value: Any) -> Any:
    """value without sentences and lists of texts: numbers, flags and short names stay."""
    if isinstance(value, dict):
        return {key: _aggregates(inner) for key, inner in value.items() if _is_aggregate(inner)}
    if isinstance(value, list):
        return [_aggregates(inner) for inner in value if _is_aggregate(inner)]
    return value


def _is_aggregate(value: Any) -> bool:
    return not isinstance(value, str) or bool(re.fullmatch(r"[\w.:/-]{1,60}", value))


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
