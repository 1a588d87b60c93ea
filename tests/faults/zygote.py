"""A process that does nothing but fork: no thread, lock or runtime of another test is copied into a command.

python -m tests.faults.zygote: an order a line on stdin, its answer a line on stdout. It ends with its input.
"""

import contextlib
import importlib
import json
import os
import sys
import traceback
from pathlib import Path

from lib.data.scorers import detect_language
from tests.faults.disk import Disk, move
from tests.faults.stages import STAGES, TRAIN

# What takes seconds to import, and starts no thread by that.
HEAVY = {
    "export": ("torch", "transformers", "peft", "safetensors.torch", "gguf"),
    "train": ("torch", "transformers", "peft", "trl"),
    "report": ("scipy.stats", "statsmodels.stats.proportion"),
}
HEAVY |= dict.fromkeys(("human-import", "judge", "field", "claude-live", "claude-batch"), ("scipy.stats",))


def main() -> None:
    for name in {name for stage in STAGES.values() for name in stage.scripts}:
        importlib.import_module(f"scripts.{name}")
    detect_language("its profiles are loaded once")
    for line in sys.stdin:
        order = json.loads(line)
        answer = os.waitpid(*order["wait"]) if "wait" in order else forked(**order)
        print(json.dumps(answer), flush=True)


def forked(
    stage: str,
    folder: str,
    log: str,
    environment: dict[str, str],
    at: int | None,
    fault: str,
    elsewhere: tuple[float, str] | None,
) -> int:
    """The id of a process that does the stage's command in folder, and counts its calls there."""
    for name in HEAVY.get(stage, ()):
        importlib.import_module(name)
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        said = os.open(f"{log}.said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for handle, to in ((os.open(os.devnull, os.O_RDONLY), 0), (said, 1), (said, 2)):
            os.dup2(handle, to)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w", closefd=False), open(2, "w", closefd=False)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        disk = Disk(os.path.realpath(folder) + os.sep, at, fault)
        disk.install()
        if elsewhere:
            move(*elsewhere)
        try:
            {**STAGES, "train": TRAIN}[stage].command()
            code = 0
        except SystemExit as end:
            code = end.code
        disk.at = None
        Path(f"{log}.calls").write_text(json.dumps([disk.calls, disk.n_refused]))
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code or 0)


if __name__ == "__main__":
    main()
