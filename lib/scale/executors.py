"""Where the tasks of a stage run: on this machine, on a Slurm cluster, on a Ray cluster."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lib.base.errors import UserError
from lib.scale.shards import Work
from lib.scale.steps import Stage

AGAIN = "Run the same command again: what is complete is kept."
# What the system sends to a process that takes too much memory, or that broke.
DEADLY = {-9: "killed: out of memory? Set WORKERS lower", -11: "broken (segmentation fault)", -7: "broken"}


@dataclass(frozen=True)
class Engine:
    """workers: tasks at once. slurm: options of sbatch, partition and time among them."""

    kind: Literal["local", "slurm", "ray"] = "local"
    workers: int = 1
    slurm: dict[str, str] = field(default_factory=dict)


def run_stage(stage: Stage, work: Work, engine: Engine, say: Callable[[str], None]) -> None:
    """Run what of a stage is not complete. Raises UserError where a task did not come to its end."""
    logs = work.folder / "logs" / stage.name
    logs.mkdir(parents=True, exist_ok=True)
    executor = _executor(stage, logs, work, engine)
    left = executor.get_incomplete_ranks()
    say(f"{stage.name}: {len(left):,} of {stage.tasks:,} tasks to do")
    if not left:
        return
    try:
        with _stderr_to(logs / "console.log") as terminal, _watched(stage, terminal):
            executor.run()
    except subprocess.CalledProcessError as error:
        raise UserError(f"{stage.name}: sbatch ended with {error.returncode}; see {logs}. {AGAIN}") from error
    if left := executor.get_incomplete_ranks():
        raise UserError(f"{stage.name}: {len(left):,} of {stage.tasks:,} tasks failed; see {logs}. {AGAIN}")


def _executor(stage: Stage, logs: Path, work: Work, engine: Engine) -> Any:
    common = {"pipeline": stage.pipeline, "tasks": stage.tasks, "logging_dir": str(logs)}
    workers = min(engine.workers, stage.tasks)
    if engine.kind == "local":
        from datatrove.executor import LocalPipelineExecutor

        return LocalPipelineExecutor(**common, workers=workers)
    if engine.kind == "ray":
        return _ray(common, workers, work)
    from datatrove.executor import SlurmPipelineExecutor

    # --wait: sbatch comes back when the tasks have ended, with their status.
    options = {**engine.slurm, "wait": ""}
    path = [str(Path(sys.executable).parent), *(str(Path(entry) / "bin") for entry in _search_path(work))]
    return SlurmPipelineExecutor(
        **common,
        workers=workers,
        job_name=f"{work.name}-{stage.name}",
        partition=options.pop("partition"),
        time=options.pop("time"),
        qos=options.pop("qos", ""),
        mem_per_cpu_gb=2,
        sbatch_args=options,
        env_command=f'cd "{work.root}"\nexport PATH="{":".join(path)}:$PATH" '
        f'PYTHONPATH="{":".join(_search_path(work))}"',
    )


def _ray(common: dict[str, Any], workers: int, work: Work) -> Any:
    try:
        import ray
        from datatrove.executor import RayPipelineExecutor
    except ImportError as error:
        raise UserError(
            "EXECUTOR=ray: ray is not installed here. Install it where the cluster has it."
        ) from error
    if not ray.is_initialized():  # RAY_ADDRESS names a cluster; without it, this machine is one
        path = ":".join(_search_path(work))
        ray.init(runtime_env={"env_vars": {"PYTHONPATH": path}}, log_to_driver=False)
    return RayPipelineExecutor(**common, workers=workers, mem_per_cpu_gb=1)


def _search_path(work: Work) -> list[str]:
    """Where a task finds the project and datatrove: sys.path of this process, as far as it was told."""
    told = [str(Path(entry).resolve()) for entry in os.environ.get("PYTHONPATH", "").split(":") if entry]
    return list(dict.fromkeys([str(work.root), *told]))


@contextlib.contextmanager
def _stderr_to(path: Path) -> Iterator[int]:
    """datatrove, and every process that it starts, logs to stderr; progress is ours to say."""
    sys.stderr.flush()
    terminal = os.dup(2)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, 2)
    try:
        yield terminal
    finally:
        sys.stderr.flush()
        os.dup2(terminal, 2)
        os.close(handle)
        os.close(terminal)


@contextlib.contextmanager
def _watched(stage: Stage, terminal: int) -> Iterator[None]:
    """A pool waits for ever for the answer of a worker that was killed: whoever sees it ends the whole."""
    import _thread

    import multiprocess

    found: list[int] = []
    over = threading.Event()

    def watch() -> None:
        seen: dict[int, Any] = {}
        while not over.wait(0.1):
            seen |= {child.pid: child for child in multiprocess.active_children()}
            dead = [child.exitcode for child in seen.values() if child.exitcode in DEADLY]
            if dead and not found:
                found.extend(dead)
                _thread.interrupt_main()
                if not over.wait(10):  # the dead one held the pool's lock, for which its end waits too
                    os.write(
                        terminal, f"error: {stage.name}: a worker was {DEADLY[dead[0]]}. {AGAIN}\n".encode()
                    )
                    os._exit(1)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    except KeyboardInterrupt:
        if not found:
            raise
        raise UserError(f"{stage.name}: a worker was {DEADLY[found[0]]}. {AGAIN}") from None
    finally:
        over.set()
        thread.join()


def end_forks_with_parent() -> None:
    """datatrove's manager, a fork of this process, would outlive it: it asks nobody whether it is needed."""
    parent = os.getpid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    os.register_at_fork(after_in_child=lambda: threading.Thread(target=watch, daemon=True).start())
