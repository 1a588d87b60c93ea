"""JSON without the holes of json.loads: NaN, endless numbers or nesting, double keys, half a character."""

import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lib.base.errors import UserError

MAX_DIGITS = 40  # an id has 19; float() fails above 308, int() above 4,300


def parse_line(line: bytes, where: str) -> Any:
    """Parse JSON strictly: no NaN or Infinity, no bad UTF-8, no bottomless nesting. Raises UserError."""
    return _parse(line, where, None)


def _parse(line: bytes, where: str, object_hook: Callable[[list[tuple[str, Any]]], Any] | None) -> Any:
    try:
        return json.loads(
            line.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_short_int,
            object_pairs_hook=object_hook,
        )
    except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise UserError(f"{where}: not valid JSON ({_short(error)}). {advice_at(where)}") from error


def parse_own(line: bytes, where: str) -> Any:
    """Parse JSON that the pipeline wrote.

    Besides, no key twice, and no half of a character, which nothing could write again.
    """
    value = _parse(line, where, _once)
    if b"\\ud" in line.lower():
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            raise UserError(
                f"{where}: not valid JSON (half of a surrogate pair). {advice_at(where)}"
            ) from error
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _finite(digits: str) -> float:
    if not math.isfinite(value := float(digits)):
        raise ValueError(f"{digits[:40]} is too large")
    return value


def _short_int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"an integer of {len(digits):,} digits")
    return int(digits)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = next(key for key, n in Counter(key for key, _ in pairs).items() if n > 1)
        raise ValueError(f"the key {twice[:60]!r} is given twice")
    return values


def _short(error: BaseException) -> str:
    return (str(error).split(": ", 1)[0] or type(error).__name__)[:120]


def repair_advice(path: Path) -> str:
    """Advice on a damaged book.

    It is data/<set>/ledger.jsonl, adapters/<run>/eval/<name>/ledger.jsonl, or lies in that one's work/.
    """
    folder = path.parent.parent if path.parent.name == "work" else path.parent
    names = {
        "eval": f" RUN={folder.parent.parent.name} EVAL={folder.name}",
        "data": f" DATA={folder.name}",
        "adapters": f" RUN={folder.name}",
    }.get(folder.parent.name, "")
    return (
        f"Run `make repair{names}`: it keeps all that can be read and pays for nothing; "
        "a line deleted by hand may be paid for twice."
    )


def advice(path: Path) -> str:
    """Advice on a damaged line of path: a book that was paid for is mended by a command."""
    if path.name == "ledger.jsonl" or path.parent.name == "work":
        return repair_advice(path)
    return "Delete the line or build the file again."


def advice_at(where: str) -> str:
    """where: a path, or path:number."""
    path, _, number = where.rpartition(":")
    return advice(Path(path if number.isdigit() else where))
