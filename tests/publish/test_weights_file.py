"""lib/publish/weights_file.py: only whole, finite LoRA matrices of the run's rank pass, to the byte."""

import json
import struct

import numpy as np
import pytest

from lib.base.errors import UserError
from lib.model.adapters import sha256_of
from lib.publish.weights_file import check_weights, texts_in_weights

A, B = (f"base_model.model.model.layers.0.self_attn.q_proj.lora_{side}.weight" for side in "AB")
ENDLESS = {"F32": struct.pack("<f", float("inf")), "F16": b"\x00\x7c", "BF16": b"\x80\x7f"}
BYTES = {"F32": 4, "F16": 2, "BF16": 2}


def write(path, tensors, numbers, metadata=None):
    """tensors: name -> (dtype, shape, data_offsets)."""
    header = {"__metadata__": metadata or {"format": "pt"}}
    header |= {
        name: dict(zip(("dtype", "shape", "data_offsets"), values, strict=True))
        for name, values in tensors.items()
    }
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + numbers)
    return path


def pair(kind="F32"):
    """A LoRA of rank 2: A is (2, 3), B is (5, 2)."""
    n = BYTES[kind]
    return {A: (kind, [2, 3], [0, 6 * n]), B: (kind, [5, 2], [6 * n, 16 * n])}, bytes(16 * n)


@pytest.mark.parametrize("kind", ENDLESS)
def test_finite_matrices_pass_in_every_precision_and_endless_ones_in_none(tmp_path, kind):
    tensors, numbers = pair(kind)
    path = write(tmp_path / "adapter.safetensors", tensors, numbers)
    check_weights(path, sha256_of(path), 2)
    check_weights(path, None, 2)
    last = numbers[: -BYTES[kind]] + ENDLESS[kind]
    with pytest.raises(UserError, match="NaN or infinity"):
        check_weights(write(path, tensors, last), None, 2)


@pytest.mark.parametrize(
    ("changes", "more", "said"),
    [
        ({A: ("F32", [3, 2], [0, 24])}, b"", "says rank 2"),
        ({B: ("F32", [2, 5], [24, 64])}, b"", "says rank 2"),
        ({A: ("F32", [2, 3], [0, 25])}, b"", "is damaged"),
        ({A: ("F64", [2, 3], [0, 24])}, b"", "is damaged"),
        ({A: ("F32", [2, 3, 1], [0, 24])}, b"", "is damaged"),
        ({A: ("F32", [2, 3], [48, 72])}, b"", "is damaged"),  # beyond the end
        ({A: ("F32", [2, 3], [40, 64])}, b"", "at byte 0 of its numbers"),  # overlaps
        ({B: ("F32", [5, 2], [20, 60])}, b"", "at byte 24 of its numbers"),
        ({B: ("F32", [5, 2], [26, 66])}, b"xx", "at byte 24 of its numbers"),  # bytes between
        ({}, b"x", "1 bytes lie behind"),
        ({"base_model.model.lm_head.weight": ("F32", [2, 2], [64, 80])}, bytes(16), "no LoRA matrix"),
    ],
)
def test_anything_but_matrices_side_by_side_is_refused(tmp_path, changes, more, said):
    tensors, numbers = pair()
    path = write(tmp_path / "adapter.safetensors", tensors | changes, numbers + more)
    with pytest.raises(UserError, match=said):
        check_weights(path, None, 2)


def test_another_file_than_the_manifest_names_and_one_without_weights_are_refused(tmp_path):
    path = write(tmp_path / "adapter.safetensors", *pair())
    with pytest.raises(UserError, match="not the file that training wrote"):
        check_weights(path, "0" * 64, 2)
    text = b'{"a": {}, "b": {}, "a": {}}'
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(UserError, match="names a tensor twice"):
        check_weights(path, None, 2)
    with pytest.raises(UserError, match="holds no weights"):
        check_weights(write(path, {}, b""), None, 2)


def test_all_that_can_be_read_in_the_file_is_read(tmp_path):
    tensors, _ = pair()
    numbers = bytes(20) + b"fifteen-letters" + bytes(10) + b"fourteen-chars" + bytes(5)
    assert len(numbers) == 64 and not np.frombuffer(numbers, "u1")[:20].any()
    header, *legible = texts_in_weights(
        write(tmp_path / "adapter.safetensors", tensors, numbers, {"note": "x"})
    )
    assert json.loads(header)["__metadata__"] == {"note": "x"}
    assert legible == ["fifteen-letters"]
