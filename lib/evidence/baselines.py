"""Simple rules that a judge has to beat on the same real replies: length, followers, a bag of words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lib.base.characters import n_characters
from lib.base.schema import Preference
from lib.evidence.intervals import net_interval, share_interval

if TYPE_CHECKING:
    import numpy as np

MIN_TRAIN = 20  # fewer training preferences than this teach a text model nothing
RULES = {
    "longer": "the longer reply",
    "shorter": "the shorter reply",
    "earlier": "the earlier reply",
    "more_followers": "more followers",
    "tfidf_logistic": "a bag of words",
}
NO_COMPETITOR = ("earlier",)  # near 0 by how the pairs are made


def accuracy_of(verdicts: Sequence[float], pairs: Sequence[Preference]) -> dict[str, Any]:
    """{accuracy, ci95, n}: the share of pairs in which `chosen` was preferred (> 0), a tie as half.

    The 95% interval is clustered by tweet.
    """
    right = _right(verdicts)
    interval = share_interval(right, _tweets(pairs))
    return {"accuracy": float(right.mean()) if len(right) else None, "ci95": list(interval), "n": len(right)}


def baselines(
    preferences: Sequence[Preference],
    train_preferences: Sequence[Preference],
    verdicts: Sequence[float] = (),
) -> dict[str, Any]:
    """name -> {accuracy, ci95, n}; the text model is None where it has too few training preferences.

    verdicts: a judge's, for difference (its accuracy minus the rule's on the same pairs) and
    difference_ci95. "earlier" is near 0 by construction (the chosen reply was posted no earlier); it shows
    that the pairs are made as they should be.
    """
    rules: dict[str, Callable[[Preference], float]] = {
        "longer": lambda pair: n_characters(pair.chosen) - n_characters(pair.rejected),
        "shorter": lambda pair: n_characters(pair.rejected) - n_characters(pair.chosen),
        "earlier": lambda pair: (pair.rejected_created_at - pair.chosen_created_at).total_seconds(),
        "more_followers": lambda pair: pair.chosen_followers - pair.rejected_followers,
    }
    preferred = {name: [rule(pair) for pair in preferences] for name, rule in rules.items()}
    if preferences and len(train_preferences) >= MIN_TRAIN:
        preferred["tfidf_logistic"] = _tfidf(preferences, train_preferences)
    found: dict[str, Any] = {name: accuracy_of(values, preferences) for name, values in preferred.items()}
    for name, values in preferred.items() if verdicts else ():
        found[name] |= _difference(verdicts, values, preferences)
    return {"tfidf_logistic": None, **found}


def competitors(found: Mapping[str, Any]) -> dict[str, Any]:
    """The rules of baselines() that a judge has to beat."""
    return {name: row for name, row in found.items() if row and name not in NO_COMPETITOR}


def _difference(judge: Sequence[float], rule: Sequence[float], pairs: Sequence[Preference]) -> dict[str, Any]:
    difference = _right(judge) - _right(rule)
    interval = net_interval(difference, _tweets(pairs))
    return {"difference": float(difference.mean()), "difference_ci95": list(interval)}


def _right(verdicts: Sequence[float]) -> np.ndarray:
    """1 where the chosen reply was preferred, 0.5 for a tie, 0 else."""
    import numpy as np

    return (np.sign(np.asarray(verdicts, dtype=float)) + 1) / 2


def _tweets(pairs: Sequence[Preference]) -> np.ndarray:
    import numpy as np

    return np.unique([pair.tweet_id for pair in pairs], return_inverse=True)[1]


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
