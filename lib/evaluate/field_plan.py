"""The plan of a field test: written before the first draft is drawn, named by its hash, and never changed."""

import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from lib.base.errors import UserError
from lib.base.files import content_hash, json_bytes, lock, read_json, write_bytes, write_json
from lib.base.schema import Record, Utc
from lib.evaluate.answers import identities
from lib.evaluate.evaluation import Evaluation
from lib.evidence.allocation import BLOCK_SIZES
from lib.evidence.field import ALPHA, DISPERSION, POWER, posts_needed, smallest_ratio

MIN_POSTS, MAX_POSTS = 20, 4000
RULES = (
    "You post every reply yourself: this program posts nothing, and X's API takes replies from programs "
    "only where they were mentioned (since February 2026). X's automation rules forbid automated replies to "
    "people who did not ask for them. Read each draft before you post it, post no more than you would write "
    "by hand, and say that a program drafted it wherever X, the law or fairness to the reader asks for it."
)
ANALYSIS = (
    "Primary: randomisation test of the square root of the likes, within calendar weeks (UTC), two-sided; "
    "the allocation's own blocks are drawn anew 9,999 times.",
    "Size: ratio of the mean likes, tuned over base (Mantel–Haenszel over weeks), with a 95 % interval.",
    "Secondary: the same ratio per view, of the posts whose views are known.",
    "Sample: as many posts as planned; drafts that were not posted are counted by arm and compared.",
    "Counts: the first that were taken the planned hours after a post or later. Edited replies stay in.",
    "Stopping: when the planned number is posted and counted. Nothing about the arms is shown before.",
)


class FieldPlan(Record):
    """field/plan.json.

    n_posts: of both arms together. hours: from a post to the count of its likes. likes: the mean of a base
    reply that was assumed, dispersion with it; smallest_ratio: the true ratio that is shown with `power`.
    weights, prompt, sampling: what writes the drafts. secret_sha256: of what draws the arms (key.json).
    """

    version: Literal[1] = 1
    run: str
    eval: str
    created_at: Utc
    n_posts: int = Field(ge=MIN_POSTS, le=MAX_POSTS)
    hours: int = Field(ge=0, le=720)
    likes: float = Field(gt=0, le=1000)
    dispersion: float = DISPERSION
    smallest_ratio: float
    power: float = POWER
    alpha: float = ALPHA
    block_sizes: list[int] = Field(list(BLOCK_SIZES))
    weights: str
    prompt: str
    sampling: dict[str, float | int]
    secret_sha256: str
    analysis: list[str] = Field(list(ANALYSIS))


def folder_of(evaluation: Evaluation) -> Path:
    """adapters/<run>/field."""
    return evaluation.run_folder / "field"


def write_plan(evaluation: Evaluation, n_posts: int, hours: int, likes: float) -> FieldPlan:
    """The plan, new. Raises UserError where one was written before, or a number is out of bounds."""
    folder = folder_of(evaluation)
    with lock(folder / "log.lock"):
        if (folder / "plan.json").exists():
            raise UserError(
                f"{folder / 'plan.json'} was written before, and a plan does not change. Go on with it, or "
                f"move {folder} away to begin another test."
            )
        plan = _checked_plan(evaluation, n_posts, hours, likes)
        # First: a plan whose arms nobody can draw is none.
        secret = secrets.token_hex(32)
        note = "The arms of all drafts are drawn from this. Leave it closed until the test is over."
        write_json(folder / "key.json", {"secret": secret, "note": note})
        (folder / "key.json").chmod(0o600)
        changes = {
            "secret_sha256": content_hash(secret),
            "smallest_ratio": smallest_ratio(n_posts // 2, likes),
        }
        plan = plan.model_copy(update=changes)
        write_bytes(folder / "plan.json", json_bytes(plan.model_dump(mode="json")))
    return plan


def _checked_plan(evaluation: Evaluation, n_posts: int, hours: int, likes: float) -> FieldPlan:
    try:
        return FieldPlan(
            run=evaluation.run,
            eval=evaluation.folder.name,
            created_at=datetime.now(UTC).replace(microsecond=0),
            n_posts=n_posts,
            hours=hours,
            likes=likes,
            smallest_ratio=1.0,
            secret_sha256="",
            **_written_by(evaluation),
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = {"n_posts": "POSTS", "hours": "HOURS", "likes": "LIKES"}.get(str(first["loc"][0]), "plan")
        raise UserError(f"{name}: {first['msg']}. For example: POSTS=200 HOURS=72 LIKES=3.") from error


def read_plan(folder: Path) -> FieldPlan | None:
    """The plan; None where there is none. Raises UserError for one that cannot be read."""
    path = folder / "plan.json"
    if not path.is_file():
        return None
    try:
        return FieldPlan.model_validate_json(json_bytes(read_json(path)))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise UserError(f"{path}: {field}: {first['msg']}. Copy the file again from a backup.") from error


def secret_of(folder: Path, plan: FieldPlan) -> str:
    """The secret that the arms are drawn from. Raises UserError where key.json is not the plan's."""
    path = folder / "key.json"
    value = read_json(path)
    secret = value.get("secret") if isinstance(value, dict) else None
    if not isinstance(secret, str) or content_hash(secret) != plan.secret_sha256:
        raise UserError(
            f"{path} is not the key that the plan was written with: the arms cannot be told any more. Copy "
            "it again from a backup."
        )
    return secret


def refuse_other_writer(evaluation: Evaluation, plan: FieldPlan) -> None:
    """Raise UserError where drafts would be written by other weights, prompt or sampling than planned."""
    now = {"run": evaluation.run, "eval": evaluation.folder.name, **_written_by(evaluation)}
    if changed := [name for name, value in now.items() if getattr(plan, name) != value]:
        raise UserError(
            f"The field test was planned with another {' and another '.join(changed)}: its drafts would not "
            f"be of one kind. Go back to those of {folder_of(evaluation) / 'plan.json'}, or move the folder "
            "away and plan another test."
        )


def power_lines() -> list[str]:
    """Posts an arm by the true ratio and the mean likes of a reply, as a table."""
    likes = (2, 3, 5)
    lines = ["  tuned gets       posts an arm, where a base reply gets on average"]
    lines.append("  so many likes " + "".join(f"{f'{mean} likes':>14}" for mean in likes))
    for ratio in (1.25, 1.5, 2.0, 3.0):
        lines.append(
            f"  {f'{ratio:g} times':<14}" + "".join(f"{posts_needed(ratio, mean):>14,}" for mean in likes)
        )
    return lines


def _written_by(evaluation: Evaluation) -> dict[str, Any]:
    arms = identities(evaluation)
    return {
        "weights": content_hash([arms["base"], arms["tuned"]]),
        "prompt": evaluation.config.prompt,
        "sampling": evaluation.eval.sampling.model_dump(),
    }
