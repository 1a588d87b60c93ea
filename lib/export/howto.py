"""Commands that use an export."""

from pathlib import Path

from lib.export.exporting import Exported


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
