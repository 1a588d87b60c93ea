"""Trackers of a run: Weights & Biases, Trackio or TensorBoard get the lines of metrics.jsonl as they come.

`track: none` is the default, and then nothing here is imported. What a tracker writes lies in the run's
folder and is never published (lib.publish.dist copies named files only). A tracker that fails says so once
and is left; it does not end a paid training.
"""

import contextlib
import functools
import importlib.util
import io
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.settings import TrainConfig
from lib.model.adapters import ADAPTER_FILE
from lib.train.distributed import first_decides
from lib.train.fingerprint import fingerprint_of
from lib.train.manifest import Manifest

PROJECT = "tweet-replies"
PACKAGES = {"wandb": "wandb", "trackio": "trackio", "tensorboard": "tensorboard"}


def _nothing(*_: Any) -> None:
    pass


@dataclass(frozen=True)
class Tracker:
    """log: a line of metrics.jsonl. finish: the manifest and the run's folder. As it stands: no tracker."""

    log: Callable[[dict[str, Any]], None] = _nothing
    finish: Callable[[dict[str, Any], Path], None] = _nothing
    close: Callable[[], None] = _nothing


def require_tracker(config: TrainConfig) -> None:
    """Raise UserError, before weights are loaded, if the tracker's package or key is not there."""
    if config.track == "none":
        return
    package = PACKAGES[config.track]
    if importlib.util.find_spec(package) is None:
        raise UserError(
            f"track: {config.track} needs a package: `.venv/bin/python -m pip install {package}`. Or set "
            "track: none."
        )
    if config.track == "trackio" and os.environ.get("TRACKIO_SPACE_ID"):
        raise UserError(
            "TRACKIO_SPACE_ID would put the run on a Space that others can read. Unset it: trackio writes "
            "into the run's folder."
        )
    if config.track == "wandb" and _wandb_mode() == "online" and not _wandb_key():
        raise UserError(
            "track: wandb needs WANDB_API_KEY (in .env), or WANDB_MODE=offline, which sends nothing. Or set "
            "track: none."
        )


@contextlib.contextmanager
def tracking(config: TrainConfig, run: str, folder: Path) -> Iterator[Tracker]:
    """The config's tracker in the first process of the run; elsewhere one that does nothing."""
    opened: list[Tracker] = []
    if config.track != "none":
        first_decides(lambda: opened.append(_open(config, run, folder)))
    tracker = opened[0] if opened else Tracker()
    try:
        yield tracker
    finally:
        tracker.close()


def _open(config: TrainConfig, run: str, folder: Path) -> Tracker:
    open_tracker = {"wandb": _wandb, "trackio": _trackio, "tensorboard": _tensorboard}[config.track]
    try:
        tracker = open_tracker(config, run, folder)
    except Exception as error:  # of the tracker's own kinds: no network, a wrong key, a server's refusal
        advice = "Set WANDB_MODE=offline, or track: none." if config.track == "wandb" else "Set track: none."
        raise UserError(f"track: {config.track} did not start ({_first_line(error)}). {advice}") from error
    return _never_in_the_way(config.track, tracker)


def _never_in_the_way(name: str, tracker: Tracker) -> Tracker:
    """tracker, whose first failure is said and is its last."""
    failed: list[Exception] = []

    def attempt(function: Callable[..., None], *args: Any) -> None:
        if failed:
            return
        try:
            function(*args)
        except Exception as error:
            failed.append(error)
            print(
                f"track: {name} failed ({_first_line(error)}); the rest of the run is in metrics.jsonl only",
                file=sys.stderr,
                flush=True,
            )

    return Tracker(
        *(functools.partial(attempt, function) for function in (tracker.log, tracker.finish, tracker.close))
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _numbers(line: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in line.items() if name != "step" and isinstance(value, int | float)}


# --- Weights & Biases --------------------------------------------------------------------------------


def _wandb_mode() -> str:
    mode = os.environ.get("WANDB_MODE", "online").lower()
    return "offline" if mode == "dryrun" else mode


def _wandb_key() -> bool:
    import wandb

    return wandb.login(
        prompt=False, verify=False
    )  # from the environment, or from ~/.netrc where `wandb login` put it


def _wandb(config: TrainConfig, run: str, folder: Path) -> Tracker:
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    for name in ("data", "cache"):  # artifacts wait here until they are sent
        os.environ.setdefault(f"WANDB_{name.upper()}_DIR", str(folder.resolve() / "wandb" / name))
    import wandb

    folder.mkdir(parents=True, exist_ok=True)
    # Command line, paths, code and user name of this machine are nobody else's business.
    private = {
        "disable_git": True,
        "save_code": False,
        "x_disable_meta": True,
        "x_save_requirements": False,
        "disable_job_creation": True,
    }
    session = wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        name=run,
        id=f"{run}-{fingerprint_of(config)[:8]}",
        resume="allow",
        dir=str(folder),
        config=config.model_dump(mode="json"),
        settings=wandb.Settings(console="off", silent=True, **private),
    )

    def finish(manifest: Manifest, folder: Path) -> None:
        columns = ["step", "epoch", "tweet_id", "reply"]
        rows = [[getattr(sample, name) for name in columns] for sample in manifest.samples]
        session.log({"samples": wandb.Table(columns=columns, data=rows)})
        session.summary.update(
            manifest.model_dump(include={"best_step", "eval_loss", "train_eval_gap", "perplexity", "alerts"})
        )
        artifact = wandb.Artifact(
            f"adapter-{run}", type="model", metadata={"base_model": manifest.base_model}
        )
        for name in (ADAPTER_FILE, "adapter_config.json"):
            artifact.add_file(str(folder / name))
        session.log_artifact(artifact)

    return Tracker(lambda line: session.log(_numbers(line), step=line["step"]), finish, session.finish)


# --- Trackio -----------------------------------------------------------------------------------------


def _trackio(config: TrainConfig, run: str, folder: Path) -> Tracker:
    os.environ.setdefault("TRACKIO_DIR", str(folder.resolve() / "trackio"))
    import trackio

    quiet = {"private": True, "embed": False, "auto_log_gpu": False, "auto_log_cpu": False}
    with contextlib.redirect_stdout(io.StringIO()):  # it advertises its commands
        session = trackio.init(
            project=PROJECT, name=run, config=config.model_dump(mode="json"), resume="allow", **quiet
        )

    def close() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            session.finish()

    return Tracker(lambda line: session.log(_numbers(line), step=line["step"]), _nothing, close)


# --- TensorBoard -------------------------------------------------------------------------------------


def _tensorboard(config: TrainConfig, run: str, folder: Path) -> Tracker:
    from torch.utils.tensorboard import SummaryWriter

    writers: list[Any] = []

    def log(line: dict[str, Any]) -> None:
        if not writers:  # what an interrupted run wrote from this step on is written again
            writers.append(SummaryWriter(str(folder / "tensorboard"), purge_step=line["step"]))
            writers[0].add_text("config", _as_code(config.model_dump_json(indent=2)), line["step"])
        for name, value in _numbers(line).items():
            writers[0].add_scalar(name, value, line["step"])

    def finish(manifest: Manifest, folder: Path) -> None:
        for sample in manifest.samples:
            for writer in writers:
                writer.add_text(f"reply/{sample.tweet_id}", _as_code(sample.reply), sample.step)

    def close() -> None:
        for writer in writers:
            writer.close()

    return Tracker(log, finish, close)


def _as_code(text: str) -> str:
    """Markdown that shows text as it is."""
    return "".join(f"    {line}\n" for line in text.splitlines())
