"""Agreement of two raters beyond chance, on answers that are not independent: several to one tweet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from lib.base.schema import Judgment
from lib.evidence.intervals import Interval, design_effect, wilson


@dataclass(frozen=True)
class Agreed:
    """n answers on n_clusters tweets: the share that agrees, and Cohen's kappa, with 95 % intervals.

    kappa is None where both raters gave one and the same label throughout: chance alone agrees fully then.
    """

    n: int
    n_clusters: int
    share: float
    share_ci95: Interval
    kappa: float | None
    kappa_ci95: Interval | None


def clustered_agreement(labels: Sequence[tuple[str, str]], clusters: Sequence[str]) -> Agreed:
    """Agreement of pairs of labels. clusters: the tweet of each pair; answers to one tweet count together.

    The share's interval is Wilson's at the effective number of answers (design effect of the tweets). That of
    kappa is the same one, moved to kappa's scale with the agreement by chance held fixed (Cohen 1960): never
    without width, whatever the answers. Raises ValueError without answers.
    """
    import numpy as np

    if not labels:
        raise ValueError("agreement of no answers")
    first, second = (np.array([pair[side] for pair in labels], dtype=object) for side in (0, 1))
    same = (first == second).astype(float)
    tweet = np.unique(list(clusters), return_inverse=True)[1]
    n, n_clusters, share = len(same), int(tweet.max()) + 1, float(same.mean())
    effective = n / design_effect(same, tweet) if np.ptp(same) else n_clusters
    low, high = wilson(share * effective, effective)
    chance = sum(float((first == name).mean() * (second == name).mean()) for name in {*first, *second})
    if chance > 1 - 1e-12:
        return Agreed(n, n_clusters, share, (low, high), None, None)
    kappa, *bounds = ((value - chance) / (1 - chance) for value in (share, low, high))
    return Agreed(n, n_clusters, share, (low, high), kappa, (bounds[0], bounds[1]))


def contradictions(judgments: Sequence[Judgment]) -> tuple[list[Judgment], int]:
    """(verdicts for the side that the same answer scores lower on average, those that have scores at all)."""
    scored = [
        one
        for one in judgments
        if one.verdict is not None and one.scores.get(one.a) and one.scores.get(one.b)
    ]
    gaps = [fmean(one.scores[one.a].values()) - fmean(one.scores[one.b].values()) for one in scored]
    return [one for one, gap in zip(scored, gaps, strict=True) if gap * one.verdict < 0], len(scored)
