"""An exported adapter answers in llama.cpp and in MLX as in torch: the model tiny, a real language model."""

import json
from pathlib import Path

import pytest

from lib.base.config import load_config
from lib.base.settings import TrainConfig
from tests.conftest import copied
from tests.engines import (
    apart,
    every_engine,
    exported,
    llama_answers,
    mlx_answers,
    needs_engines,
    off,
    run_of,
    smollm2,
    texts,
    torch_answers,
)

pytestmark = [pytest.mark.slow, needs_engines, pytest.mark.timeout(900)]  # SmolLM2 on a busy machine


@pytest.mark.parametrize("run, made_by, dtype", [("tiny", "trained", "f16"), ("mlx", "mlx_trained", "f32")])
def test_every_engine_answers_as_torch_whatever_trained_the_adapter(
    run, made_by, dtype, request, tmp_path, monkeypatch
):
    """Of Unsloth's adapter tests/train/test_unsloth.py says the same, where one is trained."""
    monkeypatch.chdir(copied(request.getfixturevalue(made_by), tmp_path))
    config = load_config(Path(f"configs/train-{run}.yaml"), TrainConfig)
    torch, llama, mlx = every_engine(Path("adapters", run), config, dtype)
    assert apart(torch) > 0.1  # twenty times what may be noise
    assert off(torch, llama) < 0.005 and off(torch, mlx) < 1e-4
    assert texts(torch) == texts(llama) == texts(mlx)


@pytest.fixture(scope="module")
def smol(tmp_path_factory):
    """(config, run, answers of torch, the prompt's token ids): SmolLM2 with a random adapter."""
    base, run = smollm2(tmp_path_factory.mktemp("smollm2")), tmp_path_factory.mktemp("runs") / "smol"
    config = run_of(base, run)
    torch, ids = torch_answers(run, base)
    assert apart(torch) > 0.3 and torch["base"][1] != torch["tuned"][1]
    return config, run, torch, ids


def test_smollm2_answers_the_same_text_through_torch_and_llama_cpp(smol, tmp_path):
    config, run, torch, _ = smol
    _, folder = exported(run, config, "gguf")
    _, gguf = exported(run, config, "base", "f16")
    llama = llama_answers(gguf / "base-f16.gguf", folder / "adapter-f16.gguf", tmp_path)
    assert off(torch, llama) < 0.05 and texts(torch) == texts(llama)
    assert json.loads((folder / "manifest.json").read_text())["architecture"] == "llama"


def test_smollm2_answers_the_same_text_through_torch_and_mlx(smol):
    config, run, torch, ids = smol
    _, folder = exported(run, config, "mlx", "f32")
    mlx = mlx_answers(Path(config.model), folder, ids)
    assert off(torch, mlx) < 0.005 and texts(torch) == texts(mlx)
