"""The manifests that the steps of an evaluation leave for the next one, as records.

Those of earlier versions are read as well.
"""

from pathlib import Path
from typing import Any

from lib.base.files import read_json
from lib.base.schema import Record
from lib.evaluate.report import Account, Canaries, parsed


class RepliesManifest(Record):
    """replies.manifest.json: what replies.jsonl was made from, its seal, and counts per system."""

    fingerprint: str = ""
    files: dict[str, dict[str, Any]] = {}
    n: dict[str, int] = {}
    n_empty: dict[str, int] = {}
    leaks: dict[str, int] = {}
    created_at: str | None = None
    replies_sha256: str | None = None  # of earlier versions


class JudgmentsManifest(Record):
    """judgments.manifest.json: what was asked, the seals of the files, and what came of it."""

    fingerprint: str = ""
    files: dict[str, dict[str, Any]] = {}
    kind: str | None = None
    model: str | None = None
    n_judgments: int = 0
    n_failed: int = 0
    n_open: int = 0
    n_calibration_pairs: int = 0
    calibration: str = ""
    created_at: str | None = None
    canaries: Canaries | None = None
    account: Account | None = None
    sha256: dict[str, str] = {}  # of earlier versions


class ModelMetrics(Record):
    """model_metrics.json: perplexity of the real replies, token losses on general texts; None where only a
    server answers. reply_losses: (sum in nats, tokens) of every real reply; None in earlier versions.
    """

    fingerprint: str = ""
    engine: str | None = None
    quantization: str | None = None
    perplexity: dict[str, float | int] | None = None
    reply_losses: dict[str, list[list[float]]] | None = None
    forgetting: dict[str, Any] | None = None
    reason: str | None = None


def read_replies_manifest(folder: Path) -> RepliesManifest:
    """Of adapters/<run>/eval/<eval>. Raises UserError where it is missing or damaged."""
    path = folder / "replies.manifest.json"
    return parsed(read_json(path), RepliesManifest, str(path))


def read_judgments_manifest(folder: Path) -> JudgmentsManifest:
    """Of adapters/<run>/eval/<eval>. Raises UserError where it is missing or damaged."""
    path = folder / "judgments.manifest.json"
    return parsed(read_json(path), JudgmentsManifest, str(path))


def read_model_metrics(path: Path) -> ModelMetrics:
    """Raises UserError where it is missing or damaged."""
    return parsed(read_json(path), ModelMetrics, str(path))
