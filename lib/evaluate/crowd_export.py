"""Prolific's export of submissions and the page's log: whose answers count, by the rules stated before."""

import csv
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from lib.base.errors import UserError
from lib.base.files import content_hash, lock, write_json, write_jsonl
from lib.base.ledger import Ledger
from lib.evaluate.crowd_log import Work, checks, read_work
from lib.evaluate.crowd_study import CROWD, MAX_FAILED, MIN_MEDIAN_S, Study, book_intent, cost
from lib.evaluate.people_records import OfCrowd

RATER = "prolific-"  # how a person of the crowd is named wherever answers are read
COUNTED = ("APPROVED", "AWAITING REVIEW")
PENDING = ("AWAITING REVIEW", "ACTIVE", "RESERVED")
COLUMNS = {  # as the export calls them now, and as it did
    "person": ("participant id", "participant_id"),
    "session": ("submission id", "session_id", "submission_id"),
    "status": ("status",),
    "code": ("completion code", "entered_code", "study_code"),
}


@dataclass(frozen=True)
class Submission:
    """A row of the export."""

    person: str
    session: str
    status: str
    code: str


def is_export(path: Path) -> bool:
    """True of a file whose first line is that of Prolific's export."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as handle:
            names = {name.strip().strip('"').lower() for name in handle.readline().split(",")}
    except OSError:
        return False
    return "status" in names and bool(names & set(COLUMNS["person"]))


def read_export(path: Path) -> list[Submission]:
    """The submissions of an export. Raises UserError for a file that is none."""
    if not path.is_file():
        raise UserError(f"{path} does not exist. Name the export of submissions that Prolific gave you.")
    if not is_export(path):
        raise UserError(
            f"{path}:1: not Prolific's export: it has no columns `Participant id` and `Status`. Download the "
            "submissions again as CSV."
        )
    found = []
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as handle:
        reader = csv.DictReader(handle, strict=True)
        try:
            for row in reader:
                names = {
                    str(name).strip().lower(): (cell or "").strip() for name, cell in row.items() if name
                }
                values = {
                    field: next((names[name] for name in options if names.get(name)), "")
                    for field, options in COLUMNS.items()
                }
                if values["person"]:
                    found.append(Submission(**values | {"status": values["status"].upper()}))
        except csv.Error as error:
            raise UserError(f"{path}:{reader.line_num}: not CSV ({error}). Download it again.") from error
    return found


def take_in_export(folder: Path, study: Study, path: Path) -> tuple[OfCrowd, Path]:
    """human/crowd/result.json, and the answers that count as a file for the import; the cost is booked.

    folder: human/ of the evaluation. Everybody who is left out is counted with the first rule that says so.
    """
    crowd = folder / "crowd"
    with lock(crowd / "import.lock"):
        submissions = read_export(path)
        work, right = read_work(crowd / "log.jsonl"), {name: ok for name, (_, ok) in checks(study).items()}
        reasons = {person: _left_out(person, work[person], submissions, right) for person in work}
        left_out = Counter(reason for reason in reasons.values() if reason)
        rows = Counter(one.person for one in submissions)
        answers = [
            {"rater": _pseudonym(person), "item": item, "choice": choice, "at": at.isoformat()}
            for person, reason in reasons.items()
            if reason is None
            for item, (choice, at) in work[person].answers.items()
            if item not in right
        ]
        n_paid = sum(one.status == "APPROVED" for one in submissions)
        n_pending = sum(one.status in PENDING for one in submissions)
        found = OfCrowd(
            n_submissions=len(submissions),
            n_people=len(work),
            n_counted=sum(reason is None for reason in reasons.values()),
            left_out=dict(left_out),
            asked_twice=sum(max(rows[person] - 1, work[person].n_again) for person in work),
            never_came=sum(one.person not in work for one in submissions if one.status in COUNTED),
            other_code=sum(one.code != study.code for one in submissions if one.status in COUNTED),
            estimate_usd=study.usd,
            usd=cost(n_paid, study.reward_usd, study.fee),
            n_pending=n_pending,
        )
        write_jsonl(crowd / "answers.jsonl", answers)
        write_json(crowd / "result.json", found.model_dump(mode="json"))
        _book(folder, study, found)
    return found, crowd / "answers.jsonl"


def _left_out(person: str, work: Work, submissions: list[Submission], right: dict[str, str]) -> str | None:
    """The rule that leaves a person out; None for one who counts."""
    own = [one for one in submissions if one.person == person]
    if not own:
        return "not in the export"
    first = next((one for one in own if one.session == work.session), own[0])
    if first.status not in COUNTED:
        return first.status.lower() or "no status"
    if not work.is_done:
        return "unfinished"
    n_failed = sum(work.answers[name][0] != choice for name, choice in right.items() if name in work.answers)
    if n_failed > MAX_FAILED:
        return "failed checks"
    moments = [work.begun_at, *sorted(at for _, at in work.answers.values())]
    seconds = [(b - a).total_seconds() for a, b in pairwise(moments)]
    return "too fast" if median(seconds) < MIN_MEDIAN_S else None


def _pseudonym(person: str) -> str:
    return RATER + content_hash(["rater", person])[:10]


def _book(folder: Path, study: Study, found: OfCrowd) -> None:
    """Done where nothing is pending; a later export may still correct the sum."""
    book_intent(folder, study)
    ledger = Ledger(folder / "ledger.jsonl")
    newest: Any = ledger.latest()[study.key]
    if found.n_pending or not found.n_submissions:
        if newest.state == "intent":
            ledger.append("started", study.key, CROWD, note={"worst_usd": study.usd})
    elif (newest.state, newest.usd) != ("done", found.usd):
        ledger.append("done", study.key, CROWD, usd=found.usd)
