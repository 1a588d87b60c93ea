"""What `make plan` shows of a preference run: its rows, its tokens and its checks, without weights."""

from collections.abc import Sequence

from lib.base.errors import UserError
from lib.base.schema import Pair, Preference
from lib.base.settings import TrainConfig
from lib.model.local_tokenizer import LocalTokenizer
from lib.train.plan import row_tokens
from lib.train.preference_rows import Answer, answers, parts_of, preference_checks, read_preferences, unpaired
from lib.train.preference_tuning import check_start
from lib.train.preflight import Check
from lib.train.rows import token_rows

Tokens = dict[str, list[tuple[int, int]]]  # per row: (prompts, replies) that go through the model


def preference_plan(
    config: TrainConfig, test: Sequence[Pair], tokenizer: LocalTokenizer | None
) -> tuple[dict[str, list[Answer]], Tokens, list[Check]]:
    """(rows of train and val, their tokens, the checks). A dpo row is a pair, shown by its chosen reply; a kto row is one reply."""
    preferences = read_preferences(config)
    parts = parts_of(preferences)
    shown = {name: answers(part) for name, part in parts.items()}
    ids = {name: token_rows(config, part, tokenizer) for name, part in shown.items()} if tokenizer else None
    counted = {name: row_tokens(config, part, ids and ids[name]) for name, part in shown.items()}
    totals = {name: [sum(row) for row in rows] for name, rows in counted.items()}
    both = [pair for name in shown for pair in zip(shown[name], ids[name], strict=True)] if ids else None
    found = [
        *preference_checks(config, parts, test, totals, both, tokenizer),
        Check("the run to start from fits", _start_problem(config)),
    ]
    rows = {name: _rows(config, part) for name, part in parts.items()}
    if config.method == "kto":
        apart = {
            name: token_rows(config, part, tokenizer) if tokenizer else None for name, part in rows.items()
        }
        return rows, {name: row_tokens(config, part, apart[name]) for name, part in rows.items()}, found
    return rows, {name: _of_pairs(part) for name, part in counted.items()}, found


def _rows(config: TrainConfig, part: Sequence[Preference]) -> list[Answer]:
    return (
        answers(part)[::2]
        if config.method == "dpo"
        else [answer for kind in unpaired(part) for answer in kind]
    )


def _of_pairs(counted: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    return [
        (one[0] + other[0], one[1] + other[1]) for one, other in zip(counted[::2], counted[1::2], strict=True)
    ]


def _start_problem(config: TrainConfig) -> str | None:
    try:
        check_start(config)
    except UserError as error:
        return str(error)
    return None
