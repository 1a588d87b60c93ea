"""The judge's seam: what is compared, what a verdict is, the key it is kept under, and what every kind of
judge offers.

Answers are appended to a log one by one and found again by their key.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from lib.base.errors import UserError
from lib.base.files import append_line, content_hash, read_jsonl
from lib.base.ledger import Ledger
from lib.base.schema import Judgment, Preference, Reply, drawn_from
from lib.base.settings import JudgeConfig

Order = Literal["ab", "ba"]
BOTH: tuple[Order, ...] = ("ab", "ba")


@dataclass(frozen=True)
class Comparison:
    """Two replies to one tweet, shown in one order.

    Systems are never shown: a judge sees the tweet, `first` and `second`.
    """

    tweet_id: str
    tweet: str
    a: str
    b: str
    reply_a: str
    reply_b: str
    order: Order = "ab"
    repeat: int = 0

    @property
    def first(self) -> str:
        return self.reply_a if self.order == "ab" else self.reply_b

    @property
    def second(self) -> str:
        return self.reply_b if self.order == "ab" else self.reply_a


@dataclass(frozen=True)
class Verdict:
    """verdict: 5 steps from the point of view of a: 1, 0.5, 0, -0.5, -1.

    scores: {system: {criterion: 1..10}}.
    """

    verdict: float
    scores: dict[str, dict[str, float]]
    reason: str = ""
    usage: dict[str, Any] = field(default_factory=dict)
    raw: str = ""


Decide = Callable[[Comparison], Verdict]


class Judge(Protocol):
    """One kind of judge, as an eval config asks for it.

    lib.judge.judges makes it; nothing else asks for its kind.
    """

    title: str  # for a plan: known before anything was read
    is_stand_in: bool  # no evidence of quality: the report says so
    is_free: bool  # may be asked again at any time
    canaries: Sequence[Comparison]  # injected orders, for a judge that reads

    @property
    def name(self) -> str:
        """The model that stands in every judgment."""
        ...

    @property
    def identity(self) -> list[Any]:
        """All of the judge that its verdict depends on."""
        ...

    def check(self) -> None:
        """Raise UserError where it could not be asked here: a key, a package, a price or a budget is missing.

        Sends nothing and costs nothing: it is looked at before replies are written.
        """
        ...

    def ask(
        self,
        questions: Sequence[Comparison],
        work: Path,
        ledger: Ledger,
        say: Callable[[str], None],
        again: bool = False,
    ) -> None:
        """Append a judgment of every question that work/judgments.jsonl lacks.

        A question without a verdict is a line of judgments.failed.jsonl. again: also what was given up
        before.
        """
        ...

    def account(self, work: Path, ledger: Ledger, keys: Container[str]) -> dict[str, Any] | None:
        """The bill so far, with how many of these questions were asked twice; None for a judge that costs
        nothing.
        """
        ...

    def estimate(self, n_verdicts: int) -> dict[str, float] | None:
        """{live, batch}: dollars expected, before tokens are counted; None for a judge that costs nothing."""
        ...


def comparison_key(comparison: Comparison, identity: Any) -> str:
    """Content hash of all that the verdict depends on.

    identity: the judge's side of it (model, rubric, schema, effort ...).
    """
    shown = [
        getattr(comparison, name)
        for name in ("tweet_id", "tweet", "a", "b", "reply_a", "reply_b", "order", "repeat")
    ]
    return content_hash(shown, identity)


def system_pairs(systems: Sequence[str]) -> list[tuple[str, str]]:
    """(a, b) to compare, the headline first: tuned against base, then tuned against the rest, then the rest
    against base, and the best of k against each other at the same k.
    """
    rest = [system for system in systems if system not in ("base", "tuned")]
    same_k = [(f"tuned@{k}", f"base@{k}") for arm, k in map(drawn_from, rest) if arm == "tuned" and k > 1]
    return [
        ("tuned", "base"),
        *[("tuned", system) for system in rest],
        *[(system, "base") for system in rest if system != "human"],
        *[pair for pair in same_k if pair[1] in rest],
    ]


def comparisons(
    tweets: Mapping[str, str], replies: Iterable[Reply], systems: Sequence[str], config: JudgeConfig
) -> tuple[list[Comparison], list[dict[str, Any]]]:
    """All comparisons, and one failure for each pair that cannot be judged: a reply that is missing or empty
    is never a score of 0.

    tweets: tweet_id -> text. A tweet without a human reply is no failure. Two equal replies are a tie that
    nobody has to be paid for: they are in neither list. Raises UserError for replies to
    tweets that are not there.
    """
    texts = {(reply.tweet_id, reply.system): reply.reply for reply in replies}
    if strangers := {tweet_id for tweet_id, _ in texts} - set(tweets):
        raise UserError(
            f"replies.jsonl answers tweets that are not in test_prompts.jsonl ({min(strangers)}). Run the "
            "generate step again."
        )
    shown = [tweet_id for tweet_id in tweets if any((tweet_id, system) in texts for system in systems)]
    found: list[Comparison] = []
    failed: list[dict[str, Any]] = []
    for a, b in system_pairs(systems):
        for tweet_id in shown:
            if "human" in (a, b) and (tweet_id, "human") not in texts:
                continue
            bad = [system for system in (a, b) if not texts.get((tweet_id, system), "").strip()]
            if bad:
                reason = "reply_empty" if (tweet_id, bad[0]) in texts else "reply_missing"
                failed.append(
                    {"tweet_id": tweet_id, "a": a, "b": b, "reason": reason, "detail": ", ".join(bad)}
                )
                continue
            if texts[tweet_id, a].split() == texts[tweet_id, b].split():
                continue
            by_hash: Order = "ab" if int(content_hash([tweet_id, a, b])[:8], 16) % 2 else "ba"
            orders = BOTH if config.orders == "both" else (by_hash,)
            found += _repeated(
                Comparison(tweet_id, tweets[tweet_id], a, b, texts[tweet_id, a], texts[tweet_id, b]),
                orders,
                config.repeats,
            )
    return found, failed


def calibration_comparisons(preferences: Iterable[Preference], config: JudgeConfig) -> list[Comparison]:
    """The same judge on real replies; a and b are the ids of the more and the less liked one."""
    found: list[Comparison] = []
    for pair in preferences:
        drawn: Order = "ab" if pair.chosen_first else "ba"
        comparison = Comparison(
            pair.tweet_id, pair.tweet, pair.chosen_id, pair.rejected_id, pair.chosen, pair.rejected
        )
        found += _repeated(comparison, BOTH if config.orders == "both" else (drawn,), config.repeats)
    return found


def _repeated(comparison: Comparison, orders: Sequence[Order], repeats: int) -> list[Comparison]:
    return [replace(comparison, order=order, repeat=repeat) for repeat in range(repeats) for order in orders]


def read_judgments(log: Path) -> dict[str, Judgment]:
    """key -> judgment; a last line cut off by a crash is not one."""
    return (
        {judgment.key: judgment for judgment in read_jsonl(log, Judgment, torn_tail=True)}
        if log.exists()
        else {}
    )


def judgment_of(comparison: Comparison, verdict: Verdict, model: str, key: str) -> Judgment:
    """The verdict as the line of the log."""
    return Judgment(
        tweet_id=comparison.tweet_id,
        a=comparison.a,
        b=comparison.b,
        order=comparison.order,
        repeat=comparison.repeat,
        verdict=verdict.verdict,
        scores=verdict.scores,
        reason=verdict.reason,
        model=model,
        usage=verdict.usage,
        raw=verdict.raw,
        key=key,
    )


def judge_all(found: Iterable[Comparison], decide: Decide, model: str, identity: Any, log: Path) -> None:
    """Decide what the log does not hold yet, one durable line each."""
    known = read_judgments(log)
    for comparison in found:
        key = comparison_key(comparison, identity)
        if key not in known:
            known[key] = judgment_of(comparison, decide(comparison), model, key)
            append_line(log, known[key])
