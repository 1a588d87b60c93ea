import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from lib.base.parallel import MIN_TEXTS, _end_with_parent, map_texts


def pid_of(text):
    return os.getpid()


def dies_at_the_third(text):
    return os._exit(3) if text == "2" else text


def outlives(text):
    """Kills the process that waits, and would then go on for minutes."""
    Path(os.environ["PIDS"], str(os.getpid())).touch()
    with contextlib.suppress(ProcessLookupError):
        os.kill(multiprocessing.parent_process().pid, signal.SIGKILL)
    return threading.Event().wait(300)


def test_texts_come_back_in_their_order_from_any_number_of_processes():
    texts = [f"{i} \ud83d\u2028 é😂" for i in range(7)]
    for processes in (1, 2, 3, 40):
        assert map_texts(json.dumps, texts, processes) == [json.dumps(text) for text in texts]
    assert map_texts(json.dumps, [], 2) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [(signal.default_int_handler, signal.SIG_DFL), (signal.SIG_IGN, signal.SIG_IGN)],  # ignored: nohup
)
def test_ctrl_c_ends_a_process_without_a_traceback_unless_it_is_ignored(before, after):
    kept = signal.signal(signal.SIGINT, before)
    try:
        _end_with_parent()
        assert signal.getsignal(signal.SIGINT) == after
    finally:
        signal.signal(signal.SIGINT, kept)


def test_few_texts_stay_in_this_process_and_many_leave_it():
    assert set(map_texts(pid_of, ["a"] * (2 * MIN_TEXTS - 1))) == {os.getpid()}
    assert os.getpid() not in map_texts(pid_of, ["a"] * 4, 2)


def test_an_error_in_another_process_is_the_same_error_here():
    with pytest.raises(json.JSONDecodeError):
        map_texts(json.loads, ["1", "2", "3", "not json"], 2)


def test_a_process_that_dies_ends_the_work_with_an_error():
    with pytest.raises(BrokenProcessPool):
        map_texts(dies_at_the_third, [str(i) for i in range(6)], 2)


@pytest.mark.parametrize("is_file", [True, False])
def test_a_script_without_a_main_guard_may_use_more_processes(tmp_path, is_file):
    script = tmp_path / "plain.py"
    script.write_text(
        "from lib.data.scorers import detect_languages\n"
        "print(detect_languages(['what a lovely day it is'] * 6, 2)[5][0])\n"
    )
    done = subprocess.run(
        [sys.executable, *([str(script)] if is_file else [])],
        input=None if is_file else script.read_text(),
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "en\n"), done.stderr


def test_processes_end_with_the_one_that_waits_for_them(tmp_path):
    script = "import os\nfrom lib.base.parallel import map_texts\nfrom tests.base import test_parallel as t\n"
    script += "map_texts(t.outlives, ['a', 'b'], 2)\n"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), "PIDS": str(tmp_path)},
        capture_output=True,
        timeout=60,  # the pipes of this call stay open as long as one of the processes lives
    )
    assert done.returncode == -9
    assert list(tmp_path.iterdir())
