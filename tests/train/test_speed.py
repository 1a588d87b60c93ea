"""The training benchmark: what it runs, what it counts, and that it does not claim what it has not
measured."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lib.base.errors import UserError
from lib.base.settings import TrainConfig
from lib.model.shapes import KNOWN
from lib.train.bench_table import bench_page, goals, padded, paddings
from lib.train.metrics_log import counting
from lib.train.random_model import (
    QWEN3_8B,
    SMALL,
    lengths_of,
    matmul_parameters,
    random_rows,
    typical_lengths,
    write_weights,
)
from lib.train.speed import ARMS, MEMORY_ARMS, Meter, matmul_rate, measure

ROOT = Path(__file__).parents[2]
MINI = SMALL | {"num_hidden_layers": 1}
LENGTHS = typical_lengths(80)
A, B, C, D, E = ARMS


def result(speed, **other):
    return {"tokens_per_second": speed, "peak_gb": 9.1, "first_step_s": 2.5, "seconds": 100.0} | other


def test_the_rows_are_as_long_as_this_projects():
    totals = sorted(sum(length) for length in typical_lengths(1000))
    assert totals[500] == pytest.approx(75, abs=2) and totals[950] == pytest.approx(100, abs=3)


def test_the_shape_is_qwen3_8bs():
    known = KNOWN["Qwen/Qwen3-8B"]
    assert matmul_parameters(QWEN3_8B) == known.linear_params + known.head_params


def test_padding_does_not_count_as_tokens():
    import torch

    meter = Meter()
    step = counting(lambda model, inputs: "loss", meter.counts)
    assert (
        step(
            None, {"input_ids": torch.ones(2, 5), "attention_mask": torch.tensor([[1] * 5, [1, 1, 0, 0, 0]])}
        )
        == "loss"
    )
    step(None, {"input_ids": torch.ones(1, 9)})  # padding-free: no mask
    meter.warm, meter.end = 0.0, 2.0
    assert meter.tokens_per_second() == (7 + 9) / 2


def test_padding_is_what_batches_hold_beyond_their_rows():
    assert padded([2, 4, 10, 10], [[0, 1], [2, 3]]) == pytest.approx(2 / 28)
    assert padded([2, 4, 10, 10], [[0, 2], [1, 3]]) == pytest.approx(14 / 40)
    said = paddings([sum(length) for length in typical_lengths(300)])
    at_random, grouped, evaluated = (int(share) for share in re.findall(r"(\d+)%", said))
    assert at_random > grouped >= evaluated


def test_speed_is_of_the_tokens_and_the_time_after_the_warm_up(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("lib.train.speed.time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr("lib.train.speed._wait_for_gpu", lambda: None)
    meter = Meter()
    meter.start = 90.0
    for step, (seconds, tokens) in enumerate([(30, 7), (20, 7), (10, 7), (1, 40), (1, 60)], 1):
        now[0] += seconds
        meter.counts.append((tokens, 0))
        meter.on_step_end(None, SimpleNamespace(global_step=step), None)
    assert (meter.first, meter.tokens_per_second()) == (40.0, 50.0)


def test_a_product_of_matrices_counts_a_multiplication_and_an_addition(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    ticks = iter(range(0, 1000, 2))
    monkeypatch.setattr("lib.train.speed.time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    assert matmul_rate() == {"gpu": None, "tflops": pytest.approx(2 * 1024**3 / 2 / 1e12)}


def test_random_rows_are_a_prompt_that_is_given_and_a_reply_that_is_learned():
    (row,) = random_rows([(3, 2)], 100)
    assert row["labels"] == [-100] * 3 + row["input_ids"][3:] and len(row["input_ids"]) == 5
    assert all(50 <= token < 100 for token in row["input_ids"])
    assert all(prompt > reply >= 2 for prompt, reply in typical_lengths(1000))


@pytest.fixture
def weights(workspace):
    write_weights(workspace / "weights", MINI)
    return workspace / "weights"


@pytest.mark.parametrize("arm", [A, B, E], ids=lambda arm: arm.letter)
def test_an_arm_trains_and_is_measured(weights, arm):
    measured = measure(arm, MINI, LENGTHS, 4, weights)
    assert measured["tokens_per_second"] > 0 and measured["peak_gb"] > 0
    assert 0 < measured["first_step_s"] < measured["seconds"]


def test_two_epochs_are_measured_with_their_evaluations_and_checkpoints(weights):
    measured = measure(B, MINI, LENGTHS, None, weights)
    assert measured["seconds"] > 0
    saved = sorted(
        int(path.name.split("-")[1]) for path in (weights / "b" / "checkpoints").glob("checkpoint-*")
    )
    assert saved == list(range(1, 11))  # 72 rows, 5 steps an epoch, ten evaluations


def test_the_weights_that_unsloth_reads_are_a_model_in_4_bit_that_loads(weights):
    from lib.model.loading import load_model_for_training

    config = TrainConfig(data="bench", model=str(weights), backend="peft", quantization="nf4")
    model, tokenizer = load_model_for_training(config)
    assert type(model.base_model.model.model.layers[0].mlp.up_proj.base_layer).__name__ == "Linear4bit"
    assert model.config.vocab_size == MINI["vocab_size"] and tokenizer.eos_token == "<|im_end|>"


def test_an_arm_that_cannot_run_here_is_named_with_the_reason(workspace):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine could run it")
    with pytest.raises(UserError, match="unsloth cannot run here: no CUDA GPU") as refused:
        measure(D, MINI, LENGTHS, 4, workspace / "bench")
    page = bench_page(
        {"gpu": None, "tflops": 0.1}, SMALL, LENGTHS, 4, {A: result(100.0), D: str(refused.value)}, None
    )
    assert (
        "| d | Unsloth, our settings (16 x 1, no checkpointing) | not run: backend: unsloth cannot run here: "
        "no CUDA GPU" in page
    )


def test_a_page_from_a_cpu_says_that_nothing_was_measured_on_a_gpu():
    page = bench_page(
        {"gpu": None, "tflops": 0.1}, SMALL, LENGTHS, 4, {A: result(100.0), B: result(250.0)}, None
    )
    assert "No NVIDIA GPU here: a tiny shape on the CPU" in page and "not measured yet" in page
    assert "| b | plain TRL + PEFT, our settings (16 x 1, no checkpointing) | 250 | 2.50 |" in page
    assert page.count("not measured on this machine") == 4


def test_a_page_from_a_gpu_holds_each_goal_with_its_figure():
    results = {
        A: result(1000.0),
        C: result(2500.0),
        D: result(3100.0),
        MEMORY_ARMS[0]: result(2000.0, peak_gb=10.4),
    }
    page = bench_page(
        {"gpu": "NVIDIA H200", "tflops": 700.0}, QWEN3_8B, LENGTHS, 33, results, result(3000.0, seconds=83.0)
    )
    floor = 700e12 / (6 * matmul_parameters(QWEN3_8B))
    assert (
        f"| d | Unsloth, our settings (16 x 1, no checkpointing) | 3,100 | 3.10 | {3100 / floor:.0%} | 9.1 | "
        "2.5 |" in page
    )
    assert "at least 3 times as fast as (a): 3.10 times, met" in page
    assert "at least 1.25 times as fast as (c): 1.24 times, not met" in page
    assert "micro-batch 4: 10.4 GB, not met" in page
    assert "under 2 minutes on an H200: 83 s after loading, met" in page


def test_a_goal_is_met_by_its_own_figure_and_missed_beyond_it():
    def said(a, c, d, gb, seconds):
        of = {"a": result(a), "c": result(c), "d": result(d), "d4": result(1.0, peak_gb=gb)}
        return [goal.endswith(", met") for goal in goals(of, {"seconds": seconds})]

    assert said(100.0, 240.0, 300.0, 10.0, 119.9) == [True, True, True, True]
    assert said(100.0, 241.0, 299.0, 10.1, 120.0) == [False, False, False, False]
    of = {"d4": result(1.0, peak_gb=9.0), "b4": result(1.0, peak_gb=11.0)}
    assert "9.0 GB, met" in goals(of, None)[2]
    assert "11.0 GB, not met" in goals({"b4": of["b4"]}, None)[2]  # where Unsloth is not there


def test_the_page_says_how_long_the_rows_are_and_what_was_measured():
    lengths = [(n // 2, n - n // 2) for n in range(100, 0, -1)]
    page = bench_page({"gpu": None, "tflops": 0.123}, SMALL, lengths, 33, {A: result(100.0)}, None)
    assert "100 rows of 51 tokens (median), 96 (95th percentile); 33 steps of 16 rows an arm" in page
    assert "0.12 TFLOP/s measured" in page


def test_a_goal_without_its_arms_is_not_claimed():
    assert goals({"a": result(100.0), "d": "CUDA out of memory"}, "CUDA out of memory")[0].endswith(
        "not measured on this machine"
    )


def test_lengths_can_come_from_a_real_training_set(workspace):
    lengths = lengths_of(Path("configs/train-tiny.yaml"))
    assert len(lengths) == 42
    assert all(prompt > 20 and 5 < reply < 120 for prompt, reply in lengths)
    assert [len(row["input_ids"]) for row in random_rows(lengths, 2048)] == [
        sum(length) for length in lengths
    ]


def test_help_answers_at_once_with_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "scripts.bench_train", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 0 and "python -m scripts.bench_train" in done.stdout
