"""Single values as providers and spreadsheets write them -> typed values, or a reason why not.

Nothing is ever guessed as 0.
"""

import re
from datetime import UTC, datetime
from typing import Any

from lib.base.characters import whole


class BadItem(Exception):  # noqa: N818 - not an error of the program: a row that is dropped and counted
    """A row that cannot be used: reason is one of the fixed words, detail is for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TWITTER_DATE = re.compile(
    r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) (\d{1,2}) (\d{2}):(\d{2}):(\d{2}) ([+-]\d{4}) (\d{4})"
)
# A column that holds one blank becomes floats in pandas and is written as 500.0.
_COUNT = re.compile(r"(\d{1,3}(?:,\d{3})+|\d+)(?:\.0+)?|(\d+(?:\.\d+)?)\s?([KMB])", re.IGNORECASE)
_TOO_MANY = 10**15  # NaN is not below it either
_UNITS = {"k": 1_000, "m": 1_000_000, "b": 1_000_000_000}
# What spreadsheets, pandas and JavaScript write where there is nothing.
_ABSENT = frozenset(
    ("", "nan", "none", "null", "nil", "undefined", "nat", "<na>", "n/a", "#n/a", "-", "[]", "{}")
)
# An Excel that speaks German, French, Italian or Spanish writes its own words.
_FALSE = frozenset(("false", "0", "0.0", "no", "n", "f", "off", "falsch", "faux", "falso"))
_WRITE = "write it as 2025-01-31T12:00:00Z"
_FIRST, _LAST = datetime(2006, 3, 21, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)  # from the first tweet on


def is_absent(value: Any) -> bool:
    """True of what stands for nothing: null, False, "", "nan", "None", [] or {}. 0 is a value."""
    if isinstance(value, str):
        return len(value) < 12 and value.strip().lower() in _ABSENT
    return value is None or value is False or value in ([], {})


def is_true(value: Any) -> bool:
    """True of a yes, a name or a number: not of "false", "0", "no", or an object of empty parts."""
    if isinstance(value, dict):
        return any(bool(part) if isinstance(part, dict) else is_true(part) for part in value.values())
    return not is_absent(value) and value != 0 and str(value)[:8].strip().lower() not in _FALSE


def to_id(value: Any, name: str) -> str:
    """An id as a string. A float has lost its last digits: 1.9e18 names no post. Raises BadItem(bad_id)."""
    if isinstance(value, str) and (kept := re.fullmatch(r"""=?["']?(\d{5,})["']?""", value.strip())):
        value = kept[1]  # ="1886675324152567949": how people keep a spreadsheet from rounding it
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        value = str(value)
    if (
        not isinstance(value, str)
        or not re.fullmatch(r"[0-9A-Za-z_-]{1,64}", value)
        or re.fullmatch(r"-.*|\d+[eE]\d+", value)
    ):
        raise BadItem("bad_id", f"{name} is {_shown(value)}")
    return value


def to_count(value: Any, name: str) -> int:
    """A count: 1025, "1,025", "1.2K".

    Raises BadItem: missing_field for null, bad_count for all that is no whole number >= 0.
    """
    if value is None or (isinstance(value, str) and is_absent(value)):
        raise BadItem("missing_field", f"{name} is absent")
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 <= value < _TOO_MANY
        and value == int(value)
    ):
        return int(value)
    match = _COUNT.fullmatch(value.strip()) if isinstance(value, str) and len(value) < 40 else None
    if not match:
        raise BadItem("bad_count", f"{name} is {_shown(value)}")
    return int(match[1].replace(",", "")) if match[1] else round(float(match[2]) * _UNITS[match[3].lower()])


def to_moment(value: Any, name: str) -> datetime:
    """Aware UTC from X's own format, ISO 8601 with a zone, or epoch seconds or milliseconds. Raises BadItem.

    A time without a zone is refused: hours of error would pass for a reply's delay.
    """
    if value is None or (isinstance(value, str) and is_absent(value)):
        raise BadItem("missing_field", f"{name} is absent")
    try:
        moment = _moment(value)
    except (ValueError, OverflowError, OSError) as error:
        raise BadItem("bad_date", f"{name} is {_shown(value)}{_date_trouble(value)}") from error
    if moment.tzinfo is None:
        raise BadItem(
            "bad_date", f"{name} is {_shown(value)}, without a time zone: append Z if it is UTC, else +hh:mm"
        )
    if not _FIRST <= moment <= _LAST:
        trouble = _date_trouble(value) or ", which is no date of a post"
        raise BadItem("bad_date", f"{name} is {_shown(value)}{trouble}")
    return moment.astimezone(UTC)


def _date_trouble(value: Any) -> str:
    """The harm that a spreadsheet did to a date, as the end of a sentence; empty for all else."""
    if re.match(r"\d{1,2}[/.]\d{1,2}[/.]\d{2,4}\b", str(value)[:20].strip()):
        return f", which has no time zone, and its day and month may be either way round: {_WRITE}"
    try:
        is_serial = not isinstance(value, bool) and 38_000 < float(value) < 80_000  # 2004 to 2119
    except (TypeError, ValueError, OverflowError):
        return ""
    return f", a spreadsheet's number of a day, without a time zone: {_WRITE}" if is_serial else ""


def _moment(value: Any) -> datetime:
    if isinstance(value, str) and re.fullmatch(r"\d{9,14}(\.\d+)?", value):
        value = float(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value / 1000 if value > 1e11 else value, UTC)
    if not isinstance(value, str):
        raise ValueError("not a date")
    if match := _TWITTER_DATE.fullmatch(value.strip()):
        month, day, hour, minute, second, zone, year = match.groups()
        return datetime.fromisoformat(
            f"{year}-{1 + _MONTHS.index(month):02}-{int(day):02}T{hour}:{minute}:{second}{zone}"
        )
    return datetime.fromisoformat(re.sub(r"\s*(?:UTC|GMT)$", "+00:00", value.strip()))


def to_text(value: Any, name: str) -> str:
    """Text that can be stored: lone surrogates become U+FFFD, NUL goes.

    Raises BadItem(missing_field) for blank or none.
    """
    if not isinstance(value, str) or is_absent(value) or not (text := storable(value)).strip():
        raise BadItem("missing_field", f"{name} is absent or empty")
    return text


def storable(text: str) -> str:
    """Text that a file can hold, and every reader of it."""
    return whole(text.replace("\0", ""))


def to_handle(value: Any, name: str) -> str:
    """A handle without @. It is a name and nothing else: no path or command is ever built from it."""
    return to_text(value, name).strip().lstrip("@") or to_text(None, name)


def to_language(value: Any) -> str | None:
    """X's language tag; None where X could not tell (und) or means "no words" (qme, qht, zxx)."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z]{2,3}(?:[-_][A-Za-z]{2,4})?", value):
        return None
    language = value.lower().replace("_", "-")
    return (
        None
        if language in ("und", "zxx", "art") or (language.startswith("q") and len(language) == 3)
        else language
    )


def _shown(value: Any) -> str:
    # repr of a huge integer raises ValueError above 4,300 digits
    return (
        f"a {len(value)}-item {type(value).__name__}"
        if isinstance(value, list | dict)
        else storable(repr(value))[:60]
    )
