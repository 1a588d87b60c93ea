"""Signals on the way out of a rental."""

import os
import signal
import threading

import pytest

from lib.remote.interrupts import interrupts_kept, signals_end


def swallowing():
    """As a library does: Ctrl-C ends its loop and nothing else."""
    try:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass
    except KeyboardInterrupt:
        pass


def test_a_ctrl_c_that_was_swallowed_is_raised_again_and_once():
    before, did = signal.getsignal(signal.SIGINT), []
    with pytest.raises(KeyboardInterrupt), interrupts_kept():
        swallowing()
        did.append("the rest of the block")
    assert did and signal.getsignal(signal.SIGINT) is before
    with interrupts_kept():
        did.append("nothing was pressed")
    assert len(did) == 2 and signal.getsignal(signal.SIGINT) is before
    with pytest.raises(OSError, match="of the block"), interrupts_kept():
        raise OSError("of the block")
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_nothing_is_done():
    did = []

    def work():
        with interrupts_kept():
            did.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert did == [signal.getsignal(signal.SIGINT)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_deadly_signal_leaves_through_finally_with_its_own_status(number):
    before, did = signal.getsignal(number), []
    with pytest.raises(SystemExit) as caught, signals_end():
        try:
            os.kill(os.getpid(), number)
            for _ in range(1000):
                pass
        finally:
            did.append("ended")
    assert caught.value.code == 128 + number and did == ["ended"]
    assert signal.getsignal(number) is before
