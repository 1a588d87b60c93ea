"""The counts and the result of a field test as records: field/counts.jsonl and field/report.json."""

from lib.base.schema import Count, Id, Record, Utc
from lib.evaluate.field_plan import FieldPlan
from lib.evaluate.measures import Interval

ARMS = ("base", "tuned")


class CountLine(Record):
    """A line of field/counts.jsonl. edited: the post's words are not the draft's; None where not told."""

    post_id: Id
    likes: Count
    views: Count | None = None
    edited: bool | None = None
    at: Utc


class FieldReport(Record):
    """field/report.json. left_out: drafts that were not posted, by arm and reason; left_out_p: do they differ
    by more than chance. gone: posts without a count. edited: posts that are not their draft word for word.
    The other fields are those of lib.evidence.field.FieldResult.
    """

    run: str
    created_at: Utc
    plan_sha256: str
    plan: FieldPlan
    n_drafts: dict[str, int]
    left_out: dict[str, dict[str, int]]
    left_out_p: float
    gone: dict[str, int]
    edited: dict[str, int]
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
    sentence: str
    doubts: list[str]
