"""Readings of a text: without invisible characters, entities, escapes, markup and line breaks.

Each reading knows where its characters stand in the text, so that what is found in it has a line.
"""

import base64
import binascii
import html
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

MAX_DECODINGS = 6  # an entity in an escape in a percent-encoding; deeper is nobody's accident

# Letters that NFKC folds (full width, ligatures), and what no eye sees: format characters, variation
# selectors, fillers.
NOT_ASCII = re.compile(r"[^\x00-\x7f]")
INVISIBLE = re.compile(
    r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
ENCODED = re.compile(
    r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,31});|(?:%[0-9a-fA-F]{2})+"
    r"|\\u\{[0-9a-fA-F]{1,6}\}|(?:\\u[0-9a-fA-F]{4})+|\\U[0-9a-fA-F]{8}|\\x[0-9a-fA-F]{2}|\\[nrt]|\\[^\w\s]"
    r"|\\\r?\n[ \t]*"  # how YAML folds a long string
)
SHORT_ESCAPES = {"n": "\n", "r": "\n", "t": "\t"}
MARKUP = re.compile(r"<!--[^<>]*-->|<!--|-->|\]\([^()\s]*\)|</?[A-Za-z][^<>\n]*>|[*~`]+|[\"']\s*[+~]\s*[\"']")
LINE_BREAK = re.compile(r"\\?[ \t]*[\r\n]+[ \t>#|*]*|[\"'],\s*[\"']")  # or the next string of a list
HYPHENATED = re.compile(r"-[ \t]*[\r\n]+[ \t>#|*]*")
BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}")
HEX = re.compile(r"\b(?:[0-9a-fA-F]{2}){8,}\b")


@dataclass(frozen=True)
class View:
    """A reading of a text. at: for each character, where it stands in the text."""

    text: str
    at: Sequence[int]

    def replaced(self, pattern: re.Pattern[str], replacement: Callable[[str], str]) -> "View":
        parts, places, last = [], [], 0
        for match in pattern.finditer(self.text):
            new = replacement(match.group())
            parts += [self.text[last : match.start()], new]
            places += [*self.at[last : match.start()], *[self.at[match.start()]] * len(new)]
            last = match.end()
        return View("".join([*parts, self.text[last:]]), [*places, *self.at[last:]]) if parts else self


@dataclass(frozen=True)
class Readings:
    """The text as it is spelled (lines kept, decoded or not, with markup or not) and joined (lines glued)."""

    spelled: tuple[View, ...]
    joined: tuple[View, ...]  # words divided at a hyphen, with and without it
    packed: tuple[View, ...]  # what base64 and hexadecimal numbers in it stand for


def readings(text: str) -> Readings:
    """Every reading of text that differs from the others."""
    visible = View(text, range(len(text))).replaced(NOT_ASCII, _visible)
    decoded = visible
    for _ in range(MAX_DECODINGS):
        again = decoded.replaced(ENCODED, _decoded).replaced(NOT_ASCII, _visible)
        if again.text == decoded.text:
            break
        decoded = again
    bare = _without(decoded, MARKUP)
    joined = {
        view.text: view
        for view in (_without(bare, LINE_BREAK), _without(_without(bare, HYPHENATED), LINE_BREAK))
    }
    spelled = {view.text: view for view in (bare, decoded, visible)}
    packed = {view.text: view for source in (decoded, *joined.values()) for view in _packed(source)}
    return Readings(tuple(spelled.values()), tuple(joined.values()), tuple(packed.values()))


def _without(view: View, pattern: re.Pattern[str]) -> View:
    return view.replaced(pattern, lambda found: "")


def _visible(character: str) -> str:
    if unicodedata.category(character) == "Cf" or INVISIBLE.match(character):
        return ""
    return unicodedata.normalize("NFKC", character)


def _decoded(found: str) -> str:
    if found[0] == "&":
        return html.unescape(found)
    if found[0] == "%":
        return unquote(found, errors="ignore")
    if found[1] in "\r\n":
        return ""
    if found[1] in SHORT_ESCAPES:
        return SHORT_ESCAPES[found[1]]
    if found[1] not in "uUx" or len(found) == 2:
        return found[1:]
    numbers = [
        int(number, 16)
        for number in re.findall(
            r"[0-9a-fA-F]+", found.replace("\\u", " ").replace("\\U", " ").replace("\\x", " ")
        )
    ]
    if any(number > 0x10FFFF for number in numbers):
        return found
    pairs = "".join(map(chr, numbers)).encode("utf-16-le", "surrogatepass")  # an emoji is two of them
    return pairs.decode("utf-16-le", "replace")


def _packed(view: View) -> Iterator[View]:
    for match in BASE64.finditer(view.text):
        for shift in range(4):  # letters that stand before it may look like a part of it
            run = match.group()[shift:].translate(str.maketrans("-_", "+/"))
            yield from _readable(
                _unpacked(base64.b64decode, run[: len(run) - len(run) % 4 or None]), view.at[match.start()]
            )
            yield from _readable(
                _unpacked(base64.b64decode, run + "=" * (-len(run) % 4)), view.at[match.start()]
            )
    for match in HEX.finditer(view.text):
        yield from _readable(_unpacked(bytes.fromhex, match.group()), view.at[match.start()])


def _unpacked(unpack: Callable[[str], bytes], text: str) -> bytes:
    try:
        return unpack(text)
    except (binascii.Error, ValueError):
        return b""


def _readable(content: bytes, at: int) -> Iterator[View]:
    """The longest legible run of content, if it is most of it: numbers and names decode to noise."""
    runs = re.findall(rb"[ -~\n]{12,}", content)
    longest = max(runs, key=len, default=b"")
    if longest and 2 * len(longest) > len(content):
        text = longest.decode("ascii")
        yield View(text, [at] * len(text))
