"""Text vectors without a model: hashed character n-grams. The same on every machine, nothing to download."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

WIDTH = 1024
SIZES = (3, 4, 5)  # characters; a space at both ends of the text marks its first and last word
BATCH_CHARS = 500_000  # of one batch: about 100 MB of hashes
HASH_BITS = 40  # of an n-gram; the 24 bits above them hold the row in its batch


def char_ngram_vectors(texts: Sequence[str]) -> "np.ndarray":
    """Unit rows, (n, 1024) float32: counts of character 3- to 5-grams as 1 + ln(count), hashed with a sign.

    Case and runs of white space do not matter. An empty text has a vector too, near to no other's.
    Signed hashing: Weinberger et al. 2009, arXiv:0902.2206.
    """
    import numpy as np

    vectors = np.empty((len(texts), WIDTH), dtype=np.float32)
    start = 0
    batch: list[str] = []
    n_chars = 0
    for end, text in enumerate(texts, start=1):
        batch.append(f" {' '.join(text.casefold().split())} ")
        n_chars += len(batch[-1])
        if n_chars >= BATCH_CHARS or len(batch) == 4096 or end == len(texts):
            vectors[start:end] = _batch_vectors(batch)
            start, batch, n_chars = end, [], 0
    return vectors


def _batch_vectors(texts: Sequence[str]) -> "np.ndarray":
    import numpy as np

    # surrogatepass: half of an emoji is a bad character, not a reason to stop.
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(
        np.uint64
    )
    row_of = np.repeat(np.arange(len(texts), dtype=np.uint64), [len(text) for text in texts])
    keys = [_keys(codes, row_of, size) for size in (2, *SIZES)]
    # Two characters only where there are no three: the empty text, which is two spaces.
    short = np.isin(keys[0] >> np.uint64(HASH_BITS), keys[1] >> np.uint64(HASH_BITS), invert=True)
    grams, counts = np.unique(np.concatenate([keys[0][short], *keys[1:]]), return_counts=True)
    rows = (grams >> np.uint64(HASH_BITS)).astype(np.int64)
    columns = (grams % np.uint64(WIDTH)).astype(np.int64)
    signs = np.where(grams >> np.uint64(HASH_BITS - 1) & np.uint64(1), 1.0, -1.0)
    sums = np.bincount(
        rows * WIDTH + columns, weights=signs * (1 + np.log(counts)), minlength=len(texts) * WIDTH
    )
    sums = sums.reshape(len(texts), WIDTH)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    sums[lengths[:, 0] == 0, 0] = 1  # every n-gram met its opposite
    return sums / np.where(lengths == 0, 1, lengths)


def _keys(codes: "np.ndarray", row_of: "np.ndarray", size: int) -> "np.ndarray":
    """One number for each n-gram of each text: the row above, the low bits of the n-gram's hash below."""
    import numpy as np

    n = max(0, len(codes) - size + 1)
    whole = row_of[:n] == row_of[size - 1 :]  # not across two texts
    hashes = np.full(n, size, dtype=np.uint64)
    for offset in range(size):
        hashes = _mixed(hashes ^ codes[offset : offset + n])
    return (row_of[:n] << np.uint64(HASH_BITS) | hashes & np.uint64((1 << HASH_BITS) - 1))[whole]


def _mixed(numbers: "np.ndarray") -> "np.ndarray":
    """splitmix64 (Steele, Lea and Flood 2014): every bit in changes every bit out. Overflow is meant."""
    import numpy as np

    numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ numbers >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ numbers >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return numbers ^ numbers >> np.uint64(31)
