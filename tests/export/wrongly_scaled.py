"""Serve the run tiny with an adapter that llama.cpp applies at twice its scale, and prove it: has to fail.

python tests/export/wrongly_scaled.py PORT
"""

import dataclasses
import sys
from pathlib import Path

from lib.base.config import load_config
from lib.base.console import run
from lib.base.settings import SamplingConfig, TrainConfig
from lib.export.gguf_file import write_adapter
from lib.export.lora import read_lora
from lib.export.proof import prove, torch_reference
from lib.export.servers import running
from lib.export.serving import plan


def main():
    lora = read_lora(Path("adapters/tiny"), load_config(Path("configs/train-tiny.yaml"), TrainConfig))
    serving = plan(lora, "llamacpp", None, int(sys.argv[1]), SamplingConfig(), print)
    adapter = Path("adapters/tiny/export/gguf/adapter-f16.gguf")
    write_adapter(dataclasses.replace(lora, alpha=2 * lora.alpha), adapter, "f16")
    with running(serving.servers, serving.urls, Path("logs")):
        print(prove(serving.arms, SamplingConfig(), torch_reference(lora)))


if __name__ == "__main__":
    run(main)
