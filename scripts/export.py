"""A run's adapter for other engines: llama.cpp, Ollama, LM Studio, MLX, or merged into its base model.

    python -m scripts.export --config configs/train-qwen3-8b.yaml --format gguf [--dtype f32]

Writes adapters/<run>/export/<format>/, manifest.json last. What is up to date is left as it is.
Only `merged` needs the base model's weights: it says how large they are and asks.
"""

import argparse
from pathlib import Path

from lib.base.config import config_name, load_config
from lib.base.console import confirm, load_env, parser, run
from lib.base.settings import EvalConfig, TrainConfig
from lib.export.exporting import DTYPES, export, export_folder
from lib.export.howto import how_to_use
from lib.export.lora import read_lora
from lib.train.fingerprint import changed_since


def parse_args() -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True, help="configs/train-<run>.yaml")
    arguments.add_argument("--format", choices=DTYPES, default="gguf", help="default: gguf")
    arguments.add_argument("--dtype", help="f16 or f32; merged: bf16 or f16; default: the first")
    return arguments.parse_args()


def main() -> None:
    args = parse_args()
    config, name = load_config(args.config, TrainConfig), config_name(args.config)
    sampling = load_config(args.config.with_name(f"eval-{config.eval}.yaml"), EvalConfig).sampling
    load_env()
    lora = read_lora(Path("adapters") / name, config)
    if line := changed_since(lora.run, config):
        print(f"export: {line}")
    exported, is_new = export(lora, args.format, args.dtype, sampling, confirm)
    folder = export_folder(lora.run, args.format)
    if not is_new:
        print(f"export: {folder} is up to date: same adapter, same format")
    else:
        print(f"export: {lora.config.model} + {name}, rank {lora.rank}, as {args.format} in {exported.dtype}")
        for file, facts in exported.files.items():
            print(f"  {file:<28} {facts.bytes / 1e3:>12,.1f} kB")
        print(f"wrote {folder}/manifest.json")
    print(how_to_use(exported, folder))


if __name__ == "__main__":
    run(main)
