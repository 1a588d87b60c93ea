"""One training run, from processed pairs to a finished adapter folder; the same command resumes it."""

import contextlib
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import lock, read_dicts
from lib.base.settings import TrainConfig
from lib.model.adapters import adapter_to_fp32, assert_only_adapter_trains
from lib.model.base_model import commit_of, device_of, load_tokenizer
from lib.model.loading import load_model_for_training, prepare_libraries, resolve_backend
from lib.train.callbacks import Alerts, EarlyStop, KeepBest, Progress, StopOnSignal, as_callback
from lib.train.checkpoints import cut_lines, newest, of_mlx, state_of, step_of, stopped_early, watched
from lib.train.distributed import (
    first_decides,
    first_then_all,
    is_first,
    smallest,
    then_wait,
    together,
)
from lib.train.fingerprint import as_begun, fingerprint_of, refuse_another_run
from lib.train.finishing import finish
from lib.train.job import Job
from lib.train.manifest import Manifest, Started, read_manifest, write_trained_on
from lib.train.metrics_log import MetricsLog, counting, peak_gb
from lib.train.mlx_model import MlxModel, refuse_what_mlx_lacks
from lib.train.mlx_training import MlxTrainer
from lib.train.mlx_training import peak_gb as mlx_peak_gb
from lib.train.preference_rows import n_tokens, read_preferences
from lib.train.preference_tuning import (
    SameAtStart,
    for_trainer,
    preference_rows,
    preference_trainer,
    start_from_reference,
)
from lib.train.rows import pair_rows, read_splits
from lib.train.schedule import schedule
from lib.train.sft import batch_of, quantization_of, sft_trainer
from lib.train.tracking import Tracker, require_tracker, tracking
from lib.train.validation import LastAnswers
from lib.train.validation_loss import by_token


def train(run: str, config: TrainConfig) -> Manifest | None:
    """Train, or go on training, adapters/<run>.

    Returns its manifest, or None if SIGTERM ended it after a checkpoint.
    Raises UserError for whatever the data, the config, the machine or another process makes impossible.
    """
    folder = Path("adapters") / run
    with together(), _only_one(folder):
        first_decides(lambda: refuse_another_run(folder, config))
        if first_decides((folder / "manifest.json").is_file):
            return read_manifest(folder / "manifest.json")
        job = first_then_all(lambda: _prepare(run, config, folder))
        job = _agreed(job)
        config = job.config
        started = Started(
            fingerprint=fingerprint_of(config),
            config=config.model_dump(mode="json"),
            revision=job.base.revision,
        )
        first_decides(lambda: started.write(folder / "started.json"))
        seen = [*job.splits["train"], *job.splits["val"]]
        preferences = [] if config.method == "sft" else read_preferences(config)
        first_decides(lambda: write_trained_on(folder, seen, preferences))
        with tracking(config, run, folder) as tracker:
            history = _run(job, tracker)
            if history is None:
                return None
            with _disk_full_is_a_sentence(job):
                return first_decides(lambda: finish(job, history, tracker))


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """The run's lock; among the processes of one distributed run, the first holds it."""
    with contextlib.ExitStack() as held:
        first_decides(lambda: held.enter_context(lock(folder / ".lock")))
        yield


def _prepare(run: str, config: TrainConfig, folder: Path) -> Job:
    """Everything that can fail cheaply, before weights are loaded."""
    splits = read_splits(config)
    backend, reason = resolve_backend(config)
    prepare_libraries(backend)
    base = as_begun(run, config)
    base = base.model_copy(update={"revision": commit_of(base)})
    if backend == "mlx":
        refuse_what_mlx_lacks(base)
    tokenizer = load_tokenizer(base)
    rows = (
        pair_rows(config, splits, tokenizer)
        if config.method == "sft"
        else preference_rows(config, splits, tokenizer)
    )
    require_tracker(config)
    longest = max(n_tokens(row) for split in rows.values() for row in split)
    device = device_of(config)
    held, why = quantization_of(base, backend, longest, device)
    if base.quantization != config.quantization:
        why = "as the run, or the one that it starts from, was begun"
    config, base = (one.model_copy(update={"quantization": held}) for one in (config, base))
    return Job(
        run=run,
        config=config,
        base=base,
        folder=folder,
        backend=backend,
        backend_reason=reason,
        quantization_reason=why,
        device=device,
        tokenizer=tokenizer,
        splits=splits,
        rows=rows,
        plan=schedule(config, len(rows["train"])),
        batch=batch_of(config, longest, device, backend),
    )


def _agreed(job: Job) -> Job:
    """The job as all processes can do it: the smallest batch, and four bits where one of them needs those."""
    batch = smallest(job.batch, key=lambda batch: (not batch.checkpointing, batch.size))
    held, why = smallest(
        (job.config.quantization, job.quantization_reason), key=lambda both: both[0] != "nf4"
    )
    config, base = (one.model_copy(update={"quantization": held}) for one in (job.config, job.base))
    return replace(job, batch=batch, config=config, base=base, quantization_reason=why)


def _go_on_from(job: Job) -> Path | None:
    """The newest whole checkpoint; what was written after it is dropped."""
    checkpoint = newest(job.checkpoints)
    if checkpoint and of_mlx(checkpoint) != (job.backend == "mlx"):
        before = "backend: mlx" if of_mlx(checkpoint) else "another backend"
        raise UserError(
            f"{checkpoint} was written by {before}, and {job.backend} cannot go on from it. Go on where the "
            f"run was begun, or move {job.folder} away to train it anew."
        )
    for name in ("metrics.jsonl", "samples.jsonl"):
        cut_lines(job.folder / name, step_of(checkpoint) if checkpoint else -1)
    return checkpoint


def _run(job: Job, tracker: Tracker) -> list[dict[str, Any]] | None:
    """Train to the end or to the early stop.

    Returns the history of losses, or None if a signal stopped it on the way.
    """
    checkpoint = first_decides(lambda: _go_on_from(job))
    state = state_of(checkpoint) if checkpoint else None
    step = state["global_step"] if state else 0
    if state and _is_over(job, state["log_history"], step):
        return state["log_history"]
    if checkpoint and is_first():
        print(f"resuming {job.run} from step {step} of {job.plan.steps}", file=sys.stderr)
    signals = StopOnSignal()
    make = _mlx_trainer if job.backend == "mlx" else _trainer
    trainer = make(job, signals, resumed=checkpoint is not None, tracker=tracker)
    with _disk_full_is_a_sentence(job):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    over = _is_over(job, trainer.state.log_history, trainer.state.global_step)
    return trainer.state.log_history if over else None


def _is_over(job: Job, history: list[dict[str, Any]], step: int) -> bool:
    early = job.config.early_stopping
    return step >= job.plan.steps or bool(
        early and stopped_early(watched(history, early.watch), early.patience, early.threshold)
    )


def _trainer(job: Job, signals: StopOnSignal, resumed: bool, tracker: Tracker | None = None) -> Any:
    model, tokenizer = load_model_for_training(job.base, job.batch.checkpointing)
    import datasets
    from transformers import PrinterCallback, set_seed

    datasets.disable_progress_bars()
    parts = sft_trainer if job.config.method == "sft" else preference_trainer
    kind, arguments = parts(job, eval_on_start=not resumed)
    data = {
        name: datasets.Dataset.from_list(for_trainer(job.config, rows, job.batch))
        for name, rows in job.rows.items()
    }
    handlers = _handlers(job, model, signals, tracker or Tracker())
    set_seed(job.config.seed)
    trainer = kind(
        model=model,
        args=arguments,
        train_dataset=data["train"],
        eval_dataset=data["val"],
        processing_class=tokenizer,
        callbacks=[as_callback(handler) for handler in handlers],
    )
    trainer.training_step = counting(trainer.training_step, handlers[0].counts)
    trainer.evaluation_loop = by_token(trainer, job)
    trainer.remove_callback(PrinterCallback)
    trainer._save_rng_state = then_wait(trainer._save_rng_state)
    trainer.create_model_card = lambda **_: None  # one in every checkpoint, with this machine's paths in it
    adapter_to_fp32(model)
    assert_only_adapter_trains(model, job.config)
    if job.config.method != "sft":
        start_from_reference(model, job.config)
    if len(trainer.train_dataset) != len(job.rows["train"]):
        raise RuntimeError(f"the trainer kept {len(trainer.train_dataset)} of {len(job.rows['train'])} rows")
    return trainer


def _mlx_trainer(job: Job, signals: StopOnSignal, resumed: bool, tracker: Tracker) -> MlxTrainer:
    model = MlxModel(job.base, job.batch.checkpointing)
    handlers = _handlers(job, model, signals, tracker)
    return MlxTrainer(job, model, handlers, handlers[0].counts)


def _handlers(job: Job, model: Any, signals: StopOnSignal, tracker: Tracker) -> list[Any]:
    metrics, config = job.folder / "metrics.jsonl", job.config
    before = read_dicts(metrics, torn_tail=True) if metrics.exists() else []
    early = [EarlyStop(config.early_stopping)] if config.early_stopping else []
    same = [] if config.method == "sft" else [SameAtStart(config.beta)]
    return [
        MetricsLog(metrics, before, tracker.log, memory_gb=mlx_peak_gb if job.backend == "mlx" else peak_gb),
        Progress(job.plan.steps),
        Alerts(config.max_train_eval_gap),
        *early,
        *same,
        KeepBest(job.checkpoints, config.keep_best, job.watch),
        signals,
        LastAnswers(job, model, _is_over),
    ]


@contextlib.contextmanager
def _disk_full_is_a_sentence(job: Job) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # torch and safetensors raise errors of their own for a failed write
        free_gb = shutil.disk_usage(job.folder).free / 1e9
        said = "No space left" in str(error) or "File too large" in str(error)
        if not said and not (isinstance(error, OSError | RuntimeError) and free_gb < 0.01):
            raise
        kept = newest(job.checkpoints)
        then = (
            f"{kept} is intact: free some space and run the same command"
            if kept
            else "Free some space and run the same command"
        )
        raise UserError(
            f"The run could not be written: the disk is full ({free_gb:.1f} GB free). {then}."
        ) from error
