"""Answer with a run's adapter through an engine on this machine, and prove that the adapter does something.

    python -m scripts.serve --config configs/train-qwen3-8b.yaml --engine llamacpp [--model base.gguf]

Where the engine is not installed, prints the commands and what to install.
Listens on 127.0.0.1 only. Ctrl-C ends it. Writes configs/eval-served.yaml: EVAL=served uses what it serves.
"""

import argparse
import contextlib
import signal
import sys
from functools import partial
from pathlib import Path

from lib.base.config import config_name, load_config
from lib.base.console import confirm, load_env, parser, run
from lib.base.settings import EvalConfig, TrainConfig
from lib.export.engines import INSTALL, PORTS, is_here
from lib.export.lora import read_lora
from lib.export.proof import prove, reference_of
from lib.export.servers import (
    answers,
    command_line,
    end_with_make,
    refuse_taken,
    running,
    step,
    until_one_ends,
)
from lib.export.serving import eval_config, plan, write_eval_config
from lib.train.fingerprint import changed_since


def parse_args() -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True, help="configs/train-<run>.yaml")
    arguments.add_argument("--engine", choices=PORTS, default="llamacpp", help="default: llamacpp")
    arguments.add_argument("--model", help="the base model: a GGUF file, or a folder for mlx")
    arguments.add_argument("--port", type=int, help="default: the engine's own; mlx takes the next one too")
    return arguments.parse_args()


def main() -> int:
    args = parse_args()
    config, name = load_config(args.config, TrainConfig), config_name(args.config)
    sampling = load_config(args.config.with_name(f"eval-{config.eval}.yaml"), EvalConfig).sampling
    written = args.config.with_name("eval-served.yaml")
    load_env()
    end_with_make()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end with this process
    lora = read_lora(Path("adapters") / name, config)
    if line := changed_since(lora.run, config):
        print(f"serve: {line}")
    serving = plan(lora, args.engine, args.model, args.port, sampling, confirm)
    for command in (*serving.servers, *serving.steps):
        print(command_line(command))
    config_text = partial(eval_config, lora, extends=config.eval)
    if not is_here(args.engine):
        print(f"\nnot started: {args.engine} is not installed here. Install it: {INSTALL[args.engine]}")
        print(f"Or run the commands above, and put this into {written}:\n\n{config_text(serving.arms)}")
        print(f"next: make serve ENGINE={args.engine} RUN={name}      once it is installed")
        return 0
    if serving.download:
        confirm(f"The first time, {args.engine} downloads {serving.download}. Go on?")
    shared = serving.shares_port and answers(serving.urls[0])
    for url in () if shared else serving.urls:
        refuse_taken(url)
    logs = lora.run / "serve"
    with running(() if shared else serving.servers, serving.urls, logs) as processes:
        for command in serving.steps:
            step(command)
        proof = prove(serving.arms, sampling, reference_of(lora))
        write_eval_config(written, config_text(proof.arms))
        print(f"{proof.line}\nwrote {written}")
        print(f"next: make demo RUN={name} EVAL=served      (in another terminal; eval and replies alike)")
        if processes:  # a server that ran before stays when this ends
            print("serving; Ctrl-C ends it", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                until_one_ends(processes, logs)
            print("serve: ended")
    return 0


if __name__ == "__main__":
    run(main)
