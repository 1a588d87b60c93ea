"""Texts as unit vectors, by meaning (sentence transformers) or by spelling (character n-grams)."""

import functools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.base.errors import UserError
from lib.data.scorers import encodable, first_line, torch_device

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

CHAR_NGRAMS = "char-ngrams"
WIDTH = 1024
SIZES = (3, 4, 5)  # characters; a space at both ends of the text marks its first and last word
BATCH_CHARS = 500_000  # of one batch: about 100 MB of hashes
HASH_BITS = 40  # of an n-gram; the 24 bits above them hold the row in its batch


def embed(texts: Sequence[str], model: str) -> "np.ndarray":
    """Unit vectors of what the texts mean, (n, d) float32, in their order.

    model: `char-ngrams` (offline, deterministic, sees spelling only), or a SentenceTransformer's name or
    local path.
    Raises UserError where the model is missing or cannot be downloaded.
    """
    if model == CHAR_NGRAMS:
        return char_ngram_vectors(texts)
    import numpy as np

    encoder = _sentence_transformer(model)
    if not texts:
        return np.empty((0, encoder.get_embedding_dimension()), dtype=np.float32)
    vectors = encoder.encode(
        [encodable(text) for text in texts], normalize_embeddings=True, show_progress_bar=False
    )
    return np.asarray(vectors, dtype=np.float32)


@functools.lru_cache(maxsize=1)
def _sentence_transformer(model: str) -> Any:
    import httpx
    from sentence_transformers import SentenceTransformer  # imports transformers: Unsloth must come first

    load = functools.partial(SentenceTransformer, model, device=torch_device())
    try:
        if Path(model).exists() or model.startswith((".", "/")):
            return load()
        return _cached(model, load) or _downloaded(model, load)
    except (OSError, ValueError, httpx.HTTPError) as error:
        raise UserError(
            f"embedding_model: {model} could not be loaded: {first_line(error)}. Connect to the network once "
            "(it is then kept in the "
            "Hugging Face cache, ~/.cache/huggingface or HF_HOME), give the path of a local copy, or set "
            "`embedding_model: char-ngrams`."
        ) from error


def _cached(model: str, load: Callable[..., Any]) -> Any | None:
    """The model from the cache alone, None where it is not all there.

    Asking the Hub first would fail without a network.
    """
    from huggingface_hub import try_to_load_from_cache

    if not isinstance(try_to_load_from_cache(_repo(model), "config.json"), str):
        return None
    try:
        return load(local_files_only=True)
    except (OSError, ValueError) as error:
        log.info("%s is not whole in the cache (%s): downloading the rest", model, first_line(error))
        return None


def _downloaded(model: str, load: Callable[..., Any]) -> Any:
    """The model from the Hub, after one quick question.

    Without a network the loaders would retry each file for half a minute.
    """
    from huggingface_hub import HfApi

    HfApi().model_info(_repo(model), timeout=20)
    return load()


def _repo(model: str) -> str:
    return model if "/" in model else f"sentence-transformers/{model}"


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
