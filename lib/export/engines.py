"""How each engine answers with a run's adapter: commands, where base and tuned then are, what it needs."""

import importlib.util
import json
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lib.base.errors import UserError
from lib.base.files import read_json, write_text
from lib.base.settings import ArmConfig
from lib.export.lora import Lora
from lib.export.ollama import TAGS
from lib.model.chat import NO_THINKING

EngineName = Literal["llamacpp", "ollama", "mlx", "vllm"]
PORTS: dict[str, int] = {"llamacpp": 8080, "ollama": 11434, "mlx": 8080, "vllm": 8000}
HOST = "127.0.0.1"
CONTEXT = 4096  # tokens: a few-shot prompt and its reply
GGUF_ON_HUB = {"Qwen/Qwen3-8B": "Qwen/Qwen3-8B-GGUF:Q4_K_M"}
MLX_ON_HUB = {"Qwen/Qwen3-8B": "mlx-community/Qwen3-8B-4bit"}
FOUR_BIT = "about 5 GB"  # of Qwen3-8B
VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
INSTALL = {
    "llamacpp": "brew install llama.cpp (or pip install xllamacpp, with MODEL=model.gguf)",
    "ollama": "https://ollama.com/download, or brew install ollama",
    "mlx": "`make setup` brings it, on a Mac with Apple silicon",
    "vllm": "pip install vllm into an environment of its own, on a machine with an NVIDIA GPU",
}


@dataclass(frozen=True)
class Plan:
    """What `make serve` starts. servers stay; steps end by themselves, once the servers are up.

    download: what the engine would fetch and how large, or None. shares_port: may be running already.
    """

    engine: str
    servers: list[list[str]]
    urls: list[str]
    arms: dict[str, ArmConfig]
    steps: list[list[str]] = field(default_factory=list)
    download: str | None = None
    shares_port: bool = False


def is_here(engine: EngineName) -> bool:
    """True if this machine has the engine: its program, or the Python package that holds it."""
    if engine == "llamacpp":
        return bool(shutil.which("llama-server")) or _package("xllamacpp")
    if engine == "mlx":
        return bool(shutil.which("mlx_lm.server")) or (_package("mlx_lm") and _package("mlx"))
    return shutil.which(engine) is not None


def _package(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def llamacpp(lora: Lora, adapter: Path, base: Path | None, quantization: str, port: int) -> Plan:
    """One server for both arms: a request names the adapter's scale and reuses no cache of the other arm."""
    hub = GGUF_ON_HUB.get(lora.config.model)
    if base is None and hub is None:
        raise UserError(
            f"No GGUF of {lora.config.model} is known here. Name one of exactly this model: MODEL=model.gguf."
        )
    program = ["llama-server"]
    if not shutil.which("llama-server") and _package("xllamacpp"):
        if base is None:
            raise UserError(
                f"The package xllamacpp loads files only: MODEL=path of a GGUF of {lora.config.model}, "
                "or install llama-server (brew install llama.cpp), which downloads it."
            )
        program = [sys.executable, "-m", "lib.export.llama_server"]
    weights = ["-m", str(base)] if base else ["-hf", str(hub)]
    command = [*program, *weights, "--lora", str(adapter), "--lora-init-without-apply", "--jinja"]
    command += ["--host", HOST, "--port", str(port), "--ctx-size", str(CONTEXT), "--alias", "reply"]
    command += ["--chat-template-kwargs", NO_THINKING]
    command += ["--cors-origins", "localhost"]  # its default lets every page in the browser read answers
    url = _url(port)
    arms = {
        name: ArmConfig(
            base_url=url,
            model="reply",
            quantization=quantization if base else "q4_k_m",
            # Without both a request may be answered from what the other arm left (llama.cpp issue 26207).
            extra_body={"lora": [{"id": 0, "scale": scale}], "cache_prompt": False},
        )
        for name, scale in (("base", 0), ("tuned", 1))
    }
    return Plan("llamacpp", [command], [url], arms, download=None if base else f"{hub}, {FOUR_BIT}")


def ollama(lora: Lora, export: Path, base: Path | None, quantization: str, port: int) -> Plan:
    """Two models of one Ollama, base and tuned with one template. export: the folder of the GGUF adapter."""
    if not (export / "Modelfile").is_file():
        raise UserError(
            f"{lora.config.model} has another chat than ChatML: no Modelfile. Use ENGINE=llamacpp."
        )
    tag = TAGS.get(lora.config.model)
    if base is None and tag is None:
        raise UserError(
            f"Ollama has no {lora.config.model} that is known here. Name a GGUF of it: MODEL=model.gguf."
        )
    files = {"base": export / "Modelfile.base", "tuned": export / "Modelfile"}
    if (
        base is not None
    ):  # the Modelfiles of the export name Ollama's own copy, or a file that is to be put there
        files = {arm: _over(base, path, lora.run / "serve") for arm, path in files.items()}
    host, url = f"OLLAMA_HOST={HOST}:{port}", _url(port)
    names = {"base": f"reply-{lora.run.name}-base", "tuned": f"reply-{lora.run.name}"}
    steps = [["env", host, "ollama", "create", names[arm], "-f", str(files[arm])] for arm in names]
    kind = quantization if base else "q4_k_m"
    arms = {arm: ArmConfig(base_url=url, model=names[arm], quantization=kind) for arm in names}
    download = None if base else f"{tag}, {FOUR_BIT}"
    return Plan("ollama", [["env", host, "ollama", "serve"]], [url], arms, steps, download, shares_port=True)


def _over(base: Path, modelfile: Path, folder: Path) -> Path:
    """The Modelfile over the base model in a file, paths written out."""
    lines = modelfile.read_text(encoding="utf-8").split("\n")
    lines[0] = f"FROM {base.resolve()}"
    adapter = "ADAPTER ./"
    lines = [
        f"ADAPTER {modelfile.parent.resolve() / line.removeprefix(adapter)}"
        if line.startswith(adapter)
        else line
        for line in lines
    ]
    path = folder / modelfile.name
    write_text(path, "\n".join(lines))
    return path


def mlx(lora: Lora, adapter: Path, base: str | None, port: int) -> Plan:
    """Two servers: one of mlx-lm's holds one model, and would load it anew for every change of arm."""
    hub = MLX_ON_HUB.get(lora.config.model, lora.config.model)
    model = base or hub
    program = ["mlx_lm.server"]
    if not shutil.which("mlx_lm.server") and _package("mlx_lm"):
        program = [sys.executable, "-m", "mlx_lm", "server"]
    options = ["--host", HOST, "--chat-template-args", NO_THINKING, "--log-level", "WARNING"]
    arms, servers = {}, []
    for number, (arm, more) in enumerate((("base", []), ("tuned", ["--adapter-path", str(adapter)]))):
        own = ["--port", str(port + number), "--allowed-origins", _origin(port + number)]
        servers.append([*program, "--model", model, *more, *options, *own])
        arms[arm] = ArmConfig(
            base_url=_url(port + number), model="default_model", quantization=_mlx_quantization(model)
        )
    urls = [arm.base_url for arm in arms.values()]
    size = FOUR_BIT if hub != lora.config.model else "all its weights"
    return Plan("mlx", servers, urls, arms, download=None if base else f"{model}, {size}")


def vllm(lora: Lora, here: Path | None, port: int) -> Plan:
    """One server with two models. It reads PEFT's files themselves."""
    ranks = [rank for rank in VLLM_RANKS if rank >= lora.rank]
    if not ranks:
        raise UserError(f"vLLM takes adapters up to rank {VLLM_RANKS[-1]}, this one has {lora.rank}.")
    model, url = str(here or lora.config.model), _url(port)
    command = ["vllm", "serve", model, "--served-model-name", "base", "--host", HOST, "--port", str(port)]
    if here is None and lora.config.revision:
        command += ["--revision", lora.config.revision]
    command += ["--enable-lora", "--max-lora-rank", str(ranks[0]), "--lora-modules", f"tuned={lora.run}"]
    command += ["--max-model-len", str(CONTEXT), "--default-chat-template-kwargs", NO_THINKING]
    command += ["--allowed-origins", json.dumps([_origin(port)])]
    arms = {name: ArmConfig(base_url=url, model=name, quantization="bf16") for name in ("base", "tuned")}
    return Plan(
        "vllm", [command], [url], arms, download=None if here else f"{model}, all its weights in 16 bit"
    )


def _origin(port: int) -> str:
    return f"http://{HOST}:{port}"


def _url(port: int) -> str:
    return f"{_origin(port)}/v1"


def _mlx_quantization(model: str) -> str:
    path = Path(model) / "config.json"
    if not path.is_file():
        return "4bit" if model.endswith("4bit") else "unknown"
    config = read_json(path)
    if bits := (config.get("quantization") or {}).get("bits"):
        return f"{bits}bit"
    kind = config.get("dtype") or config.get("torch_dtype")
    return {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}.get(str(kind), "unknown")


def gguf_quantization(path: Path) -> str:
    """q4_k_m, f16, f32, ... as the file's header says; unknown where it does not."""
    from gguf import GGUFReader, LlamaFileType

    try:
        found = GGUFReader(path).get_field("general.file_type")
        kind = LlamaFileType(found.contents()).name if found else ""
    except (ValueError, OSError, IndexError) as error:
        raise UserError(f"{path} is not a whole GGUF file ({error}). Download it again.") from error
    return kind.removeprefix("MOSTLY_").removeprefix("ALL_").lower() or "unknown"
