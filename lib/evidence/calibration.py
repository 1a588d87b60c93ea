"""The share of real pairs on which a judge agrees with real engagement, and what its verdicts can therefore
show.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from lib.base.schema import Judgment, Preference
from lib.evidence.intervals import wilson
from lib.evidence.outcomes import combine, positions

# what a sign test needs to see a judge that is right 65% of the time (power 0.8); a 60% judge needs 194
MIN_PAIRS = 85
MIN_TRAIN = 20  # fewer training preferences than this teach a text model nothing


def calibrate(
    preferences: Sequence[Preference],
    verdicts: Sequence[float | None],
    train_preferences: Sequence[Preference],
) -> dict[str, Any]:
    """Accuracy of a judge on real replies to one tweet, of which `chosen` was posted later and yet liked more
    (SHP's rule).

    verdicts: one per preference, > 0 where the judge prefers `chosen`; None where it gave none: counted
    apart, not as wrong.
    accuracy: share right, a tie as half, with Wilson's 95% interval. baselines: the same number for rules
    that read no text, and for a text model of the training preferences. A judge that does not beat them adds
    nothing.
    """
    given = [
        (pair, verdict) for pair, verdict in zip(preferences, verdicts, strict=True) if verdict is not None
    ]
    result = {
        **_accuracy([verdict for _, verdict in given]),
        "n_ties": sum(verdict == 0 for _, verdict in given),
        "n_tweets": len({pair.tweet_id for pair, _ in given}),
        "n_failed": len(preferences) - len(given),
        "baselines": baselines([pair for pair, _ in given], train_preferences),
    }
    decisive = [verdict for _, verdict in given if verdict]
    result["accuracy_decisive"] = fmean(verdict > 0 for verdict in decisive) if decisive else None
    result["status"] = _status(result)
    result["sentence"] = _sentence(result)
    return result


def baselines(preferences: Sequence[Preference], train_preferences: Sequence[Preference]) -> dict[str, Any]:
    """name -> {accuracy, ci95, n}; the text model is None where it has too few training preferences.

    "earlier" is near 0 by construction (the chosen reply was posted no earlier); it shows that the pairs are
    made as they should be.
    """
    rules: dict[str, Callable[[Preference], float]] = {
        "longer": lambda pair: len(pair.chosen) - len(pair.rejected),
        "earlier": lambda pair: (pair.rejected_created_at - pair.chosen_created_at).total_seconds(),
        "more_followers": lambda pair: pair.chosen_followers - pair.rejected_followers,
    }
    found: dict[str, Any] = {
        name: _accuracy([rule(pair) for pair in preferences]) for name, rule in rules.items()
    }
    found["tfidf_logistic"] = (
        _accuracy(_tfidf(preferences, train_preferences))
        if _can_learn(preferences, train_preferences)
        else None
    )
    return found


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
    - w).

    None for a judge that is no better than a coin: then no win rate means anything.
    """
    if accuracy is None or accuracy <= 0.5:
        return None
    return min(max((observed - (1 - accuracy)) / (2 * accuracy - 1), 0.0), 1.0)


def _steps(judgments: Iterable[Judgment]) -> Mapping[tuple[str, str], dict[int, dict[str, float]]]:
    steps: dict[tuple[str, str], dict[int, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for judgment in judgments:
        if judgment.verdict is not None:
            steps[judgment.a, judgment.b][judgment.repeat][judgment.order] = judgment.verdict
    return steps


def _accuracy(verdicts: Sequence[float]) -> dict[str, Any]:
    n = len(verdicts)
    n_right = sum(1.0 if verdict > 0 else 0.5 if verdict == 0 else 0.0 for verdict in verdicts)
    return {"accuracy": n_right / n if n else None, "ci95": list(wilson(n_right, n)), "n": n}


def _status(result: Mapping[str, Any]) -> str:
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
        f"pairs of real replies (95% CI {low:.0%} to {high:.0%})"
    )


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def _can_learn(preferences: Sequence[Preference], train_preferences: Sequence[Preference]) -> bool:
    return bool(preferences) and len(train_preferences) >= MIN_TRAIN


def _tfidf(preferences: Sequence[Preference], train_preferences: Sequence[Preference]) -> list[float]:
    """Preference of a logistic regression on TF-IDF differences (chosen minus rejected); each training pair
    counts both ways.
    """
    import numpy as np
    from scipy.sparse import vstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+")
    vectors.fit([text for pair in train_preferences for text in (pair.chosen, pair.rejected)])

    def differences(pairs: Sequence[Preference]) -> Any:
        return vectors.transform([pair.chosen for pair in pairs]) - vectors.transform(
            [pair.rejected for pair in pairs]
        )

    rows = differences(train_preferences)
    labels = np.repeat([1, 0], rows.shape[0])
    model = LogisticRegression(fit_intercept=False).fit(vstack([rows, -rows]), labels)
    return model.decision_function(differences(preferences)).round(9).tolist()
