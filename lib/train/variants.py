"""Variants of a sweep: ordinary runs, each with a config file that extends one and changes a few settings."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from lib.base.config import MAX_CHARS
from lib.base.errors import UserError
from lib.base.settings import Name, Strict, Usd
from lib.base.text_files import read_text
from lib.model.overlap import diversity

Rate = Annotated[float, Field(gt=0, lt=1)]
Epochs = Annotated[float, Field(gt=0)]
Rank = Annotated[int, Field(ge=1, le=1024)]
Alpha = Annotated[int, Field(ge=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]

SHORT = {
    "learning_rate": "lr",
    "epochs": "e",
    "rank": "r",
    "alpha": "a",
    "dropout": "d",
}  # in the names of the runs
HEADER = (
    "# Written by `make sweep SWEEP={sweep}` from configs/sweep-{sweep}.yaml. Change that file, not this "
    "one.\n"
)
Changes = dict[str, Any]  # as in a train config: {learning_rate, epochs, lora: {rank, alpha, dropout}}


class LoraGrid(Strict):
    rank: list[Rank] = Field([])
    alpha: list[Alpha] = Field([])
    dropout: list[Dropout] = Field([])


class Grid(Strict):
    learning_rate: list[Rate] = Field([])
    epochs: list[Epochs] = Field([])
    lora: LoraGrid = LoraGrid()


class LoraVariant(Strict):
    rank: Rank | None = None
    alpha: Alpha | None = None
    dropout: Dropout | None = None


class Variant(Strict):
    learning_rate: Rate | None = None
    epochs: Epochs | None = None
    lora: LoraVariant = LoraVariant()


class SweepConfig(Strict):
    """configs/sweep-<name>.yaml. grid: each combination of its lists; variants: one by one; or both."""

    base: Name
    grid: Grid = Grid()
    variants: list[Variant] = Field([])
    max_runs: int = Field(12, ge=1)
    max_usd: Usd = 5

    @model_validator(mode="after")
    def _some_and_not_too_many(self) -> Self:
        made = changes_of(self)
        if not made:
            raise ValueError("give grid: (lists of values) or variants: (one by one)")
        if len(made) > self.max_runs:
            raise ValueError(
                f"{len(made)} variants are more than max_runs {self.max_runs}: shorten a list, or raise "
                "max_runs"
            )
        if twice := next((one for place, one in enumerate(made) if one in made[:place]), None):
            raise ValueError(f"the variant {label(twice)} is there twice")
        return self


def changes_of(config: SweepConfig) -> list[Changes]:
    """Changes that each variant makes, the grid's first, in the order of the file."""
    lists = {key: values for key, values in _flat(config.grid.model_dump()).items() if values}
    made = (
        [_nested(dict(zip(lists, values, strict=True))) for values in product(*lists.values())]
        if lists
        else []
    )
    explicit = [_flat(variant.model_dump()) for variant in config.variants]
    return [
        *made,
        *(_nested({key: value for key, value in one.items() if value is not None}) for one in explicit),
    ]


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    return {**{key: value for key, value in values.items() if key != "lora"}, **values["lora"]}


def _nested(flat: Mapping[str, Any]) -> Changes:
    own = {key: value for key, value in flat.items() if key in ("learning_rate", "epochs")}
    lora = {key: value for key, value in flat.items() if key not in own}
    return {**own, **({"lora": lora} if lora else {})}


def label(changes: Changes) -> str:
    """{learning_rate: 1e-4, lora: {rank: 8}} -> lr0.0001-r8; `base` for no change."""
    flat = _flat({"lora": {}, **changes})
    return "-".join(f"{SHORT[key]}{value:g}" for key, value in flat.items()) or "base"


def run_name(sweep: str, changes: Changes) -> str:
    """Name of the run that trains a variant."""
    return f"sweep-{sweep}-{label(changes)}"


def config_text(sweep: str, base: str, changes: Changes) -> str:
    """The train config of one variant."""
    import yaml

    return HEADER.format(sweep=sweep) + yaml.safe_dump({"extends": base, **changes}, sort_keys=False)


def refuse_foreign(path: Path, sweep: str) -> None:
    """Raise UserError if a config of this name was written by somebody else."""
    if path.is_file() and not read_text(path, MAX_CHARS).startswith(HEADER.format(sweep=sweep)):
        raise UserError(
            f"{path} was not written by this sweep and would be overwritten. Rename it, or rename the sweep."
        )


def quality(replies: Sequence[str], of_base: Sequence[str], copied: float | None) -> dict[str, Any]:
    """Cheap signs of how a run writes, from its answers to validation tweets.

    of_base: the base model's answers. copied: share that repeats 8 words of a training reply.
    """
    written, found = [reply for reply in replies if reply.strip()], diversity(replies)
    return {
        "n": len(replies),
        "empty": (len(replies) - len(written)) / len(replies) if replies else None,
        **asdict(found),
        "collapsed": found.collapsed(diversity(of_base)),
        "median_words": median(len(reply.split()) for reply in written) if written else None,
        "copies_of_training": copied,
    }


def ranked(variants: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Finished variants by validation loss, the best first; then those that say the same to every tweet; then
    those that did not finish.
    """

    def key(one: dict[str, Any]) -> tuple[Any, ...]:
        collapsed = one.get("quality", {}).get("collapsed", False)
        return one["state"] != "finished", collapsed, one.get("eval_loss") or 0.0, one["run"]

    return sorted(variants, key=key)


def note(variants: Sequence[dict[str, Any]]) -> str:
    """A warning: the ranking's uses, and what it is no use for."""
    best = ranked(variants)[0]
    return (
        "Ranked by validation loss, those that say the same to every tweet last, one seed each: small "
        "differences are noise, and the best one's own "
        "validation loss is flattered by having been picked. Test tweets played no part: its test results "
        f"are clean, for the one run you take (make eval RUN={best['run']})."
    )


def table(variants: Sequence[dict[str, Any]]) -> str:
    """One line per variant, the best first."""
    width = max(len(one["run"]) for one in variants)
    lines = [
        f"  {'':<{width}}{'eval loss':>11}{'gap':>8}{'minutes':>9}{'$':>8}"
        f"{'distinct-2':>12}{'alike':>7}{'words':>7}{'empty':>7}{'copies':>8}"
    ]
    for one in ranked(variants):
        if one["state"] != "finished":
            lines.append(f"  {one['run']:<{width}}  {one['state']}: {one['reason']}")
            continue
        signs, shown = one["quality"], one["run"].ljust(width)
        shown += f"{one['eval_loss']:>11.3f}{_cell(one['train_eval_gap'], '+.2f'):>8}"
        shown += f"{one['seconds'] / 60:>9.1f}{one['usd']:>8.2f}{_cell(signs['distinct_2'], '.2f'):>12}"
        shown += f"{_cell(signs['alike'], '.0%'):>7}{_cell(signs['median_words'], '.0f'):>7}"
        shown += f"{_cell(signs['empty'], '.0%'):>7}"
        lines.append(f"  {shown}{_cell(signs['copies_of_training'], '.0%'):>8}")
    return "\n".join(lines)


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
