"""The replies that an evaluation of a run recorded, side by side, in the browser: no model, no weights.

python -m demo.replay --config configs/train-tiny.yaml [--eval offline] [--port 7860]

Opens on this machine only. Votes work as in the demo, and go to the same file.
"""

import os
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from demo.drafts import Draft
from demo.events import as_asked
from demo.page import LOCAL, build_app, serve
from demo.votes import Votes
from lib.base.config import config_name, load_config
from lib.base.console import parser, run
from lib.base.errors import UserError
from lib.base.schema import drawn_from
from lib.base.settings import SamplingConfig, TrainConfig
from lib.evaluate.best_of import read_candidates
from lib.evaluate.evaluation import Evaluation, Recorded, adapter_sha256, recorded
from lib.train.manifest import as_trained

if TYPE_CHECKING:
    import gradio as gr


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True)
    arguments.add_argument("--data", help="whose tweets were answered; default: the run's data set")
    arguments.add_argument("--eval", help="whose replies are shown; default: the run's evaluation")
    arguments.add_argument("--port", type=int, help="default: the first free one from 7860 on")
    args = arguments.parse_args()
    replay(args.config, args.data, args.eval, args.port)


def replay(train: Path, data: str | None, name: str | None, port: int | None) -> None:
    """Serve the recorded replies of a run until Ctrl-C. Raises UserError where nothing is recorded."""
    # Before gradio is imported: it reads this once.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    evaluation = _recorded_one(train, data, name)
    tweets = {one.tweet_id: one.tweet for one in evaluation.prompts()}
    rows = recorded(evaluation.replies(), tweets, _candidates(evaluation.folder))
    if not rows:
        raise UserError(
            f"{evaluation.folder}/replies.jsonl holds no tweet that base and tuned both answered."
        )
    sha256 = adapter_sha256(evaluation.run_folder)
    votes = Votes(evaluation.run_folder / "votes.jsonl", evaluation.run, sha256) if sha256 else None
    names = f"Base · {evaluation.config.model}", f"Tuned · {evaluation.run}"
    reports = reports_of(evaluation.run_folder, evaluation.folder.name, evaluation.processed.parent)
    serve(replay_app(rows, *names, votes, reports), LOCAL, port, None, reports)


def replay_app(
    rows: Sequence[Recorded],
    base: str,
    tuned: str,
    votes: Votes | None = None,
    reports: Container[str] = (),
) -> "gr.Blocks":
    """The page of recorded replies, not yet launched: nothing but gradio is needed.

    The rows stay in this process: what a round shows is all that the browser gets. base, tuned: what stands
    above the boxes. votes, reports: as demo.page.build_app takes them.
    """
    by_tweet = {as_asked(row.tweet): row for row in rows}

    def answer(tweet: str, sampling: SamplingConfig) -> Iterator[tuple[str, ...]]:
        if (row := by_tweet.get(tweet)) is None:
            raise UserError("No reply to that tweet is recorded. “Next tweet” has others.")
        yield row.base, row.tuned
        if row.fewshot:
            yield row.base, row.tuned, row.fewshot

    def drafts(tweet: str, sampling: SamplingConfig) -> Iterator[Sequence[Draft]]:
        yield [Draft(*draft) for draft in by_tweet[tweet].drafts]

    return build_app(
        answer,
        base,
        tuned,
        SamplingConfig(seed=rows[0].seed),
        votes=votes,
        tweets=list(by_tweet),
        reports=reports,
        is_live=False,
        drafts=drafts if any(row.drafts for row in rows) else None,
        has_third=any(row.fewshot for row in rows),
    )


def _candidates(folder: Path) -> dict[str, list[tuple[str, float | None]]]:
    """tweet_id -> the drafts that the tuned model's best was picked from, with the ranker's scores."""
    found: dict[str, dict[str, float | None]] = {}
    for one in read_candidates(folder):
        if one.reply and drawn_from(one.system)[0] == "tuned":
            found.setdefault(one.tweet_id, {})[one.reply] = one.score
    return {tweet_id: list(drafts.items()) for tweet_id, drafts in found.items()}


def reports_of(folder: Path, evaluation: str, data: Path) -> dict[str, Path]:
    """The pages a tab away: of the run's own evaluation, or of another one of this run, and of its data."""
    evaluations = (folder / "eval" / evaluation / "report.html", *sorted(folder.glob("eval/*/report.html")))
    found = {
        "report": next((path for path in evaluations if path.is_file()), None),
        "data-report": data / "report.html",
    }
    return {name: path for name, path in found.items() if path and path.is_file()}


def evaluations_with_replies(folder: Path) -> list[str]:
    """Names of the evaluations of adapters/<run> that have written their replies."""
    return sorted(path.parent.name for path in folder.glob("eval/*/replies.jsonl"))


def _recorded_one(train: Path, data: str | None, name: str | None) -> Evaluation:
    """The evaluation that was asked for, the run's own, or another one of the run that has replies."""
    run = config_name(train)
    folder = Path("adapters") / run
    own, there = (
        name or as_trained(folder, load_config(train, TrainConfig)).eval,
        evaluations_with_replies(folder),
    )
    found = own if own in there else None if name else next(iter(there), None)
    if found is None:
        raise UserError(
            f"{folder} holds no recorded replies{f' of the evaluation {name}' if name else ''}. "
            f"Run `make replies RUN={run}{f' EVAL={name}' if name else ''}` first."
        )
    return Evaluation.of(train, train.with_name(f"eval-{found}.yaml"), data)


if __name__ == "__main__":
    run(main)
