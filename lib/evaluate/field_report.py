"""The standing of a field test, and its result: nothing about the arms before the plan is fulfilled."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from lib.base.errors import UserError
from lib.base.files import append_line, content_hash, read_jsonl, write_json, write_text
from lib.data.counts import Counted
from lib.data.text import normalised
from lib.evaluate.field_log import Draft, FieldLog
from lib.evaluate.field_page import doubts, page, sentence
from lib.evaluate.field_plan import FieldPlan, secret_of
from lib.evaluate.field_records import ARMS, CountLine, FieldReport
from lib.evidence.allocation import Slot, slots
from lib.evidence.field import Post, field_result, fisher_p


@dataclass(frozen=True)
class Standing:
    """How far a test is. counts: of posts whose likes were counted in time. is_told: the report is there."""

    plan: FieldPlan
    posted: list[Draft]
    n_open: int
    n_left_out: int
    counts: dict[str, CountLine]
    is_told: bool

    @property
    def is_posted(self) -> bool:
        return len(self.posted) >= self.plan.n_posts

    @property
    def countable_at(self) -> datetime:
        """When the last post is old enough for its count."""
        newest = max((draft.posted_at for draft in self.posted if draft.posted_at), default=datetime.now(UTC))
        return newest + timedelta(hours=self.plan.hours)

    @property
    def uncounted(self) -> list[Draft]:
        return [draft for draft in self.posted if draft.post_id not in self.counts]

    @property
    def countable(self) -> list[Draft]:
        """Posts without a count that are old enough for one."""
        limit = datetime.now(UTC) - timedelta(hours=self.plan.hours)
        return [draft for draft in self.uncounted if draft.posted_at and draft.posted_at <= limit]

    def line(self) -> str:
        """The standing in one line that says nothing about the arms."""
        waiting = f", {self.n_open} waiting for their post" if self.n_open else ""
        left_out = f", {self.n_left_out} discarded" if self.n_left_out else ""
        return f"field: {len(self.posted)} of {self.plan.n_posts} replies posted{waiting}{left_out}"

    def next_step(self) -> str:
        make = f"make field RUN={self.plan.run}"
        if not self.is_posted:
            return f"next: {make}"
        if self.is_told:
            return f"next: read adapters/{self.plan.run}/field/report.html"
        if datetime.now(UTC) < self.countable_at:
            return f"next: {make} IMPORT=<file of likes> after {self.countable_at:%Y-%m-%d %H:%M} UTC"
        return f"next: {make} IMPORT=<file of likes>, or IMPORT=apify (priced, asks first)"


def standing(log: FieldLog) -> Standing:
    """The standing of a test by its files."""
    drafts = log.drafts().values()
    posted = [draft for draft in drafts if draft.post_id]
    path = log.path.with_name("counts.jsonl")
    counts: dict[str, CountLine] = {}
    old_enough = {
        draft.post_id: draft.posted_at + timedelta(hours=log.plan.hours)
        for draft in posted
        if draft.posted_at
    }
    for line in read_jsonl(path, CountLine, torn_tail=True) if path.exists() else []:
        if line.post_id in old_enough and line.at >= old_enough[line.post_id]:
            earlier = counts.get(line.post_id)
            counts[line.post_id] = line if earlier is None or line.at < earlier.at else earlier
    n_left_out = sum(draft.discarded is not None for draft in drafts)
    is_told = log.path.with_name("report.json").is_file()
    return Standing(log.plan, posted, sum(draft.is_open for draft in drafts), n_left_out, counts, is_told)


def refuse_told(log: FieldLog) -> None:
    """Raise UserError once the result was told: no count may change what somebody has seen."""
    if standing(log).is_told:
        page = log.path.with_name("report.html")
        raise UserError(f"The result is in {page}, and it stays: counts that come after it change nothing.")


def take_in(log: FieldLog, found: Iterable[Counted]) -> int:
    """Keep the counts of this test's posts; what is known already adds nothing. Returns how many are new."""
    path = log.path.with_name("counts.jsonl")
    known = (
        {(line.post_id, line.at) for line in read_jsonl(path, CountLine, torn_tail=True)}
        if path.exists()
        else set()
    )
    posted = {draft.post_id: draft for draft in log.drafts().values() if draft.post_id}
    n_new = 0
    for one in found:
        draft = posted.get(one.id)
        if draft is None or (one.id, one.at) in known:
            continue
        edited = None if one.text is None else normalised(one.text) != normalised(draft.reply or "")
        append_line(
            path, CountLine(post_id=one.id, likes=one.likes, views=one.views, edited=edited, at=one.at)
        )
        known.add((one.id, one.at))
        n_new += 1
    return n_new


def write_report(log: FieldLog, gone: bool) -> FieldReport | None:
    """report.json and report.html, once the plan is fulfilled; None before. gone: posts without a count are
    deleted ones, and are counted as such. Raises UserError where posts have no count and nobody says so.
    """
    now = standing(log)
    if not now.is_posted or datetime.now(UTC) < now.countable_at:
        return None
    if now.uncounted and not gone:
        first = ", ".join(str(draft.link) for draft in now.uncounted[:3])
        raise UserError(
            f"{len(now.uncounted)} of {len(now.posted)} posts have no likes that were counted "
            f"{now.plan.hours} hours after the post or later ({first}). Import those too. Are they deleted? "
            "Then say GONE=1."
        )
    folder = log.path.parent
    report = _report(log, now, slots(secret_of(folder, now.plan), max(log.drafts())))
    write_text(folder / "report.html", page(report))
    write_json(folder / "report.json", report.model_dump(mode="json"))
    return report


def _report(log: FieldLog, now: Standing, allocation: Sequence[Slot]) -> FieldReport:
    drafts = list(log.drafts().values())
    arm_of = {draft.number: allocation[draft.number - 1].arm for draft in drafts}

    def by_arm(some: Iterable[Draft]) -> dict[str, int]:
        counted = Counter(arm_of[draft.number] for draft in some)
        return {arm: counted[arm] for arm in ARMS}

    counted = [draft for draft in now.posted if draft.post_id in now.counts]
    posts = [
        Post(draft.number - 1, _week(draft), line.likes, line.views)
        for draft in counted
        if (line := now.counts[str(draft.post_id)])
    ]
    try:
        found = asdict(field_result(posts, allocation))
    except ValueError as error:
        raise UserError("All posts that are counted are of one arm: there is nothing to compare.") from error
    unposted = [draft for draft in drafts if draft.post_id is None]
    n_drafts, left_out = by_arm(drafts), by_arm(unposted)
    reasons = {
        arm: dict(Counter(draft.discarded or "open" for draft in unposted if arm_of[draft.number] == arm))
        for arm in ARMS
    }
    values = {
        "left_out": reasons,
        "left_out_p": fisher_p(left_out["base"], n_drafts["base"], left_out["tuned"], n_drafts["tuned"]),
        "gone": by_arm(now.uncounted),
        "edited": by_arm(draft for draft in counted if now.counts[str(draft.post_id)].edited),
        **found,
    }
    return FieldReport(
        run=now.plan.run,
        created_at=datetime.now(UTC).replace(microsecond=0),
        plan_sha256=content_hash(log.path.with_name("plan.json")),
        plan=now.plan,
        n_drafts=n_drafts,
        sentence=sentence(values, now.plan),
        doubts=doubts(values),
        **values,
    )


def _week(draft: Draft) -> str:
    year, week, _ = (draft.posted_at or draft.drawn_at).isocalendar()
    return f"{year}-W{week:02}"
