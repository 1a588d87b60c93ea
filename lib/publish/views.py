"""Readings of a text: without invisible characters, entities, escapes, markup and line breaks.

Each reading knows where its characters stand in the text, so that what is found in it has a line.
"""

import base64
import binascii
import html
import re
import unicodedata
import zlib
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
BASE32 = re.compile(r"\b[A-Z2-7]{24,}")
HEX = re.compile(r"\b(?:[0-9a-fA-F]{2}){8,}\b|\b[0-9a-fA-F]{2}(?:[ :,=-]\s*(?:0x)?[0-9a-fA-F]{2}){11,}\b")
BYTES = re.compile(r"\b\d{1,3}(?:[\s,;]+\d{1,3}){11,}\b")
LEGIBLE = re.compile(rb"[ -~\n]{12,}|(?:[ -~\n]\0){12,}|(?:\0[ -~\n]){12,}")  # or in UTF-16
MAX_PACKINGS = 2  # base64 of base64
MAX_INFLATED = 1_000_000


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
    packed: tuple[View, ...]  # what base64, base32 and numbers in it stand for, inflated too


def readings(text: str) -> Readings:
    """Every reading of text that differs from the others."""
    visible = View(text, range(len(text))).replaced(NOT_ASCII, _visible)
    decoded = _wholly_decoded(visible)
    bare = _without(decoded, MARKUP)
    joined = {
        view.text: view
        for view in (_without(bare, LINE_BREAK), _without(_without(bare, HYPHENATED), LINE_BREAK))
    }
    spelled = {view.text: view for view in (bare, decoded, visible)}
    packed = {view.text: view for source in (decoded, *joined.values()) for view in _packed(source)}
    return Readings(tuple(spelled.values()), tuple(joined.values()), tuple(packed.values()))


def _wholly_decoded(view: View) -> View:
    for _ in range(MAX_DECODINGS):
        again = view.replaced(ENCODED, _decoded).replaced(NOT_ASCII, _visible)
        if again.text == view.text:
            break
        view = again
    return view


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


def _packed(view: View, depth: int = MAX_PACKINGS) -> Iterator[View]:
    for at, content in _contents(view):
        if text := _legible(content):
            inner = _wholly_decoded(View(text, [view.at[at]] * len(text)))
            yield inner
            if depth > 1:
                yield from _packed(inner, depth - 1)


def _contents(view: View) -> Iterator[tuple[int, bytes]]:
    """(where it begins, the bytes) of all in view that may stand for bytes."""
    for match in BASE64.finditer(view.text):
        for shift in range(4):  # letters that stand before it may look like a part of it
            run = match.group()[shift:].translate(str.maketrans("-_", "+/"))
            yield match.start(), _unpacked(base64.b64decode, run[: len(run) - len(run) % 4 or None])
            yield match.start(), _unpacked(base64.b64decode, run + "=" * (-len(run) % 4))
    for match in BASE32.finditer(view.text):
        yield match.start(), _unpacked(base64.b32decode, match.group() + "=" * (-len(match.group()) % 8))
    for match in HEX.finditer(view.text):
        yield match.start(), _unpacked(bytes.fromhex, re.sub(r"0x|[^0-9a-fA-F]", "", match.group()))
    for match in BYTES.finditer(view.text):
        yield match.start(), _unpacked(lambda text: bytes(map(int, re.findall(r"\d+", text))), match.group())


def _unpacked(unpack: Callable[[str], bytes], text: str) -> bytes:
    try:
        content = unpack(text)
        if content[:2] in (b"\x1f\x8b", b"x\x01", b"x\x5e", b"x\x9c", b"x\xda"):  # gzip, zlib
            return zlib.decompressobj(47).decompress(content, MAX_INFLATED)
        return content
    except (binascii.Error, ValueError, zlib.error):
        return b""


def _legible(content: bytes) -> str:
    """The longest legible run of content, if it is most of it: numbers and names decode to noise."""
    longest = max(LEGIBLE.findall(content), key=len, default=b"")
    return longest.replace(b"\0", b"").decode("ascii") if 2 * len(longest) > len(content) else ""
