"""The first questions of a kind, one at a time: what the API does not take, or answers without a verdict, is
found out before it is sent by the dozen and paid for.
"""

from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence

from lib.base.errors import UserError
from lib.judge.failures import IN_A_ROW, Rejections
from lib.judge.outcomes import Outcomes

ADVICE = {
    "truncated": "Raise judge.max_tokens: the model thinks longer than that, or cannot end.",
    "refusal": "Ask another judge.model: this one declines.",
}


def probe(
    tweets: Mapping[str, str],
    is_open: Callable[[str], bool],
    ask: Callable[[str], bool],
    outcomes: Outcomes,
    rejections: Rejections,
    answered: Container[str],
) -> bool:
    """Ask until one question has a verdict, at most IN_A_ROW of different tweets. False: over the budget.

    tweets: key -> tweet, of all questions in their order. ask: one question, its answer read afterwards.
    answered: keys that have an answer. A batch says only at its end that the API does not take requests of
    this shape. What is refused, or answered without a verdict, may be a tweet's own fault: then another tweet
    is tried. Raises UserError where IN_A_ROW were answered, none has a verdict, and more would be asked.
    """
    open_keys = list(filter(is_open, tweets))
    firsts: dict[str, str] = {}
    for key in open_keys:
        firsts.setdefault(tweets[key], key)

    def refuse_useless() -> None:
        if not all(key in answered for key in open_keys):
            _refuse_useless([key for key in tweets if key in answered], outcomes)

    for key in list(firsts.values())[:IN_A_ROW]:
        refuse_useless()
        if not outcomes.judged.isdisjoint(tweets):
            return True
        if not ask(key):
            return False
        if not (rejections.waiting() or key in outcomes.failed):
            return True
    refuse_useless()
    return True


def _refuse_useless(answered: Sequence[str], outcomes: Outcomes) -> None:
    reasons = Counter(outcomes.failed[key] for key in answered if key in outcomes.failed)
    if outcomes.judged.isdisjoint(answered) and reasons.total() >= IN_A_ROW:
        usual = reasons.most_common(1)[0][0]
        advice = ADVICE.get(usual, "Ask another judge.model: this one does not answer in the form asked for.")
        said = ", ".join(f"{reason.replace('_', ' ')} {n}" for reason, n in reasons.most_common())
        raise UserError(
            f"None of the first {reasons.total()} answers holds a verdict ({said}), and each was paid for. "
            f"{advice} Their texts are in work/answers.jsonl."
        )
