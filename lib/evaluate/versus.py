"""Two runs against each other: both met the same base on the same tweets before the same judge, so the tweets are pairs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.base.files import content_hash, read_jsonl
from lib.base.schema import Judgment, Reply, TestPrompt
from lib.base.seals import checked
from lib.evidence.intervals import design_effect, mean_interval
from lib.evidence.outcomes import outcomes
from lib.evidence.power import smallest_effects
from lib.evidence.stats import permutation_test

if TYPE_CHECKING:
    from lib.evaluate.compare import Run

A, B = "tuned", "base"


def versus(one: "Run", other: "Run", root: Path) -> dict[str, Any]:
    """{a, b, comparable, sentence} and, if comparable, eval, n, difference (net win points, a minus b), ci95, p, mde, notes.

    Tried are the evaluations of the same name first, then every other combination; the first that can be compared is taken.
    """
    tried = sorted(
        ((x, y) for x in one.reports for y in other.reports), key=lambda names: (names[0] != names[1], names)
    )
    found = {"a": one.name, "b": other.name, "comparable": False}
    if not tried:
        missing = [run.name for run in (one, other) if not run.reports]
        why = f"{' and '.join(missing)} {'have' if len(missing) > 1 else 'has'} no evaluation. `make eval RUN={missing[0]}` writes one"
        return found | {"sentence": f"{one.name} and {other.name} cannot be compared by win rate: {why}."}
    reasons = []
    for x, y in tried:
        files = [
            run.folder / "eval" / name / file
            for run, name in ((one, x), (other, y))
            for file in ("judgments.jsonl", "replies.jsonl")
        ]
        if gone := [str(path) for path in files if not path.is_file()]:
            reasons.append(f"{gone[0]} is missing, only the report is left. `make eval` writes it again")
            continue
        sides = [_side(run, name, root) for run, name in ((one, x), (other, y))]
        if reason := why_not(*sides):
            reasons.append(reason)
            continue
        return found | {"comparable": True, "eval": x if x == y else f"{x} and {y}"} | paired(*sides)
    return found | {"sentence": f"{one.name} and {other.name} cannot be compared by win rate: {reasons[0]}."}


def _side(run: "Run", evaluation: str, root: Path) -> dict[str, Any]:
    """What one evaluation holds of tuned against base."""
    folder, config = run.folder / "eval" / evaluation, run.manifest.get("config") or {}
    prompts_file = checked(root / "data" / str(config.get("data")) / "processed" / "test_prompts.jsonl")
    prompts = read_jsonl(prompts_file, TestPrompt) if prompts_file.is_file() else []
    judgments = [
        row for row in read_jsonl(checked(folder / "judgments.jsonl"), Judgment) if {row.a, row.b} == {A, B}
    ]
    replies = read_jsonl(checked(folder / "replies.jsonl"), Reply)
    texts = {(reply.tweet_id, reply.system): reply.reply for reply in replies}
    rows, tweets = outcomes(
        judgments, texts, {prompt.tweet_id: prompt.tweet_author for prompt in prompts}, A, B
    )
    tweet_of = {prompt.tweet_id: prompt.tweet for prompt in prompts}
    answered = sorted({reply.tweet_id for reply in replies})
    return {
        "run": run.name,
        "eval": evaluation,
        "steps": dict(zip(tweets, rows.step, strict=True)),
        "authors": dict(zip(tweets, rows.cluster, strict=True)),
        "answered": answered,
        "prompts": content_hash([(tweet, tweet_of.get(tweet)) for tweet in answered]),
        "base": {tweet: texts.get((tweet, B), "") for tweet in answered},
        "judge": _judge(judgments, run.manifest),
        "weights": [
            run.manifest.get("base_model"),
            run.manifest.get("revision"),
            *sorted({reply.quantization for reply in replies}),
        ],
    }


def _judge(judgments: Sequence[Judgment], manifest: Mapping[str, Any]) -> str:
    """Model, orders and repeats. The offline stand-in is made of training pairs: other pairs, another judge."""
    models = sorted({row.model for row in judgments})
    orders, repeats = (
        sorted({row.order for row in judgments}),
        max((row.repeat for row in judgments), default=0) + 1,
    )
    told = f"{', '.join(models)}, {'both orders' if len(orders) == 2 else 'one order'}, {repeats} repeat{'s' * (repeats > 1)}"
    if any("stand-in" in model for model in models):
        told += f", made of training pairs {str((manifest.get('data_hashes') or {}).get('train'))[:12]}"
    return told


def why_not(one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """Why two evaluations cannot be paired; None if they can."""
    names = f"{one['run']} ({one['eval']}) and {other['run']} ({other['eval']})"
    if one["prompts"] != other["prompts"]:
        common = len(set(one["answered"]) & set(other["answered"]))
        n = f"{len(one['answered'])} and {len(other['answered'])} tweets, {common} with the same id"
        return f"{names} answered different test prompts ({n}). Evaluate both on one data set with the same max_prompts"
    if one["judge"] != other["judge"]:
        return f"{names} had different judges ({one['judge']}; {other['judge']}). Evaluate both with the same eval config"
    if one["weights"] != other["weights"]:
        return f"{names} were compared with different bases ({one['weights']}; {other['weights']}): a win over one is no win over the other"
    if len(set(one["steps"]) & set(other["steps"])) < 3:
        return f"{names} have fewer than 3 tweets with a verdict in common. Look at judgments.failed.jsonl"
    return None


def paired(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The difference of the two net win rates, tweet by tweet: interval and permutation test over authors."""
    import numpy as np

    tweets = sorted(set(one["steps"]) & set(other["steps"]))
    difference = np.array(
        [np.sign(one["steps"][tweet]) - np.sign(other["steps"][tweet]) for tweet in tweets], dtype=float
    )
    authors = [one["authors"][tweet] or tweet for tweet in tweets]
    author = np.unique(authors, return_inverse=True)[1]
    interval = mean_interval(difference, author)
    n_effective = len(tweets) / design_effect(difference, author)
    smallest = smallest_effects(n_effective, sd_difference=float(difference.std(ddof=1)))["score"]
    found = {
        "n": len(tweets),
        "difference": 100 * float(difference.mean()),
        "ci95": None if interval is None else [100 * interval[0], 100 * interval[1]],
        "p": permutation_test(difference, author),
        "mde": None if smallest is None else 100 * smallest,
        "same_base_replies": sum(one["base"][tweet] == other["base"][tweet] for tweet in tweets)
        / len(tweets),
    }
    return found | {"sentence": sentence(one, other, found)}


def sentence(one: Mapping[str, Any], other: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    a, b, n = one["run"], other["run"], found["n"]
    if found["ci95"] is None:
        return f"{a} and {b} got the same verdict against base on every one of the same {n} tweets: nothing tells them apart."
    low, high = found["ci95"]
    # Both must agree: an interval alone is optimistic with few tweets.
    sure = found["p"] < 0.05 and not low <= 0 <= high
    verdict = (
        f"{a if found['difference'] > 0 else b} is better" if sure else f"{a} and {b} are not told apart"
    )
    parts = [
        f"{verdict}: against the same base on the same {n} tweets, before the same judge, {a} has {found['difference']:+.1f} net win "
        f"points more than {b} (95% CI {low:+.1f} to {high:+.1f}, paired permutation p = {found['p']:.2g}; smallest difference that could "
        f"have been seen {found['mde']:.0f} points)"
    ]
    if found["same_base_replies"] < 1:
        parts.append(f"the base wrote the same reply in {found['same_base_replies']:.0%} of them")
    if "stand-in" in one["judge"]:
        parts.append("the judge is a stand-in")
    return "; ".join(parts) + "."
