"""Speed, memory and time to the first step of training a model of Qwen3-8B's shape with random weights, five
ways.

    python -m scripts.bench_train [--write docs/benchmarks.md] [--data configs/train-qwen3-8b.yaml]

Needs no download. Without an NVIDIA GPU a tiny shape runs on the CPU: that the code works, and no more.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

from lib.base.benchmarks import in_fresh_process, write_table
from lib.base.console import parser, run
from lib.train.bench_table import bench_page
from lib.train.random_model import QWEN3_8B, SMALL, lengths_of, typical_lengths, write_weights
from lib.train.speed import ARMS, MEMORY_ARMS, Arm, matmul_rate, measure

N_ROWS = 1_000


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument(
        "--write",
        type=Path,
        metavar="PAGE",
        help="put the table between the bench:train markers of this page",
    )
    arguments.add_argument(
        "--data", type=Path, metavar="CONFIG", help="take the rows' lengths from this run's training set"
    )
    arguments.add_argument(
        "--steps", type=int, help="optimiser steps an arm (default: 33 on a GPU, 9 on a CPU)"
    )
    args = arguments.parse_args()
    lengths = in_fresh_process(lengths_of, args.data) if args.data else typical_lengths(N_ROWS)
    machine = in_fresh_process(matmul_rate)
    shape, n_steps = (QWEN3_8B, args.steps or 33) if machine["gpu"] else (SMALL, args.steps or 9)
    with tempfile.TemporaryDirectory(prefix="bench-train-") as name:
        folder = Path(name)
        if machine["gpu"]:
            print("writing 6 GB of random weights for Unsloth", file=sys.stderr)
        tried("weights", write_weights, folder, shape)
        arms = (*ARMS, *MEMORY_ARMS) if machine["gpu"] else ARMS
        results = {arm: tried(arm.name, measure, arm, shape, lengths, n_steps, folder) for arm in arms}
        whole = (
            tried("1,000 pairs, 2 epochs", measure, fastest(results), shape, lengths, None, folder)
            if machine["gpu"]
            else None
        )
    page = bench_page(machine, shape, lengths, n_steps, results, whole)
    print(page)
    if args.write:
        write_table(args.write, "train", page)
        print(f"wrote {args.write}")


def tried(name: str, function: Any, *args: Any) -> Any:
    """function(*args) in a fresh process, or why it could not: one arm that fails must not cost the
    others."""
    try:
        result = in_fresh_process(function, *args)
    except Exception as error:
        result = (str(error).strip().splitlines() or [type(error).__name__])[0]
    print(f"{name}: {result}", file=sys.stderr)
    return result


def fastest(results: dict[Arm, Any]) -> Arm:
    """The 4-bit arm with our settings that a run here would take: Unsloth where it works."""
    return next((arm for arm in (ARMS[3], ARMS[1]) if isinstance(results[arm], dict)), ARMS[1])


if __name__ == "__main__":
    run(main)
