"""Sentences of pairing: why rows could not be used, with an example of every reason and its fix."""

from collections import Counter
from collections.abc import Sequence

from lib.base.errors import UserError
from lib.base.schema import Rejection
from lib.data.pairs import Joined
from lib.data.sources import place_of

FILLER = "provider_filler"
FIXES = {
    "bad_count": "write it as a whole number, such as 1025",
    "bad_date": "write it as 2025-01-31T12:00:00Z",
    "bad_field": "compare the row with the columns that the README names",
    "bad_id": "export again as JSON, or import the columns of ids as text: their last digits are lost",
    "error_row": "collect again",
    "forgotten": "it was taken out by `make forget` and stays out",
    "malformed_line": "mend the line, or export again",
    "missing_field": "export again with this field (X API v2: expansions=author_id,referenced_tweets.id and "
    "user.fields=public_metrics)",
    "nested_reply": "only direct replies to a tweet are learned from",
    "not_an_item": "each row must be a post, or a pair",
    "not_utf8": "save the file as UTF-8",
    "older_observation": "none is needed: a later one is used",
    "other_conversation": "`make data PARENTS=1` buys the tweets that these replies answer, by their ids",
    FILLER: "check the queries and the plan, then collect again",
    "torn_line": "the file was cut off: export or collect again",
    "unavailable": "none: the post is gone",
    "unknown_shape": "rename the fields, export in another shape, or move the file away",
}


def refuse_unknown(joined: Joined) -> None:
    """Raise UserError for a file of which no row has a known shape."""
    unknown: dict[str, Rejection] = {}
    used = {place_of(one.source)[0] for one in (*joined.pairs, *joined.tweets)}
    for one in joined.rejected:
        file = place_of(_source(one))[0]
        if one.reason == "unknown_shape":
            unknown.setdefault(file, one)
        else:
            used.add(file)
    for file, first in unknown.items():
        if file not in used:
            raise UserError(f"raw/{file}: {first.detail}.")


def refuse_nothing(joined: Joined) -> None:
    """Raise UserError if there is no pair: nothing but filler, or nothing that could be used."""
    if joined.pairs:
        return
    if joined.rejected and {one.reason for one in joined.rejected} == {FILLER} and not joined.tweets:
        raise UserError(
            f"all {joined.n_rows:,} rows of raw/ are the provider's filler (noResults, mock tweets): it "
            "found nothing, or your plan does"
            " not cover the search. Check the queries and the plan, move these files away, and collect again."
        )
    reasons = reasons_with_examples(joined.rejected)
    why = "".join(f"\n  {line}" for line in reasons)
    raise UserError(
        f"nothing usable in raw/: {joined.n_rows:,} rows, {joined.n_tweet_rows:,} tweets and no reply to one "
        f"of them.{' Reasons: ' + ', '.join(_counts(joined.rejected)) + '.' if reasons else ''}"
        f" Put items, pairs or a CSV of pairs into raw/, or collect again.{why}"
    )


def reasons_with_examples(rejected: Sequence[Rejection]) -> list[str]:
    """A line for every reason, most frequent first: how often, the first example with its place, the fix."""
    first = {one.reason: one for one in reversed(rejected)}
    return [
        f"{reason}: {n:,}, first {_source(first[reason])}: {first[reason].detail}. "
        f"Fix: {FIXES.get(reason, 'see the row')}."
        for reason, n in _counts(rejected).items()
    ]


def _counts(rejected: Sequence[Rejection]) -> dict[str, int]:
    counts = Counter(one.reason for one in rejected)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _source(rejection: Rejection) -> str:
    return str(rejection.pair.get("source", rejection.id))


def notes(joined: Joined) -> list[str]:
    """Sentences on what was left out without harm, and on what could be bought."""
    found = [
        f"{'columns' if len(names) > 1 else 'column'} {', '.join(names)[:200]} of {file} "
        f"{'are' if len(names) > 1 else 'is'} ignored: no field of a pair"
        for file, names in joined.ignored_fields.items()
    ]
    found += [
        f"no row of {file} is used: {sentence}. Fix: {FIXES['bad_id']}"
        for file, sentence in joined.rounded.items()
    ]
    if n := len(joined.missing_tweets):
        found.append(
            f"replies answer {n:,} tweets that are not in raw/: interim/missing_tweets.txt lists them. "
            "`make data PARENTS=1` buys them by id, and asks first"
        )
    return found
