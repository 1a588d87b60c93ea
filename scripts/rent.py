"""Train a run on a rented GPU and bring it home; the same command goes on after any interruption.

    python -m scripts.rent --config configs/train-qwen3-8b.yaml --eval claude --on runpod

Asks first. Writes adapters/<run>/ as `make train` and `make replies` do, and its ledger.jsonl.
--replies: the run is trained; only the replies of the evaluation are written there.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lib.base.config import config_name, given, load_config
from lib.base.console import confirm, load_env, parser, printable, run
from lib.base.files import content_hash, lock
from lib.base.settings import EvalConfig, TrainConfig
from lib.data.ready import refuse_unready
from lib.evaluate.answers import are_written
from lib.evaluate.evaluation import Evaluation, training
from lib.remote.hf_jobs import hf_jobs
from lib.remote.interrupts import signals_end
from lib.remote.need import need_of, need_of_replies
from lib.remote.orders import order, work_of
from lib.remote.renting import Renting
from lib.remote.runpod import runpod
from lib.remote.seam import Clock
from lib.train.fingerprint import as_begun, fingerprint_of, up_to_date
from lib.train.plan import planned_needs
from lib.train.provenance import COMMIT, git_commit

ENGINES = {"runpod": runpod, "hf": hf_jobs}


def parse_args() -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True, help="configs/train-<run>.yaml")
    arguments.add_argument("--eval", required=True, help="the evaluation whose replies are written there too")
    arguments.add_argument("--data", help="another data set than the config's")
    arguments.add_argument("--on", choices=sorted(ENGINES), required=True, help="who rents the machine out")
    arguments.add_argument("--replies", action="store_true", help="only the replies, of a finished run")
    return arguments.parse_args()


def main() -> None:
    args = parse_args()
    config, name = given(load_config(args.config, TrainConfig), data=args.data), config_name(args.config)
    refuse_unready(config.data)
    load_env()
    folder, (job_hash, adapters, is_done) = Path("adapters") / name, job_of(args, config)
    with lock(folder / "remote.lock"):
        engine = ENGINES[args.on](Clock(), say)
        need = (need_of_replies if args.replies else need_of)(config, planned_needs(as_begun(name, config)))
        told = {COMMIT: git_commit() or ""}
        work = work_of(name, config.data, args.eval, to_train=not args.replies, told=told)
        wanted = order(Path(), name, config, need, job_hash, work, is_done, adapters)
        with signals_end():
            files = Renting(engine, wanted, say, confirm, Clock()).run()
    what = "replies" if args.replies else "train"
    made = f"eval/{args.eval}/replies.jsonl" if args.replies else "manifest.json"
    if not files:
        print(f"{what}: {folder / made} is up to date. Nothing was rented.")
    else:
        print(f"{what}: {len(files)} files came home\nwrote {folder / made}")


def job_of(args: argparse.Namespace, config: TrainConfig) -> tuple[str, list[str], Callable[[], bool]]:
    """(hash of what is to be done, the runs whose adapters go there, whether all of it is home)."""
    path = args.config.with_name(f"eval-{args.eval}.yaml")
    if not args.replies:
        load_config(path, EvalConfig)
        is_done = partial(up_to_date, Path("adapters") / config_name(args.config), config)
        return fingerprint_of(config), [config.init_adapter] if config.init_adapter else [], is_done
    evaluation = Evaluation.of(args.config, path, args.data)
    training(evaluation.run_folder)
    job_hash = content_hash("replies", path, evaluation.run_folder / "manifest.json")
    return job_hash, [evaluation.run, *evaluation.others], partial(are_written, evaluation)


def say(text: str) -> None:
    print(printable(text), flush=True)


if __name__ == "__main__":
    run(main)
