"""One run on several processes, one per GPU (data parallel): what the first does alone, what all agree on.

The launcher (`accelerate launch`, `torchrun`) says through RANK and WORLD_SIZE which process this is. Without
them there is one, and everything here costs nothing.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, TypeVar

from lib.base.errors import UserError

T = TypeVar("T")
PATIENCE = timedelta(hours=1)  # for a process that downloads or builds what the others wait for


def n_processes() -> int:
    """Processes of this run, one per GPU."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """The number of this process among them."""
    return int(os.environ.get("RANK", "0"))


def is_first() -> bool:
    """True in the process that writes files and talks."""
    return rank() == 0


@contextlib.contextmanager
def together() -> Iterator[None]:
    """The processes of this run, connected."""
    if n_processes() == 1:
        yield
        return
    if os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true":
        raise UserError(
            "FSDP spreads one model over several GPUs; this trains a whole one on each. Launch with `make "
            "train GPUS=N`."
        )
    import torch

    if torch.cuda.is_available():
        if int(os.environ.get("LOCAL_RANK", "0")) >= torch.cuda.device_count():
            raise UserError(
                f"{n_processes()} processes want a GPU each, and {torch.cuda.device_count()} are here. Set "
                "GPUS to that."
            )
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    else:  # the Trainer reads a checkpoint onto accelerate's "cpu:0", a place that torch.load does not know
        torch.serialization.register_package(
            99, lambda _: None, lambda storage, place: storage if place == "cpu:0" else None
        )
    # Tensors on the GPUs go through NCCL, small decisions through the CPUs.
    torch.distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE
    )
    yield
    torch.distributed.destroy_process_group()  # not after an error: the others may never come here


def first_decides(decide: Callable[[], T]) -> T:
    """decide(), called in the first process alone; its result in all.

    A UserError is raised there and ends the others silently.
    """
    if n_processes() == 1:
        return decide()
    import torch

    error, answer = None, [None, False]
    if is_first():
        try:
            answer = [decide(), True]
        except UserError as refused:
            error = refused
    torch.distributed.broadcast_object_list(answer, src=0)
    if error:
        raise error
    if not answer[1]:
        with contextlib.suppress(RuntimeError):
            # Until the first is gone: a launcher that sees one process end ends all, last words included.
            anywhere(False)
        raise SystemExit(1)
    return answer[0]


def first_then_all(function: Callable[[], T]) -> T:
    """function() in every process, the first ahead: a refusal is said once, a cache serves the others."""
    results: list[T] = []
    first_decides(lambda: results.append(function()))
    return results[0] if results else function()


def smallest(value: T, key: Callable[[T], Any]) -> T:
    """The least of all processes' values, in all of them."""
    return min(of_all(value), key=key)


def of_all(value: T) -> list[T]:
    """The values of all processes, in their order, in all of them."""
    if n_processes() == 1:
        return [value]
    import torch

    values: list[Any] = [None] * n_processes()
    torch.distributed.all_gather_object(values, value)
    return values


def anywhere(flag: bool) -> bool:
    """True if flag is set in any process: all leave a loop together, or the rest would wait for ever."""
    if n_processes() == 1:
        return flag
    import torch

    found = torch.tensor(int(flag))
    torch.distributed.all_reduce(found, op=torch.distributed.ReduceOp.MAX)
    return bool(found)


def then_wait(write: Callable[..., T]) -> Callable[..., T]:
    """write, and until all processes have written.

    A checkpoint's state file, which makes it whole, has to come after every part.
    """

    def written(*args: Any, **kwargs: Any) -> T:
        result = write(*args, **kwargs)
        anywhere(False)
        return result

    return written
