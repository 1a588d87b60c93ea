"""human/report.json as a record: what people said, how far they agree with each other and the judge."""

from lib.base.schema import Record
from lib.evaluate.measures import Compared, Interval


class Rater(Record):
    """One person's answers, and the share of decisive ones that went to A: who always presses one key shows
    here.
    """

    n: int = 0
    ties: int = 0
    first_chosen: float | None = None
    first_ci95: Interval | None = None


class Agreement(Record):
    """The share of items on which two agree, and how far beyond chance."""

    n: int = 0
    n_raters: int | None = None
    share: float | None = None
    kappa: float | None = None
    ci95: Interval | None = None


class OfRaters(Agreement):
    """The raters among themselves, over all pairs of answers to one item; intervals are clustered by item.

    n: pairs of answers. n_pairs: pairs of raters, of which some are listed under `pairs`.
    """

    share_ci95: Interval | None = None

    n_pairs: int | None = None
    raters: list[str] = []
    pairs: list["OfRaters"] = []


class OfVotes(Record):
    """Blind answers of people, one by one, against the judge's verdict on the same tweet.

    n: votes of people on tweets that the judge has judged as well. ci95: of kappa; above 0 they agree more
    often than chance would. Both intervals are clustered by tweet.
    """

    n: int
    n_tweets: int
    share: float
    share_ci95: Interval
    kappa: float | None = None
    ci95: Interval | None = None


class OfJudge(Agreement):
    """The people's majority and the judge; right: the share of the tweets on which both are decisive.

    votes: the same answer by answer; None in reports of earlier versions.
    """

    votes: OfVotes | None = None

    n_decisive: int | None = None
    right: float | None = None
    right_ci95: Interval | None = None


class Agreements(Record):
    """Whom the raters agree with: each other, the judge. None where there is nothing to compare."""

    raters: OfRaters | None = None
    judge: OfJudge | None = None


class Demo(Record):
    """The demo's votes on this adapter: a hint, not evidence."""

    n_votes: int = 0
    n_other_adapters: int = 0
    comparison: Compared | None = None


class OfCrowd(Record):
    """A paid crowd: whose answers count, and who was left out by which rule.

    asked_twice: further submissions of people who had one. never_came: paid for and not in the page's log.
    other_code: submissions with another completion code than the page's. usd: of the approved ones.
    n_pending: submissions that are not decided yet.
    """

    n_submissions: int
    n_people: int
    n_counted: int
    left_out: dict[str, int] = {}
    asked_twice: int = 0
    never_came: int = 0
    other_code: int = 0
    estimate_usd: float
    usd: float
    n_pending: int = 0


class People(Record):
    """People's answers as a whole: human/report.json.

    outdated: about replies that have been generated anew since.
    """

    run: str | None = None
    eval: str | None = None
    created_at: str | None = None
    replies_sha256: str | None = None
    n_items: int = 0
    n_answered: int = 0
    n_answers: int = 0
    n_both_bad: int = 0
    n_outdated: int = 0
    n_rejected: int = 0
    raters: dict[str, Rater] = {}
    comparison: Compared | None = None
    agreement: Agreements = Agreements()
    demo: Demo | None = None
    crowd: OfCrowd | None = None
    sentence: str | None = None
    outdated: bool = False
