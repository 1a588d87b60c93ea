"""Text of posts: what counts as its body, how it is cleaned, and what the filters look for in it."""

import html
import re
import unicodedata
from difflib import SequenceMatcher

from lib.base.characters import n_characters, visible
from lib.data.control_tokens import control_tokens, without_control_tokens

# A fediverse handle (@ann@social.example) is an address of its own, no mention of X.
_FEDIVERSE = r"[\w.-]*@[\w-]+(?:\.[\w-]+)+"
# A handle at the very start is X's addressing, not the author's words; "@ann's point" is. Possessive: no
# match of "@an" in it.
_ADDRESSED = rf"[@＠][A-Za-z0-9_]++(?!['’]s\b|{_FEDIVERSE})"
_LEADING_MENTIONS = re.compile(rf"^(?:\s*{_ADDRESSED})+\s*")
# ".@ann" addresses ann too, before everybody: readers see it, but it is nothing to learn.
_LEADING_BROADCAST = re.compile(rf"^(?:\s*\.{{0,3}}\s*{_ADDRESSED})+\s*")
_HANDLE = rf"[@＠][A-Za-z0-9_]++(?:{_FEDIVERSE})?"
_MENTION = re.compile(rf"(?<![\w@]){_HANDLE}")
_TAG = r"(?<![\w&#＃/])[#＃](\w*[^\W\d_]\w*)"  # "#1" is a rank, not a hashtag
_HASHTAG = re.compile(_TAG)
_LAST_TAGS = re.compile(rf"(?:\s*{_TAG})+\s*$")
# After one of these the hashtag is a word of the sentence: "I live in #Paris".
_GOES_ON = re.compile(
    r"\b(?:the|an?|of|in|on|at|to|for|from|by|with|about|into|and|or|but|than|like|as|via|is|are|was|were"
    r"|am|be|been|my|your|his|her|our|their|its|this|that|these|those|no|not|very|so|(?:\w+['’](?:s|m|re)))$",
    re.IGNORECASE,
)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
_LINK = re.compile(r"(?:https?://|\bpic\.twitter\.com/)\S+", re.IGNORECASE)
_PICTURE_LINK = re.compile(r"\s*(?:https?://t\.co/|pic\.twitter\.com/)\w+\s*$")
# Without http:// a domain counts where it ends like one, or in two letters and a path. A capital after the
# full stop starts a sentence whose space is missing: "etc.So", "Great.AI next".
_LABEL = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+"
_BARE_DOMAIN = re.compile(
    r"(?<![\w@.-])(?:(?i:www\.[a-z0-9-]+\.[a-z]{2}\S*)"
    rf"|(?:{_LABEL}(?:[Cc]om|[Oo]rg|[Nn]et|edu|gov|mil|info|biz|io|co\.[a-z]{{2}}|uk|de|fr|eu|tv|ly|gg|ai|dev"
    r"|xyz)|(?:[A-Z0-9-]+\.)+(?:COM|ORG|NET|EDU|GOV))\b(?!['’])(?:/\S*)?"
    rf"|{_LABEL}(?:[a-z]{{2}}|app|blog|club|link|live|news|online|page|shop|site|store)/[\w?=#&%./-]+"
    r"|(?:[A-Z0-9-]+\.)+[A-Z]{2}/[\w?=#&%./-]+)"
)
_PROTECTED = re.compile(f"{_BARE_DOMAIN.pattern}|{_HANDLE}")
_EMAIL = re.compile(r"(?<![@＠\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}", re.IGNORECASE)
# Both, without the punctuation that ends a sentence.
LINKS = re.compile(rf"(?:(?i:{_LINK.pattern})|{_BARE_DOMAIN.pattern})(?<![.,:;!?'\"”’)\]])")
_PHONE = re.compile(
    r"(?<![\w.,/:$€£-])(?:\+\d{1,3}[\s.-]?(?:\(?\d{1,4}\)?[\s.-]?){2,5}\d{2,4}"
    r"|\(?\d{3}\)?[\s.-]\d{3}[\s.-]\d{4}|0\d{2,4}[\s-]\d{3,4}[\s-]?\d{3,4}"
    r"|1-\d{3}-\d{3}-\d{4}|[1-9]\d{9,10}(?<!0000)|0\d{9,10})(?![\w/]|[.,:-]\d)"
)
_WORD = re.compile(r"[^\W\d_]+")
_ELONGATED = re.compile(r"(.)\1{2,}", re.IGNORECASE)
_SCREAM = re.compile(r"(.)\1{5}")
# Names that have a capital inside and stay one word.
_BRAND = re.compile(
    r"(AirBnB|AliExpress|BlueSky|BitTorrent|ChatGPT|DeepMind|DeepSeek|DevOps|DoorDash|FaceBook|FaceTime|FedEx"
    r"|GitHub|GitLab|GraphQL|HubSpot|HuggingFace|JavaScript|LaTeX|LinkedIn|MacBook|MasterCard|MongoDB"
    r"|MySQL|OnlyFans|OpenAI|PayPal|PlayStation|PostgreSQL|PowerPoint|PyTorch|SnapChat|SoundCloud"
    r"|SpaceX|StackOverflow|TensorFlow|TikTok|TypeScript|WeChat|WhatsApp|WiFi|WikiLeaks|WordPress|YouTuber?)"
    r"(?![a-z])"
)
# RemoteWork, OKBoomer, 100Days, 2024USOpen; but iPhone, McGee, COVID19 and PhD are one word.
_CASE_BOUNDARY = re.compile(
    r"(?<=[A-Za-z][a-z])(?<!\bMc)(?=[A-Z][A-Za-z])|(?<=[A-Z0-9])(?=[A-Z][a-z])|(?<=\d)(?=[A-Z]{2})"
)
_RETWEETS_BY_HAND = re.compile(r"(?<![\w@#])[RM]T:?\s*[\"“]?[@＠]\w")
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


def clean_text(text: str) -> str:
    """A reply as the model should see it.

    Cleaning twice changes nothing; entities are undone before, once, by `unescaped`.
    Off: leading @mentions, links, invisible characters, control tokens, third and further repeats of a
    letter, hashtags at the end, the # of others (#RemoteWork becomes Remote Work). Kept: emoji, @mentions
    inside, single line breaks, numbers, URLs without http, words in capitals.
    """
    return _settled(text, is_tweet=False)


def clean_tweet(text: str) -> str:
    """A tweet as the model should see it: like a reply, but a @mention at its start, a hashtag at its end can
    be its subject.
    """
    return _settled(text, is_tweet=True)


def _settled(text: str, is_tweet: bool) -> str:
    # One step can uncover work for another (a hidden character splits a control token): go on until nothing
    # changes. It ends, because every step but the one-off splitting of a hashtag only takes away.
    while (cleaned := without_control_tokens(_cleaned_once(text, is_tweet))) != text:
        text = cleaned
    return text


def _cleaned_once(text: str, is_tweet: bool) -> str:
    text = _collapsed(_LINK.sub("", visible(text)))
    if not is_tweet:
        text = _without_labels(re.sub(r"^[,:;]\s+", "", _LEADING_BROADCAST.sub("", text)))
    pieces, end = [], 0
    for fixed in _PROTECTED.finditer(text):
        pieces += [_worded(text[end : fixed.start()]), fixed.group()]
        end = fixed.end()
    return _collapsed("".join([*pieces, _worded(text[end:])]))


def _without_labels(text: str) -> str:
    """text without the hashtags at its end, which label it and are no part of its last sentence."""
    if not (tags := _LAST_TAGS.search(text)) or not text[: tags.start()].strip():
        return text
    before = text[: tags.start()]
    kept = tags.group().split()[0] if _GOES_ON.search(before) else ""
    return f"{before} {kept}".rstrip()


def _worded(text: str) -> str:
    text = _HASHTAG.sub(lambda tag: _split_words(tag.group(1)), text)
    return _WORD.sub(lambda word: _shortened(word.group()), text)


def _shortened(word: str) -> str:
    """soooo -> soo, NOOOooo -> NOO; a word in capitals (AAA, WWWs) stays, unless it is a scream."""
    if word.lower() == "www" or (word.rstrip("s").isupper() and not _SCREAM.search(word)):
        return word
    return _ELONGATED.sub(lambda run: run.group()[:2], word)


def _split_words(tag: str) -> str:
    """100DaysOfCode -> 100 Days Of Code.

    Without capitals to go by (nowthatchersdead, COVID19) the word stays as it is.
    """
    parts = (part for piece in tag.split("_") for part in _BRAND.split(piece))
    return " ".join(
        word
        for part in parts
        for word in ([part] if _BRAND.fullmatch(part) else _CASE_BOUNDARY.split(part))
        if word
    )


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
        or control_tokens(_cleaned_once(plain, is_tweet=True))
    )


def has_url(text: str) -> bool:
    """A link, or a bare domain: t.co/x, example.com, but not the missing space in "etc.So"."""
    return bool(_LINK.search(text) or _BARE_DOMAIN.search(text))


def without_picture_link(text: str) -> str:
    """A post that has a picture, without the link at its end by which X's text names it."""
    return _PICTURE_LINK.sub("", text)


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
    """True of a reply that repeats the tweet: its words, mostly, a few of them changed; or all of it quoted.

    "RT @ann" and "MT @ann" (modified tweet) announce a copy, of whichever tweet.
    """
    if _RETWEETS_BY_HAND.search(reply):
        return True
    said, copied = normalised(tweet).split(), normalised(body(reply)).split()
    if not said or not copied:
        return False
    runs = [run.size for run in SequenceMatcher(None, said, copied, autojunk=False).get_matching_blocks()]
    n_same, n_run = sum(size for size in runs if size > 1), max(runs)
    return (
        said == copied
        or (n_run >= 5 and (n_run >= 0.6 * len(copied) or n_run >= 0.8 * len(said)))
        or (n_same >= 6 and (n_same >= 0.75 * min(len(copied), len(said))))
    )
