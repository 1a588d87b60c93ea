"""An exported adapter answers in llama.cpp and in MLX as in torch: the model tiny, a real language model."""

import json
from pathlib import Path

import pytest

from lib.base.config import load_config
from lib.base.settings import TrainConfig
from lib.model.base_model import source_of
from tests.engines import exported, llama_answers, mlx_answers, needs_engines, run_of, smollm2, torch_answers

pytestmark = [pytest.mark.slow, needs_engines, pytest.mark.timeout(900)]  # SmolLM2 on a busy machine
RUN = Path("adapters/tiny")
NOISE = 0.005  # of logprobs in fp32 and f16; base and tuned are further apart than 0.3


def tiny_config():
    return load_config(Path("configs/train-tiny.yaml"), TrainConfig)


def alike(ours, theirs, noise=NOISE):
    """Largest difference of a logprob, over the tokens that the other engine lists and that are not rare."""
    listed = theirs.items() if isinstance(theirs, dict) else enumerate(theirs)
    off = max(abs(logprob - ours[token].item()) for token, logprob in listed if ours[token] > -7)
    assert off < noise


def check(torch, other, noise=NOISE):
    assert (torch["base"][0] - torch["tuned"][0]).abs().max() > 0.3
    for arm, (logprobs, text) in torch.items():
        alike(logprobs, other[arm][0], noise)
        assert other[arm][1].strip(" \n\ufffd") == text.strip(" \n\ufffd")


@pytest.mark.parametrize("dtype", ["f16", "f32"])
def test_a_gguf_adapter_answers_in_llama_cpp_as_in_torch(tiny_run, dtype):
    config = tiny_config()
    torch, _ = torch_answers(RUN, Path(source_of(config)))
    _, folder = exported(RUN, config, "gguf", dtype)
    _, base = exported(RUN, config, "base")
    check(torch, llama_answers(base / "base-f32.gguf", folder / f"adapter-{dtype}.gguf", Path("logs")))


def test_an_mlx_adapter_answers_in_mlx_as_in_torch(tiny_run):
    config = tiny_config()
    torch, ids = torch_answers(RUN, Path(source_of(config)))
    _, folder = exported(RUN, config, "mlx", "f32")
    check(torch, mlx_answers(Path(source_of(config)), folder, ids), 1e-4)


@pytest.fixture(scope="module")
def smol(tmp_path_factory):
    """(config, run, answers of torch, the prompt's token ids): SmolLM2 with a random adapter."""
    base, run = smollm2(tmp_path_factory.mktemp("smollm2")), tmp_path_factory.mktemp("runs") / "smol"
    config = run_of(base, run)
    torch, ids = torch_answers(run, base)
    assert torch["base"][1] != torch["tuned"][1]
    return config, run, torch, ids


def test_smollm2_answers_the_same_text_through_torch_and_llama_cpp(smol, tmp_path):
    config, run, torch, _ = smol
    _, folder = exported(run, config, "gguf")
    _, gguf = exported(run, config, "base", "f16")
    check(torch, llama_answers(gguf / "base-f16.gguf", folder / "adapter-f16.gguf", tmp_path), 0.05)
    assert json.loads((folder / "manifest.json").read_text())["architecture"] == "llama"


def test_smollm2_answers_the_same_text_through_torch_and_mlx(smol):
    config, run, torch, ids = smol
    _, folder = exported(run, config, "mlx", "f32")
    check(torch, mlx_answers(Path(config.model), folder, ids))
