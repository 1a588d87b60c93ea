"""Write adapters/<run>/space: a Hugging Face Space that replays recorded replies, without a model.

python -m scripts.space --config configs/train-tiny.yaml --eval configs/eval-offline.yaml [--tweets heldout]

The tweets are those of the bundled sample, which nobody posted; --tweets heldout takes the run's own held-out
tweets, other people's, after a question. Nothing is uploaded: the command for that is printed.
"""

from pathlib import Path
from typing import Any

from lib.base.config import config_name, load_config
from lib.base.console import confirm, counted, load_env, parser, run
from lib.base.settings import TrainConfig
from lib.evaluate.evaluation import Evaluation, training
from lib.evaluate.standing import next_line
from lib.publish.recordings import recordings
from lib.publish.space import build_space
from lib.train.fingerprint import changed_since


def main() -> None:
    args = _arguments()
    load_env()  # its keys are looked for in what is written
    evaluation = Evaluation.of(args.config, args.eval, args.data)
    training(evaluation.run_folder)
    if line := changed_since(evaluation.run_folder, load_config(args.config, TrainConfig)):
        print(f"space: {line}")
    recorded = recordings(evaluation, is_held_out_chosen=args.tweets == "heldout")
    n_tweets = counted(len(recorded.shown), "tweet")
    if recorded.are_of_others:
        confirm(
            f"Put {n_tweets} of other people into a folder to publish? X's terms bar passing on texts "
            "(docs/data-policy.md).",
            otherwise="Nothing was written.",
        )
    space = build_space(evaluation, recorded)
    print(f"space: {n_tweets} with recorded replies, no leak found")
    for reason, n in recorded.left_out.items():
        print(f"  left out: {n:>5,}  {reason}")
    print(f"wrote {space}\n")
    print(f"try it:    (cd {space} && ../../../.venv/bin/python app.py)")
    upload = f".venv/bin/hf upload you/{space.parent.name}-replies {space} ."
    print(f"publish:   {upload} --repo-type space --private")
    print(next_line(args.config, args.data, config_name(args.eval)))


def _arguments() -> Any:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True, help="configs/train-<run>.yaml")
    arguments.add_argument("--eval", type=Path, required=True, help="configs/eval-<name>.yaml: whose replies")
    arguments.add_argument("--data", help="the data set of these replies; default: the run's")
    arguments.add_argument(
        "--tweets", choices=("sample", "heldout"), default="sample", help="default: sample"
    )
    return arguments.parse_args()


if __name__ == "__main__":
    run(main)
