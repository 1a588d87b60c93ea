"""One reply by rule: a refusal, an insult, an end in mid-sentence, nothing to read, another language.

Few and readable on purpose, and about English. They are made to be right about a model's replies and quiet
about people's: the shares that people reach are in docs/methods.md.
"""

import re
import unicodedata

from lib.base.characters import EMOJI
from lib.data.control_tokens import control_tokens
from lib.data.text import body, normalised, prose
from lib.model.likeness import DIGITS, LOOKALIKES

_CANNOT = (
    r"(?:ca ?n ?t|cannot|can not|could ?n t|(?:wo ?n t|will not)(?: be able to)?|(?:am|m) (?:unable|not able"
    r"|not allowed|not permitted|not supposed|not programmed) to|must decline to|have to decline to"
    r"|decline to|(?:do ?n t|do not) feel comfortable(?: with)?|(?:am|m) not comfortable(?: with)?)"
)
_SERVE = (
    r"(?:(?:help(?:ing)?(?: you)? with|help you with|assist|comply|do that for you)\b"
    r"|(?:fulfil|generat|creat|provid|produc|engag|respond|reply|discuss|writ|continu|participat|offer"
    r"|support)\w*"
    r"(?: (?:to|in|with|an?|any|on|for|of|or|and|the|kind|type|further|\w+(?:ful|ive|ate|al))){0,3}?"
    r" (?:this|that|these|your|such|requests?|content|repl(?:y|ies)|responses?|tweets?|topics?"
    r"|conversations?|hateful|harmful|offensive|inappropriate|political|sensitive|material)\b)"
)
_MACHINE = (
    r"(?:ai|a i|artificial intelligence|(?:ai |large )?language model|llm|chat ?bot"
    r"|(?:ai|virtual|digital) assistant|machine learning model|ai model)"
)
_REFUSAL = re.compile(
    rf"\bas an? (?:\w+ )?{_MACHINE}\b|\bi(?: a)? ?m (?:just |only |merely |simply |really )?an? {_MACHINE}\b"
    rf"|\bi (?:\w+ly |\w+ly \w+ )?{_CANNOT}(?: \w+ly)? {_SERVE}"
    rf"|\b(?:sorry|apologi[sz]e|apologies|afraid|unfortunately) (?:\w+ )?(?:but )?(?:i|we) {_CANNOT}"
    r"(?: \w+ly)? (?:help|assist|comply|do that|answer (?:this|that)|write about (?:this|that))\b"
    r"|\b(?:unable|not able) to (?:assist|comply|fulfil|generate)\b"
    r"|\b(?:not|n t) something (?:that )?i (?:can|am able to|m able to) (?:help with|assist|discuss|write)"
    r"|\bi (?:d |would )?(?:prefer|rather) not (?:to )?(?:respond|reply|comment|engage|discuss|weigh in)\b"
    r"|\bi (?:m|am) not (?:in a position|able) to (?:respond|reply|comment|engage|discuss|weigh in)\b"
    r"|\b(?:it s|it is) best (?:that |if )?i (?:don t|do not) (?:respond|reply|comment|engage|weigh in)\b"
    r"|\b(?:not appropriate|inappropriate) for me to (?:respond|reply|comment|answer|discuss|write)"
    r"|\b(?:against|violat\w+|goes against) (?:my|our|the) (?:\w+ )?(?:guidelines|programming|polic\w+)\b"
    r"|\bi (?:do not|don t) have (?:personal (?:opinions|beliefs|feelings|experience\w*)|the ability to)\b"
    r"|\bi must (?:respectfully |politely )?decline\b|\bi (?:respectfully|politely) decline\b"
    r"|\bi(?: a)? ?m (?:not )?(?:programmed|designed|trained) to\b"
    r"|\bi was (?:not )?(?:designed|programmed) to\b"
    r"|\b(?:created|developed|made|trained) by (?:alibaba|openai|anthropic|meta ai|google deepmind)\b"
    r"|\bmy (?:knowledge cutoff|training data|programming)\b",
)
_INSULT = (
    r"(?:idiots?|morons?|imbeciles?|losers?|scum|trash|garbage|pathetic|worthless|disgusting|stupid|dumb"
    r"|dumbass|asshole|bastard|bitch|cunt|pig|clown|fool|fraud|liar|vermin|parasites?|subhuman)"
)
_HOSTILE = re.compile(
    r"\b(?:you|u|ur|your|youre)(?: are|re| re| r)?(?: all| just| such| a| an| so| fucking| complete| total"
    rf"| utterly| really| bunch of| people){{0,3}} {_INSULT}\b"
    r"|\b(?:what|such) an? (?:\w+ )?(?:idiot|moron|asshole|bastard|bitch|cunt|scumbag|loser)\b"
    r"|\bshut (?:the (?:fuck|hell|heck) )?up\b|\bstfu\b|\bkys\b|\bgo to hell\b"
    r"|\b(?:fuck|screw) (?:you|u|off|them|him|her)\b"
    r"|\bkill (?:yourself|urself|your self|them all|you all|all of (?:them|you))\b"
    r"|\b(?:hope|wish) (?:you|they|he|she|u)(?: all)? (?:die|dies|rot|suffer|burn|choke)\b"
    r"|\byou (?:should|deserve to|need to) (?:die|suffer|rot|burn|be (?:shot|hanged|killed))\b"
    r"|\bpiece of (?:shit|trash|garbage|crap)\b|\bnobody (?:likes|asked|wants) you\b"
    r"|\bi (?:really |just )?(?:hate|despise|loathe) (?:you|u|people like you)\b"
    r"|\b(?:scumbag|dipshit|shithead|fuckwit|dickhead|assholes?|cunts?)\b"
    r"|\b(?:nigg(?:er|a)s?|fagg?ots?|kikes?|retards?|retarded|trann(?:y|ies)|spics?|gooks?|towelheads?)\b"
)
_OPEN_END = re.compile(
    r"(?:\b(?:the|an?|of|to|and|or|but|with|from|into|my|your|his|their|our|its|because|which|whose|than|if"
    r"|while|very|every|is|are|was|were|has|have|will|would|i|we|they|it[’']s|i[’']m|don[’']t)|[,;])\s*$",
    re.IGNORECASE,
)
_ENDED = re.compile(r"[.!?…)\]\"'”’»*]\s*$")
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]")
_OF_LATIN = re.compile(  # languages written in Latin letters, those that a data set may be in
    "af|ca|cs|cy|da|de|en|es|et|fi|fr|hr|hu|id|it|lt|lv|nl|no|pl|pt|ro|sk|sl|so|sq|sv|sw|tl|tr|vi"
)
MIN_WORDS = 4  # of fewer nobody can tell the language
SURE = 0.99
MAX_BROKEN = 0.1  # of the characters


def is_refusal(text: str) -> bool:
    """True of an assistant that declines, or speaks of itself as one."""
    return bool(_REFUSAL.search(_plain(text)))


def is_hostile(text: str) -> bool:
    """True of an insult to the reader or to others, a death wish, a slur."""
    return bool(_HOSTILE.search(_plain(text)))


def _plain(text: str) -> str:
    """Lower-case words between single spaces, look-alike letters and accents undone."""
    plain = unicodedata.normalize("NFKD", normalised(body(text)))
    plain = "".join(c for c in plain if unicodedata.category(c) != "Mn").translate(LOOKALIKES)
    return " ".join(word if word.isdigit() else word.translate(DIGITS) for word in plain.split())


def is_unreadable(text: str) -> bool:
    """True of a text without a letter, a digit or an emoji beside its links and mentions, or with broken
    characters or control tokens among them.
    """
    seen = normalised(text)
    n_broken = sum(
        c == "\ufffd" or unicodedata.category(c) in ("Co", "Cn", "Cs", "Cc") for c in text if c != "\n"
    )
    is_broken = n_broken > MAX_BROKEN * max(len(text), 1) or bool(control_tokens(text))
    return is_broken or not (any(map(str.isalnum, seen)) or EMOJI.search(seen))


def is_unusable(text: str) -> bool:
    """True of a reply that loses to any other one, whatever a judge says."""
    return is_unreadable(text) or is_refusal(text)


def is_cut_off(text: str, n_tokens: int, max_new_tokens: int | None) -> bool:
    """True of a reply that ends where it cannot: at the limit of tokens, or in mid-sentence."""
    end = text.rstrip()
    if max_new_tokens and n_tokens >= max_new_tokens and not _ENDED.search(end):
        return True
    return len(end.split()) >= MIN_WORDS and bool(_OPEN_END.search(end))


def is_foreign(text: str, found: tuple[str, float], language: str) -> bool:
    """True of a reply that is surely in another language. found: the detector's, of the prose alone."""
    letters = [c for c in prose(text) if c.isalpha()]
    n_latin = sum(bool(_LATIN.match(c)) for c in letters)
    if _OF_LATIN.fullmatch(language) and len(letters) > MIN_WORDS and n_latin < len(letters) / 2:
        return True
    code, certainty = found
    return code != language and code != "" and certainty >= SURE and len(prose(text).split()) >= MIN_WORDS
