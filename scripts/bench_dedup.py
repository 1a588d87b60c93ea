"""Time and memory of semantic de-duplication up to 100,000 replies; speed of language detection, cleaning.

    python -m scripts.bench_dedup [--quick] [--write docs/benchmarks.md]

The vectors are synthetic, spread like those of real replies: 384 dimensions, 200 topics, some near copies.
"""

import random
import sys
from pathlib import Path

from lib.base.benchmarks import (
    in_fresh_process,
    machine_line,
    markdown_table,
    peak_memory_mb,
    timed,
    write_table,
)
from lib.base.console import parser, run
from lib.base.parallel import map_texts
from lib.data.scorers import detect_language
from lib.data.text import clean_text

SIZES, QUICK_SIZES = (1_000, 3_000, 10_000, 30_000, 100_000), (1_000, 3_000)
THRESHOLD, DIMENSIONS = 0.9, 384
VOCABULARY = (
    "the a this that is was nobody everybody really never always said thinks loves my your their coffee "
    "garden train guitar recipe weather city book doctor river morning score again before because without "
    "about quietly honestly twice"
)


def reply_vectors(n: int):
    """(n, 384) float32 unit rows."""
    import numpy as np

    rng = np.random.default_rng(17)
    # Sentence vectors have few strong directions and many weak ones.
    scale = (1 + np.arange(DIMENSIONS, dtype=np.float32)) ** -0.5
    topics = 0.7 * rng.standard_normal((200, DIMENSIONS), dtype=np.float32)
    vectors = topics[rng.integers(0, 200, n)] + rng.standard_normal((n, DIMENSIONS), dtype=np.float32)
    copies, originals = rng.integers(0, n, (2, n // 12))
    vectors[copies] = vectors[originals] + 0.3 * rng.standard_normal((n // 12, DIMENSIONS), dtype=np.float32)
    vectors *= scale
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def measure(n: int) -> list[str]:
    from lib.data.greedy import greedy_keep

    vectors = reply_vectors(n)
    elapsed, (keep, _) = timed(greedy_keep, vectors, THRESHOLD)
    return [f"{n:,}", f"{keep.sum():,}", f"{elapsed:.2f}", f"{peak_memory_mb():,.0f}"]


def text_speed(n: int) -> str:
    rng = random.Random(17)
    texts = [" ".join(rng.choices(VOCABULARY.split(), k=rng.randint(6, 30))) for _ in range(n)]
    rows = []
    for name, function in (("language detection", detect_language), ("cleaning", clean_text)):
        elapsed = [timed(map_texts, function, texts, processes)[0] for processes in (1, 2)]
        rows.append([name, *(f"{n / duration:,.0f}" for duration in elapsed)])
    return markdown_table([f"texts a second, of {n:,}", "1 process", "2 processes"], rows)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--quick", action="store_true", help="small sizes only")
    into = "put the tables between the bench:dedup markers of this page"
    arguments.add_argument("--write", type=Path, metavar="PAGE", help=into)
    args = arguments.parse_args()
    rows = []
    for n in QUICK_SIZES if args.quick else SIZES:
        rows.append(in_fresh_process(measure, n))
        print(f"{rows[-1][0]} replies: {rows[-1][2]} s", file=sys.stderr)
    similarity = markdown_table(["replies", "kept", "seconds", "peak MB of the process"], rows)
    page = "\n\n".join(
        [machine_line("numpy", "langdetect") + ".", similarity, text_speed(2_000 if args.quick else 10_000)]
    )
    print(page)
    if args.write:
        write_table(args.write, "dedup", page)
        print(f"wrote {args.write}")


if __name__ == "__main__":
    run(main)
