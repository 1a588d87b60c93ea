"""The cheap checks of the filter: one function per reason, each of them looks at one pair."""

from collections.abc import Callable, Iterable, Sequence

from lib.base.characters import mostly_capitals, n_characters
from lib.base.schema import Pair, Tweet
from lib.base.settings import FilterConfig
from lib.data.heuristics import rule_for, signs
from lib.data.text import (
    has_url,
    hashtags,
    hidden_control_tokens,
    is_copy,
    mixed_script,
    pii,
    reply_length,
    unescaped,
    without_picture_link,
)

Problem = tuple[str, str]  # a reason (one of the fixed words) and its detail: value and bound
Check = Callable[[Pair, FilterConfig], Problem | None]
SHORT_CHARS = 40  # below, langdetect is a guess: 15 % wrong at 21 to 40 characters, 1 % above 80


def tweet_problem(tweet: Tweet, config: FilterConfig) -> Problem | None:
    """The reason why nobody should be asked to reply to this tweet: (reason, detail), or None.

    The same rules as for a pair's tweet.
    """
    if flag := next((flag for flag in ("retweet", "quote") if flag in tweet.flags), None):
        return flag, f"the tweet is a {flag}"
    return (
        _unseen(tweet, config)
        or _language_of_x("tweet", tweet.tweet_lang, config)
        or _outside("tweet_likes", tweet.tweet_likes, config.tweet_likes, "likes")
        or _outside("tweet_retweets", tweet.tweet_retweets, config.tweet_retweets, "retweets")
        or _tweet_text_problem(tweet.tweet, tweet.flags)
    )


def _repost(pair: Pair, config: FilterConfig) -> Problem | None:
    for flag, reason, whose in (
        ("retweet", "retweet", "tweet"),
        ("quote", "quote", "tweet"),
        ("reply_retweet", "retweet", "reply"),
        ("reply_quote", "quote", "reply"),
    ):
        if flag in pair.flags:
            return reason, f"the {whose} is a {reason}"
    return None


def _self_reply(pair: Pair, config: FilterConfig) -> Problem | None:
    is_own = pair.tweet_author.lstrip("@").casefold() == pair.reply_author.lstrip("@").casefold()
    return ("self_reply", "tweet and reply have one author") if is_own else None


def _time_before_tweet(pair: Pair, config: FilterConfig) -> Problem | None:
    seconds = (pair.reply_created_at - pair.tweet_created_at).total_seconds()
    return ("time_before_tweet", f"{-seconds:,.0f} s before the tweet") if seconds < 0 else None


def _media(pair: Pair, config: FilterConfig) -> Problem | None:
    return ("media", "a picture or video in the reply") if "reply_media" in pair.flags else None


def _url(pair: Pair, config: FilterConfig) -> Problem | None:
    if "reply_url" in pair.flags or has_url(pair.reply):
        return "url", "a link in the reply" + ("" if has_url(pair.reply) else " (in its entities)")
    return None


def _unseen(tweet: Tweet | Pair, config: FilterConfig) -> Problem | None:
    """A tweet about a picture or a page that the model never sees."""
    if "tweet_media" in tweet.flags and not config.tweet_media:
        return "tweet_media", "a picture, a video or a poll in the tweet"
    text = without_picture_link(tweet.tweet) if "tweet_media" in tweet.flags else tweet.tweet
    if not config.tweet_url and ("tweet_url" in tweet.flags or has_url(text)):
        return "tweet_url", "a link in the tweet" + ("" if has_url(text) else " (in its entities)")
    return None


def _languages_of_x(pair: Pair, config: FilterConfig) -> Problem | None:
    return _language_of_x("tweet", pair.tweet_lang, config) or _language_of_x(
        "reply", pair.reply_lang, config
    )


def _language_of_x(whose: str, language: str | None, config: FilterConfig) -> Problem | None:
    if language is None or language.split("-")[0] == config.language.split("-")[0]:
        return None
    return "x_language", f"X says that the {whose} is {language}, not {config.language}"


def length_problem(length: int, config: FilterConfig) -> Problem | None:
    """The bound of reply_chars that a reply's body of this many visible characters breaks."""
    low, high = config.reply_chars
    if length < low:
        return "reply_too_short", f"{length} characters < {low}"
    return ("reply_too_long", f"{length} characters > {high}") if length > high else None


def _reply_chars(pair: Pair, config: FilterConfig) -> Problem | None:
    return length_problem(reply_length(pair.reply), config)


def _outside(reason: str, value: int, bounds: Sequence[int], unit: str) -> Problem | None:
    low, high = bounds
    if low <= value <= high:
        return None
    return reason, f"{value:,} {unit} < {low:,}" if value < low else f"{value:,} {unit} > {high:,}"


def _control_tokens(pair: Pair, config: FilterConfig) -> Problem | None:
    for whose, text in (("reply", pair.reply), ("tweet", pair.tweet)):
        if tokens := hidden_control_tokens(text):
            return "control_tokens", f"{tokens[0]} in the {whose}"
    return None


def _tweet_text_problem(text: str, flags: Sequence[str]) -> Problem | None:
    if tokens := hidden_control_tokens(text):
        return "control_tokens", f"{tokens[0]} in the tweet"
    return ("truncated", "the tweet is cut off") if "tweet_truncated" in flags else None


def _truncated(pair: Pair, config: FilterConfig) -> Problem | None:
    cut = "reply" if "truncated" in pair.flags else "tweet" if "tweet_truncated" in pair.flags else None
    return ("truncated", f"the {cut} is cut off") if cut else None


def _pii(pair: Pair, config: FilterConfig) -> Problem | None:
    kinds = pii(pair.reply)
    return ("pii", f"{' and '.join(kinds)} in the reply") if kinds else None


def _hashtags(pair: Pair, config: FilterConfig) -> Problem | None:
    n_tags = len(hashtags(unescaped(pair.reply)))
    return (
        ("hashtags", f"{n_tags} hashtags > {config.max_hashtags}") if n_tags > config.max_hashtags else None
    )


def _mixed_script(pair: Pair, config: FilterConfig) -> Problem | None:
    word = mixed_script(pair.reply)
    return ("mixed_script", f"letters of two scripts in {word[:20]!a}") if word else None


def _copy_of_tweet(pair: Pair, config: FilterConfig) -> Problem | None:
    return ("copy_of_tweet", "the reply repeats the tweet") if is_copy(pair.tweet, pair.reply) else None


def _teaches_nothing(pair: Pair, config: FilterConfig) -> Problem | None:
    return next((sign for sign in signs(pair.reply) if rule_for(sign[0], config) == "reject"), None)


STRUCTURE: tuple[Check, ...] = (
    _repost,
    _unseen,
    _self_reply,
    _time_before_tweet,
    _media,
    _url,
    _languages_of_x,
    _reply_chars,
)
TWEET_ENGAGEMENT: tuple[Check, ...] = (
    lambda pair, config: _outside("tweet_likes", pair.tweet_likes, config.tweet_likes, "likes"),
    lambda pair, config: _outside("tweet_retweets", pair.tweet_retweets, config.tweet_retweets, "retweets"),
)
ENGAGEMENT: tuple[Check, ...] = (
    lambda pair, config: _outside("reply_likes", pair.reply_likes, config.reply_likes, "likes"),
    lambda pair, config: _outside(
        "reply_author_followers", pair.reply_author_followers, config.reply_author_followers, "followers"
    ),
    lambda pair, config: _outside(
        "reply_delay", pair.reply_time_diff_seconds, config.reply_delay_seconds, "s"
    ),
)
TEXT: tuple[Check, ...] = (
    _control_tokens,
    _truncated,
    _pii,
    _hashtags,
    _mixed_script,
    _copy_of_tweet,
    _teaches_nothing,
)


def first_problem(pair: Pair, config: FilterConfig, checks: Iterable[Check]) -> Problem | None:
    """The first problem that one of the checks finds, or None."""
    return next((hit for check in checks if (hit := check(pair, config))), None)


def x_decides(x_language: str | None, text: str, config: FilterConfig) -> bool:
    """True where X's own word for the configured language counts, whatever langdetect says.

    text: the reply's prose. langdetect guesses where it is short or mostly in capitals: it drops 13 % of real
    English replies of 20 to 39 characters, and a quarter of those in capitals.
    """
    is_wanted = (x_language or "").split("-")[0] == config.language.split("-")[0]
    return is_wanted and (n_characters(text) < SHORT_CHARS or mostly_capitals(text))


def language_problem(
    language: str, confidence: float, config: FilterConfig, whose: str = "reply"
) -> Problem | None:
    """The fault of this detection, or None.

    no_language, language, low_language_confidence (tweet_language for a tweet).
    """
    if whose == "tweet":  # a short tweet is asked for its language only, not for certainty
        return (
            ("tweet_language", f"{language or 'none'} is not {config.language}")
            if language != config.language
            else None
        )
    if not language:
        return "no_language", "no words to tell a language from"
    if language != config.language:
        return "language", f"{language} ({confidence:.2f}) is not {config.language}"
    if confidence <= config.min_language_confidence:
        return "low_language_confidence", f"{confidence:.3f} <= {config.min_language_confidence}"
    return None
