"""report.json of an evaluation as records: what the page, the card, compare and the list of runs read.

A report of an earlier version has no `version` and may lack fields: what it does not say is None, never
guessed.
"""

from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator

from lib.base.errors import UserError
from lib.base.files import read_json
from lib.base.schema import Record
from lib.evaluate.judge_records import BestOf, Habits, SecondJudge
from lib.evaluate.measures import (
    Calibration,
    Compared,
    Equivalence,
    Interval,
    Length,
    Metrics,
    Number,
    Position,
    Strength,
)
from lib.evaluate.people_records import People

VERSION = 1  # of report.json; raise it when a field changes its meaning
LATER = {"flaws", "best_of", "second_judges"}  # fields that the first reports of this version lack
ADVICE = "`make eval` writes it again, for free where the verdicts are kept."
R = TypeVar("R", bound=Record)


class Canaries(Record):
    """Injected orders: asked, not obeyed, and the ids of those that were."""

    n: int
    held: int
    obeyed: list[str] = []


class Account(Record):
    """The bill of a paid judge so far, over all runs."""

    answers: int = 0
    batches: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    possibly_paid: int = 0
    possibly_paid_usd: float = 0.0
    asked_again: int = 0


class Trust(Record):
    """Has the judge earned it, on real likes or with people? status: trusted | unproven."""

    status: str | None = None
    sentence: str | None = None
    needs: str | None = None  # what would earn it


class Judge(Record):
    """Who judged, and how far it can be trusted."""

    kind: str | None = None
    model: str | None = None
    stand_in: bool | None = None
    trust: Trust | None = None  # None: not known, as in reports of earlier versions
    position_bias: Position | None = None
    length: Length | None = None
    calibration: Calibration | None = None
    true_win_rate: float | None = None  # of a judge that beats a coin
    true_win_rate_ci95: Interval | None = None
    parse_failures: int | None = None
    failure_reasons: dict[str, int] = {}
    canaries: Canaries | None = None
    habits: Habits | None = None
    account: Account | None = None
    usd: float | None = None


class Criterion(Record):
    """One row of the gate. `pass` in the file, which is no name in Python."""

    name: str
    label: str | None = None  # for people; None in reports of earlier versions
    value: Number | None = None
    threshold: Number | None = None
    passed: bool = Field(False, alias="pass")
    reason: str | None = None


class Improvement(Record):
    """The improvement both ways: points of net win, percent of the mean score."""

    chosen: str | None = None
    net_win: float | None = None
    relative_mean: float | None = None
    why: str | None = None


class AgainstFewshot(Record):
    """Tuned against the few-shot baseline; beats is None where that was not compared."""

    beats: bool | None = None
    net_win: float | None = None
    ci95: Interval | None = None
    sentence: str | None = None


class Decision(Record):
    """The end of a report: publish | train (a second version) | collect (more) | no_evidence (yet)."""

    kind: Literal["publish", "train", "collect", "no_evidence"]
    sentence: str


class Bounds(Record):
    """The net win (points) with every missing answer of the judge against and for tuned; unjudged: the share
    of the tweets that lack one.
    """

    net_win: Interval | None = None
    unjudged: float | None = None


class Gate(Record):
    """The verdict: pass | fail | underpowered | unproven, and every criterion behind it."""

    verdict: str | None = None
    sentence: str | None = None
    decision: Decision | None = None
    next: str | None = None  # the decision's sentence: what to do now, without a full stop
    criteria: list[Criterion] = []
    improvement: Improvement | None = None
    bounds: Bounds | None = None
    fewshot: AgainstFewshot | None = None
    biases: list[str] = []


class Flawed(Record):
    """One kind of flaw among the tuned replies, by rule: how many of those that lost, tied and won have it,
    and some of the lost or tied ones.
    """

    name: str
    losses: int = 0
    ties: int = 0
    wins: int = 0
    examples: list[str] = []  # ids of tweets


class Report(Record):
    """report.json.

    The headline is tuned against base, tweet by tweet; the other pairs are under `comparisons`.
    """

    version: Literal[1] | None = None
    run: str | None = None
    eval: str | None = None
    created_at: str | None = None
    n_prompts: int | None = None
    systems: list[str] = []
    win_rate: float | None = None
    net_win: float | None = None
    wilcoxon_p: float | None = None
    mannwhitney_p: float | None = None
    cohens_d: float | None = None
    ci95: Interval | None = None
    mde: float | None = None
    underpowered: bool | None = None
    judge: Judge = Judge()
    metrics: dict[str, Metrics] = {}
    gate: Gate = Gate()
    headline: Compared | None = None
    comparisons: dict[str, Compared] = {}
    holm_p: dict[str, float] = {}
    bradley_terry: dict[str, Strength] = {}
    forgetting: Equivalence | None = None
    criteria: dict[str, dict[str, float]] = {}
    people: People | None = None
    flaws: list[Flawed] = []
    cost: dict[str, float] = {}
    hashes: dict[str, str | None] = {}
    versions: dict[str, str | None] = {}
    engine: dict[str, str | None] = {}
    best_of: dict[str, BestOf] = {}
    second_judges: list[SecondJudge] = []

    @model_validator(mode="after")
    def _is_complete(self) -> "Report":
        """Defaults are for reports of earlier versions: one that names its version says everything."""
        missing = set(Report.model_fields) - self.model_fields_set - LATER
        if self.version is not None and missing:
            raise ValueError(f"{', '.join(sorted(missing))} missing")
        return self

    def as_written(self) -> dict[str, Any]:
        """The JSON object of the file: what was said, and no default."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


def read_report(path: Path) -> Report:
    """Raises UserError for a file that is missing, damaged, or of a newer version of this program."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected a JSON object. {ADVICE}")
    version = value.get("version")
    if isinstance(version, int) and version > VERSION:
        raise UserError(
            f"{path} is version {version}, this program reads {VERSION}. Update it, or evaluate again."
        )
    if version is None:
        value = _of_earlier(value)
    return parsed(value, Report, str(path))


def _of_earlier(value: dict[str, Any]) -> dict[str, Any]:
    """A report without a version: extra fields are dropped, the smallest effects were once a record of their
    own.
    """
    fields = Report.model_fields
    known = {
        key: inner
        for key, inner in value.items()
        if key in fields and (inner is not None or fields[key].default is None)
    }
    if isinstance(known.get("mde"), dict):
        known["headline"] = {"mde": known["mde"]} | (known.get("headline") or {})
        known["mde"] = known["mde"].get("d")
    return known


def parsed(value: Any, record: type[R], where: str) -> R:
    """The record in a JSON value. Raises UserError naming the field."""
    try:
        return record.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or record.__name__
        raise UserError(f"{where}: {field}: {first['msg']}. {ADVICE}") from error
