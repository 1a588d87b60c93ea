"""The flaws of every reply, by rule: what needs no judge, and what a judge may like all the same."""

from collections.abc import Callable, Sequence

from lib.base.schema import Pair, Reply, TestPrompt
from lib.data.text import is_copy, prose
from lib.model.likeness import alike, folded, recited, respelled, takes_over
from lib.model.overlap import copies, learned_runs
from lib.model.voice import is_cut_off, is_foreign, is_hostile, is_refusal, is_unreadable

TOXIC = 0.3  # the data filter's own bound
EMPTY, UNREADABLE, CUT_OFF, REFUSAL = "empty", "unreadable", "truncated", "refusal"
COPY, RECITED, ALIKE, TOXIC_FLAW, FOREIGN = "copy", "recited", "alike", "toxic", "other_language"
FAILED = frozenset({EMPTY, UNREADABLE, CUT_OFF})
UNUSABLE = frozenset({EMPTY, UNREADABLE, REFUSAL})  # it loses to any other reply, whatever a judge says

Flaws = dict[tuple[str, str], frozenset[str]]  # (tweet, system) -> its flaws
DetectLanguages = Callable[[Sequence[str]], list[tuple[str, float]]]
ScoreToxicity = Callable[[Sequence[str]], list[float]]


def flaws_of(
    replies: Sequence[Reply],
    prompts: Sequence[TestPrompt],
    train: Sequence[Pair],
    detect_languages: DetectLanguages,
    score_toxicity: ScoreToxicity | None = None,
    language: str = "en",
    max_new_tokens: int | None = None,
) -> Flaws:
    """The flaws of all replies. max_new_tokens: where generation stopped; None: not known."""
    tweets = {prompt.tweet_id: prompt.tweet for prompt in prompts}
    learned = learned_runs(pair.reply for pair in train)
    texts = [reply.reply for reply in replies]
    words = [folded(text) for text in texts]
    languages = detect_languages([prose(text) for text in texts])
    toxicity = score_toxicity(texts) if score_toxicity and texts else [0.0] * len(texts)
    by_heart = recited(words, (pair.reply for pair in train))
    repeats = _repeats(replies, words)
    found: Flaws = {}
    for number, reply in enumerate(replies):
        text, tweet = reply.reply, tweets.get(reply.tweet_id, "")
        tests = {
            UNREADABLE: is_unreadable(text),
            CUT_OFF: is_cut_off(text, reply.tokens, max_new_tokens),
            REFUSAL: is_refusal(text),
            COPY: _is_copied(tweet, text, words[number]),
            RECITED: by_heart[number] or copies(text, learned),
            ALIKE: repeats[number],
            TOXIC_FLAW: toxicity[number] > TOXIC or is_hostile(text),
            FOREIGN: is_foreign(text, languages[number], language),
        }
        is_there = bool(text.strip())
        found[reply.tweet_id, reply.system] = frozenset(
            [name for name, holds in tests.items() if holds] if is_there else [EMPTY]
        )
    return found


def _is_copied(tweet: str, text: str, words: list[str]) -> bool:
    source = folded(tweet)
    return is_copy(tweet, text) or takes_over(source, words) or respelled(source, words)


def _repeats(replies: Sequence[Reply], words: Sequence[list[str]]) -> list[bool]:
    """Which replies are alike within their own system. Empty ones are counted as that, not as alike."""
    found = [False] * len(replies)
    for system in {reply.system for reply in replies}:
        own = [n for n, reply in enumerate(replies) if reply.system == system and reply.reply.strip()]
        for number, is_alike in zip(own, alike([words[n] for n in own]), strict=True):
            found[number] = is_alike
    return found


def shares(flaws: Flaws, system: str, tweets: Sequence[str]) -> dict[str, float | int | None]:
    """The fields of lib.evidence.criteria.Shares for one system. tweets: that it was to answer.

    Failed: of the tweets, a missing reply too. The rest: of the replies that are there; None without any.
    """
    own = [flaws[tweet, system] for tweet in tweets if (tweet, system) in flaws]
    there = [one for one in own if EMPTY not in one]
    n_failed = len(tweets) - len(own) + sum(bool(one & FAILED) for one in own)

    def share(flaw: str) -> float | None:
        return sum(flaw in one for one in there) / len(there) if there else None

    return {
        "n": len(tweets),
        "failed": n_failed / len(tweets) if tweets else None,
        "copied": share(COPY),
        "recited": share(RECITED),
        "alike": share(ALIKE),
        "refusals": share(REFUSAL),
        "toxic": share(TOXIC_FLAW),
        "other_language": share(FOREIGN),
    }


def people_beside(replies: Sequence[Reply], prompts: Sequence[TestPrompt]) -> list[Reply]:
    """The people's replies to the same tweets, to hold the systems' against, where they are not judged."""
    answered = {reply.tweet_id for reply in replies}
    if any(reply.system == "human" for reply in replies):
        return []
    return [
        Reply(
            tweet_id=prompt.tweet_id,
            system="human",
            reply=prompt.human_reply,
            engine="human",
            quantization="none",
            seed=0,
            tokens=0,
            seconds=0.0,
        )
        for prompt in prompts
        if prompt.human_reply and prompt.tweet_id in answered
    ]
