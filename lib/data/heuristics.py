"""Signs that a reply teaches nothing: promotion, filler, requests, broadcasts, bots.

Few and readable on purpose. They are guesses about English: the config says whether one drops a reply, sends
it to the top of the review queue, or counts for nothing.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Literal

from lib.base.characters import EMOJI, visible
from lib.base.settings import FilterConfig
from lib.data.text import body, normalised, unescaped

Sign = tuple[str, str]  # a reason (one of the fixed words) and what was found

# Which key of the config decides about which sign, and the sentence for the person who reviews.
KEY_OF = {
    "promotion": "promotion",
    "bot_like": "promotion",
    "filler": "filler",
    "support_question": "filler",
    "broadcast": "filler",
}
SENTENCES = {
    "promotion": "looks like promotion",
    "bot_like": "its author writes many replies that are nearly alike",
    "filler": "looks like filler",
    "support_question": "asks the author for something",
    "broadcast": "speaks to its own followers (.@)",
}


def _any_of(*phrases: str) -> re.Pattern[str]:
    """Any of these phrases, as whole words, in any case; ' stands for every apostrophe or none."""
    spelled = (phrase.replace("'", "['’]?") for phrase in phrases)
    return re.compile(rf"(?<!\w)(?:{'|'.join(spelled)})(?!\w)", re.IGNORECASE | re.DOTALL)


_PROMOTION = {
    "giveaway": _any_of(
        "give-?aways?",
        "air-?drops?",
        "(?:enter|chance) to win",
        "free (?:gifts?|bitcoins?|crypto|money|followers|trial|shipping)",
    ),
    "sale": _any_of(
        "(?:promo|discount|coupon|referral) codes?",
        "use (?:my |our )?code",
        r"\d{1,2} ?% off",
        "(?:buy|order|shop|pre-?order|book|sign up|subscribe|register|download) (?:now|today|here|yours)",
        "links? in (?:my |the |our )?(?:bio|profile)",
        "check(?:ing)? out (?:my|our)",
        "subscribe to",
        "click (?:on )?(?:my|this) link",
        "limited (?:time )?offer",
        "dm (?:me|us) (?:for|to)",
        "(?:my|our) (?:new )?(?:channel|newsletter|podcast|store|merch|course)",
    ),
    "follow me": _any_of(
        r"follow (?:me|us|back|my (?:page|account|profile|insta\w*))(?! (?:so|and) )",
        "follow ?back",
        "f4f",
        "follow for follow",
    ),
    "engagement bait": _any_of(
        "(?:rt|retweet|like|share|comment) (?:this )?if (?:you|u|ya)",
        "(?:please|pls|plz) (?:rt|retweet|share)",
        "(?:like|rt|retweet|share|follow) (?:and|&|\\+) (?:like|rt|retweet|share|follow)",
        "tag (?:a|your|two|three) friends?",
        "drop (?:a|your) (?:like|heart|emoji|wallet|handle)s?",
        "sign (?:the|this|my|our) petition",
    ),
    "crypto chant": _any_of(
        "wagmi",
        "hodl",
        "buy the dip",
        "when (?:lambo|moon)",
        r"\d+x gems?",
        r"to the moon\W*🚀",
        r"\$[a-z]{2,6}\b.{0,60}\b(?:moon|pump|gem|bullish|to the top)",
        "(?:bitcoin|btc|eth|doge) to the moon",
    ),
}
_CONDOLENCE = _any_of(
    r"r\.?i\.?p",
    "rest in (?:peace|power)",
    "condolences?",
    "sorry for (?:your|the|their|ur) loss",
    "(?:thoughts|prayers?|hearts?|praying|pray) (?:and |& )?(?:thoughts |prayers )?(?:are |is )?"
    "(?:go(?:es|ing)? |out )*(?:to|with|for)",
    "god bless",
    "blessings (?:and|&|to)",
    "(?:well|best|good)[ -]wishes",
    "(?:stay|be|keep) safe",
    "(?:hope|glad|hoping) (?:that )?(?:everyone|everybody|all|they|you|u)(?:'s|'re| is| are| r)? "
    "(?:all )?(?:safe|ok|okay|alright)",
    "deepest sympath(?:y|ies)",
    "heartbreaking",
    r"(?:so|how|very|too|just|truly) (?:sad|awful|terrible|horrible|tragic|horrific|heartbroken)(?! \w)",
)
_THANKS = _any_of(r"(?:thanks?|thank you|thx|ty)(?: so much| a lot)? for (?:\w+ing|this|the|your|all)")
_OWN = (
    "(?:my|our) (?:order|account|refund|delivery|parcel|package|subscription|booking|tickets?|flight|login)"
)
_REQUEST = _any_of(
    r"(?:can|could|may|would) (?:you|we|i|u)\b.{0,40}\b(?:use|using|share|show|run|broadcast|credit)\b.{0,30}"
    r"\b(?:your|ur|this|these|the) (?:photos?|pics?|pictures?|images?|videos?|footage|tweet)",
    r"(?:could|can|would|please|pls)\b.{0,15}\b(?:dm|e-?mail|call|contact|message) (?:me|us)",
    r"follow (?:me|us|back)\b.{0,20}\b(?:dm|message)",
    "(?:can|could) (?:you|someone|anyone) (?:please |pls )?help",
    rf"(?:can|could|how|when|where|why|will|please|help)\b.{{0,40}}{_OWN}",
    rf"{_OWN}\b.{{0,80}}(?:\?|help|not work(?:ing)?|doesn't work|hasn't|never (?:arrived|came))",
    "how (?:do|can) (?:i|we) (?:get|contact|reset|cancel|return|upgrade|install|fix|log ?in|sign up|buy|order"
    "|download|apply|register)",
    "(?:do|does|will) (?:you|it|this) (?:guys )?(?:ship|deliver|work (?:on|with))",
    "(?:app|site|website|page|link) (?:is |still )?(?:down|broken|not working|isn't working|won't load)",
    "customer (?:service|support|care)",
    "(?:trying|tried) to (?:get in (?:contact|touch)|reach|contact|call) (?:you|with you)",
    "(?:get in (?:contact|touch)|anyone (?:at|on) the phones?)",
    "please (?:fix|refund|unlock|unban)",
    "would you be willing to (?:share|talk|speak)",
    "what's the price",
    "(?:please|pls|plz) (?:tell|let) (?:us|me)",
)
_BROADCAST = re.compile(r"^\W{0,2}\.{1,3}\s?[@＠]\w")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words of agreement and feeling, and the small words between them: a reply of nothing else says nothing.
_FEELING = _words("""
    absolutely agree agreed amazing amen awesome aww awful bad brilliant bro completely congrats
    congratulations cool correct crazy damn dear definitely disgusting dude exactly facts fantastic fuck
    fucking fun funny glad god good gosh great ha haha hahaha happy hilarious horrible horrific insane
    interesting kidding lmao lmfao lol love loved loving nice omg perfect perfectly please preach pretty
    relatable sad said scary shit shocking shocked sick sorry speechless terrible thank thanks totally tragic
    true truth ugh unbelievable woah wow wrong wtf yeah yep yes yup
""")
_SMALL = _words("""
    a about actually again all also always am an and are as at be been but can cant could day did do does dont
    even ever every everyone feel fact for fr from guys has have hear heart hell her here him his hope how i
    id if im in indeed is isnt it its ive just know lot man many me mean more much my need never new no not
    now of oh ok okay on one only or our out people point post quite real really right same say saying says
    see so spot still story such sure that thats the their them then there theres these they thing things
    think this thoughts thread times to too tweet u up ur us very wait wanna want was way we well what when
    who why will wish with word words world wont ya yea you your youre
""")
MAX_FILLER_WORDS = 15  # of a longer reply, the small words alone say something
MAX_CONDOLENCE_WORDS = 20
MAX_THANKS_WORDS = 8
MIN_ALIKE, ALIKE, MAX_COMPARED = 5, 0.6, 200  # replies; shared words (Jaccard); replies of one author


def signs(reply: str) -> Iterator[Sign]:
    """The signs in a reply as it came, the worst first."""
    seen = visible(unescaped(reply))
    text = body(seen)
    for kind, pattern in _PROMOTION.items():
        if hit := pattern.search(text):
            yield "promotion", f"{kind}: {hit.group()[:40]!a}"
            break
    if filler := _filler(text):
        yield "filler", filler
    if hit := _REQUEST.search(text):
        yield "support_question", f"{hit.group()[:40]!a}"
    if _BROADCAST.search(seen):
        yield "broadcast", "begins with .@"


def _filler(text: str) -> str | None:
    words = normalised(text.replace("'", "").replace("’", "")).split()
    letters = [word for word in words if word[0].isalpha()]
    if (hit := _CONDOLENCE.search(text)) and len(words) <= MAX_CONDOLENCE_WORDS:
        return f"condolences: {hit.group()[:40]!a}"
    if _THANKS.search(text) and len(words) <= MAX_THANKS_WORDS:
        return "thanks"
    if EMOJI.search(text) and len(letters) <= 3:
        return f"emoji and {len(letters)} words"
    telling = [word for word in words if word not in _FEELING and word not in _SMALL]
    n_feeling = sum(word in _FEELING for word in words)
    if len(words) <= MAX_FILLER_WORDS and n_feeling > 2 * len(telling):
        return f"{n_feeling} words of agreement or feeling, {len(telling)} others that say something"
    if words and len(words) <= 3 and not telling:
        return "small words only"
    return None


def rule_for(reason: str, config: FilterConfig) -> Literal["reject", "review", "keep"]:
    """The config's word about a sign."""
    rule: Literal["reject", "review", "keep"] = getattr(config, KEY_OF[reason])
    return rule


def bot_like_authors(replies: Iterable[tuple[str, str]]) -> set[str]:
    """Authors of whose replies at least MIN_ALIKE, and half, have a near twin: case-folded handles.

    replies: (author, text), all that were collected, nested and rejected ones too.
    """
    by_author: dict[str, list[frozenset[str]]] = defaultdict(list)
    for author, text in replies:
        own = by_author[author.lstrip("@").casefold()]
        if len(own) < MAX_COMPARED and (words := frozenset(normalised(body(visible(text))).split())):
            own.append(words)
    return {author for author, bags in by_author.items() if len(bags) >= MIN_ALIKE and _repeats(bags)}


def _repeats(bags: list[frozenset[str]]) -> bool:
    twins: set[int] = set()
    for (one, words), (other, others) in combinations(enumerate(bags), 2):
        if len(words & others) >= ALIKE * len(words | others):
            twins |= {one, other}
    return len(twins) >= max(MIN_ALIKE, len(bags) / 2)
