"""The adapter's safetensors file, byte by byte: whole, finite, LoRA matrices and nothing else.

Format: 8 bytes length, a JSON header, numbers (github.com/huggingface/safetensors).
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.model.adapters import safetensors_header, sha256_of

LORA_NAME = re.compile(r"base_model\.model\.(?:\w+\.)+lora_[AB]\.weight")
SIZES = {"F32": 4, "F16": 2, "BF16": 2}  # bytes a number
TENSOR_KEYS = {"dtype", "shape", "data_offsets"}
LEGIBLE = re.compile(rb"[!-~]{15,}")  # numbers hardly ever read like this


def check_weights(path: Path, sha256: str | None, rank: int) -> None:
    """Raises UserError unless path holds finite LoRA matrices of this rank, no byte more, with this hash."""
    if sha256 is not None and sha256_of(path) != sha256:
        raise UserError(
            f"{path.name} is not the file that training wrote (its sha256 differs from manifest.json). Train "
            "or copy it again."
        )
    header, data = _content(path)
    tensors = dict(header)
    if len(tensors) != len(header):
        raise UserError(f"{path.name} names a tensor twice. Train or copy it again.")
    tensors.pop("__metadata__", None)  # read by the leak scan
    if not tensors:
        raise UserError(f"{path.name} holds no weights. Train or copy it again.")
    spans = [_check_tensor(path.name, name, tensor, data, rank) for name, tensor in tensors.items()]
    _refuse_hidden_bytes(path.name, spans, len(data))


def texts_in_weights(path: Path) -> Iterator[str]:
    """All that can be read in the file: its header's text, and legible runs among its numbers."""
    import numpy as np

    header = safetensors_header(path)
    yield header.decode("utf-8", "replace")
    numbers = np.memmap(path, dtype=np.uint8, mode="r")[8 + len(header) :].data
    yield from (match.group().decode("ascii") for match in LEGIBLE.finditer(numbers))


class _Object(list):
    """A JSON object as its (key, value) pairs: a key that is given twice hides nothing."""


def _pairs(value: Any) -> _Object:
    return value if isinstance(value, _Object) else _Object()


def _content(path: Path) -> tuple[_Object, Any]:
    """The header and the bytes behind it."""
    import numpy as np

    try:
        text = safetensors_header(path)
        header = json.loads(text, object_pairs_hook=_Object)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, _Object):
        raise UserError(f"{path.name} is not a whole safetensors file. Train or copy it again.")
    return header, np.memmap(path, dtype=np.uint8, mode="r")[8 + len(text) :]


def _check_tensor(file: str, name: str, pairs: Any, data: Any, rank: int) -> tuple[int, int]:
    """Its first byte and the one behind its last."""
    import numpy as np

    if not LORA_NAME.fullmatch(name):
        raise UserError(f"{file} holds {name[:80]!r}, which is no LoRA matrix. Only those are published.")
    tensor = dict(_pairs(pairs))
    try:
        kind, shape, (start, end) = tensor["dtype"], tensor["shape"], tensor["data_offsets"]
        numbers = all(type(number) is int for number in (start, end, *shape))
        whole = (
            numbers
            and end - start == SIZES[kind] * shape[0] * shape[1]
            and 0 <= start <= end <= len(data)
            and len(shape) == 2
        )
        whole = whole and set(tensor) == TENSOR_KEYS and len(pairs) == len(TENSOR_KEYS)
    except (KeyError, TypeError, ValueError, IndexError):
        whole, shape, kind, start, end = False, [], "", 0, 0
    if not whole:
        raise UserError(f"{file}: {name} is damaged or not in F32, F16 or BF16. Train or copy it again.")
    if rank != shape[0 if "lora_A" in name else 1]:
        raise UserError(
            f"{file}: {name} has shape {shape}, adapter_config.json says rank {rank}. They are of different "
            "runs; copy both again."
        )
    raw = data[start:end].tobytes()
    if kind == "BF16":
        finite = bool(((np.frombuffer(raw, "<u2") & 0x7F80) != 0x7F80).all())
    else:
        finite = bool(np.isfinite(np.frombuffer(raw, "<f4" if kind == "F32" else "<f2")).all())
    if not finite:
        raise UserError(
            f"{file}: {name} holds NaN or infinity: the training diverged. Lower the learning rate and train "
            "again."
        )
    return start, end


def _refuse_hidden_bytes(file: str, spans: list[tuple[int, int]], n_bytes: int) -> None:
    """Raises UserError unless the matrices lie side by side from the first byte to the last."""
    at = 0
    for start, end in sorted(spans):
        if start != at:
            raise UserError(
                f"{file}: at byte {at} of its numbers, matrices overlap or bytes lie between them. Train or "
                "copy it again."
            )
        at = end
    if at != n_bytes:
        raise UserError(f"{file}: {n_bytes - at} bytes lie behind its last matrix. Train or copy it again.")
