"""The questions to an evaluation's judge: every pair of systems, the injected orders, pairs of real replies
whose likes are known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import content_hash, read_jsonl
from lib.base.schema import Preference
from lib.base.seals import checked
from lib.evaluate.evaluation import Evaluation
from lib.evaluate.replies import refuse_unlike_arms
from lib.judge.comparisons import Comparison, Judge, calibration_comparisons, comparison_key, comparisons
from lib.judge.judges import judge_of

# They show in 9 of 10 cases that a judge which is right 62% of the time beats a coin, and the simple rules
# where these are coins (docs/methods.md); more would only cost more.
MAX_CALIBRATION_PAIRS = 600


@dataclass(frozen=True)
class Questions:
    """All that one judge is asked.

    keys: key -> comparison, in the order of asking. of_systems, on_real: the keys of judgments.jsonl and
    calibration.jsonl.
    failed: pairs that cannot be judged. preferences: the real pairs; train_preferences: those of the training
    tweets.
    """

    judge: Judge
    identity: list[Any]
    keys: dict[str, Comparison]
    of_systems: list[str]
    on_real: list[str]
    failed: list[dict[str, Any]]
    preferences: list[Preference]
    train_preferences: list[Preference]

    @property
    def fingerprint(self) -> str:
        """Another fingerprint, other questions: what was judged before is not all."""
        pairs = [pair.model_dump(mode="json") for pair in [*self.preferences, *self.train_preferences]]
        return content_hash(list(self.keys), self.failed, pairs)

    @property
    def wanted(self) -> dict[str, list[str]]:
        """Output file -> the keys of its judgments."""
        return {"judgments.jsonl": self.of_systems, "calibration.jsonl": self.on_real}


def questions_of(evaluation: Evaluation) -> Questions:
    """The headline first, then the canaries, the other systems and the pairs of real replies. Asks nothing
    yet.

    Raises UserError where there is no reply, or the systems were not answered alike.
    """
    replies, config = evaluation.replies(), evaluation.eval
    if not replies:
        raise UserError(f"{evaluation.folder / 'replies.jsonl'} holds no reply. Run the generate step again.")
    refuse_unlike_arms(replies)
    tweets = {prompt.tweet_id: prompt.tweet for prompt in evaluation.prompts()}
    found, failed = comparisons(tweets, replies, config.systems, config.judge)
    pairs = _preferences(evaluation.processed / "calibration.jsonl")
    pairs.sort(key=lambda pair: content_hash([pair.chosen_id, pair.rejected_id]))
    del pairs[MAX_CALIBRATION_PAIRS:]
    on_real = calibration_comparisons(pairs, config.judge)
    judge = judge_of(config.judge, evaluation.train)
    identity = judge.identity

    def keys(some: Sequence[Comparison]) -> dict[str, Comparison]:
        return {comparison_key(one, identity): one for one in some}

    n_headline = sum((one.a, one.b) == ("tuned", "base") for one in found)
    return Questions(
        judge=judge,
        identity=identity,
        keys=keys([*found[:n_headline], *judge.canaries, *found[n_headline:], *on_real]),
        of_systems=list(keys(found)),
        on_real=list(keys(on_real)),
        failed=failed,
        preferences=pairs,
        train_preferences=_preferences(evaluation.processed / "preferences.jsonl"),
    )


def _preferences(path: Path) -> list[Preference]:
    """Absent is empty: a data set with one reply per tweet has no such pairs."""
    return read_jsonl(path, Preference) if checked(path).is_file() else []
