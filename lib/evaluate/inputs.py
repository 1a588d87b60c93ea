"""Everything that the earlier steps of an evaluation left for its report."""

from dataclasses import dataclass
from typing import Any

from lib.base.files import read_dicts, read_json, read_jsonl
from lib.base.schema import Judgment, Pair, Reply, TestPrompt
from lib.base.seals import checked
from lib.evaluate.evaluation import Evaluation, training
from lib.evaluate.measures import Calibration
from lib.evaluate.report import parsed
from lib.evaluate.steps import (
    JudgmentsManifest,
    ModelMetrics,
    RepliesManifest,
    read_judgments_manifest,
    read_model_metrics,
    read_replies_manifest,
)
from lib.evidence.criteria import Shares
from lib.model.flaws import Flaws, shares
from lib.train.manifest import Manifest


@dataclass(frozen=True)
class Files:
    """Everything that the earlier steps left for a report. Raises UserError where a step is missing."""

    evaluation: Evaluation
    replies: list[Reply]
    judgments: list[Judgment]
    failed: list[dict[str, Any]]
    prompts: dict[str, TestPrompt]
    train: list[Pair]
    train_manifest: Manifest
    model_metrics: ModelMetrics
    calibration: Calibration
    judge_manifest: JudgmentsManifest
    reply_manifest: RepliesManifest

    @classmethod
    def read(cls, evaluation: Evaluation) -> "Files":
        folder = evaluation.folder
        failures, accuracy = checked(folder / "judgments.failed.jsonl"), checked(folder / "calibration.json")
        return cls(
            evaluation=evaluation,
            replies=evaluation.replies(),
            judgments=read_jsonl(checked(folder / "judgments.jsonl"), Judgment),
            failed=read_dicts(failures) if failures.exists() else [],
            prompts={prompt.tweet_id: prompt for prompt in evaluation.prompts()},
            train=evaluation.train(),
            train_manifest=training(evaluation.run_folder),
            model_metrics=read_model_metrics(checked(folder / "model_metrics.json")),
            calibration=parsed(read_json(accuracy), Calibration, str(accuracy)),
            judge_manifest=read_judgments_manifest(folder),
            reply_manifest=read_replies_manifest(folder),
        )

    @property
    def texts(self) -> dict[tuple[str, str], str]:
        return {(reply.tweet_id, reply.system): reply.reply for reply in self.replies}

    @property
    def tweets(self) -> dict[str, str]:
        return {tweet_id: prompt.tweet for tweet_id, prompt in self.prompts.items()}

    def of_people(self, flaws: Flaws) -> dict[str, Shares]:
        """Looks of people's own replies to these tweets, whether or not they were judged; {} without any."""
        answered = sorted(tweet for tweet, system in flaws if system == "human")
        return {"human": Shares(**shares(flaws, "human", answered))} if answered else {}

    @property
    def systems(self) -> list[str]:
        """The systems that answered, in the order of the eval config."""
        there = {reply.system for reply in self.replies}
        return [system for system in self.evaluation.eval.systems if system in there]
