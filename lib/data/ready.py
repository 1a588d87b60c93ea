"""A data set's readiness: what it lacks before it can be trained on, and the command that mends it."""

from pathlib import Path

from lib.base.config import load_config
from lib.base.errors import UserError
from lib.base.files import read_jsonl
from lib.base.schema import Pair
from lib.base.seals import checked
from lib.base.settings import DataConfig
from lib.data.decisions import Decision, apply_decisions


def refuse_unready(name: str) -> None:
    """Raise UserError unless data/<name>/processed is there and no pair waits for a person."""
    if sentence := lacking(name):
        raise UserError(sentence)


def lacking(name: str) -> str | None:
    """The lack of data/<name> and the command for it, as one sentence; None where it can be trained on."""
    folder = Path("data") / name
    if waiting := waiting_pairs(name):
        return f"{waiting} pairs of data/{name} are unreviewed: run `make review DATA={name}` first."
    if not (folder / "processed" / "train.jsonl").is_file():
        return f"data/{name} holds nothing to train on yet: run `make data DATA={name}` first."
    return None


def command_in(sentence: str) -> str:
    """The command in a sentence that names one between backticks."""
    return sentence.split("`")[1]


def waiting_pairs(name: str) -> str | None:
    """`12 of 1,000`: the pairs that a person has to review before the set is split; None where none has to.

    A machine that holds only processed/ knows of no such pairs, and needs no data config.
    """
    folder, path = Path("data") / name, Path("configs") / f"data-{name}.yaml"
    clean, decided = folder / "interim" / "clean.jsonl", folder / "review" / "decisions.jsonl"
    if not clean.is_file() or not path.is_file() or load_config(path, DataConfig).review != "required":
        return None
    pairs = read_jsonl(checked(clean), Pair)
    decisions = read_jsonl(decided, Decision, torn_tail=True) if decided.exists() else []
    n_unreviewed = apply_decisions(pairs, decisions)[2]
    return f"{n_unreviewed:,} of {len(pairs):,}" if n_unreviewed else None
