"""The records of the pipeline's JSON Lines files. Unknown fields, missing fields and odd types are errors."""

from datetime import UTC
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints


class Record(BaseModel):
    """A line of a JSON Lines file. strict: "12" is not 12, 1.0 is not 1, true is not 1."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


Utc = Annotated[AwareDatetime, Field(strict=False), AfterValidator(lambda moment: moment.astimezone(UTC))]
Id = Annotated[
    str, StringConstraints(pattern=r"^[0-9A-Za-z_-]{1,64}$")
]  # ends up in commands and file names: nothing else may
Count = Annotated[int, Field(ge=0)]
Text = Annotated[str, StringConstraints(min_length=1)]
System = str  # base | fewshot | tuned | human | another run's name

# What the provider's item says about the post and the text does not. They become rejection reasons in the
# filter.
Flag = Literal[
    "retweet",
    "quote",
    "reply_media",
    "reply_url",
    "reply_retweet",
    "reply_quote",
    "truncated",
    "tweet_truncated",
    "tweet_media",
    "tweet_url",
]


class Validation(Record):
    """The filter's verdict on a pair. reasons: what it lacks, or what a person should know of it."""

    valid: bool
    reasons: list[str] = []
    validated_at: Utc
    language: str | None = None
    language_confidence: float | None = Field(None, ge=0, le=1)
    toxicity: float | None = Field(None, ge=0, le=1)


class OfTweet(Record):
    """The fields of a tweet, as a pair and the list of tweets hold them."""

    tweet_id: Id
    tweet: Text
    tweet_author: Text
    tweet_likes: Count
    tweet_retweets: Count
    tweet_created_at: Utc


class Pair(OfTweet):
    """A tweet and one direct reply to it: the unit of every data stage."""

    reply_id: Id
    reply: Text
    reply_author: Text
    reply_author_followers: Count
    reply_likes: Count
    reply_retweets: Count
    reply_created_at: Utc
    reply_time_diff_seconds: int
    collected_at: Utc
    source: str
    tweet_lang: str | None = None  # X's own guess, where the provider passes it on
    reply_lang: str | None = None
    flags: list[Flag] = []
    reply_author_created_at: Utc | None = None  # how old the account is, where the provider says so
    quality: float | None = Field(None, ge=0, le=1)  # of the clean stage: lib/data/quality.py
    validation: Validation | None = None

    @property
    def id(self) -> str:
        return self.reply_id


class Tweet(OfTweet):
    """A tweet that can be replied to, whether or not a reply was collected: interim/tweets.jsonl."""

    collected_at: Utc
    source: str
    tweet_lang: str | None = None
    flags: list[Flag] = []


class Rejection(Record):
    """A record that a stage dropped, and why. `pair` is whatever of it could be read."""

    id: str
    stage: str
    reason: str
    detail: str
    pair: dict[str, Any] = {}

    @classmethod
    def of(cls, pair: Pair, stage: str, reason: str, detail: str) -> "Rejection":
        """The rejection of a whole pair, which it holds."""
        dump = pair.model_dump(mode="json", exclude_none=True)
        return cls(id=pair.id, stage=stage, reason=reason, detail=detail, pair=dump)


class TestPrompt(Record):
    """A held-out tweet: what the systems are asked to reply to."""

    __test__ = False  # not a pytest class

    tweet_id: Id
    tweet: Text
    tweet_author: Text
    tweet_likes: Count
    human_reply: str | None = None  # the most liked kept reply, where there is one
    human_reply_likes: Count | None = None


class Preference(Record):
    """Two replies to one tweet: `chosen` was posted no earlier and liked more (Ethayarajh et al. 2022)."""

    tweet_id: Id
    tweet: Text
    tweet_author: Text
    chosen: Text
    rejected: Text
    chosen_id: Id
    rejected_id: Id
    chosen_likes: Count
    rejected_likes: Count
    chosen_created_at: Utc
    rejected_created_at: Utc
    chosen_followers: Count
    rejected_followers: Count
    chosen_first: bool  # by hash: which of the two a judge is shown first


def drawn_from(system: str) -> tuple[str, int]:
    """(arm that answers, candidates that it draws): tuned@5 -> (tuned, 5), base -> (base, 1)."""
    arm, _, k = system.partition("@")
    return arm, int(k or 1)


class Reply(Record):
    """One system's answer to one test prompt."""

    tweet_id: Id
    system: System
    reply: str
    engine: str
    quantization: str
    seed: int
    tokens: Count
    seconds: float = Field(ge=0)


class Judgment(Record):
    """One verdict on two replies to one tweet, shown in one order.

    verdict: which system's reply is better, in 5 steps from the point of view of `a`: 1, 0.5, 0, -0.5, -1.
    order: "ab" if a's reply was shown first, "ba" if b's was. scores: {system: {criterion: 1..10}}.
    raw, usage: the provider's answer as it came. key: hash of everything the verdict depends on.
    """

    tweet_id: Id
    a: System
    b: System
    order: Literal["ab", "ba"]
    repeat: Count
    verdict: float | None = Field(None, ge=-1, le=1)
    scores: dict[str, dict[str, float]] = {}
    reason: str = ""
    model: str
    usage: dict[str, Any] = {}
    raw: str = ""
    key: str
