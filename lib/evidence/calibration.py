"""The share of real pairs on which a judge agrees with real engagement, and what its verdicts can therefore
show.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from lib.base.schema import Judgment, Preference
from lib.evidence.baselines import RULES, accuracy_of, baselines, competitors
from lib.evidence.intervals import Interval
from lib.evidence.outcomes import combine, positions

# what a sign test needs to see a judge that is right 65% of the time (power 0.8); a 60% judge needs 194
MIN_PAIRS = 85


def calibrate(
    preferences: Sequence[Preference],
    verdicts: Sequence[float | None],
    train_preferences: Sequence[Preference],
) -> dict[str, Any]:
    """Accuracy of a judge on real replies to one tweet, of which `chosen` was posted later and yet liked more
    (SHP's rule): the fields of lib.evaluate.measures.Calibration.

    verdicts: one per preference, > 0 where the judge prefers `chosen`; None where it gave none: counted
    apart, not as wrong.
    accuracy: share right, a tie as half, with a 95% interval clustered by tweet. baselines: the same number
    for rules that read no text, and for a text model of the training preferences.
    trusted: the lower end of the accuracy is above a coin, and that of the difference to each rule above 0.
    All must hold, so none needs a correction: a judge no better than the best of them is trusted in at most
    2.5% of calibrations, however many rules there are.
    """
    given = [
        (pair, verdict) for pair, verdict in zip(preferences, verdicts, strict=True) if verdict is not None
    ]
    pairs, judged = [pair for pair, _ in given], [verdict for _, verdict in given]
    result = {
        **accuracy_of(judged, pairs),
        "n_ties": sum(verdict == 0 for verdict in judged),
        "n_tweets": len({pair.tweet_id for pair in pairs}),
        "n_failed": len(preferences) - len(given),
        "baselines": baselines(pairs, train_preferences, judged),
    }
    decisive = [verdict for verdict in judged if verdict]
    result["accuracy_decisive"] = fmean(verdict > 0 for verdict in decisive) if decisive else None
    result |= _trust(result)
    result["status"] = _status(result)
    result["sentence"] = _sentence(result)
    return result


def verdicts_of(preferences: Iterable[Preference], judgments: Iterable[Judgment]) -> list[float | None]:
    """One verdict per preference from its judgments (a = chosen_id, b = rejected_id), orders that contradict
    each other a tie.
    """
    steps = _steps(judgments)
    found: list[float | None] = []
    for pair in preferences:
        by_repeat = steps.get((pair.chosen_id, pair.rejected_id), {})
        found.append(fmean(combine(by_order) for by_order in by_repeat.values()) if by_repeat else None)
    return found


def consistency(judgments: Iterable[Judgment]) -> dict[str, Any]:
    """The judge's treatment of the reply shown first, and how often repeats of one pair name the same side.

    None without repeats.
    """
    steps = _steps(judgments)
    flat = {
        ("/".join(ids), repeat): by_order
        for ids, by_repeat in steps.items()
        for repeat, by_order in by_repeat.items()
    }
    repeated = [
        [_sign(combine(by_order)) for by_order in by_repeat.values()]
        for by_repeat in steps.values()
        if len(by_repeat) > 1
    ]
    same = [side == other for sides in repeated for n, side in enumerate(sides) for other in sides[n + 1 :]]
    return {**asdict(positions(flat)), "repeatability": fmean(same) if same else None}


def true_win_rate(observed: float, accuracy: float | None) -> float | None:
    """The win rate behind an observed one, both 0..1, if the judge errs at random: observed = p w + (1 - p)(1
    - w) (Rogan and Gladen 1978).

    None for a judge that is no better than a coin: then no win rate means anything.
    """
    if accuracy is None or accuracy <= 0.5:
        return None
    return min(max((observed - (1 - accuracy)) / (2 * accuracy - 1), 0.0), 1.0)


def true_win_rate_interval(
    net_win: float, net_win_ci95: Interval, accuracy: float, accuracy_ci95: Interval
) -> Interval | None:
    """95% interval of the true win rate, 0..1: both the verdicts and the judge's accuracy were only sampled.

    net_win and its interval: points. The win rate is 1/2 + net win / (2 (2 p - 1)), a ratio of independent
    estimates: Fieller's interval, from the distances of the two given ones (MOVER, Donner and Zou 2012).
    None for a judge that is not shown to be better than a coin: the ratio then has no bounds.
    """
    if accuracy_ci95[0] <= 0.5:
        return None
    x, y = net_win / 100, 2 * accuracy - 1
    (x_low, x_high), (y_low, y_high) = (
        [end / 100 for end in net_win_ci95],
        [2 * end - 1 for end in accuracy_ci95],
    )

    def end(side: int, x_end: float, y_end: float) -> float:
        root = math.sqrt(max((x * y) ** 2 - x_end * y_end * (2 * x - x_end) * (2 * y - y_end), 0.0))
        return (x * y + side * root) / (y_end * (2 * y - y_end))

    low, high = end(-1, x_low, y_high), end(1, x_high, y_low)
    return min(max(0.5 + low / 2, 0.0), 1.0), min(max(0.5 + high / 2, 0.0), 1.0)


def _steps(judgments: Iterable[Judgment]) -> Mapping[tuple[str, str], dict[int, dict[str, float]]]:
    steps: dict[tuple[str, str], dict[int, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for judgment in judgments:
        if judgment.verdict is not None:
            steps[judgment.a, judgment.b][judgment.repeat][judgment.order] = judgment.verdict
    return steps


def _trust(result: Mapping[str, Any]) -> dict[str, Any]:
    """beats_coin and beats_baselines are None where the pairs are too few to ask; that is not trusted."""
    if result["n"] < MIN_PAIRS:
        return {"beats_coin": None, "beats_baselines": None, "unbeaten": [], "trusted": False}
    rules = competitors(result["baselines"])
    unbeaten = [name for name, row in rules.items() if row["difference_ci95"][0] <= 0]
    beats_coin = result["ci95"][0] > 0.5
    return {
        "beats_coin": beats_coin,
        "beats_baselines": not unbeaten,
        "unbeaten": unbeaten,
        "trusted": beats_coin and not unbeaten,
    }


def _status(result: Mapping[str, Any]) -> str:
    """Against a coin; against the simple rules it is beats_baselines that tells."""
    if result["n"] < MIN_PAIRS:
        return "not calibrated"
    low, high = result["ci95"]
    return (
        "better than chance" if low > 0.5 else "worse than chance" if high < 0.5 else "no better than chance"
    )


def _sentence(result: Mapping[str, Any]) -> str:
    if result["status"] == "not calibrated":
        return (
            f"not calibrated: {result['n']} pairs of real replies are too few to know the judge's accuracy "
            f"({MIN_PAIRS} are needed)"
        )
    low, high = result["ci95"]
    return (
        f"{result['status']}: agrees with real engagement in {result['accuracy']:.0%} of {result['n']} "
        f"pairs of real replies to {result['n_tweets']} tweets (95% CI {low:.0%} to {high:.0%})"
        f"{_against_rules(result)}"
    )


def _against_rules(result: Mapping[str, Any]) -> str:
    """The best simple rule and the judge's lead over it, or the rules that it is not shown to beat."""
    if not result["beats_coin"]:
        return ""
    rules = competitors(result["baselines"])
    if result["unbeaten"]:
        said = ", ".join(f"{RULES[name]} ({rules[name]['accuracy']:.0%})" for name in result["unbeaten"])
        return f", but not shown to be better than a simple rule: {said}"
    name, best = max(rules.items(), key=lambda item: item[1]["accuracy"])
    low, high = (100 * end for end in best["difference_ci95"])
    return (
        f", and better than every simple rule: the best one, {RULES[name]}, reaches {best['accuracy']:.0%}, "
        f"{100 * best['difference']:.0f} points less (95% CI {low:.0f} to {high:.0f})"
    )


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
