"""The end of a run: the best checkpoint's adapter, the curves, and the manifest, which is written last."""

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lib.base.course import training_advice
from lib.base.files import read_dicts, read_jsonl, write_bytes, write_text
from lib.base.seals import seal_file
from lib.base.settings import TrainConfig
from lib.model.adapters import ADAPTER_FILE, sha256_of
from lib.train.checkpoints import best_steps, eval_losses, keep_best, watched
from lib.train.curves import alerts_of, base_loss, curves, perplexity, train_eval_gap, train_loss
from lib.train.distributed import n_processes
from lib.train.fingerprint import data_hashes, fingerprint_of
from lib.train.job import Job
from lib.train.manifest import Manifest, Sample
from lib.train.metrics_log import evaluation_share
from lib.train.preference_tuning import preference_fields
from lib.train.provenance import environment
from lib.train.tracking import Tracker
from lib.train.validation import answered_validation, memorisation


def finish(job: Job, history: list[dict[str, Any]], tracker: Tracker) -> Manifest:
    """Copy the best checkpoint's adapter out, draw the curves, write the manifest last."""
    ranks = watched(history, job.watch)
    best = best_steps(ranks, 1)[0]
    checkpoint = job.checkpoints / f"checkpoint-{best}"
    for name in ("adapter_config.json", ADAPTER_FILE):
        write_bytes(job.folder / name, (checkpoint / name).read_bytes())
    written = [Path(path).name for path in job.tokenizer.save_pretrained(job.folder)]
    write_text(job.folder / "curves.svg", curves(history, job.run))
    answered = answered_validation(job, best)
    written += ["adapter_config.json", "metrics.jsonl", "validation.json"]
    sealed = {name: seal_file(job.folder / name) for name in written if (job.folder / name).is_file()}
    manifest = _manifest(job, history, best, answered).model_copy(update={"files": sealed})
    tracker.finish(manifest, job.folder)
    manifest.write(job.folder / "manifest.json")
    keep_best(job.checkpoints, ranks, job.config.keep_best)
    return manifest


def usd_of(seconds: float, config: TrainConfig) -> float:
    """Dollars of this run's GPUs, one a process, which were all paid for as long."""
    return round(seconds / 3600 * config.usd_per_hour * n_processes(), 4)


def _manifest(job: Job, history: list[dict[str, Any]], best: int, answered: dict[str, Any]) -> Manifest:
    config, losses = job.config, eval_losses(history)
    course = [*base_loss(history), *sorted(losses.items())]
    gap, loss, whole = train_eval_gap(history, best), losses[best], answered["perplexity"]
    if config.method == "sft" and whole:  # of all rows, where the evaluations read a part of them
        gap, loss = None if gap is None else gap + math.log(whole) - loss, math.log(whole)
    wide = {"train_eval_gap"} if gap is not None and gap > config.max_train_eval_gap else set()
    lines = read_dicts(job.folder / "metrics.jsonl", torn_tail=True)
    seconds = lines[-1]["seconds"]
    samples = job.folder / "samples.jsonl"
    return Manifest(
        run=job.run,
        config=config.model_dump(mode="json"),
        backend=job.backend,
        backend_reason=job.backend_reason,
        quantization_reason=job.quantization_reason,
        model=config.model,
        base_model=config.model,
        revision=job.base.revision,
        adapter_sha256=sha256_of(job.folder / ADAPTER_FILE),
        data_hashes=data_hashes(config),
        n_train=len(job.rows["train"]),
        n_val=len(job.rows["val"]),
        n_evaluated=job.n_evaluated,
        steps=max(entry["step"] for entry in history),
        best_step=best,
        train_loss=train_loss(history, best),
        eval_loss=loss,
        eval_losses=course,
        train_eval_gap=gap,
        perplexity=perplexity(loss) if config.method == "sft" else whole,
        memorisation=memorisation(job, answered),
        **({"method": "sft"} if config.method == "sft" else preference_fields(config, history, best)),
        alerts=[alert["alert"] for alert in alerts_of(history, config.max_train_eval_gap)],
        advice=training_advice(wide, course),
        micro_batch=job.batch.size,
        gradient_checkpointing=job.batch.checkpointing,
        seconds=seconds,
        evaluation_share=evaluation_share(lines),
        minutes=round(seconds / 60, 2),
        processes=n_processes(),
        usd=usd_of(seconds, config),
        seed=config.seed,
        device=job.device,
        **environment(),
        fingerprint=fingerprint_of(config),
        created_at=datetime.now(UTC).isoformat(),
        samples=read_jsonl(samples, Sample, torn_tail=True) if samples.exists() else [],
    )
