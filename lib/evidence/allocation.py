"""Blocked random allocation of drafts to base or tuned: what a secret drew, and what it could have drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib.base.files import content_hash

if TYPE_CHECKING:
    import numpy as np

BLOCK_SIZES = (2, 4, 6)  # by turns of a hash: who knows all earlier arms cannot tell the next one


@dataclass(frozen=True)
class Slot:
    """One place of the allocation. block: counted from 0. size: of the whole block. place: in the block."""

    block: int
    size: int
    place: int
    arm: str


def slots(secret: str, n: int) -> list[Slot]:
    """The first n places: blocks of random even size, half of each block tuned, in random order.

    The same secret gives the same places for every n, so nothing but the secret has to be kept.
    """
    found: list[Slot] = []
    block = 0
    while len(found) < n:
        size = BLOCK_SIZES[int(content_hash(["size", secret, block])[:8], 16) % len(BLOCK_SIZES)]
        order = sorted(range(size), key=lambda place: content_hash(["arm", secret, block, place]))
        tuned = set(order[: size // 2])
        found += [Slot(block, size, at, "tuned" if at in tuned else "base") for at in range(size)]
        block += 1
    return found[:n]


def could_have_been(allocation: Sequence[Slot], n_draws: int, seed: int = 17) -> np.ndarray:
    """Other draws of the same blocks: (n_draws, n) bool, True for tuned.

    Blocks are drawn whole; of the last one only the places that were used are returned.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    columns, start = [], 0
    while start < len(allocation):
        size = allocation[start].size
        ranks = rng.random((n_draws, size)).argsort(axis=1).argsort(axis=1)
        used = min(size, len(allocation) - start)
        columns.append(ranks[:, :used] < size // 2)
        start += used
    return np.concatenate(columns, axis=1) if columns else np.zeros((n_draws, 0), dtype=bool)
