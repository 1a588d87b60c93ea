"""Train a run, or go on with one that was interrupted. A finished run of the same config and data is left as
it is.

    python -m scripts.train --config configs/train-tiny.yaml
    accelerate launch --multi_gpu --num_processes 2 -m scripts.train --config configs/train-qwen3-8b.yaml

Writes adapters/<run>/: the adapter, metrics.jsonl, samples.jsonl, validation.json, checkpoints/, and
manifest.json last.
"""

from pathlib import Path

from lib.base.config import config_name, given, load_config
from lib.base.console import load_env, parser, run
from lib.base.settings import TrainConfig
from lib.data.ready import refuse_unready
from lib.model.machine import refuse_small_machine
from lib.train.distributed import is_first
from lib.train.fingerprint import up_to_date
from lib.train.manifest import Manifest
from lib.train.preference_tuning import rewards_line
from lib.train.run import train
from lib.train.validation import memorisation_line

STOPPED = 143  # 128 + SIGTERM


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True, help="configs/train-<run>.yaml")
    arguments.add_argument("--data", help="another data set than the config's")
    args = arguments.parse_args()
    config, name = given(load_config(args.config, TrainConfig), data=args.data), config_name(args.config)
    folder = Path("adapters") / name
    refuse_unready(config.data)
    if up_to_date(folder, config):
        say(f"train: {folder} is up to date: same config, data and base model")
        return 0
    load_env()
    refuse_small_machine(name, config, to_train=True)
    manifest = train(name, config)
    if manifest is None:
        say(
            f"train: stopped by SIGTERM after a checkpoint in {folder}/checkpoints. Run the same command to "
            "go on from there."
        )
        return STOPPED
    say(report(manifest, folder))
    return 0


def say(text: str) -> None:
    """Print, once for all processes of a run on several GPUs."""
    if is_first():
        print(text)


def report(manifest: Manifest, folder: Path) -> str:
    """The calm summary: how much, how well, how long, where."""
    losses = " -> ".join(f"{loss:.3f}" for _, loss in manifest.eval_losses)
    lines = [
        f"train: {manifest.n_train:,} rows, {manifest.steps:,} steps in {manifest.seconds / 60:.1f} min"
        f" on {manifest.gpu or manifest.device} with {manifest.backend} ({manifest.backend_reason})",
        f"  eval loss        {losses}",
        *([f"  evaluations      {share:.0%} of the time"] if (share := manifest.evaluation_share) else []),
        (
            f"  best             {manifest.eval_loss:.3f} at step {manifest.best_step}, perplexity "
            f"{manifest.perplexity:.1f}"
        ),
        f"  train/eval gap   {manifest.train_eval_gap:+.3f}",
        *([f"  rewards          {rewards_line(manifest)}"] if manifest.reward_margin else []),
        f"  by heart         {memorisation_line(manifest.memorisation)}",
        *(f"  alert            {alert}" for alert in manifest.alerts),
        f"  advice           {manifest.advice}",
    ]
    return "\n".join([*lines, f"wrote {folder}/manifest.json"])


if __name__ == "__main__":
    run(main)
