"""The plan of an evaluation: its power, its verdicts and its price, before anything is generated, judged or
paid.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import read_jsonl
from lib.base.schema import Preference, TestPrompt, drawn_from
from lib.base.seals import checked
from lib.base.settings import EvalConfig
from lib.evaluate.eval_plan_judge import (
    ACCURACIES,
    ASSUMED_ACCURACY,
    AtAccuracy,
    Supply,
    advice_for_trust,
    known_accuracy,
)
from lib.evaluate.evaluation import HUMAN, Evaluation, chosen, training
from lib.evaluate.questions import MAX_CALIBRATION_PAIRS
from lib.evaluate.report import Report, read_report
from lib.evidence.calibration import MIN_PAIRS
from lib.evidence.power import (
    TARGET_D,
    power_table,
    required_decisive,
    required_tweets,
    smallest_effects,
)
from lib.judge.comparisons import BOTH, system_pairs
from lib.judge.judges import judge_of

CORRELATIONS = (0.0, 0.3, 0.5, 0.7)
TIES = (0.0, 0.25, 0.4)
ASSUMED = {"r": 0.5, "ties": 0.25, "design_effect": 1.0, "source": None}
JUDGE_ACCURACIES = (0.65, 0.6)


def eval_plan(evaluation: Evaluation) -> dict[str, Any]:
    """The whole plan as plain numbers. Raises UserError where the data set has not been built."""
    run, data, config = evaluation.run, evaluation.config.data, evaluation.eval
    path = evaluation.processed / "test_prompts.jsonl"
    if not path.is_file():
        raise UserError(f"{path} does not exist. Run `make data DATA={data}` first.")
    there = evaluation.prompts()
    prompts = chosen(there, config.max_prompts)
    observed = observed_spread(evaluation.root, run, data, config.judge.kind)
    real = checked(evaluation.processed / "calibration.jsonl")
    pairs = read_jsonl(real, Preference) if real.is_file() else []
    n_real = len(pairs)
    n_effective = len(prompts) / observed["design_effect"]
    needed = needed_tweets(observed, config)
    known = known_accuracy(earlier_reports(evaluation.root, run, data), config)
    plan = {
        "run": run,
        "data": data,
        "n_prompts": len(prompts),
        "n_there": len(there),
        "n_authors": len({prompt.tweet_author for prompt in prompts}),
        "observed": observed,
        "needed": needed,
        "needed_by_r": {r: required_tweets(r=r) for r in CORRELATIONS},
        "needed_by_ties": {t: required_tweets(ties=t, net_win=net_points(config))["net_win"] for t in TIES},
        "at_hand": power_table(len(prompts)),
        "smallest": smallest_effects(n_effective, observed["r"], observed["ties"]),
        "replies": replies_to_write(config.systems, len(prompts)),
        "judge": judge_calls(prompts, evaluation, min(n_real, MAX_CALIBRATION_PAIRS)),
        "calibration": {
            "n": n_real,
            "n_used": min(n_real, MAX_CALIBRATION_PAIRS),
            "n_tweets": len({pair.tweet_id for pair in pairs}),
            "needed": {w: required_decisive(w) for w in JUDGE_ACCURACIES},
        },
        "known": known,
        "this_judge": AtAccuracy.of(known.accuracy if known else ASSUMED_ACCURACY, int(n_effective), config),
        "by_accuracy": [AtAccuracy.of(accuracy, int(n_effective), config) for accuracy in ACCURACIES],
        "supply": Supply.of(evaluation.processed),
        "net_points": net_points(config),
    }
    return plan | {"advice": advice(plan, data)}


def observed_spread(root: Path, run: str, data: str, kind: str) -> dict[str, Any]:
    """Correlation, ties and design effect in an earlier report of this kind of judge on this data set: this
    run's newest, else another's.

    ASSUMED where there is none: another judge ties more or less often, so its report says nothing here.
    """
    for source, report in earlier_reports(root, run, data):
        headline = report.headline
        if report.judge.kind == kind and headline and (headline.n or 0) > 2 and headline.r is not None:
            n_effective = headline.mde.get("n_effective") or headline.n
            return {
                "r": min(max(float(headline.r), -0.99), 0.99),
                "ties": headline.ties / headline.n,
                "design_effect": headline.n / n_effective,
                "source": source,
            }
    return ASSUMED


def earlier_reports(root: Path, run: str, data: str) -> list[tuple[str, Report]]:
    """(path, report) of every evaluation on this data set: this run's newest first, then the others'."""
    found = []
    for path in root.glob("adapters/*/eval/*/report.json"):
        folder = path.parent.parent.parent
        config = training(folder).config if (folder / "manifest.json").is_file() else None
        if (config or {}).get("data") == data:
            order = (folder.name == run, path.stat().st_mtime)
            found.append((order, str(path.relative_to(root)), read_report(path)))
    return [(source, report) for _, source, report in sorted(found, key=lambda row: row[0], reverse=True)]


def net_points(evaluation: EvalConfig) -> float:
    """The net win that the gate asks for, in points; the default where it asks for another kind of
    improvement.
    """
    asked = evaluation.gate.min_improvement if evaluation.gate.improvement == "net_win" else 0
    return asked if 0 < asked < 100 else 15.0


def needed_tweets(observed: Mapping[str, Any], evaluation: EvalConfig) -> dict[str, int]:
    """Tweets that d = 0.3 and the asked net win need at what is observed; tweets of one author counted for
    what they are worth.
    """
    exact = required_tweets(r=observed["r"], ties=min(observed["ties"], 0.95), net_win=net_points(evaluation))
    return {name: round(n * observed["design_effect"]) for name, n in exact.items()}


def replies_to_write(systems: Sequence[str], n_prompts: int) -> dict[str, int]:
    """System -> replies that a model writes for it. The first of k candidates is the arm's own reply, and
    fewer are the first of more.
    """
    found, drawn = {}, dict[str, int]()
    for system in sorted(systems, key=lambda name: drawn_from(name)[1]):
        arm, k = drawn_from(system)
        found[system] = max(0, k - drawn.get(arm, 0)) * n_prompts
        drawn[arm] = max(k, drawn.get(arm, 0))
    return {system: found[system] for system in systems if system != HUMAN}


def judge_calls(prompts: Sequence[TestPrompt], evaluation: Evaluation, n_calibration: int) -> dict[str, Any]:
    """Verdicts to be given: pairs of systems x tweets x orders x repeats, the calibration pairs, the
    canaries.
    """
    config, judge = evaluation.eval.judge, judge_of(evaluation.eval.judge, evaluation.train)
    n_orders = len(BOTH) if config.orders == "both" else 1
    pairs = system_pairs(evaluation.eval.systems)
    n_human = sum(prompt.human_reply is not None for prompt in prompts)
    comparisons = sum(n_human if HUMAN in pair else len(prompts) for pair in pairs)
    n_canaries = len(judge.canaries)
    calls = (comparisons + n_calibration) * n_orders * config.repeats + n_canaries
    return {
        "kind": config.kind,
        "model": judge.title,
        "stand_in": judge.is_stand_in,
        "pairs": [f"{a} vs {b}" for a, b in pairs],
        "comparisons": comparisons,
        "orders": n_orders,
        "repeats": config.repeats,
        "calibration": n_calibration,
        "canaries": n_canaries,
        "calls": calls,
        "usd": judge.estimate(calls),
        "usd_calibration": judge.estimate(n_calibration * n_orders * config.repeats),
        "max_usd": config.max_usd,
    }


def advice(plan: Mapping[str, Any], data: str) -> str | None:
    """One sentence: what to mend before the money is spent; None where nothing is."""
    n, needed, calibration, judge = (
        plan["n_prompts"],
        plan["needed"]["tweets"],
        plan["calibration"],
        plan["judge"],
    )
    if n < needed and plan["n_there"] >= needed:
        return (
            f"raise max_prompts in the eval config to {needed}: {plan['n_there']:,} test prompts are there "
            f"and {n:,} would be used."
        )
    if n < needed:
        return (
            f"hold out {needed - n:,} more test prompts (split.min_test_prompts: {needed} in "
            f"configs/data-{data}.yaml, and collect more if there are too few tweets); evaluated as it is, "
            f"d = {TARGET_D} stays unseen and the verdict is likely to be underpowered."
        )
    if calibration["n"] < MIN_PAIRS:
        return (
            f"collect more replies per tweet (collect.replies_per_tweet in configs/data-{data}.yaml): "
            f"with {calibration['n']:,} pairs of real replies the judge stays uncalibrated, {MIN_PAIRS} are "
            "needed."
        )
    if not judge["stand_in"] and (found := advice_for_trust(plan, data)):
        return found
    if judge["usd"] and judge["usd"]["batch"] > judge["max_usd"]:
        return (
            f"raise judge.max_usd (${judge['max_usd']:g}) or use a cheaper judge.model: about "
            f"${judge['usd']['batch']:.2f} is expected."
        )
    return None
