"""The judge that an eval config asks for: the one place that knows the kinds.

A new kind is a module with a class that offers what lib.judge.comparisons.Judge says, its keys in
JudgeConfig, and a line here.
"""

from collections.abc import Callable, Sequence

from lib.base.schema import Pair
from lib.base.settings import JudgeConfig
from lib.judge.claude import ClaudeJudge
from lib.judge.comparisons import Judge
from lib.judge.offline import OfflineJudge
from lib.judge.openai import OpenAIJudge


def judge_of(config: JudgeConfig, read_train: Callable[[], Sequence[Pair]]) -> Judge:
    """read_train: the training pairs, for a judge that learns from their likes; called only by such a one."""
    kinds: dict[str, Callable[[], Judge]] = {
        "claude": lambda: ClaudeJudge(config),
        "openai": lambda: OpenAIJudge(config),
        "offline": lambda: OfflineJudge(read_train),
    }
    return kinds[config.kind]()
