"""The field test: do replies by the tuned model get more likes than replies by the base, on X itself?

One test decides: a randomisation test of the root of the likes, which re-draws the allocation that was used
and stays exact whatever the likes are like (the root keeps one reply that went viral from deciding alone).
The ratio of the mean likes with its interval says how much more. Both compare within calendar weeks only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lib.evidence.allocation import Slot, could_have_been
from lib.evidence.intervals import Interval

ALPHA, POWER = 0.05, 0.8
Z_ALPHA, Z_POWER = 1.959964, 0.841621
N_DRAWS = 9999
DISPERSION = 0.5  # variance = mean + mean²/0.5: most replies get nothing, few get many


@dataclass(frozen=True)
class Post:
    """A reply that was posted. slot: its place in the allocation, from 0. week: of the calendar."""

    slot: int
    week: str
    likes: int
    views: int | None = None


@dataclass(frozen=True)
class FieldResult:
    """The result of all posts.

    ratio: mean likes of tuned over base, within weeks; None where one of them has none. per_view: the same
    per view, of the posts whose views are known. verdict: more | fewer | not shown.
    """

    n: dict[str, int]
    mean_likes: dict[str, float]
    n_weeks: int
    p: float
    ratio: float | None
    ratio_ci95: Interval | None
    n_with_views: int
    per_view: float | None
    per_view_ci95: Interval | None
    verdict: str


def field_result(posts: Sequence[Post], allocation: Sequence[Slot]) -> FieldResult:
    """Test and ratio of the posts, by the arms of their slots.

    Raises ValueError without posts of both arms.
    """
    arms = [allocation[post.slot].arm for post in posts]
    if set(arms) != {"base", "tuned"}:
        raise ValueError("a field result needs posts of both arms")
    statistic, p = randomisation_test(posts, allocation)
    is_tuned = [arm == "tuned" for arm in arms]
    weeks = [post.week for post in posts]
    ratio, interval = rate_ratio([post.likes for post in posts], [1] * len(posts), is_tuned, weeks)
    seen = [n for n, post in enumerate(posts) if post.views]
    per_view, per_view_interval = rate_ratio(
        [posts[n].likes for n in seen],
        [posts[n].views or 0 for n in seen],
        [is_tuned[n] for n in seen],
        [weeks[n] for n in seen],
    )
    agree = ratio is None or (ratio > 1) == (statistic > 0)
    shown = p <= ALPHA and agree and statistic != 0
    n = {arm: arms.count(arm) for arm in ("base", "tuned")}
    total = {arm: sum(post.likes for post, of in zip(posts, arms, strict=True) if of == arm) for arm in n}
    return FieldResult(
        n=n,
        mean_likes={arm: total[arm] / n[arm] for arm in n},
        n_weeks=len(set(weeks)),
        p=p,
        ratio=ratio,
        ratio_ci95=interval,
        n_with_views=len(seen),
        per_view=per_view,
        per_view_ci95=per_view_interval,
        verdict=("more" if statistic > 0 else "fewer") if shown else "not shown",
    )


def randomisation_test(
    posts: Sequence[Post], allocation: Sequence[Slot], n_draws: int = N_DRAWS
) -> tuple[float, float]:
    """(statistic, two-sided p): the root of the likes above its week's mean, summed over the tuned posts."""
    import numpy as np

    roots = np.sqrt([post.likes for post in posts])
    week = np.unique([post.week for post in posts], return_inverse=True)[1]
    centred = roots - (np.bincount(week, weights=roots) / np.bincount(week))[week]
    at = [post.slot for post in posts]
    observed = float(np.array([allocation[slot].arm == "tuned" for slot in at]) @ centred)
    drawn = could_have_been(allocation, n_draws)[:, at] @ centred
    n_as_far = int((np.abs(drawn) >= abs(observed) - 1e-9).sum())
    return observed, (1 + n_as_far) / (1 + n_draws)


def rate_ratio(
    likes: Sequence[float], exposure: Sequence[float], is_tuned: Sequence[bool], weeks: Sequence[str]
) -> tuple[float | None, Interval | None]:
    """Mantel–Haenszel ratio of the rates likes / exposure, tuned over base, within weeks; its 95 % interval.

    The variance is that of the residuals within week and arm, so likes may vary as widely as they do. (None,
    None) where one arm has no likes in the weeks that hold both arms.
    """
    import numpy as np

    y, e, tuned = np.asarray(likes, float), np.asarray(exposure, float), np.asarray(is_tuned, bool)
    names = np.asarray(weeks, object)
    sums, variances = np.zeros(2), np.zeros(2)
    for name in set(names):
        sides = [(names == name) & (tuned == side) for side in (False, True)]
        exposed = [e[side].sum() for side in sides]
        if not all(exposed):
            continue
        for arm, side in enumerate(sides):
            weight = exposed[1 - arm] / sum(exposed)
            residual = y[side] - y[side].sum() / exposed[arm] * e[side]
            n = int(side.sum())
            sums[arm] += weight * y[side].sum()
            # One post alone shows no spread: its own size stands for it.
            squares = (residual**2).sum() * n / (n - 1) if n > 1 else float((y[side] ** 2).sum())
            variances[arm] += weight**2 * squares
    if not sums.all():
        return None, None
    log_ratio = math.log(sums[1] / sums[0])
    width = Z_ALPHA * math.sqrt((variances / sums**2).sum())
    return math.exp(log_ratio), (math.exp(log_ratio - width), math.exp(log_ratio + width))


def fisher_p(n_base: int, of_base: int, n_tuned: int, of_tuned: int) -> float:
    """Chance that the drafts left out (n of all) differ so much between the arms by chance alone."""
    from scipy.stats import fisher_exact

    return float(fisher_exact([[n_base, of_base - n_base], [n_tuned, of_tuned - n_tuned]]).pvalue)


def power(per_arm: int, ratio: float, likes: float) -> float:
    """Chance to show a true ratio with so many posts an arm. likes: mean of a base reply."""
    base, tuned = _root_moments(likes), _root_moments(likes * ratio)
    z = abs(tuned[0] - base[0]) / math.sqrt((base[1] + tuned[1]) / per_arm)
    return 0.5 * math.erfc((Z_ALPHA - z) / math.sqrt(2))


def posts_needed(ratio: float, likes: float) -> int:
    """Posts an arm that show a true ratio with a power of 0.8, a multiple of ten."""
    base, tuned = _root_moments(likes), _root_moments(likes * ratio)
    exact = (Z_ALPHA + Z_POWER) ** 2 * (base[1] + tuned[1]) / (tuned[0] - base[0]) ** 2
    return 10 * math.ceil(exact / 10)


def smallest_ratio(per_arm: int, likes: float) -> float:
    """The smallest true ratio above 1 that so many posts an arm show with a power of 0.8, to 0.05."""
    return next(
        (1 + step / 20 for step in range(1, 180) if power(per_arm, 1 + step / 20, likes) >= POWER), 10.0
    )


def _root_moments(mean: float) -> tuple[float, float]:
    """Mean and variance of the root of a negative binomial count of this mean."""
    import numpy as np
    from scipy.stats import nbinom

    most = int(60 * mean + 200)
    share = nbinom.pmf(np.arange(most), DISPERSION, DISPERSION / (DISPERSION + mean))
    roots = np.sqrt(np.arange(most))
    first = float(share @ roots)
    return first, float(share @ roots**2) - first**2
