"""A random model of Qwen3-8B's exact shape, and random rows as long as this project's, to be timed.

Speed depends on shapes, not on what was learned: nothing is downloaded.
"""

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lib.base.config import load_config
from lib.base.settings import TrainConfig
from lib.model.base_model import TINY, load_tokenizer
from lib.model.chat import IGNORED
from lib.model.loading import prepare_libraries
from lib.train.rows import read_splits, token_rows

# config.json of Qwen/Qwen3-8B
QWEN3_8B: dict[str, Any] = {
    "num_hidden_layers": 36,
    "hidden_size": 4096,
    "intermediate_size": 12_288,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151_936,
    "rope_theta": 1_000_000,
    "max_position_embeddings": 40_960,
    "tie_word_embeddings": False,
}
# For a machine without a GPU: the same code, nothing about a GPU's speed.
SMALL = QWEN3_8B | {
    "num_hidden_layers": 4,
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_attention_heads": 4,
}
SMALL |= {"num_key_value_heads": 2, "head_dim": 32, "vocab_size": 2048}


def lengths_of(path: Path) -> list[tuple[int, int]]:
    """(prompt, reply) tokens of a run's training rows."""
    config = load_config(path, TrainConfig)
    rows = token_rows(config, read_splits(config)["train"], load_tokenizer(config))
    return [(row["labels"].count(IGNORED), len(row["labels"]) - row["labels"].count(IGNORED)) for row in rows]


def typical_lengths(n: int) -> list[tuple[int, int]]:
    """(prompt, reply) tokens of n rows: half of them up to 75 tokens in all, 95% up to 100."""
    draw = random.Random(17)
    totals = [round(draw.lognormvariate(math.log(75), math.log(100 / 75) / 1.645)) for _ in range(n)]
    return [(total - reply, reply) for total in totals for reply in [max(2, round(0.4 * total))]]


def random_rows(lengths: Sequence[tuple[int, int]], vocab: int) -> list[dict[str, list[int]]]:
    """Rows as lib.train.rows makes them: a prompt that is not learned, a reply that is."""
    draw = random.Random(17)
    texts = [
        (prompt, [draw.randrange(vocab // 2, vocab) for _ in range(prompt + reply)])
        for prompt, reply in lengths
    ]
    return [{"input_ids": ids, "labels": [IGNORED] * prompt + ids[prompt:]} for prompt, ids in texts]


def matmul_parameters(shape: dict[str, Any]) -> int:
    """Weights that every token is multiplied with: all linear layers and the head."""
    hidden, heads = (
        shape["hidden_size"],
        shape["head_dim"] * (shape["num_attention_heads"] + shape["num_key_value_heads"]),
    )
    layer = 2 * hidden * heads + 3 * hidden * shape["intermediate_size"]
    return shape["num_hidden_layers"] * layer + hidden * shape["vocab_size"]


def write_weights(folder: Path, shape: dict[str, Any], nf4: bool = True) -> None:
    """Write random_model and a tokenizer as a folder for from_pretrained: Unsloth takes nothing else."""
    prepare_libraries("peft")
    random_model(shape, nf4, device()).save_pretrained(folder)
    load_tokenizer(TrainConfig(data="bench", model=TINY)).save_pretrained(folder)


def random_model(shape: dict[str, Any], nf4: bool, device: str) -> Any:
    """A Qwen3 of this shape in bf16 (float32 on a CPU); nf4: its linear layers quantised, as on loading."""
    import torch
    from transformers import BitsAndBytesConfig, Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(17)
    default = torch.get_default_dtype()
    dtype = torch.bfloat16 if device != "cpu" else default
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = Qwen3ForCausalLM(Qwen3Config(**shape))
    finally:
        torch.set_default_dtype(default)
    if not nf4:
        return model
    double = {
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": dtype,
    }
    options = {
        "quantization_config": BitsAndBytesConfig(load_in_4bit=True, **double),
        "device_map": {"": device},
        "dtype": dtype,
    }
    return Qwen3ForCausalLM.from_pretrained(
        None, config=model.config, state_dict=model.state_dict(), **options
    )


def device() -> str:
    """cuda:0, or cpu where there is no GPU."""
    import torch

    if torch.cuda.is_available():
        return "cuda:0"
    torch.set_num_threads(
        1
    )  # as lib.model.loading does for a tiny model: two threads wait for each other longer than they work
    return "cpu"
