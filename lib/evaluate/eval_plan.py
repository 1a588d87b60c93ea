"""What an evaluation can show and what it takes, before anything is generated, judged or paid."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import read_jsonl
from lib.base.schema import Preference, TestPrompt
from lib.base.seals import checked
from lib.base.settings import EvalConfig
from lib.evaluate.evaluation import HUMAN, Evaluation, training
from lib.evaluate.questions import MAX_CALIBRATION_PAIRS
from lib.evaluate.replies import chosen
from lib.evaluate.report import read_report
from lib.evidence.calibration import MIN_PAIRS
from lib.evidence.power import (
    POWER,
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
    n_real = len(read_jsonl(real, Preference)) if real.is_file() else 0
    n_effective = len(prompts) / observed["design_effect"]
    needed = needed_tweets(observed, config)
    plan = {
        "run": run,
        "n_prompts": len(prompts),
        "n_there": len(there),
        "n_authors": len({prompt.tweet_author for prompt in prompts}),
        "observed": observed,
        "needed": needed,
        "needed_by_r": {r: required_tweets(r=r) for r in CORRELATIONS},
        "needed_by_ties": {t: required_tweets(ties=t, net_win=net_points(config))["net_win"] for t in TIES},
        "at_hand": power_table(len(prompts)),
        "smallest": smallest_effects(n_effective, observed["r"], observed["ties"]),
        "judge": judge_calls(prompts, evaluation, min(n_real, MAX_CALIBRATION_PAIRS)),
        "calibration": {
            "n": n_real,
            "n_used": min(n_real, MAX_CALIBRATION_PAIRS),
            "needed": {w: required_decisive(w) for w in JUDGE_ACCURACIES},
        },
        "net_points": net_points(config),
    }
    return plan | {"next": next_step(plan, data)}


def observed_spread(root: Path, run: str, data: str, kind: str) -> dict[str, Any]:
    """Correlation, ties and design effect in an earlier report of this kind of judge on this data set: this run's newest, else another's.

    ASSUMED where there is none: another judge ties more or less often, so its report says nothing here.
    """
    found = []
    for path in root.glob("adapters/*/eval/*/report.json"):
        folder = path.parent.parent.parent
        config = training(folder).config if (folder / "manifest.json").is_file() else None
        report = read_report(path)
        headline = report.headline
        fits = (config or {}).get("data") == data and report.judge.kind == kind
        if fits and headline and (headline.n or 0) > 2 and headline.r is not None:
            found.append((folder.name == run, path.stat().st_mtime, path, headline))
    if not found:
        return ASSUMED
    *_, path, headline = max(found, key=lambda row: row[:2])
    n_effective = headline.mde.get("n_effective") or headline.n
    return {
        "r": min(max(float(headline.r), -0.99), 0.99),
        "ties": headline.ties / headline.n,
        "design_effect": headline.n / n_effective,
        "source": str(path.relative_to(root)),
    }


def net_points(evaluation: EvalConfig) -> float:
    """The net win that the gate asks for, in points; the default where it asks for another kind of improvement."""
    asked = evaluation.gate.min_improvement if evaluation.gate.improvement == "net_win" else 0
    return asked if 0 < asked < 100 else 15.0


def needed_tweets(observed: Mapping[str, Any], evaluation: EvalConfig) -> dict[str, int]:
    """Tweets that d = 0.3 and the asked net win need at what is observed; tweets of one author counted for what they are worth."""
    exact = required_tweets(r=observed["r"], ties=min(observed["ties"], 0.95), net_win=net_points(evaluation))
    return {name: round(n * observed["design_effect"]) for name, n in exact.items()}


def judge_calls(prompts: Sequence[TestPrompt], evaluation: Evaluation, n_calibration: int) -> dict[str, Any]:
    """Verdicts to be given: pairs of systems x tweets x orders x repeats, the calibration pairs, the canaries."""
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
        "pairs": [f"{a} vs {b}" for a, b in pairs],
        "comparisons": comparisons,
        "orders": n_orders,
        "repeats": config.repeats,
        "calibration": n_calibration,
        "canaries": n_canaries,
        "calls": calls,
        "usd": judge.estimate(calls),
        "max_usd": config.max_usd,
    }


def next_step(plan: Mapping[str, Any], data: str) -> str:
    """One sentence: what to do before the money is spent."""
    n, needed, calibration, judge = (
        plan["n_prompts"],
        plan["needed"]["tweets"],
        plan["calibration"],
        plan["judge"],
    )
    if n < needed and plan["n_there"] >= needed:
        return f"raise max_prompts in the eval config to {needed}: {plan['n_there']:,} test prompts are there and {n:,} would be used."
    if n < needed:
        return (
            f"hold out {needed - n:,} more test prompts (split.min_test_prompts: {needed} in configs/data-{data}.yaml, and collect more "
            f"if there are too few tweets); evaluated as it is, d = {TARGET_D} stays unseen and the verdict is likely to be underpowered."
        )
    if calibration["n"] < MIN_PAIRS:
        return (
            f"evaluate, but the judge stays uncalibrated: {calibration['n']:,} pairs of real replies, {MIN_PAIRS} are needed "
            "(collect more replies per tweet: collect.replies_per_tweet)."
        )
    if judge["usd"] and judge["usd"]["batch"] > judge["max_usd"]:
        return f"raise judge.max_usd (${judge['max_usd']:g}) or use a cheaper judge.model: about ${judge['usd']['batch']:.2f} is expected."
    return f"`make eval RUN={plan['run']}`."


def text(plan: Mapping[str, Any]) -> str:
    """The plan for the console, aligned."""
    observed, smallest, needed = plan["observed"], plan["smallest"], plan["needed"]
    sure = (
        f"observed in {observed['source']}"
        if observed["source"]
        else "assumed: this judge has seen nothing of this data set"
    )
    n, limit = (
        plan["n_prompts"],
        f" of {plan['n_there']:,} (max_prompts)" if plan["n_prompts"] < plan["n_there"] else "",
    )
    by_r, at_r = plan["needed_by_r"], {row["r"]: row for row in plan["at_hand"]["by_r"]}
    at_ties = {row["ties"]: row["net_win"] for row in plan["at_hand"]["by_ties"]}
    rows = [
        f"eval-plan: run {plan['run']}, {n:,}{limit} test prompts by {plan['n_authors']:,} authors, judge {plan['judge']['model']}",
        "",
        f"Tweets needed for d = {TARGET_D} at power {POWER} (two-sided, alpha 0.05), and what {n:,} show",
        _row("correlation r of the two systems' scores", [f"{r:.1f}" for r in CORRELATIONS]),
        _row("  needed, Wilcoxon (paired)", [f"{by_r[r]['wilcoxon']:,}" for r in CORRELATIONS]),
        _row(
            "  needed, Mann-Whitney (also in the gate)", [f"{by_r[r]['mannwhitney']:,}" for r in CORRELATIONS]
        ),
        _row("  smallest d that shows, Wilcoxon", [_number(at_r[r]["d"]) for r in CORRELATIONS]),
        _row(f"  power at d = {TARGET_D}", [_number(at_r[r]["power_at_target"]) for r in CORRELATIONS]),
        _row("share of ties", [f"{t:.2f}" for t in TIES]),
        _row(
            f"  needed, net win of {plan['net_points']:g} points",
            [f"{plan['needed_by_ties'][t]:,}" for t in TIES],
        ),
        _row("  smallest net win that shows, points", [_number(at_ties[t], 1) for t in TIES]),
        "",
        f"At r = {observed['r']:.2f} and {observed['ties']:.0%} ties ({sure})",
        _row(
            "  needed",
            [
                f"{needed['tweets']:,} tweets; {needed['net_win']:,} for a net win of {plan['net_points']:g} points"
            ],
        ),
        _row("  at hand", [f"{n:,} tweets, worth {n / observed['design_effect']:,.0f} independent ones"]),
        _row(
            "  smallest effect that shows",
            [f"d = {_number(smallest['d'])}, net win {_number(smallest['net_win'], 1)} points"],
        ),
        f"  Seeing is not passing: the gate wants an observed d above its threshold; a true d = {TARGET_D} gets there half the time.",
        "",
        *_judge_rows(plan["judge"]),
        "",
        f"Calibration: {plan['calibration']['n']:,} pairs of real replies at hand"
        + (
            f", {plan['calibration']['n_used']:,} are used"
            if plan["calibration"]["n_used"] < plan["calibration"]["n"]
            else ""
        ),
        *[
            _row(f"  needed to see a judge that is right {w:.0%}", [f"{k:,}"])
            for w, k in plan["calibration"]["needed"].items()
        ],
        "",
        f"next: {plan['next']}",
    ]
    return "\n".join(rows)


def _judge_rows(judge: Mapping[str, Any]) -> list[str]:
    each = f"x {judge['orders']} order{'s' * (judge['orders'] > 1)} x {judge['repeats']} repeat{'s' * (judge['repeats'] > 1)}"
    per = judge["orders"] * judge["repeats"]
    rows = [
        f"Verdicts to be given: {judge['calls']:,}",
        _row(
            "  " + ", ".join(judge["pairs"]),
            [f"{judge['comparisons']:,} {each} = {judge['comparisons'] * per:,}"],
        ),
        _row("  calibration pairs", [f"{judge['calibration']:,} {each} = {judge['calibration'] * per:,}"]),
    ]
    if judge["canaries"]:
        rows.append(_row("  canaries (replies that order the judge about)", [f"{judge['canaries']:,}"]))
    if judge["usd"]:
        usd = f"about ${judge['usd']['live']:.2f}, ${judge['usd']['batch']:.2f} in a batch; stops at ${judge['max_usd']:g}"
        return [*rows, _row("  price, before tokens are counted", [usd])]
    return [*rows, _row("  price", ["nothing: the judge is a stand-in"])]


def _row(name: str, cells: Sequence[str]) -> str:
    """A name and its cells; several cells are columns of numbers, a single one is text."""
    values = "".join(f"{cell:>9}" for cell in cells) if len(cells) > 1 else "  " + cells[0]
    return f"{name:<51}{values}"


def _number(value: float | None, digits: int = 2) -> str:
    return "none" if value is None else f"{value:.{digits}f}"
