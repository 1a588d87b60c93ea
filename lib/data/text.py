"""Text of posts: what counts as its body, how it is cleaned, and what the filters look for in it."""

import html
import re
import unicodedata
from difflib import SequenceMatcher

from lib.data.characters import EMOJI, n_characters, visible
from lib.data.control_tokens import control_tokens, without_control_tokens

# A handle at the very start is X's addressing, not the author's words; "@ann's point" is. Possessive: no
# match of "@an" in it.
_LEADING_MENTIONS = re.compile(r"^(?:\s*[@＠][A-Za-z0-9_]++(?!['’]s\b))+\s*")
_MENTION = re.compile(r"(?<![\w@])[@＠]([A-Za-z0-9_]+)")
_HASHTAG = re.compile(r"(?<![\w&#/])#(\w*[^\W\d_]\w*)")  # "#1" is a rank, not a hashtag
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
_LINK = re.compile(r"(?:https?://|\bpic\.twitter\.com/)\S+", re.IGNORECASE)
# Without http:// a domain counts where its ending is no English word (unlike "etc.So"), or a path follows.
_BARE_DOMAIN = re.compile(
    r"(?<![\w@.-])(?:www\.[a-z0-9-]+\.[a-z]{2}\S*"
    r"|(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+"
    r"(?:(?:com|org|net|edu|gov|mil|info|biz|io|co\.[a-z]{2}|uk|de|fr|eu|tv|ly|gg|ai|dev|xyz)\b(?!['’])"
    r"(?:/\S*)?|[a-z]{2,12}/[\w?=#&%./-]+))",
    re.IGNORECASE,
)
# Without the punctuation that ends a sentence.
_COUNTED_LINK = re.compile(rf"(?:{_LINK.pattern}|{_BARE_DOMAIN.pattern})(?<![.,:;!?'\"”’)\]])", re.IGNORECASE)
X_LINK = 23  # t.co's, whatever the length of the link itself
HEAVY = "\U0001f600"  # any emoji of one code point
_LIGHT = ((0, 4351), (8192, 8205), (8208, 8223), (8242, 8247))  # code points that weigh one on X
_PROTECTED = re.compile(f"{_BARE_DOMAIN.pattern}|[@＠][A-Za-z0-9_]+", re.IGNORECASE)
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}", re.IGNORECASE)
_PHONE = re.compile(
    r"(?<![\w.,/:$€£-])(?:\+\d{1,3}[\s.-]?(?:\(?\d{1,4}\)?[\s.-]?){2,5}\d{2,4}"
    r"|\(?\d{3}\)?[\s.-]\d{3}[\s.-]\d{4}|0\d{2,4}[\s-]\d{3,4}[\s-]?\d{3,4}"
    r"|1-\d{3}-\d{3}-\d{4}|[1-9]\d{9,10}(?<!0000)|0\d{9,10})(?![\w/]|[.,:-]\d)"
)
_ELONGATED = re.compile(r"([^\W\d_])\1{2,}")
_ROMAN = re.compile(r"(?<![^\W_])[IVXLCDM]+(?![^\W_])")
# RemoteWork, OKBoomer, 100Days, 2024USOpen; but iPhone, McGee, COVID19 and PhD are one word.
_CASE_BOUNDARY = re.compile(
    r"(?<=[A-Za-z][a-z])(?<!\bMc)(?=[A-Z][A-Za-z])|(?<=[A-Z0-9])(?=[A-Z][a-z])|(?<=\d)(?=[A-Z]{2})"
)
_CYRILLIC = re.compile(r"[\u0400-\u04ff]")
_LOOKALIKE_GREEK = re.compile(r"[αογνρτυικχεΑΒΕΖΗΙΚΜΝΟΡΤΥΧ]")
_INSTRUCTION = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b.{0,30}\b(?:previous|prior|above|earlier|all|your)\b"
    r".{0,20}\b(?:instructions?|prompts?|rules)\b"
    r"|\byou are (?:now|no longer) (?:a|an|in)\b|\bsystem prompt\b",
    re.IGNORECASE | re.DOTALL,
)


def unescaped(text: str) -> str:
    """HTML entities undone exactly once: X sends `&amp;lt;` for a typed `&lt;`.

    Only whole entities, so "Q&not A" stays.
    """
    return _ENTITY.sub(lambda entity: html.unescape(entity.group()), text)


def body(text: str) -> str:
    """text without the @mentions at its start."""
    return _LEADING_MENTIONS.sub("", text)


def reply_length(text: str) -> int:
    """Length of a reply as it came: visible characters of the body, entities undone, spaces collapsed."""
    return n_characters(_collapsed(body(visible(unescaped(text)))))


def x_length(text: str) -> int:
    """Length of a post as X counts it against its 280: a link is 23, most of the world's scripts weigh two.

    An emoji weighs two, however it is encoded. Source: twitter-text's configuration v3.
    """
    text, n_links = _COUNTED_LINK.subn("", unicodedata.normalize("NFC", text))
    signs = EMOJI.sub(lambda emoji: emoji.group() if len(emoji.group()) == 1 else HEAVY, text)
    n_light = sum(any(low <= ord(sign) <= high for low, high in _LIGHT) for sign in signs)
    return X_LINK * n_links + 2 * len(signs) - n_light


def clean_text(text: str) -> str:
    """A reply as the model should see it.

    Cleaning twice changes nothing; entities are undone before, once, by `unescaped`.
    Off: leading @mentions, links, invisible characters, control tokens, third and further repeats of a
    letter, the # of hashtags (#RemoteWork becomes Remote Work). Kept: emoji, @mentions inside, single line
    breaks, numbers, URLs without http.
    """
    return _settled(text, leading_mentions=False)


def clean_tweet(text: str) -> str:
    """A tweet as the model should see it: like a reply, but a @mention at its start is its subject."""
    return _settled(text, leading_mentions=True)


def _settled(text: str, leading_mentions: bool) -> str:
    # One step can uncover work for another (a hidden character splits a control token): go on until nothing
    # changes. It ends, because every step but the one-off splitting of a hashtag only takes away.
    while (cleaned := without_control_tokens(_cleaned_once(text, leading_mentions))) != text:
        text = cleaned
    return text


def _cleaned_once(text: str, leading_mentions: bool) -> str:
    text = _collapsed(_LINK.sub("", visible(text)))
    if not leading_mentions:
        text = re.sub(r"^[,:;]\s+", "", body(text))
    pieces, end = [], 0
    for fixed in _PROTECTED.finditer(text):
        pieces += [_worded(text[end : fixed.start()]), fixed.group()]
        end = fixed.end()
    return _collapsed("".join([*pieces, _worded(text[end:])]))


def _worded(text: str) -> str:
    text = _HASHTAG.sub(lambda tag: _split_words(tag.group(1)), text)
    pieces, end = [], 0
    for numeral in _ROMAN.finditer(text):  # World War III is not elongated
        if not re.search(r"(.)\1{3}", numeral.group()):
            pieces += [_ELONGATED.sub(r"\1\1", text[end : numeral.start()]), numeral.group()]
            end = numeral.end()
    return "".join([*pieces, _ELONGATED.sub(r"\1\1", text[end:])])


def _split_words(tag: str) -> str:
    """100DaysOfCode -> 100 Days Of Code.

    Without capitals to go by (nowthatchersdead, COVID19) the word stays as it is.
    """
    return " ".join(word for part in tag.split("_") for word in _CASE_BOUNDARY.split(part) if word)


def _collapsed(text: str) -> str:
    return re.sub(r"\s*\n\s*", "\n", re.sub(r"[^\S\n]+", " ", text)).strip()


def hidden_control_tokens(text: str) -> list[str]:
    """Control tokens in text as it came, or once entities and hidden characters are off."""
    if not any(
        opening in text for opening in "<[&"
    ):  # every token starts with one of these, or with the entity of one
        return []
    plain = unescaped(text)
    return (
        control_tokens(text)
        or control_tokens(visible(plain))
        or control_tokens(_cleaned_once(plain, leading_mentions=True))
    )


def has_url(text: str) -> bool:
    """A link, or a bare domain: t.co/x, example.com, but not the missing space in "etc.So"."""
    return bool(_LINK.search(text) or _BARE_DOMAIN.search(text))


def hashtags(text: str) -> list[str]:
    """The hashtags of text, without their #."""
    return _HASHTAG.findall(text)


def pii(text: str) -> list[str]:
    """Kinds of personal data in text: email, phone."""
    return [kind for kind, pattern in (("email", _EMAIL), ("phone", _PHONE)) if pattern.search(text)]


def mixed_script(text: str) -> str | None:
    """The first word that mixes Latin letters with look-alikes of another script, as spam does, or None."""
    if text.isascii():
        return None
    for word in re.findall(r"[^\W\d_]{2,}", text):
        if re.search(r"[A-Za-z]", word) and (_CYRILLIC.search(word) or _LOOKALIKE_GREEK.search(word)):
            return word
    return None


def is_instruction(text: str) -> bool:
    """True of text that talks to a language model ("ignore all previous instructions").

    It stays data; people are told.
    """
    return bool(_INSTRUCTION.search(text))


def prose(text: str) -> str:
    """text without links, @mentions and hashtags: what is left to tell a language from."""
    text = _LINK.sub(" ", visible(unescaped(text)))
    for pattern in (_EMAIL, _BARE_DOMAIN, _MENTION, _HASHTAG):
        text = pattern.sub(" ", text)
    return _collapsed(text)


def normalised(text: str) -> str:
    """The words to compare texts by: lower case, no mentions, links, punctuation.

    Text without words (emoji) stays itself.
    """
    text = unicodedata.normalize("NFKC", visible(unescaped(text))).casefold()
    bare = _MENTION.sub(" ", _LINK.sub(" ", text))
    return " ".join(re.findall(r"[^\W_]+", bare)) or _collapsed(bare)


def is_copy(tweet: str, reply: str) -> bool:
    """True of a reply that repeats the tweet: the same words, mostly its words, or the whole tweet quoted."""
    said, copied = normalised(tweet).split(), normalised(body(reply)).split()
    if not said or not copied:
        return False
    n_same = SequenceMatcher(None, said, copied, autojunk=False).find_longest_match().size
    return said == copied or (n_same >= 5 and (n_same >= 0.6 * len(copied) or n_same >= 0.8 * len(said)))
