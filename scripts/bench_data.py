"""Pairs a second and peak memory of `make data` after collecting, in one process and on datatrove.

    python -m scripts.bench_data [--sizes 10000 100000] [--workers 2] [--write docs/benchmarks.md]

The items are synthetic; the stages, from pair to split, run as `make data` runs them. What takes more than
--max-gb of memory is ended, and the table says so.
"""

import math
import os
import sys
import tempfile
from pathlib import Path

from lib.base.benchmarks import machine_line, markdown_table, measured, write_table
from lib.base.console import parser, run
from lib.scale.samples import write_set


def compared(n_pairs: int, workers: int, max_gb: float) -> list[list[str]]:
    config = ["--config", "configs/data-bench.yaml"]
    ways = {
        "one process": [[f"scripts.{step}", *config] for step in ("pair", "filter", "clean", "split")],
        f"datatrove, {workers} workers": [["scripts.scale", *config, "--workers", str(workers)]],
    }
    rows = []
    for way, commands in ways.items():
        with tempfile.TemporaryDirectory() as folder:
            write_set(Path(folder), n_pairs)
            seconds, peak = measured(commands, Path(folder), max_gb)
            clean = Path(folder) / "data/bench/interim/clean.jsonl"
            n_kept = sum(1 for _ in clean.open("rb")) if clean.is_file() else 0
        ended = f"ended at {max_gb:g} GB"
        speed = ended if math.isnan(seconds) else f"{n_pairs / seconds:,.0f}"
        rows.append(
            [f"{n_pairs:,}", way, f"{n_kept:,}", f"{seconds:,.0f}".replace("nan", "-"), speed, f"{peak:.1f}"]
        )
        print(" | ".join(rows[-1]), file=sys.stderr)
    return rows


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    arguments.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments.add_argument("--max-gb", type=float, default=8)
    arguments.add_argument("--write", type=Path, metavar="PAGE", help="its bench:data table is replaced")
    args = arguments.parse_args()
    load = os.getloadavg()[0]
    rows = [row for n in args.sizes for row in compared(n, args.workers, args.max_gb)]
    header = ["pairs in raw/", "way", "kept", "seconds", "pairs/s", "peak GB"]
    machine = f"{machine_line('datatrove', 'langdetect')}, load {load:.0f} at the start."
    page = f"{machine}\n\n{markdown_table(header, rows)}"
    print(page)
    if args.write:
        write_table(args.write, "data", page)


if __name__ == "__main__":
    run(main)
