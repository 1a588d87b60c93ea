"""A study for a crowd: its price, its rules stated in advance, and the texts that a person gives to Prolific.

The program makes no study there: it has no account of yours. It prints what to enter.
"""

import math
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import Field, ValidationError

from lib.base.errors import UserError
from lib.base.files import content_hash, read_json, write_json, write_text
from lib.base.ledger import Ledger
from lib.base.schema import Record, Utc
from lib.evaluate.people_page import Item

CROWD = "crowd"  # the kind of the ledger's entries
SECONDS_PER_VOTE, READING_MINUTES = 20, 1
FEES = {"company": 0.428, "academic": 0.333}  # of the pay: Prolific's price list, September 2026
MIN_USD_PER_HOUR = 8  # Prolific's own; it recommends 12
N_CHECKS, MAX_FAILED, MIN_MEDIAN_S = 3, 1, 3.0
IDS = "&PROLIFIC_PID={{%PROLIFIC_PID%}}&STUDY_ID={{%STUDY_ID%}}&SESSION_ID={{%SESSION_ID%}}"
RULES = (
    "Only submissions that Prolific lists as APPROVED or AWAITING REVIEW count; returned, timed-out, "
    "rejected and screened-out ones are left out.",
    "A person counts once: the first submission. Further ones are left out as asked twice.",
    "A person who did not answer everything is left out as unfinished.",
    f"A person who failed more than {MAX_FAILED} of the {N_CHECKS} attention checks is left out.",
    f"A person whose median answer took less than {MIN_MEDIAN_S:g} seconds is left out as too fast.",
)


class Study(Record):
    """human/crowd/study.json. fee: of the pay. usd: of all people, fee included, VAT not.

    code: shown at the end. key: without it in the address the page asks nobody anything. items_sha256: of the
    pairs that were there when it was planned.
    """

    run: str
    eval: str
    created_at: Utc
    n_people: int = Field(ge=1, le=5000)
    n_items: int = Field(ge=1, le=200)
    usd_per_hour: float = Field(ge=MIN_USD_PER_HOUR, le=200)
    fee: float
    minutes: int
    reward_usd: float
    usd: float
    code: str
    key: str
    items_sha256: str
    rules: list[str] = Field(list(RULES))


def planned(
    run: str, evaluation: str, items: Sequence[Item], n_people: int, n_items: int, pay: float, fee: str
) -> Study:
    """A new study with its price: n_items of the items for each person.

    Raises UserError where a number is out of bounds.
    """
    n_items = min(n_items, len(items))
    minutes = math.ceil((n_items + N_CHECKS) * SECONDS_PER_VOTE / 60) + READING_MINUTES
    reward = math.ceil(100 * pay * minutes / 60 - 1e-9) / 100  # Prolific takes whole cents
    try:
        return Study(
            run=run,
            eval=evaluation,
            created_at=datetime.now(UTC).replace(microsecond=0),
            n_people=n_people,
            n_items=n_items,
            usd_per_hour=pay,
            fee=FEES[fee],
            minutes=minutes,
            reward_usd=reward,
            usd=cost(n_people, reward, FEES[fee]),
            code="C" + secrets.token_hex(4).upper(),
            key=secrets.token_urlsafe(12),
            items_sha256=hash_of(items),
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = {"n_people": "CROWD", "n_items": "LIMIT", "usd_per_hour": "PAY"}.get(str(first["loc"][0]), "")
        raise UserError(f"{name}: {first['msg']}. For example: CROWD=50 LIMIT=30 PAY=12.") from error


def hash_of(items: Sequence[Item]) -> str:
    """Names the pairs of a study."""
    return content_hash(sorted(item.id for item in items))


def refuse_other_items(folder: Path, study: Study, items: Sequence[Item]) -> None:
    """Raise UserError where the pairs are not those that the study was planned with."""
    if study.items_sha256 != hash_of(items):
        raise UserError(
            "The replies have changed since the study was planned. Move "
            f"{folder / 'crowd'} away to plan anew."
        )


def cost(n_people: int, reward_usd: float, fee: float) -> float:
    """Dollars of so many paid submissions: the pay and Prolific's fee on it."""
    return round(n_people * reward_usd * (1 + fee), 2)


def price_lines(study: Study) -> str:
    """The arithmetic of the price, as a question."""
    return "\n".join(
        [
            f"{study.n_people} people, {study.n_items} pairs and {N_CHECKS} attention checks each",
            f"  time    {study.minutes} min: {SECONDS_PER_VOTE} s a pair, {READING_MINUTES} min to read the "
            "instructions",
            f"  pay     ${study.reward_usd:.2f} each, ${study.usd_per_hour:g} an hour",
            f"  fee     {study.fee:.1%} of the pay, to Prolific",
            f"  in all  ${study.usd:.2f}, and VAT on the fee where you pay it (20 % in the UK)",
            f"  votes   {study.n_people * study.n_items:,}, before any are left out",
            "You pay Prolific, not this program. Plan it?",
        ]
    )


def keep(folder: Path, study: Study) -> None:
    """Write the study and book, once, what it is expected to cost. folder: human/ of the evaluation."""
    write_json(folder / "crowd" / "study.json", study.model_dump(mode="json"))
    book_intent(folder, study)


def book_intent(folder: Path, study: Study) -> None:
    """Book the study once, whatever killed the command that wrote it."""
    ledger = Ledger(folder / "ledger.jsonl")
    if study.key not in ledger.latest():
        ledger.append("intent", study.key, CROWD, note={"estimate_usd": study.usd, "worst_usd": study.usd})


def read_study(folder: Path) -> Study | None:
    """The study in human/crowd; None where none was planned. Raises UserError for a damaged one."""
    path = folder / "crowd" / "study.json"
    if not path.is_file():
        return None
    try:
        return Study.model_validate(read_json(path), strict=False)
    except ValidationError as error:
        raise UserError(f"{path}: {error.errors()[0]['msg']}. Copy it again from a backup.") from error


def address(study: Study, url: str, ids: str = IDS) -> str:
    """The page's address as Prolific is given it, which puts in who comes."""
    return f"{url.rstrip('/')}/?key={study.key}{ids}"


def write_texts(folder: Path, study: Study, url: str | None) -> Path:
    """human/crowd/study.txt: what to enter at app.prolific.com, field by field."""
    where = address(study, url) if url else "(shown once the page is public: SHARE=1)"
    rules = "\n".join(f"  - {rule}" for rule in study.rules)
    text = f"""Study on Prolific: what to enter, field by field

Title: Which reply is better? {study.n_items} pairs of short replies to posts
Description: You will read {study.n_items + N_CHECKS} posts from social media. Below each stand two replies,
  and you choose the better one. Some were written by computer programs. Posts and replies are shown as they
  are and may be odd or rude. A few questions check that you read; failing more than {MAX_FAILED} of them may
  lead to a rejection under Prolific's rules. Nothing but your Prolific ID and your choices is kept.
How do you want to record Prolific IDs: with URL parameters
Study URL: {where}
How do you want to confirm completion: with a code
Completion code: {study.code}
Places: {study.n_people}
Estimated completion time: {study.minutes} minutes
Reward: ${study.reward_usd:.2f} (${study.usd_per_hour:g} an hour)
Devices: desktop, tablet, mobile
Screening: fluent in the language of the tweets

Price: ${study.usd:.2f} with Prolific's fee of {study.fee:.1%}; VAT on the fee where you pay it.

Rules by which answers are left out, fixed before the first of them:
{rules}
Whom you pay is decided under Prolific's rules, not by this list. Pay everybody who tried.

Afterwards: download the submissions (Prolific: Action > Export, CSV), then
  make human-eval RUN={study.run} EVAL={study.eval} CROWD={study.n_people} IMPORT=<export.csv>
"""
    path = folder / "crowd" / "study.txt"
    write_text(path, text)
    return path
