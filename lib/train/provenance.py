"""With what a run was made: package versions, the commit of this checkout, the machine's GPU."""

import importlib.metadata
import os
import subprocess
from pathlib import Path
from typing import Any

COMMIT = "REPLIES_COMMIT"  # the environment variable that tells a copy without .git its commit
PACKAGES = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "bitsandbytes",
    "datasets",
    "unsloth",
    "unsloth_zoo",
    "mlx",
    "mlx-lm",
)


def environment() -> dict[str, Any]:
    """{gpu, versions, git_commit}; gpu and git_commit are None where there is none."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"gpu": gpu, "versions": versions(), "git_commit": git_commit()}


def versions() -> dict[str, str]:
    """Package -> version, of those that are installed."""
    installed = {}
    for package in PACKAGES:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def git_commit() -> str | None:
    """The commit of the code that ran; None where nothing tells it: a copy without .git, or no git."""
    if given := os.environ.get(COMMIT):
        return given
    root = Path(__file__).resolve().parents[2]
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
