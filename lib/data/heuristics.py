"""Signs that a reply teaches nothing: promotion, attacks, filler, requests, broadcasts, bots.

Few and readable on purpose. They are guesses about English: the config says whether one drops a reply, sends
it to the top of the review queue, or counts for nothing. Those that drop by default were right in at least 9
of 10 hits on real replies, read by hand; docs/methods.md has the numbers.
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
    **dict.fromkeys(("promotion", "attack", "support_question", "bot_like"), "promotion"),
    **dict.fromkeys(("filler", "unseen", "broadcast"), "filler"),
}
UNSURE = ("broadcast",)  # 13 of 30 hits were right
SENTENCES = {
    "promotion": "looks like promotion",
    "attack": "insults, or calls for violence",
    "bot_like": "its author writes many replies that are nearly alike",
    "filler": "looks like filler",
    "unseen": "speaks of a picture, a poll or a page that the model does not see",
    "support_question": "asks the author for something",
    "broadcast": "speaks to its own followers (.@)",
}


def _any_of(*phrases: str) -> re.Pattern[str]:
    """Any of these phrases, as whole words, in any case; ' stands for every apostrophe or none."""
    spelled = (phrase.replace("'", "['’]?") for phrase in phrases)
    return re.compile(rf"(?<!\w)(?:{'|'.join(spelled)})(?!\w)", re.IGNORECASE | re.DOTALL)


_PROMOTION = {
    "giveaway": _any_of(
        r"(?<!dead )(?<!\ba )(?<!the )(?<!total )give-?aways?",
        "(?:host|do|runn?|join|enter)(?:ing)? (?:a|the|my|our|this) give-?aways?",
        "air-?drops?(?! (?:me|you|us|it|them|him|her|that|the|a))",
        "(?:enter|for a chance) to win",
        "free (?:bitcoins?|crypto|followers|shipping)",
    ),
    "sale": _any_of(
        "(?:promo|discount|coupon|referral) codes?",
        "use (?:my|our) code",
        r"\d{1,2} ?% off",
        "(?:buy|pre-?order|sign up|subscribe|register|download) (?:now|today|here|yours)",
        "(?:shop|order|book) (?:now|yours)",
        "links? in (?:my |the |our )?(?:bio|profile)",
        "check(?:ing)? out (?:my|our) (?:new |latest |own )?(?:page|channel|blog|shop|store|site|website|book"
        "|podcast|video|music|song|album|art|course|app|newsletter|profile|link)",
        "(?:(?:please|pls|plz) subscribe|subscribe to (?:my|our))",
        "click (?:on )?(?:my|this) link",
        "limited (?:time )?offer",
        "dm (?:me|us) (?:for|to)",
        "(?:my|our) new (?:channel|newsletter|podcast|store|merch|course|video|song|single|album|book)",
    ),
    "follow me": _any_of(
        "follow (?:me|us) (?:back|for|if|please|pls)",
        "(?:please|pls|plz) follow (?:me|us|my)",
        "follow ?back",
        "f4f",
        "follow for follow",
    ),
    "engagement bait": _any_of(
        "(?:rt|retweet|share|comment) (?:this )?if (?:you|u|ya)",
        r"(?:^|(?<=[.!?] ))like (?:this )?if (?:you|u|ya)",
        "(?:please|pls|plz) (?:rt|retweet|share (?:this|widely|and))",
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
_ATTACK = _any_of(
    # Calls for violence, and wishes of harm.
    r"(?:just|please|should|must) (?:\w+ ){0,2}(?:kill|shoot|behead|nuke|bomb) (?:them|him|her)(?! an? )",
    "(?:kill|shoot) (?:them|him|her) all",
    "(?:(?:hunt|gun) (?:them|him|her) down|hang (?:them|him|her) publicly)",
    "(?:hope|wish) (?:you|u|he|she|they)(?: all| both)? (?:die|rot|burn|suffer|get (?:shot|raped|killed))s?",
    "(?:(?:rot|burn) in hell|kill yourself|kys)",
    "(?:deserves?|deserved) to (?:die|be (?:shot|killed|hanged))",
    # Words that make people less than people.
    "(?:sub-?humans?|(?<!the )scum(?:bags?)?|(?:lib|lef|re|repub|fuck)-?t+ard(?:s|ed)?)",
    "(?:faggots?|niggers?|kikes?|trann(?:y|ies)|(?:towel|rag) ?heads?|muzz(?:ies?|rats?))",
    "(?:assholes?|arseholes?|cunts?|bitch(?:es)?|dickheads?|motherfuckers?)",
    # The author called names.
    r"(?:you|u|you're|ur)(?: (?:are|r|a|an|the|such|so|all|just|really|plain|one|sick|bunch|of|lot|total|or"
    r"|utter|absolute|complete|folks|guys|people|racist|ignorant|dumb|stupid|mad|f\w*k\w*))* "
    r"(?:idiots?|morons?|imbeciles?|stupid|dumb\w*|clowns?|pieces? of shit|pathetic|losers?|liars?|trash"
    "|disgrace(?:ful)?|garbage|suck)",
    "(?:shut the (?:fuck|hell) up|gtfo|(?<!the )fuck (?:you|u|off|them|him|her)|go to hell)",
)
_SIGHT = "(?:pics?|pictures?|photos?|images?|videos?|clips?|gifs?)"
_UNSEEN = _any_of(
    rf"(?:in|on|from) (?:this|that|the|your|ur) (?:{_SIGHT}|article|link|screenshot|poll|graph|headline)",
    rf"(?:nice|great|good|lovely|beautiful|amazing|awesome|stunning) (?:{_SIGHT}|shot)",
    "(?:(?:as|another|other|missing) (?:an |a )?options?|(?:all|none|both) of the above)",
    "(?:read|watched|opened|clicked) (?:the|your|this) (?:article|link|video|piece|story)",
)
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
    "(?:hope|glad|hoping|relieved|happy) (?:to hear )?(?:that )?(?:everyone|everybody|all|they|you|u)"
    r"(?:'s|'re| is| are| were| r)? (?:all )?(?:safe|ok|okay|o\.k|alright|freed)",
    "(?:comes?|gets?|makes? it) out (?:safe|alive|okay|ok)",
    "(?:deepest|my|our) sympath(?:y|ies)",
    "thank god (?:they|you|u|he|she|everyone|it)(?:'s|'re| is| are)",
)
# An aside in a longer reply, which may well say something.
_SORROW = _any_of(
    "heart ?(?:breaking|broken|breaks)",
    r"(?:so|how|very|too|just|truly) (?:sad|awful|terrible|horrible|tragic|horrific|heartbroken)(?! \w)",
    "(?:horrible|terrible|awful|sad|tragic|shocking) (?:news|day|times)",
)
_THANKS = _any_of(r"(?:thanks?|thank you|thx|ty)(?: so much| a lot)? for (?:\w+ing|this|the|your|all)")
_OWN = (
    "(?:my|our) (?:order|account|refund|delivery|parcel|package|subscription|booking|tickets?|flight|login)"
)
_REQUEST = _any_of(
    r"(?:can|could|may|would) (?:you|we|i|u)\b.{0,40}\b(?:use|using|share|show|run|broadcast|credit)\b.{0,30}"
    r"\b(?:your|ur|this|these|the) (?:photos?|pics?|pictures?|images?|videos?|footage|tweet)",
    r"(?:(?:could|can|would) you\b.{0,12}|please|pls|plz) (?:dm|e-?mail|call|contact|message) (?:me|us)",
    r"follow (?:me|us|back)\b.{0,20}\b(?:dm|message)",
    "(?:can|could) (?:you|someone|anyone) (?:please |pls )?help(?! (?:me|us) (?:to )?understand)",
    rf"(?:where|when)(?:'s| is| are| will) {_OWN}",
    rf"(?:please|pls|plz|(?:can|could|would) (?:you|u))\b.{{0,40}}{_OWN}",
    rf"{_OWN}\b.{{0,80}}\b(?:please|pls|plz|help me|not working|doesn't work)",
    "how (?:do|can) i (?:contact|reset|cancel|return|log ?in|sign up|register)",
    "(?:do|does|will) (?:you|it|this) (?:guys )?(?:ship|deliver|work (?:on|with))",
    "(?:app|site|website|page|link) (?:is |still )?(?:down|broken|not working|isn't working|won't load)",
    "your customer (?:service|support|care)",
    "(?:trying|tried) to (?:get in (?:contact|touch)|reach|contact|call) (?:you|with you)",
    "(?:get in (?:contact|touch)|anyone (?:at|on) the phones?)",
    "please (?:refund|unlock|unban)",
    "would you be willing to (?:share|talk|speak)",
    "what's the price(?! of)",
    "(?:please|pls|plz) (?:tell|let) (?:us|me) (?:know|how|what|when|where|who|if|more)",
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
MAX_CONDOLENCE_WORDS, MAX_SORROW_WORDS = 20, 10
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
    if hit := _ATTACK.search(text):
        yield "attack", f"{hit.group()[:40]!a}"
    if filler := _filler(text):
        yield "filler", filler
    if hit := _UNSEEN.search(text):
        yield "unseen", f"{hit.group()[:40]!a}"
    if hit := _REQUEST.search(text):
        yield "support_question", f"{hit.group()[:40]!a}"
    if _BROADCAST.search(seen):
        yield "broadcast", "begins with .@"


def _filler(text: str) -> str | None:
    words = normalised(text.replace("'", "").replace("’", "")).split()
    letters = [word for word in words if word[0].isalpha()]
    for pattern, most in ((_CONDOLENCE, MAX_CONDOLENCE_WORDS), (_SORROW, MAX_SORROW_WORDS)):
        if len(words) <= most and (hit := pattern.search(text)):
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
    """The config's word about a sign. A sign that is often wrong drops no reply: a person looks."""
    rule: Literal["reject", "review", "keep"] = getattr(config, KEY_OF[reason])
    return "review" if rule == "reject" and reason in UNSURE else rule


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
