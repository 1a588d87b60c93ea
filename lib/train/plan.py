"""The plan of a run, from the rows and the config alone: no weights, no GPU, no network."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import quantiles
from typing import Any

from lib.base.console import printable
from lib.base.errors import UserError
from lib.base.files import read_jsonl
from lib.base.hardware import nvidia_cards
from lib.base.schema import Pair, Preference
from lib.base.seals import checked
from lib.base.settings import TrainConfig
from lib.model.base_model import TINY, local_tokenizer
from lib.model.chat import Row, chat_of, halves, messages
from lib.model.qwen3 import qwen3_without_words
from lib.model.shapes import shape_of
from lib.train.mac import mac
from lib.train.needs import (
    HELD,
    GpuNeeds,
    Tokens,
    base_weights,
    costs,
    evaluations,
    faster,
    gpu_needs,
    memory,
)
from lib.train.preference_rows import Answer, answers, parts_of, preference_checks, read_preferences, unpaired
from lib.train.preference_tuning import check_start
from lib.train.preflight import Check
from lib.train.rows import token_rows
from lib.train.schedule import schedule

# What Qwen3's template puts around prompt and reply, in tokens, when its tokenizer is not here to count.
TEMPLATE_TOKENS = 13
WORD = re.compile(r"[^\W\d_]+|\d|[^\w\s]+|\s*\n+")


def row_tokens(
    config: TrainConfig, pairs: Sequence[Pair], rows: Sequence[Row] | None
) -> list[tuple[int, int]]:
    """(prompt, reply) tokens of each row, end token included; estimated from words where rows are None."""
    if rows is not None:
        return [(len(given), len(learned)) for given, learned in map(halves, rows)]
    prompt_tokens = _estimate(config.prompt.replace("{tweet}", ""))
    return [
        (prompt_tokens + _estimate(pair.tweet) + TEMPLATE_TOKENS, _estimate(pair.reply) + 1) for pair in pairs
    ]


def _estimate(text: str) -> int:
    """About the tokens that Qwen3's tokenizer makes of text: one per common word, more for long ones and for
    other scripts.
    """
    return sum(math.ceil(len(word.encode()) / 7) for word in WORD.findall(text))


def page(
    run: str,
    config: TrainConfig,
    shown: Sequence[Any],
    tokens: Tokens,
    tokenizer: Any | None,
    found: Sequence[Check],
    colour: bool,
) -> str:
    """The whole page for the terminal.

    shown: training rows, of which the first is shown. tokenizer: None where the model's is not on this
    machine.
    """
    counted = (
        ""
        if tokenizer is not None
        else f"  (estimated: the tokenizer of {config.model} is not on this machine)"
    )
    held = "unquantised" if config.quantization == "none" else HELD[config.quantization]
    parts = [
        f"plan for {run}: {config.model}, {held}, LoRA rank {config.lora.rank}, {config.method}",
        "rows and tokens" + counted + "\n" + _lengths(config, tokens),
        "schedule\n" + _schedule(config, len(tokens["train"])),
        "checks\n" + "\n".join(map(_checked, found)),
        "what is trained on"
        + (" (green)" if colour else " (between » and «)")
        + "\n"
        + _preview(config, shown, tokenizer, colour),
    ]
    parts += [] if config.model == TINY else _needs(config, tokens)
    return "\n\n".join(part for part in parts if part)


def _needs(config: TrainConfig, tokens: Tokens) -> list[str]:
    try:
        shape = shape_of(config)
    except UserError:  # the checks say why
        return []
    if shape is None:
        return [
            f"memory, minutes and dollars: not known, the config of {config.model} is not on this machine"
        ]
    title = f"memory, GB (estimate for {config.model.rpartition('/')[2]})\n"
    return [
        title + memory(config, shape, tokens),
        base_weights(config, shape, tokens, nvidia_cards()[0]),
        costs(config, shape, tokens),
        mac(config, shape, tokens),
        evaluations(config, shape, tokens),
        faster(config, tokens),
    ]


def _lengths(config: TrainConfig, tokens: Tokens) -> str:
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
            f"  {name:<8}{len(whole):>6,}{cuts[9]:>7.0f}{cuts[18]:>7.0f}{whole[-1]:>7}"
            f"{reply:>12.0f}{share:>10.0%}"
        )
    return "\n".join([*lines, f"  max_length {config.max_length}: nothing is cut; a longer row is an error"])


def _schedule(config: TrainConfig, n_rows: int) -> str:
    plan = schedule(config, n_rows)
    stopping = "off" if config.early_stopping is None else f"patience {config.early_stopping.patience}"
    return (
        f"  {plan.steps} optimiser steps: {config.epochs:g} epochs of {plan.steps_per_epoch}, "
        f"{config.effective_batch} rows each\n"
        f"  {plan.n_evals} evaluations, every {plan.eval_every} steps from {plan.eval_steps[0]} on; "
        f"early stopping: {stopping}\n"
        f"  the best {config.keep_best} checkpoints stay"
    )


def _checked(check: Check) -> str:
    if check.unknown:
        return f"  ?     {check.name}: {check.unknown}"
    return f"  {'ok  ' if check.problem is None else 'FAIL'}  {check.problem or check.name}"


def _preview(config: TrainConfig, pairs: Sequence[Any], tokenizer: Any | None, colour: bool) -> str:
    """The first row as the model sees it, its learned tokens marked."""
    if not pairs:
        return "  no rows"
    note = ""
    conversation, reply = messages(config.prompt, pairs[0].tweet), pairs[0].reply
    if tokenizer is None and "qwen3" in config.model.casefold():
        tokenizer = qwen3_without_words()
    if tokenizer is None:
        note = (
            f"\n  (without the marks around it: the chat template of {config.model} is not on this machine)"
        )
        given, learned = conversation[-1]["content"] + "\n", reply
    else:
        given, learned = chat_of(tokenizer).parts(conversation, reply)
    before, trained = printable(given), printable(learned)
    shown = f"\033[2m{before}\033[0m\033[32m{trained}\033[0m" if colour else f"{before}»{trained}«"
    return "\n".join("  " + line for line in shown.split("\n")) + note


def processed_splits(data: str) -> dict[str, list[Pair]]:
    """train, val and test of a data set. Raises UserError where a file is missing or malformed."""
    return {
        name: read_jsonl(checked(Path("data") / data / "processed" / f"{name}.jsonl"), Pair)
        for name in ("train", "val", "test")
    }


def planned_needs(config: TrainConfig) -> GpuNeeds | None:
    """A rented machine's needs for a run on its own data; None for the tiny model, which fits anywhere.

    Raises UserError where the model's sizes are not known here.
    """
    if config.model == TINY:
        return None
    shape = shape_of(config)
    if shape is None:
        raise UserError(
            f"model: the sizes of {config.model} are not known here, so neither is the GPU that it needs. "
            f"Download its config once: `hf download {config.model} config.json`."
        )
    splits = processed_splits(config.data)
    # Other methods have no rows of tokens here; theirs are estimated from the words.
    tokenizer = local_tokenizer(config) if config.method == "sft" else None
    tokens = {
        name: row_tokens(config, splits[name], tokenizer and token_rows(config, splits[name], tokenizer))
        for name in ("train", "val")
    }
    return gpu_needs(config, shape, tokens)


def preference_plan(
    config: TrainConfig, test: Sequence[Pair], tokenizer: Any | None
) -> tuple[dict[str, list[Answer]], Tokens, list[Check]]:
    """(rows of train and val, their tokens, the checks) of a preference run.

    A dpo row is a pair, shown by its chosen reply, and both its prompts and replies count; a kto row is one
    reply.
    """
    preferences = read_preferences(config)
    parts = parts_of(preferences)
    shown = {name: answers(part) for name, part in parts.items()}
    ids = {name: token_rows(config, part, tokenizer) for name, part in shown.items()} if tokenizer else None
    counted = {name: row_tokens(config, part, ids and ids[name]) for name, part in shown.items()}
    totals = {name: [sum(row) for row in rows] for name, rows in counted.items()}
    both = [pair for name in shown for pair in zip(shown[name], ids[name], strict=True)] if ids else None
    found = [
        *preference_checks(config, parts, test, totals, both, tokenizer),
        Check("the run to start from fits", _start_problem(config)),
    ]
    rows = {name: _shown(config, part) for name, part in parts.items()}
    if config.method == "kto":
        apart = {
            name: token_rows(config, part, tokenizer) if tokenizer else None for name, part in rows.items()
        }
        return rows, {name: row_tokens(config, part, apart[name]) for name, part in rows.items()}, found
    return rows, {name: _of_pairs(part) for name, part in counted.items()}, found


def _shown(config: TrainConfig, part: Sequence[Preference]) -> list[Answer]:
    return (
        answers(part)[::2]
        if config.method == "dpo"
        else [answer for kind in unpaired(part) for answer in kind]
    )


def _of_pairs(counted: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    return [
        (one[0] + other[0], one[1] + other[1]) for one, other in zip(counted[::2], counted[1::2], strict=True)
    ]


def _start_problem(config: TrainConfig) -> str | None:
    try:
        check_start(config)
    except UserError as error:
        return str(error)
    return None
