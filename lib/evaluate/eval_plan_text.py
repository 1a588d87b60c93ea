"""The plan of an evaluation for the console, aligned."""

from collections.abc import Mapping, Sequence
from typing import Any

from lib.evaluate.eval_plan import CORRELATIONS, TIES
from lib.evaluate.eval_plan_judge import EFFECTS, more_pairs
from lib.evidence.power import POWER, TARGET_D


def text(plan: Mapping[str, Any]) -> str:
    """The whole plan, line by line."""
    n = plan["n_prompts"]
    limit = f" of {plan['n_there']:,} (max_prompts)" if n < plan["n_there"] else ""
    rows = [
        f"eval-plan: run {plan['run']}, {n:,}{limit} test prompts by {plan['n_authors']:,} authors, "
        f"judge {plan['judge']['model']}",
        "",
        *_power_rows(plan),
        "",
        *_observed_rows(plan),
        "",
        *_reply_rows(plan["replies"]),
        "",
        *_judge_rows(plan["judge"]),
        "",
        *_calibration_rows(plan["calibration"]),
        "",
        *_accuracy_rows(plan),
        "",
        *_supply_rows(plan),
        *(["", f"advice: {plan['advice']}"] if plan["advice"] else []),
    ]
    return "\n".join(rows)


def _power_rows(plan: Mapping[str, Any]) -> list[str]:
    n, by_r, at_r = plan["n_prompts"], plan["needed_by_r"], {row["r"]: row for row in plan["at_hand"]["by_r"]}
    at_ties = {row["ties"]: row["net_win"] for row in plan["at_hand"]["by_ties"]}
    ranks = {name: [f"{by_r[r][name]:,}" for r in CORRELATIONS] for name in ("wilcoxon", "mannwhitney")}
    return [
        f"Tweets needed for d = {TARGET_D} at power {POWER} (two-sided, alpha 0.05), and what {n:,} show",
        _row("correlation r of the two systems' scores", [f"{r:.1f}" for r in CORRELATIONS]),
        _row("  needed, Wilcoxon (paired)", ranks["wilcoxon"]),
        _row("  needed, Mann-Whitney (also in the gate)", ranks["mannwhitney"]),
        _row("  smallest d that shows, Wilcoxon", [_number(at_r[r]["d"]) for r in CORRELATIONS]),
        _row(f"  power at d = {TARGET_D}", [_number(at_r[r]["power_at_target"]) for r in CORRELATIONS]),
        _row("share of ties", [f"{t:.2f}" for t in TIES]),
        _row(
            f"  needed, net win of {plan['net_points']:g} points",
            [f"{plan['needed_by_ties'][t]:,}" for t in TIES],
        ),
        _row("  smallest net win that shows, points", [_number(at_ties[t], 1) for t in TIES]),
    ]


def _observed_rows(plan: Mapping[str, Any]) -> list[str]:
    n, observed, smallest, needed = (plan[key] for key in ("n_prompts", "observed", "smallest", "needed"))
    sure = (
        f"observed in {observed['source']}"
        if observed["source"]
        else "assumed: this judge has seen nothing of this data set"
    )
    at_net_win = f"{needed['net_win']:,} for a net win of {plan['net_points']:g} points"
    effects = f"d = {_number(smallest['d'])}, net win {_number(smallest['net_win'], 1)} points"
    return [
        f"At r = {observed['r']:.2f} and {observed['ties']:.0%} ties ({sure})",
        _row("  needed", [f"{needed['tweets']:,} tweets; {at_net_win}"]),
        _row("  at hand", [f"{n:,} tweets, worth {n / observed['design_effect']:,.0f} independent ones"]),
        _row("  smallest effect that shows", [effects]),
        "  Seeing is not passing: the gate wants an observed d above its threshold; "
        f"a true d = {TARGET_D} gets there half the time.",
    ]


def _calibration_rows(calibration: Mapping[str, Any]) -> list[str]:
    n, n_used = calibration["n"], calibration["n_used"]
    used = f", {n_used:,} are used" if n_used < n else ""
    return [
        f"Calibration: {n:,} pairs of real replies at hand{used}",
        *[
            _row(f"  needed to see a judge that is right {w:.0%}", [f"{k:,}"])
            for w, k in calibration["needed"].items()
        ],
    ]


def _accuracy_rows(plan: Mapping[str, Any]) -> list[str]:
    """The whole gate, by the judge's accuracy."""
    rows, known = plan["by_accuracy"], plan["known"]
    n_effective = int(plan["n_prompts"] / plan["observed"]["design_effect"])
    found = [
        "What passes the whole gate, simulated: a judge that is trusted, replies that are sound",
        _row(
            "judge's accuracy on pairs of real replies",
            ["sees all" if at.accuracy == 1 else f"{at.accuracy:.0%}" for at in rows],
        ),
        *[
            _row(f"  d = {d}, {n_effective:,} tweets: passes", [f"{at.passes[d]:.0%}" for at in rows])
            for d in EFFECTS
        ],
        *[
            _row(f"  tweets for d = {d} to pass 80% of the time", [_count(at.tweets[d]) for at in rows])
            for d in EFFECTS
        ],
        _row(f"  smallest d that passes, {n_effective:,} tweets", [_number(at.smallest) for at in rows]),
        _row("  calibration pairs for its trust", [_count(at.pairs) for at in rows]),
    ]
    if known:
        at, trusted = plan["this_judge"], {True: "trusted", False: "not trusted"}.get(known.trusted, "")
        passes = ", ".join(f"d = {d} passes {share:.0%}" for d, share in at.passes.items())
        found.append(
            f"  This judge: right on {known.accuracy:.0%} of {known.n:,} pairs in {known.source}"
            f"{', ' * bool(trusted)}{trusted}: {passes}"
        )
    return [*found, '  "none": no number up to 1,000 tweets; the judge sees too little of the effect']


def _supply_rows(plan: Mapping[str, Any]) -> list[str]:
    """The cheapest way to more tweets and to more pairs."""
    supply, calibration, usd = plan["supply"], plan["calibration"], plan["judge"]["usd_calibration"]
    per_tweet = calibration["n"] / calibration["n_tweets"] if calibration["n_tweets"] else 0.0
    tweets, pairs = supply.usd_of_tweets(100), supply.usd_of_pairs(100, per_tweet)
    rows = [
        "More of both, the cheap way",
        _row(
            "  100 more test tweets",
            [f"{_usd(tweets)}tweets alone, without replies (collect.tweets_per_query)"],
        ),
        _row("  100 more calibration pairs", [f"{_usd(pairs)}{more_pairs(supply, plan['data'])}"]),
    ]
    if usd and usd["live"]:
        way = " in a batch" if usd["batch"] < usd["live"] else ""
        rows.append(_row(f"  verdicts on the {calibration['n_used']:,} pairs", [f"${usd['batch']:.2f}{way}"]))
    return rows


def _usd(value: float | None) -> str:
    return "" if value is None else f"about ${max(value, 0.01):.2f}: "


def _count(value: int | None) -> str:
    return "none" if value is None else f"{value:,}"


def _judge_rows(judge: Mapping[str, Any]) -> list[str]:
    each = (
        f"x {judge['orders']} order{'s' * (judge['orders'] > 1)} x {judge['repeats']} "
        f"repeat{'s' * (judge['repeats'] > 1)}"
    )
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
    usd = judge["usd"]
    if usd and usd["live"]:
        in_batch = f", ${usd['batch']:.2f} in a batch" if usd["batch"] < usd["live"] else ""
        said = f"about ${usd['live']:.2f}{in_batch}; stops at ${judge['max_usd']:g}"
        return [*rows, _row("  price, before tokens are counted", [said])]
    why = "the judge is a server of your own" if usd else "the judge is a stand-in"
    return [*rows, _row("  price", [f"nothing: {why}"])]


def _reply_rows(replies: Mapping[str, int]) -> list[str]:
    """The replies that the model writes, with what the best of k adds."""
    rows = [f"Replies to be written: {sum(replies.values()):,}"]
    return [*rows, *[_row(f"  {system}", [f"{n:,}"]) for system, n in replies.items()]]


def _row(name: str, cells: Sequence[str]) -> str:
    """A name and its cells; several cells are columns of numbers, a single one is text."""
    values = "".join(f"{cell:>9}" for cell in cells) if len(cells) > 1 else "  " + cells[0]
    return f"{name:<51}{values}"


def _number(value: float | None, digits: int = 2) -> str:
    return "none" if value is None else f"{value:.{digits}f}"
