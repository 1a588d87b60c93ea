"""Records of a report about its judge: consistency, kin, other judges of the same replies; and about the best
of k, which a ranker picked.
"""

from lib.base.schema import Record
from lib.evaluate.measures import Interval


class Habits(Record):
    """contradictions: verdicts for the side that the same answer scores lower, of so many with scores.

    kin: a sentence where the judge and the model that was trained are of one family.
    """

    contradictions: int
    n_scored: int
    kin: str | None = None


class SecondJudge(Record):
    """Another evaluation of the run, whose judge saw n of the same pairs of replies.

    share and kappa: of equal verdicts (either side, or a tie), with intervals clustered by tweet. net_win:
    points, this judge's and the other's, on the n_headline tweets where both compared tuned with base.
    opposed: of those, the tweets where one preferred tuned and the other base.
    """

    eval: str
    kind: str | None = None
    model: str | None = None
    n: int
    n_tweets: int
    share: float
    share_ci95: Interval
    kappa: float | None = None
    kappa_ci95: Interval | None = None
    n_headline: int = 0
    net_win: Interval | None = None
    opposed: list[str] = []


class BestOf(Record):
    """How one best of k came about, all means over tweets.

    distinct: the share of the k candidates that differ in words. diversity: 1 minus the share of words that
    two candidates have in common (Jaccard). first_picked: the share of tweets where the arm's own reply was
    picked; a ranker that sees no difference would pick it on all. gain: of the ranker's score, 1 to 10.
    """

    k: int
    n: int
    distinct: float
    diversity: float
    first_picked: float
    gain: float
