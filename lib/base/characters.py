"""Characters as a reader sees them: invisible ones off, emoji whole, length as people count it."""

import re
import unicodedata

_SKIN = "\U0001f3fb-\U0001f3ff"
_FLAG_LETTER = "\U0001f1e6-\U0001f1ff"
_PICTURE = (
    "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u24c2\u25a0-\u27bf"
    "\u2934\u2935\u2b00-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
)
_ONE = rf"[{_PICTURE}][\ufe0e\ufe0f]?[{_SKIN}]?\ufe0f?"
# One emoji, of however many code points: a flag, a keycap, a regional flag of tags, a family joined by ZWJ.
EMOJI = re.compile(
    rf"[{_FLAG_LETTER}]{{2}}|[#*0-9]\ufe0f?\u20e3"
    rf"|\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{{3,6}}\U000e007f"
    rf"|{_ONE}(?:\u200d{_ONE})*"
)
_ANSI = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?")
_LINE_BREAK = re.compile("\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
# Letters and marks that look like nothing. Their categories say otherwise, so they are named here.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\ufffc\ufffd")
MAX_MARKS = 2  # accents on one letter; more is zalgo
_HALF_PAIR = re.compile("[\ud800-\udfff]")


def whole(text: str) -> str:
    """text as UTF-8 can hold it: browsers and servers may send half a surrogate pair, which no file keeps."""
    return text if text.isascii() else _HALF_PAIR.sub("\ufffd", text)


def visible(text: str) -> str:
    """Text as NFC without what nobody sees (zero-width, bidi, other controls, ANSI, lone surrogates).

    Joiners and variation selectors stay inside an emoji and go everywhere else; so do tag characters, which
    can carry hidden text. Line breaks become "\\n", other white space becomes " ", accents on one letter are
    capped.
    """
    if text.isascii() and text.isprintable():
        return text
    text = unicodedata.normalize("NFC", _LINE_BREAK.sub("\n", _ANSI.sub("", text)))
    pieces, end = [], 0
    for emoji in EMOJI.finditer(text):
        pieces += [_seen(text[end : emoji.start()]), emoji.group()]
        end = emoji.end()
    return unicodedata.normalize("NFC", "".join([*pieces, _seen(text[end:])]))


def _seen(text: str) -> str:
    kept: list[str] = []
    n_marks = 0
    for character in text:
        category = unicodedata.category(character)
        n_marks = n_marks + 1 if category in ("Mn", "Me") else 0
        if character == "\n":
            kept.append(character)
        elif category == "Zs" or character in "\t\u2800":
            kept.append(" ")
        elif n_marks <= MAX_MARKS and not _is_hidden(character, category):
            kept.append(character)
    return "".join(kept)


def _is_hidden(character: str, category: str) -> bool:
    if category in ("Cc", "Cf", "Cs", "Co") or character in _BLANK or "\ufe00" <= character <= "\ufe0f":
        return True
    # Unassigned stays, for emoji newer than this Python; the code points that can never be assigned go.
    code = ord(character)
    return 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE or 0xE0000 <= code <= 0xE0FFF


def mostly_capitals(text: str) -> bool:
    """True where more than half of the letters that have a case are capitals."""
    n_upper, n_lower = sum(map(str.isupper, text)), sum(map(str.islower, text))
    return n_upper > n_lower


def n_characters(text: str) -> int:
    """Length as a reader counts it: an emoji is one, however it is encoded; an accent is part of its letter.

    Not X's weighted length: there a Chinese character or an emoji weighs two.
    """
    if text.isascii():
        return len(text)
    return sum(
        unicodedata.category(character) not in ("Mn", "Me", "Mc", "Cf") for character in EMOJI.sub("x", text)
    )
