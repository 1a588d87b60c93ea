"""adapters/<run>/dist: the one folder that is ever uploaded.

Built afresh from an allow-list, checked, then moved into place.
"""

import re
import shutil
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import lock, read_json, write_json, write_text
from lib.base.seals import checked
from lib.base.settings import SamplingConfig, TrainConfig
from lib.evaluate.report import Report, read_report
from lib.model.adapters import ADAPTER_FILE, sha256_of
from lib.publish.card import TINY, model_card
from lib.publish.dist_leaks import refuse_leaks, refuse_link
from lib.publish.known import known_of
from lib.publish.weights_file import check_weights
from lib.train.manifest import Manifest, read_manifest

ADAPTER_CONFIG = "adapter_config.json"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
ALLOWED = frozenset(
    {
        ADAPTER_FILE,
        ADAPTER_CONFIG,
        *TOKENIZER,
        "README.md",
        "LICENSE",
        "generation_config.json",
        "eval/summary.json",
    }
)

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# What of report.json says nothing about any single tweet.
SUMMARY = [
    "n_prompts",
    "systems",
    "win_rate",
    "net_win",
    "wilcoxon_p",
    "mannwhitney_p",
    "cohens_d",
    "ci95",
    "mde",
]
SUMMARY += ["judge", "metrics", "gate"]


def build_dist(run: Path, config: TrainConfig, repo: str, sampling: SamplingConfig | None) -> Path:
    """Write run/dist and return it.

    Raises UserError naming file (and line) for whatever may not or cannot be published.
    """
    manifest = _manifest(run, config)
    refuse_local_base(config.model)
    report = _report(run, config, manifest)
    partial, dist = run / "dist.partial", run / "dist"
    with lock(run / "publish.lock"):
        for folder in (partial, dist):
            _refuse_link(folder)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            _fill(partial, run, config, repo, sampling, manifest, report)
            refuse_leaks(partial, known_of(Path("data") / config.data, run, repo))
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        shutil.rmtree(dist, ignore_errors=True)
        return partial.rename(dist)


def refuse_local_base(model: str) -> None:
    """Raises UserError unless others know the base model by its name: one of the Hub's, or the tiny one."""
    if model != TINY and (not HUB_ID.fullmatch(model) or ".." in model or Path(model).exists()):
        raise UserError(
            f"model: {model} is no model on the Hub but a folder of this machine, and card and adapter would "
            "name it. Set `model:` in the run's config to the name that others know it by (such as "
            "Qwen/Qwen3-8B), and train on that."
        )


def _fill(
    dist: Path,
    run: Path,
    config: TrainConfig,
    repo: str,
    sampling: SamplingConfig | None,
    manifest: Manifest,
    report: Report | None,
) -> None:
    _copy(run / ADAPTER_FILE, dist / ADAPTER_FILE)
    adapter_config = _adapter_config(checked(run / ADAPTER_CONFIG), config, manifest)
    check_weights(dist / ADAPTER_FILE, manifest.adapter_sha256, adapter_config["r"])
    write_json(dist / ADAPTER_CONFIG, adapter_config)
    _copy_tokenizer(run, dist)
    _copy(_license(), dist / "LICENSE")
    write_text(dist / "README.md", model_card(repo, config, manifest, report))
    if report is not None and sampling is not None:
        write_json(
            dist / "generation_config.json",
            {"do_sample": sampling.temperature > 0, **sampling.model_dump(exclude={"seed"})},
        )
    if report is not None:
        said = report.as_written()
        summary = {key: _aggregates(said[key]) for key in SUMMARY if key in said}
        write_json(dist / "eval" / "summary.json", summary)


def _copy(source: Path, target: Path) -> None:
    refuse_link(source)
    shutil.copyfile(source, target)


def _refuse_link(path: Path) -> None:
    """Raises UserError for a link or a file: dist is replaced as a whole, through a link elsewhere."""
    if path.is_symlink():
        raise UserError(
            f"{path} is a link to {path.readlink()}. Delete the link, then publish again; it is built here."
        )
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is not a folder. Move it away, then publish again.")


def dist_files(dist: Path) -> dict[str, dict[str, Any]]:
    """{path in the repository: {bytes, sha256}}.

    Raises UserError for a file that is not on the allow-list.
    """
    paths = sorted(path for path in dist.rglob("*") if path.is_symlink() or not path.is_dir())
    files = {}
    for path in paths:
        name = path.relative_to(dist).as_posix()
        if name not in ALLOWED or path.is_symlink():
            raise UserError(
                f"{path} is not on the list of files that may be published. Delete it, then publish again."
            )
        files[name] = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
    return files


def _manifest(run: Path, config: TrainConfig) -> Manifest:
    if not (run / ADAPTER_FILE).is_file():
        raise UserError(f"{run} holds no finished run. Run `make train RUN={run.name}` first.")
    if not (run / "manifest.json").is_file():
        raise UserError(
            f"{run} has no manifest.json, so its training did not finish: run `make train RUN={run.name}`."
        )
    manifest = read_manifest(run / "manifest.json")
    if manifest.model not in (None, config.model):
        raise UserError(
            f"{run} was trained on {manifest.model}, its config now says {config.model}. Restore it, or "
            "train again."
        )
    return manifest


def _report(run: Path, config: TrainConfig, manifest: Manifest) -> Report | None:
    path = run / "eval" / config.eval / "report.json"
    if not path.is_file():
        return None
    report = read_report(path)
    if (report.hashes.get("adapter") or manifest.adapter_sha256) != manifest.adapter_sha256:
        raise UserError(
            f"{path} is about an older adapter than {run / ADAPTER_FILE}. Run `make eval RUN={run.name}`, or "
            "delete the report."
        )
    return report


def _adapter_config(path: Path, config: TrainConfig, manifest: Manifest) -> dict[str, Any]:
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


def _copy_tokenizer(run: Path, dist: Path) -> None:
    for name in TOKENIZER:
        if not (run / name).is_file():
            raise UserError(
                f"{run / name} does not exist. Copy it back from where the training ran, or run `make train "
                f"RUN={run.name}`."
            )
        _copy(checked(run / name), dist / name)
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
