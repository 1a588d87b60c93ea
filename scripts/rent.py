"""Train a run on a rented GPU and bring it home; the same command goes on after any interruption.

    python -m scripts.rent --config configs/train-qwen3-8b.yaml --eval claude --on runpod

Asks first. Writes adapters/<run>/ as `make train` and `make replies` do, and its ledger.jsonl.
"""

import argparse
from functools import partial
from pathlib import Path

from lib.base.config import config_name, given, load_config
from lib.base.console import confirm, load_env, parser, printable, run
from lib.base.errors import UserError
from lib.base.files import lock
from lib.base.settings import EvalConfig, TrainConfig
from lib.data.ready import refuse_unready
from lib.model.base_model import TINY, local_tokenizer
from lib.model.shapes import shape_of
from lib.remote.hf_jobs import hf_jobs
from lib.remote.interrupts import signals_end
from lib.remote.need import need_of
from lib.remote.orders import order, work_of
from lib.remote.renting import Renting
from lib.remote.runpod import runpod
from lib.remote.seam import Clock
from lib.train.fingerprint import fingerprint_of, up_to_date
from lib.train.needs import GpuNeeds, Tokens, gpu_needs
from lib.train.plan import processed_splits, row_tokens
from lib.train.rows import token_rows

ENGINES = {"runpod": runpod, "hf": hf_jobs}


def parse_args() -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True, help="configs/train-<run>.yaml")
    arguments.add_argument("--eval", required=True, help="the evaluation whose replies are written there too")
    arguments.add_argument("--data", help="another data set than the config's")
    arguments.add_argument("--on", choices=sorted(ENGINES), required=True, help="who rents the machine out")
    return arguments.parse_args()


def main() -> None:
    args = parse_args()
    config, name = given(load_config(args.config, TrainConfig), data=args.data), config_name(args.config)
    refuse_unready(config.data)
    load_config(args.config.with_name(f"eval-{args.eval}.yaml"), EvalConfig)
    load_env()
    folder = Path("adapters") / name
    with lock(folder / "remote.lock"):
        engine = ENGINES[args.on](Clock(), say)
        splits = processed_splits(config.data)
        # Other methods have no rows of tokens here; theirs are estimated from the words.
        tokenizer = local_tokenizer(config) if config.method == "sft" else None
        tokens = {
            split: row_tokens(
                config, splits[split], tokenizer and token_rows(config, splits[split], tokenizer)
            )
            for split in ("train", "val")
        }
        need, work = need_of(config, _plan(config, tokens)), work_of(name, config.data, args.eval)
        is_done = partial(up_to_date, folder, config)
        wanted = order(Path(), name, config, need, fingerprint_of(config), work, is_done)
        with signals_end():
            files = Renting(engine, wanted, say, confirm, Clock()).run()
    said = f"{len(files)} files came home\nwrote {folder}/manifest.json"
    if not files:
        said = f"{folder} is up to date: same config, data and base model. Nothing was rented."
    print(f"train: {said}")


def _plan(config: TrainConfig, tokens: Tokens) -> GpuNeeds | None:
    if config.model == TINY:
        return None
    shape = shape_of(config)
    if shape is None:
        raise UserError(
            f"model: the sizes of {config.model} are not known here, so neither is the GPU that it needs. "
            f"Download its config once: `hf download {config.model} config.json`."
        )
    return gpu_needs(config, shape, tokens)


def say(text: str) -> None:
    print(printable(text), flush=True)


if __name__ == "__main__":
    run(main)
