"""Engines in an environment of their own (.venv/engines), and SmolLM2 and runs to put through them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from lib.base.settings import SamplingConfig, TrainConfig
from lib.export.exporting import export, export_folder
from lib.export.lora import Lora, read_lora
from lib.export.servers import running
from lib.model.adapters import sha256_of
from lib.model.base_model import source_of
from lib.model.chat import chat_of
from lib.model.smollm2 import GGUF, WHEEL, convert

ROOT = Path(__file__).parents[1]
SITE = ROOT / ".venv" / "engines"
NOT_HERE = f"no engines in {SITE.relative_to(ROOT)}: .ci/run installs tests/engines.txt there"
needs_engines = pytest.mark.skipif(not (SITE / "xllamacpp").is_dir(), reason=NOT_HERE)
# Its answers begin with letters: of an emoji llama.cpp's server shows only the last token.
PROMPT = [{"role": "user", "content": "Write one sentence about a bike."}]
N_TOKENS = 6
N_TOP = 50  # of llama.cpp's distribution
RARE = -7  # log-probability


def environment():
    """A process that finds this project and the engines, and no llama-server of the machine."""
    paths = [str(ROOT), str(SITE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": "1",
        "LLAMA_ARG_THREADS": "1",  # two would wait for each other on a busy machine
        "PATH": "/usr/bin:/bin",
    }


def free_port():
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def no_question(question):
    raise AssertionError(f"asked: {question}")


def exported(run: Path, config: TrainConfig, kind, dtype=None) -> tuple[Lora, Path]:
    """(the adapter, the folder of its export in this format)."""
    lora = read_lora(run, config)
    export(lora, kind, dtype, SamplingConfig(), no_question)
    return lora, export_folder(run, kind)


def torch_answers(run: Path, source: Path):
    """{arm: (next-token log-probabilities, greedy text)} in fp32, and the prompt's token ids."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source)
    base = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, str(run)).eval()
    ids = chat_of(tokenizer).prompt(PROMPT)

    def answer():
        with torch.inference_mode():
            logits = model(torch.tensor([ids])).logits[0, -1].float()
            written = model.generate(
                input_ids=torch.tensor([ids]),
                max_new_tokens=N_TOKENS,
                do_sample=False,
                repetition_penalty=1.0,
            )
        text = tokenizer.decode(written[0, len(ids) :], skip_special_tokens=True)
        return logits.log_softmax(-1), text

    with model.disable_adapter():
        answers = {"base": answer()}
    return {**answers, "tuned": answer()}, ids


def llama_answers(base: Path, adapter: Path, folder: Path):
    """{arm: ({token id: logprob} of the likeliest, greedy text)} of llama.cpp's own server."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/v1"
    command = [sys.executable, "-m", "lib.export.llama_server", "-m", str(base), "--lora", str(adapter)]
    command += ["--lora-init-without-apply", "--jinja", "--port", str(port), "--ctx-size", "512"]
    answers = {}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment().items():
            patch.setenv(name, value)
        with running([command], [url], folder):
            for scale, arm in enumerate(("base", "tuned")):
                body = {"messages": PROMPT, "max_tokens": N_TOKENS, "temperature": 0, "logprobs": True}
                body |= {"top_logprobs": N_TOP, "lora": [{"id": 0, "scale": scale}], "cache_prompt": False}
                body["chat_template_kwargs"] = {"enable_thinking": False}
                choice = httpx.post(f"{url}/chat/completions", json=body, timeout=120).json()["choices"][0]
                top = choice["logprobs"]["content"][0]["top_logprobs"]
                answers[arm] = ({one["id"]: one["logprob"] for one in top}, choice["message"]["content"])
    return answers


MLX = """
import json, sys
import mlx.core as mx
from mlx_lm import load
base, adapter, ids, n = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4])
model, tokenizer = load(base, adapter_path=adapter)
model.set_dtype(mx.float32)
loras = [module for module in model.modules() if hasattr(module, "lora_a")]
scales, answers = [module.scale for module in loras], {}
for arm in ("base", "tuned"):
    for module, scale in zip(loras, scales):
        module.scale = scale if arm == "tuned" else 0.0
    written, first = [], None
    for _ in range(n):
        logits = model(mx.array([ids + written]))[0, -1]
        first = (logits - mx.logsumexp(logits)).tolist() if first is None else first
        token = int(mx.argmax(logits))
        if token in tokenizer.eos_token_ids:
            break
        written.append(token)
    answers[arm] = [first, written]
print(json.dumps(answers))
"""


def mlx_answers(source: Path, adapter: Path, ids):
    """{arm: (next-token log-probabilities, greedy text)} of MLX in fp32."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source)
    command = [sys.executable, "-c", MLX, str(source), str(adapter), json.dumps(ids), str(N_TOKENS)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    answers = json.loads(done.stdout.splitlines()[-1])
    return {
        arm: (first, tokenizer.decode(ids, skip_special_tokens=True)) for arm, (first, ids) in answers.items()
    }


def every_engine(run: Path, config: TrainConfig, dtype: str):
    """The answers of torch, llama.cpp and MLX. dtype: of the GGUF adapter, f16 or f32."""
    source = Path(source_of(config))
    torch, ids = torch_answers(run, source)
    (_, gguf), (_, base) = exported(run, config, "gguf", dtype), exported(run, config, "base")
    llama = llama_answers(base / "base-f32.gguf", gguf / f"adapter-{dtype}.gguf", Path("logs"))
    return torch, llama, mlx_answers(source, exported(run, config, "mlx", "f32")[1], ids)


def off(torch, other) -> float:
    """Largest difference of a log-probability from torch's, over both arms and the tokens that the other
    engine lists and that are not rare."""
    found = []
    for arm, (ours, _) in torch.items():
        theirs = other[arm][0]
        listed = theirs.items() if isinstance(theirs, dict) else enumerate(theirs)
        found += [abs(logprob - ours[token].item()) for token, logprob in listed if ours[token] > RARE]
    return max(found)


def apart(torch) -> float:
    """Largest difference of a log-probability between base and tuned."""
    return (torch["base"][0] - torch["tuned"][0]).abs().max().item()


def texts(answers) -> dict[str, str]:
    """Arm -> what it wrote, without an emoji that was cut off."""
    return {arm: text.strip(" \n\ufffd") for arm, (_, text) in answers.items()}


def smollm2(folder: Path) -> Path:
    """SmolLM2-135M-Instruct as transformers keeps a model, from the GGUF in the wheel."""
    convert(SITE / WHEEL / GGUF, folder)
    return folder


def run_of(base: Path, run: Path) -> TrainConfig:
    """A finished run whose adapter, of random numbers, changes what base answers; its config."""
    import torch
    from peft import LoraConfig
    from safetensors.torch import save_file
    from transformers import AutoConfig

    from lib.base.settings import ALL_LINEAR
    from lib.export.lora import projection_sizes

    shape, rank = AutoConfig.from_pretrained(base), 8
    draw, tensors = torch.Generator().manual_seed(4), {}
    for layer in range(shape.num_hidden_layers):
        for target, (n_in, n_out) in projection_sizes(shape).items():
            part = "self_attn" if target in ("q_proj", "k_proj", "v_proj", "o_proj") else "mlp"
            name = f"base_model.model.model.layers.{layer}.{part}.{target}"
            tensors[f"{name}.lora_A.weight"] = torch.randn(rank, n_in, generator=draw) / n_in**0.5
            tensors[f"{name}.lora_B.weight"] = 0.06 * torch.randn(n_out, rank, generator=draw)
    settings = LoraConfig(r=rank, lora_alpha=16, target_modules=list(ALL_LINEAR), task_type="CAUSAL_LM")
    settings.base_model_name_or_path = str(base)
    settings.save_pretrained(run)
    save_file(tensors, run / "adapter_model.safetensors", metadata={"format": "pt"})
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(base / name, run)
    manifest = {"model": str(base), "adapter_sha256": sha256_of(run / "adapter_model.safetensors")}
    (run / "manifest.json").write_text(json.dumps(manifest))
    return TrainConfig(data="sample", model=str(base), quantization="none")
