"""One training run, from processed pairs to a finished adapter folder; interrupted, the same command goes on."""

import contextlib
import functools
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lib.adapters import adapter_to_fp32, assert_only_adapter_trains
from lib.callbacks import Alerts, EarlyStop, KeepBest, MetricsLog, Progress, Samples, StopOnSignal, as_callback
from lib.checkpoints import best_steps, cut_lines, eval_losses, keep_best, newest, state_of, step_of, stopped_early
from lib.curves import alerts_of, curves, perplexity, train_eval_gap, train_loss
from lib.distributed import first_decides, first_then_all, is_first, n_processes, smallest, then_wait, together
from lib.errors import UserError
from lib.files import lock, read_dicts, read_json, write_bytes, write_json, write_text
from lib.fingerprint import fingerprint_of, refuse_another_run
from lib.model import answering, device_of, load_model_for_training, load_tokenizer, prepare_libraries, resolve_backend
from lib.prompt import CHAT_KWARGS, messages
from lib.rows import read_splits, require, token_rows
from lib.schedule import Schedule, schedule
from lib.schema import Pair
from lib.settings import TrainConfig
from lib.sft import Batch, batch_of, sft_arguments
from lib.tracking import Tracker, open_tracker
from lib.tracking import Tracker, require_tracker, tracking

N_SAMPLES = 5
SAMPLE_TOKENS = 60


@dataclass(frozen=True)
class Job:
    """What one run is made of. rows: token ids and labels, train and val."""

    run: str
    config: TrainConfig
    folder: Path
    backend: tuple[str, str]
    tokenizer: Any
    splits: dict[str, list[Pair]]
    rows: dict[str, list[dict[str, list[int]]]]
    plan: Schedule
    batch: Batch

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"


def train(run: str, config: TrainConfig) -> dict[str, Any] | None:
    """Train, or go on training, adapters/<run>. Returns its manifest, or None if SIGTERM ended it after a checkpoint.

    Raises UserError for whatever the data, the config, the machine or another process makes impossible.
    """
    if config.method != "sft":
        raise UserError(f"method: {config.method} is not supervised training. Set method: sft.")
    folder = Path("adapters") / run
    with together(), _only_one(folder):
        first_decides(lambda: refuse_another_run(folder, config))
        if first_decides((folder / "manifest.json").is_file):
            return read_json(folder / "manifest.json")
        job = first_then_all(lambda: _prepare(run, config, folder))
        job = replace(job, batch=smallest(job.batch, key=lambda batch: (not batch.checkpointing, batch.size)))
        started = {"fingerprint": fingerprint_of(config), "config": config.model_dump(mode="json")}
        first_decides(lambda: write_json(folder / "started.json", started))
        with tracking(config, run, folder) as tracker:
            history = _run(job, tracker)
            return None if history is None else first_decides(lambda: _finish(job, history, tracker))


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """The run's lock; among the processes of one distributed run, the first holds it."""
    with contextlib.ExitStack() as held:
        first_decides(lambda: held.enter_context(lock(folder / ".lock")))
        yield


def _prepare(run: str, config: TrainConfig, folder: Path) -> Job:
    """Everything that can fail cheaply, before weights are loaded."""
    splits = read_splits(config)
    backend = resolve_backend(config)
    prepare_libraries(backend[0])
    tokenizer = load_tokenizer(config)
    rows = {name: token_rows(config, splits[name], tokenizer) for name in ("train", "val")}
    require(config, splits, rows, tokenizer)
    require_tracker(config)
    longest = max(len(row["input_ids"]) for split in rows.values() for row in split)
    batch = batch_of(config, longest, device_of(config))
    return Job(run, config, folder, backend, tokenizer, splits, rows, schedule(config, len(rows["train"])), batch)


def _go_on_from(job: Job) -> Path | None:
    """The newest whole checkpoint; what was written after it is dropped."""
    checkpoint = newest(job.checkpoints)
    for name in ("metrics.jsonl", "samples.jsonl"):
        cut_lines(job.folder / name, step_of(checkpoint) if checkpoint else -1)
    return checkpoint


def _run(job: Job, tracker: Tracker) -> list[dict[str, Any]] | None:
    """Train to the end or to the early stop. Returns the history of losses, or None if a signal stopped it on the way."""
    checkpoint = first_decides(lambda: _go_on_from(job))
    state = state_of(checkpoint) if checkpoint else None
    step = state["global_step"] if state else 0
    if state and _is_over(job, state["log_history"], step):
        return state["log_history"]
    if checkpoint and is_first():
        print(f"resuming {job.run} from step {step} of {job.plan.steps}", file=sys.stderr)
    signals = StopOnSignal()
    trainer = _trainer(job, signals, resumed=checkpoint is not None, tracker=tracker)
    with _disk_full_is_a_sentence(job):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    over = _is_over(job, trainer.state.log_history, trainer.state.global_step)
    return trainer.state.log_history if over else None


def _is_over(job: Job, history: list[dict[str, Any]], step: int) -> bool:
    early = job.config.early_stopping
    return step >= job.plan.steps or bool(early and stopped_early(eval_losses(history), early.patience, early.threshold))


def _trainer(job: Job, signals: StopOnSignal, resumed: bool, tracker: Tracker | None = None) -> Any:
    model, tokenizer = load_model_for_training(job.config, job.batch.checkpointing)
    import datasets
    from transformers import PrinterCallback, set_seed
    from trl import SFTTrainer

    datasets.disable_progress_bars()
    arguments = sft_arguments(job.config, job.run, job.checkpoints, job.plan, job.batch, job.backend[0], device_of(job.config), not resumed)
    data = {name: datasets.Dataset.from_list(rows) for name, rows in job.rows.items()}
    set_seed(job.config.seed)
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=data["train"],
        eval_dataset=data["val"],
        processing_class=tokenizer,
        callbacks=[as_callback(handler) for handler in _handlers(job, model, signals, tracker or Tracker())],
    )
    trainer.remove_callback(PrinterCallback)
    trainer._save_rng_state = then_wait(trainer._save_rng_state)
    trainer.create_model_card = lambda **_: None  # one in every checkpoint, with this machine's paths in it
    adapter_to_fp32(model)
    assert_only_adapter_trains(model, job.config)
    if len(trainer.train_dataset) != len(job.rows["train"]):
        raise RuntimeError(f"the trainer kept {len(trainer.train_dataset)} of {len(job.rows['train'])} rows")
    return trainer


def _handlers(job: Job, model: Any, signals: StopOnSignal, tracker: Tracker) -> list[Any]:
    metrics, config = job.folder / "metrics.jsonl", job.config
    before = read_dicts(metrics, torn_tail=True) if metrics.exists() else []
    tweets = {pair.tweet_id: pair.tweet for pair in sorted(job.splits["val"], key=lambda pair: pair.tweet_id)}
    sampled = dict(list(tweets.items())[:N_SAMPLES])
    answer = functools.partial(_sample_replies, model, job, list(sampled.values()))
    early = [EarlyStop(config.early_stopping)] if config.early_stopping else []
    return [
        MetricsLog(metrics, before[-1]["seconds"] if before else 0.0, tracker.log),
        Samples(job.folder / "samples.jsonl", job.plan.steps_per_epoch, list(sampled), answer),
        Progress(job.plan.steps),
        Alerts(config.max_train_eval_gap),
        *early,
        KeepBest(job.checkpoints, config.keep_best),
        StopOnSignal(),
    ]


def _sample_replies(model: Any, job: Job, tweets: list[str]) -> list[str]:
    """One greedy reply per tweet, all in one batch."""
    chats = [messages(job.config.prompt, tweet) for tweet in tweets]
    texts = [job.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True, **CHAT_KWARGS) for chat in chats]
    inputs = job.tokenizer(texts, add_special_tokens=False, padding=True, padding_side="left", return_tensors="pt").to(model.device)
    with answering(model, job.batch.checkpointing):
        output = model.generate(**inputs, max_new_tokens=SAMPLE_TOKENS, do_sample=False, use_cache=True)
    return job.tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


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
        then = f"{kept} is intact: free some space and run the same command" if kept else "Free some space and run the same command"
        raise UserError(f"A checkpoint could not be written: the disk is full ({free_gb:.1f} GB free). {then}.") from error
