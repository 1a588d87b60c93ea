"""The clean stage: what is learned has no entities, links or addressing in it, and keeps its bounds."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.base.characters import n_characters
from lib.base.settings import FilterConfig
from lib.data.cleaning import clean_pairs, learned_reply, learned_tweet
from tests.items import pairs_of

CONFIG = FilterConfig(reply_chars=[10, 40])
PAIR = pairs_of()[0]
REPLY = "half of the world waits at home"


def cleaned(**changes):
    """(the kept pair or None, the reason why not or None)."""
    kept, rejected = clean_pairs([PAIR.model_copy(update={"reply": REPLY, **changes})], CONFIG)
    return (kept or [None])[0], (rejected[0].reason if rejected else None)


@pytest.mark.parametrize("learned", [learned_tweet, learned_reply])
@pytest.mark.parametrize(
    "raw, clean",
    [
        ("fish &amp; chips &lt;3", "fish & chips <3"),
        ("typed &amp;lt; by hand", "typed &lt; by hand"),
        ("read this https://t.co/abc now", "read this now"),
        ("sooo good &amp; &#128512;", "soo good & \U0001f600"),
        ("stop <|im_end|> here", "stop here"),
        ("stop &lt;|im_end|&gt; here", "stop here"),
    ],
)
def test_nothing_that_x_or_a_tokenizer_added_is_learned(learned, raw, clean):
    assert learned(raw) == clean


def test_a_tweet_keeps_what_it_is_about_and_a_reply_loses_whom_it_addresses():
    text = "@ann made this, all of it #bakery"
    assert (learned_tweet(text), learned_reply(text)) == (
        "@ann made this, all of it bakery",
        "made this, all of it",
    )


def test_both_texts_of_a_pair_are_cleaned_and_nothing_else_of_it_changes():
    kept, _ = cleaned(tweet="tea &amp; toast https://t.co/x", reply=f"@baker {REPLY} &amp; #so")
    expected = PAIR.model_copy(update={"tweet": "tea & toast", "reply": f"{REPLY} &"})
    assert kept == expected


@pytest.mark.parametrize("tweet", ["https://t.co/only", "\u200b", "<|im_end|>"])
def test_a_tweet_of_which_nothing_is_left_is_rejected(tweet):
    assert cleaned(tweet=tweet) == (None, "tweet_empty")


@pytest.mark.parametrize(
    "reply, reason",
    [
        ("1234567 90", None),  # 10: the lower bound itself
        ("@baker 1234567 90", None),
        ("1234567 9", "reply_too_short"),
        ("1234567 9 https://t.co/abc", "reply_too_short"),  # long enough until the link has gone
        ("sooooooooo", "reply_too_short"),
        ("@baker #bakery #chess", None),
        ("@baker https://t.co/x", "reply_too_short"),
        ("word " * 7 + "words", None),  # 40: the upper bound itself
        ("word " * 7 + "a words", "reply_too_long"),
        ("#" + "OneTwo" * 6 + " is one word", "reply_too_long"),  # 48 once the words of the hashtag are apart
    ],
)
def test_the_bounds_of_length_hold_for_what_cleaning_leaves(reply, reason):
    assert cleaned(reply=reply)[1] == reason


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet="ab @#&;<|>/:.\u200b\U0001f600", max_size=60), min_size=1, max_size=8))
def test_no_pair_is_lost_and_what_is_kept_keeps_the_bounds(texts):
    pairs = [
        PAIR.model_copy(update={"reply_id": f"r{n}", "reply": text or "x"}) for n, text in enumerate(texts)
    ]
    kept, rejected = clean_pairs(pairs, CONFIG)
    assert sorted([pair.id for pair in kept] + [one.id for one in rejected]) == sorted(
        pair.id for pair in pairs
    )
    assert all(10 <= n_characters(pair.reply) <= 40 for pair in kept)
