"""The outcome of each question to a paid judge: a judgment, or a failure with its reason, written once."""

from collections.abc import Callable
from pathlib import Path

from lib.base.files import append_line, read_dicts
from lib.judge.comparisons import Comparison, Verdict, judgment_of, read_judgments
from lib.judge.rubric import UnusableAnswerError

GIVEN_UP = ("answer_lost", "rejected")  # reasons that AGAIN=1 puts aside


class Outcomes:
    """folder/judgments.jsonl and judgments.failed.jsonl.

    failed: key -> reason, the newest line of a key counts. read_answer: (question, answer as it came) -> its
    verdict.
    """

    def __init__(self, folder: Path, read_answer: Callable[[Comparison, str], Verdict]) -> None:
        self._read_answer = read_answer
        self._judgments, self._failures = folder / "judgments.jsonl", folder / "judgments.failed.jsonl"
        self.judged = set(read_judgments(self._judgments))
        rows = read_dicts(self._failures, torn_tail=True) if self._failures.exists() else []
        self.failed: dict[str, str] = {row["key"]: row["reason"] for row in rows}

    def read(self, key: str, comparison: Comparison, raw: str, model: str) -> None:
        """Turn an answer into a judgment or a failure.

        One that came after its question was given up still counts.
        """
        if key in self.judged or (key in self.failed and self.failed[key] not in GIVEN_UP):
            return
        try:
            verdict = self._read_answer(comparison, raw)
        except UnusableAnswerError as problem:
            self.fail(key, problem.reason, problem.detail)
        else:
            append_line(self._judgments, judgment_of(comparison, verdict, model, key))
            self.judged.add(key)

    def lost(self, key: str, n_times: int) -> None:
        """The question is given up, unless it has a judgment from before."""
        if key not in self.judged:
            self.fail(key, "answer_lost", f"asked {n_times} times, no answer came back; possibly paid")

    def fail(self, key: str, reason: str, detail: str) -> None:
        """Write a question's failure, the first one only."""
        if key not in self.failed:
            append_line(self._failures, {"key": key, "reason": reason, "detail": detail})
            self.failed[key] = reason
