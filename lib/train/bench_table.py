"""The page of the training benchmark: the table, the goals, and what this machine could not measure."""

from collections.abc import Mapping, Sequence
from typing import Any

from lib.base.benchmarks import machine_line, markdown_table
from lib.model.losses import BATCH_TOKENS, batches
from lib.train.provenance import versions
from lib.train.random_model import matmul_parameters
from lib.train.speed import EFFECTIVE_BATCH, Arm

Result = dict[str, float] | str  # the numbers, or why there are none
PACKAGES = ("torch", "transformers", "trl", "peft", "bitsandbytes", "unsloth")
HEADER = ["", "arm", "tokens/s", "times (a)", "of the floor", "peak GB", "first step, s"]


def bench_page(
    machine: Mapping[str, Any],
    shape: Mapping[str, Any],
    lengths: Sequence[tuple[int, int]],
    n_steps: int,
    results: Mapping[Arm, Result],
    whole: Result | None,
) -> str:
    """The page as Markdown. machine: as matmul_rate says. whole: two epochs with evaluations, if measured."""
    floor = machine["tflops"] * 1e12 / (6 * matmul_parameters(dict(shape)))
    totals = sorted(sum(length) for length in lengths)
    rows = (
        f"{len(totals):,} rows of {totals[len(totals) // 2]} tokens (median), "
        f"{totals[len(totals) * 95 // 100]} (95th percentile)"
    )
    of = {arm.letter: result for arm, result in results.items()}
    if machine["gpu"]:
        where = (
            f"{machine['gpu']}, {machine['tflops']:.0f} TFLOP/s measured in bf16. Qwen3-8B's shape, random "
            "weights"
        )
    else:
        where = (
            "**No NVIDIA GPU here: a tiny shape on the CPU.** The table shows that the arms run; its ratios "
            "say nothing about a GPU, whose figures are not measured yet. One thread, "
            f"{machine['tflops']:.2f} TFLOP/s measured, float32 for bf16"
        )
    about = f"{where}; {rows}; {n_steps} steps of 16 rows an arm. Padding does not count as tokens."
    table = markdown_table(HEADER, [_row(arm, result, of.get("a"), floor) for arm, result in results.items()])
    fine = (
        "Floor: 6 x weights x tokens at the measured rate. First step: from the start of training, after "
        "loading."
    )
    return "\n\n".join(
        [
            about,
            table,
            fine,
            paddings([sum(length) for length in lengths]),
            "\n".join(f"- {goal}" for goal in goals(of, whole)),
            machine_line(*_installed()) + ".",
        ]
    )


def padded(lengths: Sequence[int], places: Sequence[Sequence[int]]) -> float:
    """Share of padding in all tokens of batches that are padded to their longest row.

    places: of the rows of each batch.
    """
    filled = sum(len(batch) * max(lengths[place] for place in batch) for batch in places)
    return 1 - sum(lengths[place] for batch in places for place in batch) / filled


def _cut(order: Sequence[int]) -> list[Sequence[int]]:
    return [order[at : at + EFFECTIVE_BATCH] for at in range(0, len(order), EFFECTIVE_BATCH)]


def paddings(lengths: Sequence[int]) -> str:
    """The padding of these rows in batches made in several ways, arithmetic, as one sentence."""
    import torch
    from transformers.trainer_pt_utils import get_length_grouped_indices

    mixed = torch.Generator().manual_seed(17)
    orders = {
        "at random": torch.randperm(len(lengths), generator=mixed).tolist(),
        "grouped by length": get_length_grouped_indices(list(lengths), EFFECTIVE_BATCH, generator=mixed),
    }
    shares = [f"{padded(lengths, _cut(order)):.0%} in 16 rows {name}" for name, order in orders.items()]
    evaluated = padded(lengths, batches([([0] * n, 0) for n in lengths]))
    shares += [f"{evaluated:.0%} in the batches of evaluations ({BATCH_TOKENS:,} tokens, by length)"]
    return f"Padding, of all tokens: {', '.join(shares)}, none in rows end to end, as a GPU trains them."


def _row(arm: Arm, result: Result, base: Result | None, floor: float) -> list[str]:
    if isinstance(result, str):
        return [arm.letter, arm.name, f"not run: {result.split('. ')[0]}", "", "", "", ""]
    speed = result["tokens_per_second"]
    times = f"{speed / base['tokens_per_second']:.2f}" if isinstance(base, dict) else ""
    return [
        arm.letter,
        arm.name,
        f"{speed:,.0f}",
        times,
        f"{speed / floor:.0%}",
        f"{result['peak_gb']:.1f}",
        f"{result['first_step_s']:.1f}",
    ]


def goals(of: Mapping[str, Result], whole: Result | None) -> list[str]:
    """Each goal with what was measured."""

    def number(letter: str, name: str) -> float | None:
        result = of.get(letter)
        return result[name] if isinstance(result, dict) else None

    def ratio(over: str, under: str) -> float | None:
        above, below = number(over, "tokens_per_second"), number(under, "tokens_per_second")
        return above / below if above and below else None

    peak = number("d4", "peak_gb") or number("b4", "peak_gb")
    seconds = whole["seconds"] if isinstance(whole, dict) else None
    return [
        _goal(
            "(d) at least 3 times as fast as (a)", ratio("d", "a"), "{:.2f} times", lambda value: value >= 3
        ),
        _goal(
            "(d) at least 1.25 times as fast as (c)",
            ratio("d", "c"),
            "{:.2f} times",
            lambda value: value >= 1.25,
        ),
        _goal("QLoRA within 10 GB at micro-batch 4", peak, "{:.1f} GB", lambda value: value <= 10),
        _goal(
            "1,000 pairs, 2 epochs, evaluations included, under 2 minutes on an H200",
            seconds,
            "{:.0f} s after loading",
            lambda s: s < 120,
        ),
    ]


def _goal(text: str, value: float | None, shown: str, met: Any) -> str:
    if value is None:
        return f"{text}: not measured on this machine"
    return f"{text}: {shown.format(value)}, {'met' if met(value) else 'not met'}"


def _installed() -> list[str]:
    return [package for package in PACKAGES if package in versions()]
