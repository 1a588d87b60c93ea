"""A run trained with MLX on a CPU, whose wheel lies in .venv/engines, apart from the project's packages."""

import subprocess
import sys
from pathlib import Path

import pytest

from lib.base.files import read_dicts, read_json
from tests.engines import SITE, environment
from tests.training_data import CONFIG

NOT_HERE = "no MLX in .venv/engines: .ci/run installs tests/engines.txt there"
needs_mlx = pytest.mark.skipif(not (SITE / "mlx_lm").is_dir(), reason=NOT_HERE)
# Without dropout two backends draw no random numbers that could differ.
SETTINGS = (
    CONFIG.replace("dropout: 0.1", "dropout: 0")
    .replace("epochs: 3", "epochs: 1")
    .replace("evals_per_run: 5", "evals_per_run: 3")
    .replace("patience: 3", "patience: 2")
    .replace("backend: peft", "backend: mlx")
)


def start(run, settings, first=""):
    """The process that trains adapters/<run> with these settings, a YAML text, after the Python of first."""
    Path(f"configs/train-{run}.yaml").write_text(settings)
    script = f"{first}\nfrom lib.base.console import run\nfrom scripts.train import main\nrun(main)"
    command = [sys.executable, "-c", script, "--config", f"configs/train-{run}.yaml"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment(), **pipes)


def finished(run, settings, first=""):
    """(manifest, lines of metrics.jsonl, all that was printed) of adapters/<run>."""
    process = start(run, settings, first)
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors[-3000:]
    folder = Path("adapters") / run
    return read_json(folder / "manifest.json"), read_dicts(folder / "metrics.jsonl"), output + errors
