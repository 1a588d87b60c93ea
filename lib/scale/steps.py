"""The stages of `make data` over shards, in their order. A task that did not end is done again as a whole."""

import functools
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from lib.scale.near import N_BUCKETS, drop_near_replies, find_leaks, minhash, spread
from lib.scale.pairing import cap_authors, drop_equal_replies, filter_shard, find_bots, make_pairs
from lib.scale.reading import scatter
from lib.scale.shards import Work
from lib.scale.splitting import sides, split
from lib.scale.trimming import choose_best


@dataclass(frozen=True)
class Stage:
    """tasks: how many there are. pipeline: what datatrove runs in each."""

    name: str
    tasks: int
    pipeline: list[Any]


@dataclass(frozen=True)
class Task:
    """A step of a pipeline that reads and writes files of its own. None: the steps behind it do all."""

    work: Work
    function: Callable[[Work, int], None] | None = None

    def __call__(self, data: Any, rank: int, world_size: int) -> None:
        _end_with_parent()
        if self.function:
            self.function(self.work, rank)


def stages(work: Work) -> list[Stage]:
    """All stages; each needs those before it to be complete."""

    def own(name: str, function: Callable[[Work, int], None], tasks: int = work.n_shards) -> Stage:
        return Stage(name, tasks, [Task(work, function)])

    return [
        own("rows", scatter, len(work.files)),
        own("pairs", make_pairs),
        own("bots", find_bots),
        own("filter", filter_shard),
        own("caps", cap_authors),
        own("equal", drop_equal_replies),
        *_alike(work, "replies", "reply"),
        own("near", drop_near_replies),
        own("best", choose_best, 1),
        own("sides", sides),
        *_alike(work, "sides", "text"),
        own("leaks", find_leaks),
        own("split", split),
    ]


def _alike(work: Work, kind: str, field: str) -> list[Stage]:
    """Texts that may be near to each other, brought together."""
    signatures, buckets, clusters = minhash(work, kind, field)
    return [
        Stage(f"{kind}-signatures", work.n_shards, [Task(work), *signatures]),
        Stage(f"{kind}-buckets", N_BUCKETS, [Task(work), *buckets]),
        Stage(f"{kind}-clusters", 1, [Task(work), *clusters]),
        Stage(f"{kind}-spread", work.n_shards, [Task(work, partial(spread, kind=kind))]),
    ]


@functools.cache
def _end_with_parent() -> None:
    """A worker whose parent was killed would go on writing beside the next run."""
    import multiprocess

    if parent := multiprocess.parent_process():
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
