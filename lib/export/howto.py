"""Commands that use an adapter: an export on this machine, or a published one on anybody's."""

import json
import shlex
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.settings import SamplingConfig, TrainConfig
from lib.export.engines import GGUF_ON_HUB, MLX_ON_HUB, VLLM_RANKS
from lib.export.exporting import Exported
from lib.export.ollama import TAGS, answer_begins, modelfile
from lib.model.base_model import TINY, pinned
from lib.model.chat import NO_THINKING, messages

FOLDER, PORT = "reply-adapter", 8080
QUOTED = shlex.quote(NO_THINKING)
LLAMA_CPP = "https://github.com/ggml-org/llama.cpp"
# PEFT keeps W + alpha / r * B A with A (r, in) and B (out, r); mlx-lm wants both transposed, and the scale.
TO_MLX = f"""\
import json
from pathlib import Path

import mlx.core as mx

peft, folder = Path("{FOLDER}"), Path("{FOLDER}-mlx")
settings = json.loads((peft / "adapter_config.json").read_text())
tensors = {{}}
for name, matrix in mx.load(str(peft / "adapter_model.safetensors")).items():
    module, _, side = name.removeprefix("base_model.model.").removesuffix(".weight").rpartition(".lora_")
    tensors[f"{{module}}.lora_{{side.lower()}}"] = mx.contiguous(matrix.astype(mx.float16).T)
lora = {{
    "rank": settings["r"],
    "scale": settings["lora_alpha"] / settings["r"],
    "dropout": 0.0,
    "keys": sorted({{name.split(".", 3)[3].rpartition(".")[0] for name in tensors}}),
}}
n_layers = len({{name.split(".")[2] for name in tensors}})
config = {{"fine_tune_type": "lora", "num_layers": n_layers, "lora_parameters": lora}}
folder.mkdir(exist_ok=True)
mx.save_safetensors(str(folder / "adapters.safetensors"), tensors)
(folder / "adapter_config.json").write_text(json.dumps(config))"""


def how_to_use(exported: Exported, folder: Path) -> str:
    """Lines of commands for the engines that read this export; the last is `next: make ...`."""
    run, lines = exported.run, []
    if exported.format == "gguf":
        adapter = folder / f"adapter-{exported.dtype}.gguf"
        if "Modelfile" in exported.files:
            lines.append(
                f"Ollama:     ollama create reply-{run} -f {folder}/Modelfile && ollama run reply-{run}"
            )
        merged = f"llama-export-lora -m BASE.gguf --lora {adapter} -o reply-{run}.gguf"
        lines.append(f"LM Studio:  it takes no adapters: {merged} && lms import reply-{run}.gguf")
        lines.append(f"next: make serve ENGINE=llamacpp RUN={run}")
    elif exported.format == "mlx":
        lines.append(f"next: make serve ENGINE=mlx RUN={run}")
    elif exported.format == "merged":
        lines.append(f"vLLM:       vllm serve {folder} --host 127.0.0.1")
        lines.append(
            f"LM Studio:  mlx_lm.convert --hf-path {folder} -q --mlx-path ~/.lmstudio/models/you/reply-{run}"
        )
        lines.append(f"next: make demo RUN={run}")
    return "\n".join(lines)


def on_other_engines(repo: str, run: Path, config: TrainConfig, sampling: SamplingConfig) -> str:
    """The card's Markdown for llama.cpp, Ollama, MLX and vLLM: from the repository to a reply, thinking off.

    Empty for the tiny model, which only its builder has, and for a run whose tokenizer is not here.
    """
    if config.model == TINY or not (run / "tokenizer.json").is_file():
        return ""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(run)
    except Exception as error:  # the libraries below raise anything for a damaged file
        raise UserError(
            f"{run}: its tokenizer cannot be read ({' '.join(str(error).split())[:200]}). Copy "
            "tokenizer.json and tokenizer_config.json back from where the training ran, or run "
            f"`make train RUN={run.name}`."
        ) from error
    config = pinned(config, run / "manifest.json")
    gguf = GGUF_ON_HUB.get(config.model)
    weights = f"-hf {gguf}" if gguf else "-m base.gguf"
    return "\n\n".join(
        [
            "The other engines answer at an address that speaks OpenAI's API. llama.cpp, Ollama and MLX read "
            "the adapter from a folder:",
            _shell(f"hf download {repo} --local-dir {FOLDER}"),
            "**llama.cpp** wants it as GGUF (no weights of the base model are loaded for that)"
            + (":" if gguf else f"; base.gguf is {config.model} as GGUF:"),
            _shell(
                f"git clone --depth 1 {LLAMA_CPP}",
                "pip install -r llama.cpp/requirements/requirements-convert_lora_to_gguf.txt",
                f"python llama.cpp/convert_lora_to_gguf.py {FOLDER} --outtype f16 --outfile adapter.gguf",
                f"llama-server {weights} --lora adapter.gguf --alias reply --jinja --reasoning off "
                f"--port {PORT}",
            ),
            *_with_ollama(config.model, tokenizer, sampling),
            "**MLX**, on a Mac: `pip install mlx-lm`, then this once,",
            f"```python\n{TO_MLX}\n```",
            "and",
            _shell(
                f"mlx_lm.server --model {MLX_ON_HUB.get(config.model, config.model)} "
                f"--adapter-path {FOLDER}-mlx --chat-template-args {QUOTED} --port {PORT}"
            ),
            *_with_vllm(repo, config),
            "**Then**, on any of them (Ollama: port 11434; MLX: the model's name is `default_model`):",
            _shell(_request(config.prompt, sampling)),
        ]
    )


def _shell(*lines: str) -> str:
    return "\n".join(["```sh", *lines, "```"])


def _with_ollama(model: str, tokenizer: Any, sampling: SamplingConfig) -> list[str]:
    suffix = answer_begins(tokenizer)
    if suffix is None:
        return ["**Ollama**: this model's chat is not ChatML, so no Modelfile is given. Use llama.cpp."]
    base = TAGS.get(model, "base.gguf")
    return [
        "**Ollama** takes the same adapter.gguf. This is its `Modelfile`, whose template never thinks:",
        f"```text\n{modelfile('adapter.gguf', base, suffix, sampling).rstrip()}\n```",
        _shell("ollama create reply -f Modelfile", "ollama run reply"),
    ]


def _with_vllm(repo: str, config: TrainConfig) -> list[str]:
    rank = next((rank for rank in VLLM_RANKS if rank >= config.lora.rank), None)
    if rank is None:
        return [f"**vLLM** takes adapters up to rank {VLLM_RANKS[-1]}; this one has {config.lora.rank}."]
    revision = f" --revision {config.revision}" if config.revision else ""
    return [
        "**vLLM**, on an NVIDIA GPU, reads this repository as it is:",
        _shell(
            f"vllm serve {config.model}{revision} --enable-lora --max-lora-rank {rank} "
            f"--lora-modules reply={repo} --default-chat-template-kwargs {QUOTED} --port {PORT}"
        ),
    ]


def _request(prompt: str, sampling: SamplingConfig) -> str:
    body = {
        "model": "reply",
        "messages": messages(prompt, "TWEET"),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "max_tokens": sampling.max_new_tokens,
        "chat_template_kwargs": json.loads(NO_THINKING),
    }
    address = f"http://127.0.0.1:{PORT}/v1/chat/completions"
    return f"curl {address} -H 'Content-Type: application/json' -d {shlex.quote(json.dumps(body))}"
