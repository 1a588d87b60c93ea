"""Memory, minutes and dollars of a run on machines that are not this one, sentence by sentence."""

import re
import shutil
from pathlib import Path

import pytest

from lib.base.settings import TrainConfig
from lib.model.memory import vram_gb
from lib.model.shapes import KNOWN
from lib.train.assumed import assumed_tokens
from lib.train.gpus import OFFERS, Gpu, minutes
from lib.train.mac import mac
from lib.train.needs import (
    base_weights,
    costs,
    evaluations,
    faster,
    gpu_needs,
    longest_mean,
    longest_row,
    memory,
    rented,
    work,
)

ROOT = Path(__file__).parents[2]
QWEN = KNOWN["Qwen/Qwen3-8B"]
CONFIG = TrainConfig(data="x", epochs=2, evals_per_run=1, early_stopping=None, remote={"gpus": ["L40S"]})
# 94 rows of 75 tokens and 6 of 100; the longest one is validated on
TOKENS = {"train": [(50, 25)] * 94 + [(70, 30)] * 6, "val": [(50, 25)] * 9 + [(90, 41)]}


def changed(**changes):
    return TrainConfig.model_validate({**CONFIG.model_dump(), **changes})


def test_a_batch_is_as_long_as_its_95th_percentile_and_a_card_holds_the_longest_row():
    assert (longest_mean(TOKENS), longest_row(TOKENS)) == (100, 131)
    assert (longest_mean({"train": [], "val": []}), longest_row({"train": [], "val": []})) == (1, 1)


def test_the_work_is_every_step_in_whole_batches_and_two_evaluations_without_a_backward_pass():
    n_tokens, n_batches = work(CONFIG, TOKENS, 4)
    n_steps, mean = 14, (94 * 75 + 6 * 100) / 100
    evaluated = 806 + 10 * (54 + 16)  # tokens that are read; ten replies of 16, each after a prompt of 54
    assert n_tokens == pytest.approx(n_steps * 16 * mean + 2 * evaluated / 2)
    assert n_batches == pytest.approx(n_steps * 4 + 2 * (1 / 3 + 16 / 4))


@pytest.mark.parametrize("checkpointing, passes", [(False, 4), (True, 6)])
def test_time_is_arithmetic_at_a_share_of_the_peak_and_launches(checkpointing, passes):
    flops = 1e6 * (QWEN.linear_params + QWEN.head_params) * passes
    best, cautious = minutes(Gpu("G", 48, 100.0, {}), QWEN, 1e6, 300, checkpointing)
    assert best == pytest.approx((flops / 40e12 + 300 * 0.12) / 60)
    assert cautious == pytest.approx((flops / 20e12 + 300 * 0.4) / 60)


def test_offers_are_runpods_then_the_hubs_each_from_the_cheapest():
    assert [engine for engine, _, _ in OFFERS] == sorted((one[0] for one in OFFERS), key="hf".__eq__)
    for engine in ("runpod", "hf"):
        prices = [usd for of, _, usd in OFFERS if of == engine]
        assert prices == sorted(prices) and 0.3 < prices[0] < 1 < prices[-1] < 10, engine


@pytest.mark.parametrize("length", [75, 120, 165, 200])
def test_a_rented_run_takes_the_largest_batch_that_leaves_a_tenth_of_the_card_and_pays_for_set_up_too(
    length,
):
    targets, sizes = tuple(CONFIG.lora.target_modules), (1, 2, 4, 8, 16)
    tokens = {"train": [(length - 25, 25)] * 100, "val": [(50, 25)] * 10}
    for run in rented(CONFIG, QWEN, tokens):
        needed = {size: vram_gb(QWEN, size, length, 16, targets, True, False) for size in sizes}
        fits = [size for size, gb in needed.items() if gb < 0.9 * run.gpu.memory_gb]
        assert (run.micro_batch, run.quantization) == (max(fits), "nf4"), run.gpu.name
        load = work(CONFIG, tokens, run.micro_batch)
        assert run.training == minutes(run.gpu, QWEN, *load, checkpointing=False)
        whole = (run.training[0] + 4, run.training[1] + 12)
        assert run.minutes == whole
        assert run.usd == pytest.approx(tuple(one / 60 * run.usd_per_hour for one in whole))
    needs = gpu_needs(CONFIG, QWEN, tokens)
    assert needs.minutes["L40S"] == next(
        run.minutes for run in rented(CONFIG, QWEN, tokens) if run.gpu.name == "L40S"
    )
    assert needs.memory_gb == vram_gb(QWEN, 4, length, 16, targets, True, False)


def test_the_page_marks_the_cards_that_may_be_rented_and_a_model_that_does_not_fit():
    lines = costs(CONFIG, QWEN, TOKENS).splitlines()[3:-1]
    assert [line.split()[2] for line in lines if line.startswith("*")] == ["L40S", "L40S"]
    assert len(lines) == len(OFFERS)
    shown = next(line for line in lines if "L40S" in line and "runpod" in line)
    of = next(one for one in rented(CONFIG, QWEN, TOKENS) if one.gpu.name == "L40S")
    for low, high in ((of.training, ".1f"), (of.minutes, ".0f"), (of.usd, ".2f")):
        assert f"{low[0]:{high}}–{low[1]:{high}}" in shown
    assert "16 x 1" in shown and shown.endswith("4-bit")
    whole = costs(changed(quantization="none"), KNOWN["Qwen/Qwen3-32B"], TOKENS).splitlines()[3:-1]
    assert [line.split()[-1] for line in whole if " L40S " in line] == ["no", "no"]


@pytest.mark.parametrize("effective, columns", [(16, [1, 2, 4, 8, 16]), (12, [1, 2, 4]), (6, [1, 2])])
def test_the_memory_table_has_every_micro_batch_that_divides_a_step(effective, columns):
    head, *rows = memory(changed(effective_batch=effective), QWEN, TOKENS).splitlines()
    assert re.findall(r"\d+ x \d+", head) == [f"{size} x {effective // size}" for size in columns]
    assert [row.split("  ")[1] for row in rows[:2]] == ["nf4, no checkpointing", "nf4, checkpointing"]
    assert len(rows) == 8 and sum(", Unsloth" in row for row in rows) == 4
    plain = memory(changed(effective_batch=effective, backend="peft"), QWEN, TOKENS).splitlines()[1:]
    assert len(plain) == 4
    targets = tuple(CONFIG.lora.target_modules)
    for row, (nf4, again) in zip(
        plain, ((True, False), (True, True), (False, False), (False, True)), strict=True
    ):
        first = vram_gb(QWEN, 1, 100, 16, targets, nf4, again, "peft")
        assert row.split()[-len(columns)] == f"{first:.1f}"


def test_less_evaluation_is_advised_above_the_goal_alone():
    tokens = {"train": [(40, 35)] * 900, "val": [(40, 35)] * 100}
    seldom = evaluations(changed(evals_per_run=1), QWEN, tokens)
    often = evaluations(changed(evals_per_run=20), QWEN, tokens)
    assert seldom.startswith("evaluations: ") and "less:" not in seldom
    assert "; less: a lower max_evaluation_share or evals_per_run, or a higher evals_after" in often


@pytest.mark.parametrize(
    "changes, said",
    [
        ({}, ""),
        ({"micro_batch": 4}, "the same mathematics in 4 times fewer launches"),
        ({"micro_batch": 16}, ""),
        ({"gradient_checkpointing": True}, "gradient_checkpointing: auto"),
        ({"gradient_checkpointing": False}, ""),
        ({"quantization": "nf4"}, "quantization: auto: bf16 on a card of 48 GB"),
        ({"max_length": 401}, "nothing to gain from a smaller max_length"),
        ({"max_length": 400}, ""),
    ],
)
def test_what_would_be_faster_is_said_where_it_would_be(changes, said):
    shown = faster(changed(**{"quantization": "none", "max_length": 100, **changes}), TOKENS)
    assert said in shown and bool(shown) is bool(said) and shown.count("\n") == bool(said)


def test_auto_is_settled_by_the_longest_row_for_cards_and_by_mlx_for_a_mac():
    auto = changed(quantization="auto")
    assert base_weights(CONFIG, QWEN, TOKENS, [], on_mlx=False) == ""
    shown = base_weights(auto, QWEN, TOKENS, [], on_mlx=False)
    assert "here, no NVIDIA GPU" in shown and "here, with MLX" not in shown
    shown = base_weights(auto, QWEN, TOKENS, [], on_mlx=True)
    assert "4-bit here, with MLX" in shown and "no NVIDIA GPU" not in shown


def test_a_mac_lends_two_thirds_of_its_memory_and_is_as_slow_as_people_report():
    rows = re.findall(
        r"(?m)^ +(\d+) +([\d.]+) +([\d.]+) +(\d+) x (\d+) +(\d+)–(\d+)", mac(CONFIG, QWEN, TOKENS)
    )
    assert [int(row[0]) for row in rows] == [16, 24, 32, 48, 64, 96, 128]
    for size, usable, needs, at_once, parts, best, cautious in rows:
        assert float(usable) == pytest.approx(0.67 * int(size), abs=0.06)
        assert float(needs) <= float(usable) and int(at_once) * int(parts) == 16
        n_tokens, _ = work(CONFIG, TOKENS, int(at_once))
        of_8b = 8e9 / (QWEN.linear_params + QWEN.head_params)
        assert int(best) == round(n_tokens / (475 * of_8b) / 60)
        assert int(cautious) == round(n_tokens / (100 * of_8b) / 60)


@pytest.mark.parametrize(
    "changes, warned",
    [
        ({"learning_rate": 1e-4}, False),
        ({"learning_rate": 1.1e-4}, True),
        ({"learning_rate": 1.1e-4, "quantization": "auto"}, True),  # four bits, on a Mac
        ({"learning_rate": 1.1e-4, "quantization": "none"}, False),
    ],
)
def test_a_rate_that_has_gone_to_nan_in_four_bits_on_a_mac_is_warned_of(changes, warned):
    assert ("went to NaN" in mac(changed(**changes), QWEN, TOKENS)) is warned


@pytest.mark.parametrize("method, times", [("sft", 1), ("dpo", 2), ("kto", 1)])
def test_without_data_a_thousand_rows_are_assumed_less_what_is_held_out(tmp_path, monkeypatch, method, times):
    monkeypatch.chdir(tmp_path)
    other = {} if method == "sft" else {"method": method, "init_adapter": "v1"}
    single, tokens = assumed_tokens(CONFIG), assumed_tokens(changed(**other))
    assert {name: len(rows) for name, rows in tokens.items()} == {"train": 800, "val": 100}
    assert tokens["train"] == [(times * prompt, times * reply) for prompt, reply in single["train"]]
    (tmp_path / "configs").mkdir()
    shutil.copy(ROOT / "configs/data-main.yaml", tmp_path / "configs")
    (tmp_path / "configs/data-x.yaml").write_text("extends: main\nsplit: {val: 0.05, test: 0.25}\n")
    assert {name: len(rows) for name, rows in assumed_tokens(CONFIG).items()} == {"train": 700, "val": 50}
