"""The variants of a sweep, trained one after another: none twice, none that the budget may not cover."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.base.config import MAX_CHARS, load_config
from lib.base.costs import budget_usd
from lib.base.errors import UserError
from lib.base.files import lock, read_dicts, read_json, write_json, write_text
from lib.base.seals import checked
from lib.base.settings import TrainConfig
from lib.base.text_files import read_text
from lib.model.shapes import KNOWN, shape_of
from lib.train.fingerprint import up_to_date
from lib.train.gpus import OFFERS, minutes
from lib.train.manifest import read_manifest
from lib.train.plan import row_tokens
from lib.train.rows import read_splits
from lib.train.schedule import cannot_fire, schedule
from lib.train.variants import (
    Changes,
    SweepConfig,
    changes_of,
    config_text,
    note,
    quality,
    ranked,
    refuse_foreign,
    run_name,
)

LOADING_MINUTES = 4.0  # weights from disk, quantised: paid for too, before the first step
SMALL_MICRO_BATCH = 4
STOPPED = 143  # 128 + SIGTERM

# Trains the run of this name; its exit code and the last line it said.
Train = Callable[[str], tuple[int, str]]


@dataclass(frozen=True)
class Planned:
    run: str
    changes: Changes
    config: TrainConfig

    @property
    def folder(self) -> Path:
        return Path("adapters") / self.run


def sweep(name: str, config: SweepConfig, train: Train) -> dict[str, Any]:
    """Train what is not finished; write adapters/sweep-<name>.json after every run. Returns what it holds.

    Killed anywhere, the same command goes on: a run's own folder says how far it is. Raises UserError before
    anything is trained if a variant cannot work.
    """
    path = Path("adapters") / f"sweep-{name}.json"
    limit_usd = budget_usd(config.max_usd, os.environ.get("MAX_USD"))
    with lock(Path("adapters") / f".sweep-{name}" / ".lock"):
        planned = plan(name, config)
        known = {one["run"]: one for one in read_json(path)["variants"]} if path.is_file() else {}
        results = {one.run: _result(one, known.get(one.run, {})) for one in planned}
        for one in planned:
            if results[one.run]["state"] == "finished":
                continue
            spent, expected = sum(result["usd"] for result in results.values()), expected_usd(one, planned)
            if spent + expected > limit_usd:
                reason = (
                    f"${spent:.2f} are spent and this one may cost ${expected:.2f}, which passes max_usd "
                    f"${limit_usd:.2f}"
                )
                results[one.run] |= {"state": "not run", "reason": reason}
                continue
            start = time.monotonic()
            code, said = train(one.run)
            usd = results[one.run]["usd"] + (time.monotonic() - start) / 3600 * one.config.usd_per_hour
            results[one.run] = _result(one, {"usd": usd, "failed": said if code else None})
            write_json(path, _summary(name, config, limit_usd, list(results.values())))
            if code == STOPPED:
                raise UserError(
                    "The sweep was stopped after a checkpoint. Run the same command to go on from there."
                )
        found = _summary(name, config, limit_usd, list(results.values()))
        write_json(path, found)
    return found


def plan(name: str, config: SweepConfig) -> list[Planned]:
    """Write configs/train-<run>.yaml of every variant. Raises UserError if one cannot be trained."""
    base = Path("configs") / f"train-{config.base}.yaml"
    load_config(base, TrainConfig)
    planned, problems = [], []
    for changes in changes_of(config):
        run = run_name(name, changes)
        path = Path("configs") / f"train-{run}.yaml"
        refuse_foreign(path, name)
        text = config_text(name, config.base, changes)
        if not path.is_file() or read_text(path, MAX_CHARS) != text:  # an unchanged file stays old, for make
            write_text(path, text)
        planned.append(Planned(run, changes, load_config(path, TrainConfig)))
    n_rows = len(read_splits(planned[0].config)["train"])
    for one in planned:
        problem = (
            cannot_fire(one.config, schedule(one.config, n_rows)) if one.config.method == "sft" else None
        )
        problems += [f"{one.run}: {problem}"] if problem else []
    if problems:
        raise UserError("\n".join(problems))
    return planned


def expected_usd(one: Planned, planned: Sequence[Planned]) -> float:
    """Cautious cost of a variant, from the finished ones' seconds a step, or else as `make plan` reckons."""
    splits = read_splits(one.config)
    steps = schedule(one.config, len(splits["train"])).steps
    done = [
        read_manifest(other.folder / "manifest.json")
        for other in planned
        if (other.folder / "manifest.json").is_file()
    ]
    if done:
        training = max(manifest.seconds / manifest.steps for manifest in done) * steps / 60
    else:
        _, gpu, _ = min(OFFERS, key=lambda offer: abs(offer[2] - one.config.usd_per_hour))
        n_tokens = (
            sum(prompt + reply for prompt, reply in row_tokens(one.config, splits["train"], None))
            * one.config.epochs
            * 1.5
        )
        shape = (
            shape_of(one.config) or KNOWN["Qwen/Qwen3-32B"]
        )  # of unknown size: rather too dear than too cheap
        n_batches = steps * one.config.effective_batch / SMALL_MICRO_BATCH
        training = minutes(gpu, shape, n_tokens, n_batches, checkpointing=False)[1]
    return (training + LOADING_MINUTES) / 60 * one.config.usd_per_hour


def _result(one: Planned, known: dict[str, Any]) -> dict[str, Any]:
    """A variant so far: {run, changes, state, reason, usd}, and once it is finished its numbers."""
    result = {
        "run": one.run,
        "changes": one.changes,
        "state": "open",
        "reason": "not trained yet",
        "usd": known.get("usd", 0.0),
    }
    if known.get("failed"):
        result |= {"state": "failed", "reason": known["failed"]}
    try:
        finished = up_to_date(one.folder, one.config)
    except UserError as error:
        return {**result, "state": "failed", "reason": str(error)}
    if not finished:
        metrics = one.folder / "metrics.jsonl"
        lines = read_dicts(metrics, torn_tail=True) if metrics.is_file() else []
        begun_usd = lines[-1]["seconds"] / 3600 * one.config.usd_per_hour if lines else 0.0
        return {**result, "usd": round(max(result["usd"], begun_usd), 4)}
    manifest = read_manifest(one.folder / "manifest.json")
    numbers = {"eval_loss", "train_loss", "train_eval_gap", "best_step", "steps", "seconds", "alerts"}
    answers = read_json(checked(one.folder / "validation.json"))["replies"]
    replies, of_base = ([answer[arm] for answer in answers] for arm in ("tuned", "base"))
    return {
        **result,
        "state": "finished",
        "reason": "",
        "usd": round(max(result["usd"], manifest.usd), 4),
        **manifest.model_dump(include=numbers),
        "quality": quality(replies, of_base, manifest.memorisation.tuned),
    }


def _summary(
    name: str, config: SweepConfig, limit_usd: float, variants: list[dict[str, Any]]
) -> dict[str, Any]:
    best = ranked(variants)
    return {
        "sweep": name,
        "base": config.base,
        "ranked_by": "eval_loss, collapsed last",
        "best": best[0]["run"] if best[0]["state"] == "finished" else None,
        "usd": round(sum(one["usd"] for one in variants), 4),
        "max_usd": limit_usd,
        "note": note(variants) if best[0]["state"] == "finished" else None,
        "variants": best,
    }


def train_apart(run: str) -> tuple[int, str]:
    """`python -m scripts.train` in a process of its own, whose memory is free afterwards.

    What it says is passed on.
    """
    command = [sys.executable, "-m", "scripts.train", "--config", f"configs/train-{run}.yaml"]
    print(f"sweep: {run}", file=sys.stderr, flush=True)
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=sys.stderr, text=True, errors="replace"
    ) as child:
        before = signal.signal(signal.SIGTERM, lambda *_: child.terminate())
        said = ""
        try:
            for line in child.stderr or ():
                print(line, end="", file=sys.stderr, flush=True)
                said = line.strip() or said
        finally:
            signal.signal(signal.SIGTERM, before)
    return child.returncode, said.removeprefix("error: ")
