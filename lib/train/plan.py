"""What `make train` would do, from the rows and the config alone: no weights, no GPU, no network."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, quantiles

from lib.base.console import printable
from lib.base.schema import Pair
from lib.base.seals import checked
from lib.base.settings import TrainConfig
from lib.model.local_tokenizer import LocalTokenizer
from lib.train.gpus import GPUS, PRICES_DATE, SETUP_MINUTES, minutes, vram_gb
from lib.train.preflight import Check
from lib.train.rows import IGNORED, Row, chat_parts
from lib.train.schedule import schedule

# What Qwen3's template puts around prompt and reply, in tokens, when its tokenizer is not here to count.
TEMPLATE_TOKENS = 13
WORD = re.compile(r"[^\W\d_]+|\d|[^\w\s]+|\s*\n+")


def row_tokens(
    config: TrainConfig, pairs: Sequence[Pair], rows: Sequence[Row] | None
) -> list[tuple[int, int]]:
    """(prompt, reply) tokens of each row, end token included; estimated from the words where there are no rows of token ids."""
    if rows is not None:
        return [
            (row["labels"].count(IGNORED), len(row["labels"]) - row["labels"].count(IGNORED)) for row in rows
        ]
    prompt_tokens = _estimate(config.prompt.replace("{tweet}", ""))
    return [
        (prompt_tokens + _estimate(pair.tweet) + TEMPLATE_TOKENS, _estimate(pair.reply) + 1) for pair in pairs
    ]


def _estimate(text: str) -> int:
    """About the tokens that Qwen3's tokenizer makes of text: one per common word, more for long ones and for other scripts."""
    return sum(math.ceil(len(word.encode()) / 7) for word in WORD.findall(text))


def page(
    run: str,
    config: TrainConfig,
    splits: Mapping[str, Sequence[Pair]],
    tokens: Mapping[str, Sequence[tuple[int, int]]],
    tokenizer: LocalTokenizer | None,
    found: Sequence[Check],
    colour: bool,
) -> str:
    """The whole page for the terminal."""
    counted = (
        ""
        if tokenizer is not None
        else f"  (estimated: the tokenizer of {config.model} is not on this machine)"
    )
    parts = [
        f"plan for {run}: {config.model}, {config.quantization}, LoRA rank {config.lora.rank}, {config.method}",
        "rows and tokens" + counted + "\n" + _lengths(config, tokens),
        "schedule\n" + _schedule(config, len(splits["train"])),
        "checks\n" + "\n".join(map(_checked, found)),
        "what is trained on"
        + (" (green)" if colour else " (between » and «)")
        + "\n"
        + _preview(config, splits["train"], tokenizer, colour),
    ]
    if config.model != "tiny":
        parts += [
            "memory, GB (estimate for Qwen3-8B)\n" + _memory(config, tokens),
            _costs(config, tokens),
            _faster(config, tokens),
        ]
    return "\n\n".join(part for part in parts if part)


def _lengths(config: TrainConfig, tokens: Mapping[str, Sequence[tuple[int, int]]]) -> str:
    lines = [f"  {'':<8}{'rows':>6}{'p50':>7}{'p95':>7}{'max':>7}{'reply p50':>12}{'trained':>10}"]
    for name, rows in tokens.items():
        whole = sorted(prompt + reply for prompt, reply in rows)
        if len(whole) < 2:
            lines.append(f"  {name:<8}{len(whole):>6}")
            continue
        cuts = quantiles(whole, n=20, method="inclusive")
        reply = quantiles([reply for _, reply in rows], n=2, method="inclusive")[0]
        share = sum(reply for _, reply in rows) / sum(whole)
        lines.append(
            f"  {name:<8}{len(whole):>6,}{cuts[9]:>7.0f}{cuts[18]:>7.0f}{whole[-1]:>7}{reply:>12.0f}{share:>10.0%}"
        )
    return "\n".join([*lines, f"  max_length {config.max_length}: nothing is cut; a longer row is an error"])


def _schedule(config: TrainConfig, n_rows: int) -> str:
    plan = schedule(config, n_rows)
    stopping = "off" if config.early_stopping is None else f"patience {config.early_stopping.patience}"
    return (
        f"  {plan.steps} optimiser steps: {config.epochs:g} epochs of {plan.steps_per_epoch}, {config.effective_batch} rows each\n"
        f"  {plan.n_evals} evaluations, every {plan.eval_every} steps; early stopping: {stopping}\n"
        f"  the best {config.keep_best} checkpoints stay"
    )


def _checked(check: Check) -> str:
    if check.unknown:
        return f"  ?     {check.name}: {check.unknown}"
    return f"  {'ok  ' if check.problem is None else 'FAIL'}  {check.problem or check.name}"


def _preview(
    config: TrainConfig, pairs: Sequence[Pair], tokenizer: LocalTokenizer | None, colour: bool
) -> str:
    """The first row as the model sees it, its learned tokens marked; Qwen3's template stands in for a tokenizer that is not here."""
    if not pairs:
        return "  no rows"
    if tokenizer is None:
        question = config.prompt.replace("{tweet}", pairs[0].tweet)
        given = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
        learned = f"{pairs[0].reply}<|im_end|>"
    else:
        given, learned = chat_parts(config.prompt, pairs[0], tokenizer)
    before, trained = printable(given), printable(learned)
    shown = f"\033[2m{before}\033[0m\033[32m{trained}\033[0m" if colour else f"{before}»{trained}«"
    return "\n".join("  " + line for line in shown.split("\n"))


def _micro_batches(config: TrainConfig) -> list[int]:
    return [n for n in (1, 2, 4, 8, 16, 32) if config.effective_batch % n == 0]


def _memory(config: TrainConfig, tokens: Mapping[str, Sequence[tuple[int, int]]]) -> str:
    row = _longest_mean(tokens)
    sizes = _micro_batches(config)
    lines = [
        "  " + " " * 26 + "".join(f"{f'{size} x {config.effective_batch // size}':>9}" for size in sizes)
    ]
    for nf4 in (True, False):
        for checkpointing in (False, True):
            label = f"{'nf4' if nf4 else 'bf16'}, {'checkpointing' if checkpointing else 'no checkpointing'}"
            values = [
                vram_gb(size, row, config.lora.rank, tuple(config.lora.target_modules), nf4, checkpointing)
                for size in sizes
            ]
            lines.append(f"  {label:<26}" + "".join(f"{value:>9.1f}" for value in values))
    return "\n".join(lines)


def _longest_mean(tokens: Mapping[str, Sequence[tuple[int, int]]]) -> float:
    """Tokens per padded row: a batch is as long as its longest row, about the 95th percentile."""
    whole = sorted(prompt + reply for prompt, reply in tokens["train"])
    return whole[min(len(whole) - 1, int(0.95 * len(whole)))] if whole else 1


def _work(
    config: TrainConfig, tokens: Mapping[str, Sequence[tuple[int, int]]], micro_batch: int
) -> tuple[float, float]:
    """(tokens, micro-batches) of the whole run, evaluations included."""
    plan = schedule(config, len(tokens["train"]))
    n_val = len(tokens["val"])
    mean = fmean([prompt + reply for prompt, reply in tokens["train"]] or [1])
    padded = (mean + _longest_mean(tokens)) / 2
    rows = (
        plan.steps * config.effective_batch + plan.n_evals * n_val / 3
    )  # an evaluation has no backward pass
    return rows * padded, plan.steps * config.effective_batch / micro_batch + plan.n_evals * math.ceil(
        n_val / 16
    )


def _costs(config: TrainConfig, tokens: Mapping[str, Sequence[tuple[int, int]]]) -> str:
    row, nf4 = _longest_mean(tokens), config.quantization == "nf4"
    lines = [
        f"minutes and dollars (estimate; RunPod prices of {PRICES_DATE}; set-up and download are paid for too)"
    ]
    lines.append(f"  {'':<12}{'$/h':>6}{'fits':>9}{'training, min':>16}{'in all, min':>15}{'in all, $':>14}")
    for gpu in GPUS:
        fitting = [
            size
            for size in _micro_batches(config)
            if vram_gb(size, row, config.lora.rank, tuple(config.lora.target_modules), nf4, False)
            < 0.9 * gpu.memory_gb
        ]
        if not fitting:
            lines.append(f"  {gpu.name:<12}{gpu.usd_per_hour:>6.2f}{'no':>9}")
            continue
        low, high = minutes(gpu, *_work(config, tokens, max(fitting)), checkpointing=False)
        start, end = low + SETUP_MINUTES[0], high + SETUP_MINUTES[1]
        dollars = f"{start / 60 * gpu.usd_per_hour:.2f}–{end / 60 * gpu.usd_per_hour:.2f}"
        fits = f"{max(fitting)} x {config.effective_batch // max(fitting)}"
        lines.append(
            f"  {gpu.name:<12}{gpu.usd_per_hour:>6.2f}{fits:>9}{f'{low:.1f}–{high:.1f}':>16}{f'{start:.0f}–{end:.0f}':>15}{dollars:>14}"
        )
    return "\n".join(lines)


def _faster(config: TrainConfig, tokens: Mapping[str, Sequence[tuple[int, int]]]) -> str:
    advice = []
    if isinstance(config.micro_batch, int) and config.micro_batch < config.effective_batch:
        rest = config.effective_batch // config.micro_batch
        advice.append(
            f"micro_batch: auto instead of {config.micro_batch}: the same mathematics in {rest} times fewer launches"
        )
    if config.gradient_checkpointing is True:
        advice.append(
            "gradient_checkpointing: auto: rows this short fit without it, and it costs about a fifth of the speed"
        )
    if config.quantization == "nf4":
        advice.append(
            "quantization: none on a card with 48 GB or more: no weights to unpack in every micro-batch"
        )
    if config.max_length > 4 * max([prompt + reply for prompt, reply in tokens["train"]], default=1):
        advice.append(
            "nothing to gain from a smaller max_length: batches are padded to their own longest row only"
        )
    return "faster for rows of this length\n" + "\n".join(f"  {line}" for line in advice) if advice else ""


def processed_splits(data: str) -> dict[str, list[Pair]]:
    """train, val and test of a data set. Raises UserError where a file is missing or malformed."""
    from lib.base.files import read_jsonl

    return {
        name: read_jsonl(checked(Path("data") / data / "processed" / f"{name}.jsonl"), Pair)
        for name in ("train", "val", "test")
    }
