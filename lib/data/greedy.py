"""Greedy near-duplicate selection over many vectors: exact, blocked, in bounded memory."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

BLOCK, CHUNK = 1024, 4096  # rows x kept rows of one product: 16 MB of float32, which stays in the cache
# float32 products of unit rows are off by less; what lies within it of the threshold is computed in float64
SLACK = 1e-4
TIE = 1e-7  # resolution of float32: a cosine of exactly the threshold counts as reaching it
N_THREADS = 2
MIN_PRUNED = 4096  # fewer rows are done before a rotation has paid for itself
CHECK_COST, PRODUCT_COST = (
    100_000,
    60,
)  # in multiply-adds per pair: one exact check; what a product costs whatever its width


class Product(NamedTuple):
    """bounds: (n, k) float32, where bounds[i] @ bounds[j] >= cosine(i, j) - SLACK."""

    vectors: "np.ndarray"
    bounds: "np.ndarray"
    threshold: float


class Room(NamedTuple):
    """Memory of one thread for one product and its comparison.

    Taking it anew each time takes longer than the product.
    """

    upper: "np.ndarray"
    likely: "np.ndarray"


def greedy_keep(vectors: "np.ndarray", threshold: float) -> "tuple[np.ndarray, np.ndarray]":
    """Keep a row unless an earlier kept row has a cosine of at least threshold with it.

    vectors: (n, d) float32, unit rows, the most wanted first. threshold in [-1, 1].
    Returns keep, (n,) bool, and dropped_by, (n,) int64: the first kept row that dropped it, -1 where kept.
    The same as comparing row by row in float64; pairs closer than 1e-7 to the threshold count as reaching it.
    Memory: at most two copies of vectors, and about 100 MB. Raises ValueError for rows that are not unit
    length.
    """
    import numpy as np
    from threadpoolctl import threadpool_limits

    vectors = _checked(vectors, threshold)
    dropped_by = np.full(len(vectors), -1, dtype=np.int64)
    # Own threads over rows, not the BLAS library's over each product: those wait for each other a hundred
    # thousand times, which on a machine that does anything else takes ten times as long.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(N_THREADS) as pool:
        # Unit rows are unit to float32 only: at a threshold of 1 a row must still equal itself.
        product = Product(vectors, _upper_bounds(vectors, threshold), min(threshold, 1 - 1e-6))
        _select(product, dropped_by, pool)
    return dropped_by < 0, dropped_by


def _select(product: Product, dropped_by: "np.ndarray", pool: ThreadPoolExecutor) -> None:
    import numpy as np

    n = len(dropped_by)
    kept = np.empty(n, dtype=np.int64)
    kept_bounds = np.empty_like(
        product.bounds
    )  # side by side: a product over scattered rows would copy them each time
    n_kept = 0
    size = min(n, BLOCK) * max(BLOCK, min(n, CHUNK))
    rooms = [Room(np.empty(size, dtype=np.float32), np.empty(size, dtype=bool)) for _ in range(N_THREADS)]
    for start in range(0, n, BLOCK):
        rows = np.arange(start, min(start + BLOCK, n))
        parts = np.array_split(rows, N_THREADS)
        search = partial(_drop_near_kept, product, dropped_by, kept[:n_kept], kept_bounds)
        list(pool.map(search, rooms, parts))
        rows = _greedy_within(product, rows[dropped_by[rows] < 0], dropped_by, rooms[0])
        kept[n_kept : n_kept + len(rows)] = rows
        kept_bounds[n_kept : n_kept + len(rows)] = product.bounds[rows]
        n_kept += len(rows)


def _drop_near_kept(
    product: Product,
    dropped_by: "np.ndarray",
    kept: "np.ndarray",
    kept_bounds: "np.ndarray",
    room: Room,
    rows: "np.ndarray",
) -> None:
    """Note in dropped_by, for each of rows, the first of kept that it is near to."""
    import numpy as np

    for first in range(0, len(kept), CHUNK):
        chunk = slice(first, min(first + CHUNK, len(kept)))
        row, column = _hits(product, rows, kept[chunk], kept_bounds[chunk], room)
        hit, position = np.unique(row, return_index=True)
        dropped_by[rows[hit]] = kept[chunk][column[position]]
        rows = rows[dropped_by[rows] < 0]


def _checked(vectors: "np.ndarray", threshold: float) -> "np.ndarray":
    import numpy as np

    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if vectors.ndim != 2:
        raise ValueError(f"vectors must be (n, d), not {vectors.shape}")
    if not -1 <= threshold <= 1:
        raise ValueError(f"threshold must be a cosine, not {threshold}")
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    wrong = np.flatnonzero(~(abs(lengths - 1) < 1e-3))  # not "> 1e-3": NaN is wrong too
    if len(wrong):
        raise ValueError(
            f"row {wrong[0]} has length {lengths[wrong[0]]:.4g}, not 1 ({len(wrong)} of {len(vectors)} rows)"
        )
    return vectors


def _hits(
    product: Product, rows: "np.ndarray", columns: "np.ndarray", column_bounds: "np.ndarray", room: Room
) -> "tuple[np.ndarray, np.ndarray]":
    """Pairs (i, j), by i then j, for which the cosine of rows[i] and columns[j] reaches the threshold."""
    import numpy as np

    n = len(rows) * len(columns)
    upper, likely = room.upper[:n], room.likely[:n]
    np.matmul(product.bounds[rows], column_bounds.T, out=upper.reshape(len(rows), len(columns)))
    np.greater_equal(upper, product.threshold - SLACK, out=likely)
    row, column = np.divmod(np.flatnonzero(likely), len(columns))
    if len(row) > n / 50:  # a product over everything is then cheaper than pair by pair
        cosines = product.vectors[rows].astype(np.float64) @ product.vectors[columns].T.astype(np.float64)
        return np.nonzero(cosines >= product.threshold - TIE)
    reached = np.empty(len(row), dtype=bool)
    for start in range(0, len(row), 8192):
        part = slice(start, start + 8192)
        reached[part] = _reached(product, rows[row[part]], columns[column[part]])
    return row[reached], column[reached]


def _reached(product: Product, left: "np.ndarray", right: "np.ndarray") -> "np.ndarray":
    """True where left[i] and right[i] reach the threshold; in float64 where float32 cannot tell."""
    import numpy as np

    cosines = np.einsum("ij,ij->i", product.vectors[left], product.vectors[right]).astype(np.float64)
    close = np.flatnonzero(abs(cosines - product.threshold) < SLACK)
    cosines[close] = np.einsum(
        "ij,ij->i", product.vectors[left[close]], product.vectors[right[close]], dtype=np.float64
    )
    return cosines >= product.threshold - TIE


def _greedy_within(
    product: Product, rows: "np.ndarray", dropped_by: "np.ndarray", room: Room
) -> "np.ndarray":
    """Apply the rule among rows alone, in their order.

    Notes who dropped whom, returns the rows that are kept.
    """
    import numpy as np

    row, column = _hits(product, rows, rows, product.bounds[rows], room)
    row, column = row[column < row], column[column < row]
    starts = np.searchsorted(row, np.arange(len(rows) + 1))
    for i in np.unique(row):
        earlier = rows[column[starts[i] : starts[i + 1]]]
        keepers = earlier[dropped_by[earlier] < 0]
        if len(keepers):
            dropped_by[rows[i]] = keepers[0]
    return rows[dropped_by[rows] < 0]


def _upper_bounds(vectors: "np.ndarray", threshold: float) -> "np.ndarray":
    """Narrow rows whose products are never below the cosine; the vectors where these would not prune.

    Rotate so that the first k coordinates hold most of the length. With r the length of the rest,
    Cauchy-Schwarz gives x . y <= x[:k] . y[:k] + r(x) r(y): the product of rows (x[:k], r(x)).
    """
    import numpy as np

    n = len(vectors)
    if n < MIN_PRUNED:
        return vectors
    sample = vectors[:: -(-n // 8192)].astype(np.float64)
    fitted, unseen = sample[::2], sample[1::2]
    rotation = np.linalg.eigh(fitted.T @ fitted)[1][:, ::-1]
    width = _best_width(unseen @ rotation, threshold)
    if width == vectors.shape[1]:
        return vectors
    bounds = np.empty((n, width + 1), dtype=np.float32)
    for start in range(0, n, 8192):
        block = vectors[start : start + 8192].astype(np.float64)
        head = block @ rotation[:, :width]
        rest = np.einsum("ij,ij->i", block, block) - np.einsum("ij,ij->i", head, head)
        bounds[start : start + 8192, :width] = head
        bounds[start : start + 8192, width] = np.sqrt(rest.clip(0))
    return bounds


def _best_width(rotated: "np.ndarray", threshold: float) -> int:
    """The k that costs least on a sample that the rotation was not fitted to.

    Products get dearer with k, false alarms rarer.
    It changes the time, not the result.
    """
    import numpy as np

    d = rotated.shape[1]
    rotated = rotated.astype(np.float32)
    left, right = rotated[:: -(-len(rotated) // 512)], rotated[1 :: -(-len(rotated) // 2048)]
    least = threshold - SLACK
    true_rate = np.mean(left @ right.T >= least)
    costs = {d: d + PRODUCT_COST}
    for k in (32, 64, 96, 128, 192, 256, 384, 512):
        if k < d:
            rests = [np.sqrt((part[:, k:] ** 2).sum(axis=1)) for part in (left, right)]
            rate = np.mean(left[:, :k] @ right[:, :k].T + np.outer(*rests) >= least) - true_rate
            costs[k] = k + PRODUCT_COST + rate * CHECK_COST
    return min(costs, key=costs.__getitem__)
