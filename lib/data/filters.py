"""The filter: pairs that are worth learning from.

The first reason that applies is the one that counts; cheap checks come first.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from lib.base.schema import Pair, Rejection, Validation
from lib.base.settings import FilterConfig, PreferencesConfig
from lib.data.checks import (
    ENGAGEMENT,
    STRUCTURE,
    TEXT,
    TWEET_ENGAGEMENT,
    Problem,
    first_problem,
    language_problem,
    x_decides,
)
from lib.data.heuristics import SENTENCES, bot_like_authors, rule_for, signs
from lib.data.preferences import preference_candidates
from lib.data.quality import capped
from lib.data.text import clean_text, is_instruction, prose, unescaped

DetectLanguages = Callable[[Sequence[str]], list[tuple[str, float]]]
ScoreToxicity = Callable[[Sequence[str]], list[float]]

# The reasons that say how well a reply did or could do, not how good its text is: such replies can still be
# compared.
REPLY_ENGAGEMENT = frozenset({"reply_likes", "reply_author_followers", "reply_delay"})

LANGUAGE_BY_X = "language_by_x"
# The words in the validation of a kept pair, and the sentences for them.
NOTES = {
    **SENTENCES,
    "instruction_like": "talks to a language model",
    LANGUAGE_BY_X: "short or in capitals: X's word for the language counted against langdetect's",
}


@dataclass
class Filtered:
    """All pairs, once, in kept and rejected.

    candidates: those of the rejected that lack nothing but engagement, and can be compared.
    """

    kept: list[Pair] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    candidates: list[Pair] = field(default_factory=list)


def filter_pairs(
    pairs: Iterable[Pair],
    config: FilterConfig,
    preferences: PreferencesConfig,
    detect_languages: DetectLanguages,
    score_toxicity: ScoreToxicity | None,
    also_seen: Iterable[tuple[str, str]] = (),
) -> Filtered:
    """Judge every pair. score_toxicity None: toxicity is not checked.

    also_seen: (author, text) of collected replies that made no pair; they too show who writes like a bot.
    Replies that only lack engagement, and that could be half of a preference, go through language and
    toxicity too. Those that pass are candidates, with a validation that names no other reasons than
    engagement.
    """
    result = Filtered()
    passed: list[Pair] = []
    unpopular: list[tuple[Pair, Rejection, list[str]]] = []
    pairs = list(pairs)
    bots = bot_like_authors([*((pair.reply_author, pair.reply) for pair in pairs), *also_seen])
    for pair in pairs:
        found = first_problem(pair, config, STRUCTURE) or first_problem(pair, config, TWEET_ENGAGEMENT)
        lacks = (
            []
            if found
            else [reason for check in ENGAGEMENT if (hit := check(pair, config)) for reason in hit[:1]]
        )
        poor = None if found else first_problem(pair, config, TEXT) or _bot_problem(pair, bots, config)
        found = found or first_problem(pair, config, ENGAGEMENT) or poor
        if not found:
            passed.append(pair)
        elif lacks and not poor:
            unpopular.append((pair, Rejection.of(pair, "filter", *found), lacks))
        else:
            result.rejected.append(Rejection.of(pair, "filter", *found))
    could_compare = preference_candidates([*passed, *(pair for pair, _, _ in unpopular)], preferences)
    judged = [pair for pair, _, _ in unpopular if pair.id in could_compare]
    verdicts = _verdicts([*passed, *judged], config, detect_languages, score_toxicity)
    for pair, verdict in zip(passed, verdicts, strict=False):
        _settle(result, pair, verdict, _notes(pair, bots, config))
    _cap(result, config, could_compare)
    result.rejected += [rejection for _, rejection, _ in unpopular]
    lacking = {pair.id: lacks for pair, _, lacks in unpopular}
    for pair, verdict in zip(judged, verdicts[len(passed) :], strict=True):
        if verdict.problem is None:
            validation = _validation(pair, verdict, False, lacking[pair.id])
            result.candidates.append(pair.model_copy(update={"validation": validation}))
    result.rejected.sort(key=lambda rejection: rejection.id)
    return result


def _bot_problem(pair: Pair, bots: set[str], config: FilterConfig) -> Problem | None:
    return _of_bot(pair, bots) if rule_for("bot_like", config) == "reject" else None


def _of_bot(pair: Pair, bots: set[str]) -> Problem | None:
    is_bot = pair.reply_author.lstrip("@").casefold() in bots
    return ("bot_like", "most replies of this author are nearly alike") if is_bot else None


def _notes(pair: Pair, bots: set[str], config: FilterConfig) -> list[str]:
    """The words in a kept pair's validation that people are told of when they review it."""
    found = [*signs(pair.reply), *([bot] if (bot := _of_bot(pair, bots)) else [])]
    notes = [reason for reason, _ in found if rule_for(reason, config) == "review"]
    # Text that talks to a model stays data.
    is_addressed = is_instruction(pair.reply) or is_instruction(pair.tweet)
    return [*notes, *(["instruction_like"] if is_addressed else [])]


def _cap(result: Filtered, config: FilterConfig, could_compare: set[str]) -> None:
    """Apply the caps to what is kept. A reply that others to its tweet outdo can still be compared."""
    result.kept, dropped = capped(result.kept, config.max_replies_per_author, config.max_replies_per_tweet)
    for pair, reason, detail in dropped:
        bare = pair.model_copy(update={"validation": None})
        result.rejected.append(Rejection.of(bare, "filter", reason, detail))
        if reason == "replies_per_tweet" and pair.id in could_compare and pair.validation:
            lacking = pair.validation.model_copy(update={"valid": False, "reasons": [reason]})
            result.candidates.append(pair.model_copy(update={"validation": lacking}))


@dataclass(frozen=True)
class _Verdict:
    problem: Problem | None
    language: str | None
    confidence: float | None  # None: X's own word for the language counted
    toxicity: float | None


def _verdicts(
    pairs: Sequence[Pair],
    config: FilterConfig,
    detect_languages: DetectLanguages,
    score_toxicity: ScoreToxicity | None,
) -> list[_Verdict]:
    """One verdict per pair. Toxicity is scored only where the language is right."""
    replies = detect_languages([prose(pair.reply) for pair in pairs])
    # X's own word for the tweet is enough; where it has none, the tweet is looked at like the reply.
    unknown = list(dict.fromkeys(pair.tweet for pair in pairs if pair.tweet_lang is None))
    tweets = (
        dict(zip(unknown, detect_languages([prose(tweet) for tweet in unknown]), strict=True))
        if unknown
        else {}
    )
    by_x = [
        language_problem(*found, config) is not None
        and found[0] != ""
        and x_decides(pair.reply_lang, prose(pair.reply), config)
        for pair, found in zip(pairs, replies, strict=True)
    ]
    problems = [
        (None if trusted else language_problem(*found, config))
        or (
            language_problem(*tweets[pair.tweet], config, "tweet")
            if pair.tweet in tweets and pair.tweet_lang is None
            else None
        )
        for pair, found, trusted in zip(pairs, replies, by_x, strict=True)
    ]
    right = [row for row, problem in enumerate(problems) if problem is None]
    scores: dict[int, float] = {}
    if score_toxicity and right:
        scores = dict(
            zip(
                right, score_toxicity([clean_text(unescaped(pairs[row].reply)) for row in right]), strict=True
            )
        )
    for row, score in scores.items():
        if score >= config.max_toxicity:
            problems[row] = ("toxicity", f"{score:.3f} >= {config.max_toxicity}")
    return [
        _Verdict(problem, config.language, None, scores.get(row))
        if by_x[row]
        else _Verdict(problem, language or None, confidence, scores.get(row))
        for row, (problem, (language, confidence)) in enumerate(zip(problems, replies, strict=True))
    ]


def _settle(result: Filtered, pair: Pair, verdict: _Verdict, notes: list[str]) -> None:
    if verdict.problem:
        result.rejected.append(Rejection.of(pair, "filter", *verdict.problem))
        return
    if verdict.confidence is None:
        notes = [*notes, LANGUAGE_BY_X]
    result.kept.append(pair.model_copy(update={"validation": _validation(pair, verdict, True, notes)}))


def _validation(pair: Pair, verdict: _Verdict, valid: bool, reasons: list[str]) -> Validation:
    return Validation(
        valid=valid,
        reasons=reasons,
        validated_at=pair.collected_at,  # not the clock: the same input gives the same bytes
        language=verdict.language,
        language_confidence=None if verdict.confidence is None else min(1.0, max(0.0, verdict.confidence)),
        toxicity=verdict.toxicity,
    )


def replies_in(rejected: Iterable[Rejection]) -> list[tuple[str, str]]:
    """(author, text) of the legible replies among what made no pair."""
    seen = [(rejection.pair.get("reply_author"), rejection.pair.get("reply")) for rejection in rejected]
    return [(author, text) for author, text in seen if isinstance(author, str) and isinstance(text, str)]


def noted(kept: Iterable[Pair]) -> list[tuple[str, int]]:
    """Signs told to people about kept pairs, and on how many, most frequent first."""
    counts = Counter(note for pair in kept if pair.validation for note in pair.validation.reasons)
    return [
        (NOTES.get(note, note), n) for note, n in sorted(counts.items(), key=lambda item: (-item[1], item))
    ]


def candidates_in(rejected: Iterable[Rejection]) -> list[Pair]:
    """The candidates of a set that was filtered before they had a file: rejected pairs with a validation."""
    found = []
    for rejection in rejected:
        if rejection.reason in REPLY_ENGAGEMENT and (rejection.pair.get("validation") or {}).get("language"):
            pair = Pair.model_validate(rejection.pair)
            if pair.validation and set(pair.validation.reasons) <= REPLY_ENGAGEMENT:
                found.append(pair)
    return found
