"""The win at equal style: one regression of the verdicts on how the two replies differ in their habits.

net win = win at equal style + what each habit adds: its worth to the judge times how much more of it the
candidate has. The worth of a habit is known as far as the tweets show it, and no further: before them it is
held to be 0 give or take PRIOR. Where all replies of one system have a habit and none of the other's, nothing
is known of its worth, and the win may be all habit. A habit is entered three times, as a judge may go by
how much there is, by clearly more, or by which reply has more; the worst of the three counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lib.evidence.intervals import Interval
from lib.evidence.style import GRADED, Amounts, label

if TYPE_CHECKING:
    import numpy as np

# SD, net win per unit of a habit. Length is the one that is known: "write more" moved judges by 0.28
# (Dubois et al. 2024, arXiv:2404.04475).
PRIOR = {"length": 0.25}
PRIOR_OF_OTHERS = 0.4
CODINGS = ("amount", "clearly more", "more")
SOFT = 0.35  # of the root mean square: from here on a difference counts as clearly more
LEVEL, STRICT = 0.98, 0.999  # STRICT where a habit is seen to help: such a judge gets no free percent
LEAST_VARIANCE = 0.01  # of a verdict: where all agree, the next one still might not
FEW = 0.05  # of the tweets; where fewer do not go a habit's usual way, win and habit are one
NAMED = 2.0  # points: less is not worth a sentence
LENGTH_EXPLAINS = 0.9  # Somers' D of verdict and length difference: above it length alone orders the verdicts


@dataclass(frozen=True)
class Fit:
    """One regression. at_equal, its error, and of each habit: what it adds and that error; net win, -1..1."""

    at_equal: float
    error: float
    added: np.ndarray
    added_error: np.ndarray
    df: int

    def interval(self, level: float, of: int | None = None) -> Interval:
        """Two-sided, in -1..1. of: the number of a habit; None for the win at equal style."""
        from scipy import stats

        middle, error = (self.at_equal, self.error) if of is None else (self.added[of], self.added_error[of])
        reach = float(stats.t.ppf((1 + level) / 2, self.df)) * error
        return max(float(middle - reach), -1.0), min(float(middle + reach), 1.0)

    @property
    def low(self) -> float:
        """The lower end that the gate reads, -1..1: at LEVEL, at STRICT where a habit is seen to help."""
        helped = any(self.interval(0.95, of)[0] > 0 for of in range(len(self.added)))
        return self.interval(STRICT if helped else LEVEL)[0]


def fits(sign: np.ndarray, habits: Mapping[str, Amounts], author: np.ndarray) -> dict[str, Fit]:
    """Coding -> its regression. sign: (n,) of +1, 0, -1. author: (n,) int from 0."""
    import numpy as np

    prior = np.array([PRIOR.get(habit, PRIOR_OF_OTHERS) for habit in habits])
    pairs = [
        (habit, np.asarray(in_a, float), np.asarray(in_b, float)) for habit, (in_a, in_b) in habits.items()
    ]
    return {
        coding: _fit(sign, np.column_stack([_entered(*pair, coding) for pair in pairs]), prior, author)
        for coding in CODINGS
    }


def _entered(habit: str, in_a: np.ndarray, in_b: np.ndarray, coding: str) -> np.ndarray:
    """(n,) the difference of a habit, about -1..1, 0 where the replies are alike."""
    import numpy as np

    if coding == "more":
        return np.sign(in_a - in_b)
    if habit not in GRADED:
        return np.sign(in_a) - np.sign(in_b)
    size = float(np.sqrt(((in_a - in_b) ** 2).mean())) or 1.0
    difference = (in_a - in_b) / size
    return difference if coding == "amount" else np.tanh(difference / SOFT)


def _fit(sign: np.ndarray, design: np.ndarray, prior: np.ndarray, author: np.ndarray) -> Fit:
    """Least squares with a normal prior on the habits and none on the intercept; errors clustered by author.

    The error of an estimate has two parts: chance, and what the prior leaves open. Of chance the larger of
    the two usual estimates is taken, for all tweets alike and author by author.
    """
    import numpy as np

    n, n_authors = len(sign), int(author.max()) + 1
    x = np.column_stack([np.ones(n), design])
    known = np.diag([0.0, *1 / prior**2])  # of the intercept nothing is
    least = max(LEAST_VARIANCE, 2 / n)
    variance = max(float(sign.var()), least)
    for _ in range(3):  # the weight of the prior depends on the variance, and the variance on the fit
        inverse = np.linalg.pinv(x.T @ x + variance * known)
        worth = inverse @ (x.T @ sign)
        residual = sign - x @ worth
        spare = max(n - float(np.trace(inverse @ x.T @ x)), 1.0)
        variance = max(float(residual @ residual) / spare, least)
    scores = np.zeros((n_authors, x.shape[1]))
    np.add.at(scores, author, x * residual[:, None])
    by_author = scores.T @ scores * (n / spare) * (n_authors / max(n_authors - 1, 1))
    errors = [
        np.sqrt(np.diag(inverse @ (chance + variance**2 * known) @ inverse))
        for chance in (variance * x.T @ x, by_author)
    ]
    error, mean = np.maximum(*errors), x.mean(axis=0)
    return Fit(
        at_equal=round(float(worth[0]), 12),  # a win everywhere is 1, not a hair less
        error=float(error[0]),
        added=(worth * mean)[1:],
        added_error=(error * np.abs(mean))[1:],
        df=max(n_authors - 1, 1),
    )


def style_control(sign: np.ndarray, habits: Mapping[str, Amounts], author: np.ndarray) -> dict[str, Any]:
    """Does the win remain at equal style, and what does each habit add to it? In points of net win.

    net_win, ci95, low (what the gate reads) are of the coding with the lowest low; low is at most 0 where the
    win cannot be told from a habit. habits, the largest first: habit, label, a and b (share of the replies
    that have it; the mean amount of a graded one), points that it adds, with ci95, overlap (share of the
    tweets on which it does not go its usual way), apart (too few of those), named (it explains a part of the
    win, or may be all of it).
    """
    coding, fit = min(fits(sign, habits, author).items(), key=lambda item: item[1].low)
    net, rows = 100 * float(sign.mean()), []
    for of, (habit, have) in enumerate(habits.items()):
        overlap, (low, high) = _overlap(*have), fit.interval(0.95, of)
        row = {
            "habit": habit,
            "label": label(habit),
            **dict(zip("ab", (_usual(habit, amounts) for amounts in have), strict=True)),
            "points": 100 * float(fit.added[of]),
            "ci95": (100 * low, 100 * high),
            "overlap": overlap,
            # How much more there is of a graded one varies even where it always goes one way.
            "apart": overlap == 0 if habit in GRADED else overlap < FEW,
        }
        rows.append(row | {"named": net > 0 and low > 0 and row["points"] >= NAMED})
    low = 100 * fit.low
    if any(row["apart"] for row in rows):
        low = min(low, 0.0)
    if net > 0 and low <= 0:  # what may be the half of the win is named, however uncertain that is
        most = max(row["ci95"][1] for row in rows)
        for row in rows:
            row["named"] |= row["apart"] or row["ci95"][1] >= min(most, net / 2)
    return {
        "net_win": 100 * fit.at_equal,
        "ci95": tuple(100 * end for end in fit.interval(0.95)),
        "low": low,
        "coding": coding,
        "habits": sorted(rows, key=lambda row: -abs(row["points"])),
    }


def _usual(habit: str, amounts: Sequence[float]) -> float:
    values = amounts if habit in GRADED else [amount > 0 for amount in amounts]
    return sum(values) / len(values)


def _overlap(in_a: Sequence[float], in_b: Sequence[float]) -> float:
    moves = [(one > other) - (one < other) for one, other in zip(in_a, in_b, strict=True)]
    usual = (sum(moves) > 0) - (sum(moves) < 0)
    return 1 - moves.count(usual) / len(moves) if usual else 1.0


def length_control(
    sign: np.ndarray, chars_a: Sequence[float], chars_b: Sequence[float], author: np.ndarray
) -> dict[str, Any]:
    """Does the win remain at equal length? The same regression on nothing but the length. Shares are 0..1.

    win_rate, ci95: by amount. balanced_win_rate, balanced_ci95: by which is the longer, the mean of the win
    rates where a is the longer and where it is the shorter reply. low: what the gate reads, the lowest lower
    end of the three. correlation, correlation_p: Spearman, verdict with difference in characters. explained:
    length alone may have made the verdicts, because Somers' D of the two is 0.9 or more or because one system
    is always the longer; there is no win rate then, and a note.
    """
    import numpy as np
    from scipy import stats

    length, longer = doublings(chars_a, chars_b), np.subtract(chars_a, chars_b)
    r, p, note = None, None, ""
    if longer.any() and _overlap(*length) == 0:
        note = "length control is not possible: one system is always the longer"
    if len(sign) > 2 and np.ptp(sign) > 0 and np.ptp(longer) > 0:
        r, p = map(float, stats.spearmanr(sign, longer))
        if abs(float(stats.somersd(sign, longer).statistic)) >= LENGTH_EXPLAINS:
            note = "length control is not possible: length separates the verdicts"
    found = fits(sign, {"length": length}, author)
    rates = {
        "win_rate": (1 + found["amount"].at_equal) / 2,
        "ci95": _as_shares(found["amount"].interval(0.95)),
        "balanced_win_rate": (1 + found["more"].at_equal) / 2,
        "balanced_ci95": _as_shares(found["more"].interval(0.95)),
        "low": (1 + min(fit.low for fit in found.values())) / 2,
    }
    if note:
        unknown = (0.0, 1.0)
        rates = dict(zip(rates, (None, unknown, None, unknown, 0.0), strict=True))
    return rates | {
        "correlation": r,
        "correlation_p": p,
        "follows_length": p is not None and p < 0.05,
        "explained": bool(note),
        "a_longer": float((longer > 0).mean()),
        "longer_wins": float((sign * longer > 0).sum() / max((sign * longer != 0).sum(), 1)),
        "notes": [note] if note else [],
    }


def doublings(chars_a: Sequence[float], chars_b: Sequence[float]) -> Amounts:
    """The length as a habit: half as long again weighs the same in a short reply and in a long one."""
    return tuple([math.log2(1 + n_chars) for n_chars in side] for side in (chars_a, chars_b))


def _as_shares(interval: Interval) -> Interval:
    return (1 + interval[0]) / 2, (1 + interval[1]) / 2


def named_habits(net_win: float, style: Mapping[str, Any], a: str, b: str) -> list[str]:
    """The habits that explain a part of the win, or may be all of it, in words."""
    said = []
    for row in style["habits"]:
        low, high = row["ci95"]
        if row["named"] and row["apart"] and row["habit"] != "length":  # of that the length control speaks
            said.append(
                f"style: the systems hardly meet in {row['label']} ({a} {_rate(row, 'a')}, {b} "
                f"{_rate(row, 'b')}): any part of the {net_win:+.0f} points may be that"
            )
        elif row["named"] and not row["apart"]:
            said.append(
                f"style: {row['points']:+.0f} of {net_win:+.0f} points are {row['label']} (95% CI "
                f"{low:+.0f} to {high:+.0f})"
            )
    return said


def _rate(row: Mapping[str, Any], side: str) -> str:
    if row["habit"] == "length":
        return f"{2 ** row[side] - 1:.0f} characters"
    return f"{row[side]:.0%}"
