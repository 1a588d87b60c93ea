"""adapters/<run>/dist: the one folder that is ever uploaded.

Built afresh from an allow-list, checked, then moved into place.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import write_json, write_text
from lib.base.seals import checked
from lib.base.settings import SamplingConfig, TrainConfig
from lib.evaluate.report import Report, read_report
from lib.model.adapters import ADAPTER_FILE, sha256_of
from lib.publish.card import TINY, model_card
from lib.publish.dist_leaks import refuse_leaks
from lib.publish.known import known_of
from lib.publish.permit import is_of, objection_to, refuse_unless_forced
from lib.publish.run_files import (
    ADAPTER_CONFIG,
    TOKENIZER,
    built_afresh,
    copied,
    copy_tokenizer,
    licence,
    public_adapter_config,
)
from lib.publish.weights_file import check_weights
from lib.train.manifest import Manifest, read_manifest

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


@dataclass(frozen=True)
class Publication:
    """A run on its way to a repository. sampling: what it was evaluated with. is_forced: evidence or not.

    engines: the card's commands for other engines than transformers, in Markdown.
    """

    run: Path
    config: TrainConfig
    repo: str
    sampling: SamplingConfig
    engines: str = ""
    is_forced: bool = False


def build_dist(published: Publication) -> Path:
    """Write the run's dist/ and return it.

    Raises UserError naming file (and line) for whatever may not or cannot be published.
    """
    run, config = published.run, published.config
    manifest = _manifest(run, config)
    refuse_local_base(config.model)
    report = _report(run, config.eval)
    sha256 = sha256_of(run / ADAPTER_FILE)
    objection = objection_to(report, sha256, run.name)
    refuse_unless_forced(objection, published.is_forced)
    if report is not None and not is_of(report, sha256):
        report = None  # its numbers are not this adapter's
    with built_afresh(run / "dist") as folder:
        _fill(folder, published, manifest, report)
        said = objection.said if objection else ""
        card = model_card(
            published.repo, config, manifest, report, published.sampling, published.engines, said
        )
        write_text(folder / "README.md", card)
        refuse_leaks(folder, known_of(Path("data") / config.data, run, published.repo))
    return run / "dist"


def refuse_local_base(model: str) -> None:
    """Raises UserError unless others know the base model by its name: one of the Hub's, or the tiny one."""
    if model != TINY and (not HUB_ID.fullmatch(model) or ".." in model or Path(model).exists()):
        raise UserError(
            f"model: {model} is no model on the Hub but a folder of this machine, and card and adapter would "
            "name it. Set `model:` in the run's config to the name that others know it by (such as "
            "Qwen/Qwen3-8B), and train on that."
        )


def _fill(dist: Path, published: Publication, manifest: Manifest, report: Report | None) -> None:
    """Everything but the card."""
    run, config = published.run, published.config
    copied(run / ADAPTER_FILE, dist / ADAPTER_FILE)
    adapter_config = public_adapter_config(checked(run / ADAPTER_CONFIG), config, manifest)
    check_weights(dist / ADAPTER_FILE, manifest.adapter_sha256, adapter_config["r"])
    write_json(dist / ADAPTER_CONFIG, adapter_config)
    copy_tokenizer(run, dist)
    copied(licence(), dist / "LICENSE")
    if report is not None:
        sampling = published.sampling
        write_json(
            dist / "generation_config.json",
            {"do_sample": sampling.temperature > 0, **sampling.model_dump(exclude={"seed"})},
        )
        said = report.as_written()
        summary = {key: _aggregates(said[key]) for key in SUMMARY if key in said}
        write_json(dist / "eval" / "summary.json", summary)


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


def listing(folder: Path, files: dict[str, dict[str, Any]]) -> str:
    """The files with their sizes, as a table for the terminal."""
    total = sum(file["bytes"] for file in files.values())
    rows = [f"  {name:<28} {_size(file['bytes']):>10}" for name, file in files.items()]
    return "\n".join([f"{folder}: {len(files)} files, {_size(total)}, no leak found", *rows])


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 1e6 else f"{n_bytes / 1e3:.1f} kB"


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


def _report(run: Path, evaluation: str) -> Report | None:
    path = run / "eval" / evaluation / "report.json"
    return read_report(path) if path.is_file() else None


def _aggregates(value: Any) -> Any:
    """value without sentences and lists of texts: numbers, flags and short names stay."""
    if isinstance(value, dict):
        return {key: _aggregates(inner) for key, inner in value.items() if _is_aggregate(inner)}
    if isinstance(value, list):
        return [_aggregates(inner) for inner in value if _is_aggregate(inner)]
    return value


def _is_aggregate(value: Any) -> bool:
    return not isinstance(value, str) or bool(re.fullmatch(r"[\w.:/-]{1,60}", value))
