"""Lost and tied replies by the kind of flaw, by rule."""

import pytest

from lib.evaluate.error_classes import error_class, flawed
from lib.evidence.outcomes import Gaps, counted
from tests.evidence.test_outcomes import judged

TWEET = "The old bridge over the harbour closes in March, and nobody asked the fishermen about it"


@pytest.mark.parametrize(
    ("reply", "flaws", "name"),
    [
        ("", (), "empty"),
        ("...", ("unreadable",), "unreadable"),
        ("I can't help with that", ("refusal",), "refusal"),
        ("The bridge is the", ("truncated",), "truncated"),
        (TWEET, ("copy", "alike"), "copy"),
        (TWEET[:20], ("copy", "truncated"), "truncated"),
        ("Harboring, bridgework, closing, fisheries", (), "none of these"),
        ("learned by heart", ("recited",), "copy"),
        ("you idiot", ("toxic",), "hostile"),
        ("Das ist doch klar", ("other_language",), "another language"),
        ("This is so true!", ("alike",), "generic"),
        ("So true, totally agree!", (), "generic"),
        ("Follow me for more bridges", (), "generic"),
        ("The bridge carried 4,200 cars a day", (), "invented detail"),
        ("Even Margaret Thatcher crossed that bridge", (), "invented detail"),
        ("My sourdough finally rose after three attempts, kitchen smells amazing", (), "off topic"),
        ("Ask the fishermen where the bridge should stand", (), "none of these"),
        ("March is too soon for the harbour", (), "none of these"),
        ("My sourdough finally rose", (), "none of these"),  # too few words to tell its subject
        ("My sourdough finally rose kitchen", (), "off topic"),
        ("The bridge, see https://t.co/x", (), "invented detail"),
        ("The bridge was built by @isambard", (), "invented detail"),
    ],
)
def test_a_reply_has_one_kind_of_flaw_the_worst(reply, flaws, name):
    assert error_class(reply, TWEET, frozenset(flaws)) == name


def test_the_kinds_are_counted_over_lost_tied_and_won_tweets_with_examples_of_what_did_not_win():
    texts = {(tweet, "tuned"): "So true, totally agree!" for tweet in "123"}
    texts |= {("4", "tuned"): "", ("5", "tuned"): "Ask the fishermen about the bridge"}
    texts |= {(tweet, "base"): "Ask the fishermen where the bridge should stand" for tweet in "12345"}
    steps = {"1": -1.0, "2": 0.0, "3": 1.0, "5": 1.0}
    judgments = [judged(tweet, order, step) for tweet, step in steps.items() for order in ("ab", "ba")]
    rows = counted(judgments, texts, {}, "tuned", "base", Gaps(asked=frozenset("12345")))
    found = {one.name: one for one in flawed(rows, texts, dict.fromkeys("12345", TWEET), {})}
    assert list(found) == ["generic", "empty", "none of these"]
    generic = found["generic"]
    assert (generic.losses, generic.ties, generic.wins, generic.examples) == (1, 1, 1, ["1", "2"])
    assert (found["empty"].losses, found["none of these"].wins) == (1, 1)


def test_the_kind_that_lost_most_comes_first_and_what_fits_no_kind_last():
    said = {"generic": "So true, totally agree!", "empty": "", "none": "Ask the fishermen about the bridge"}
    steps = {
        "1": ("generic", 0.0),
        "2": ("generic", 0.0),
        "3": ("empty", -1.0),
        "4": ("none", -1.0),
        "5": ("none", -1.0),
    }
    texts = {(tweet, "tuned"): said[kind] for tweet, (kind, _) in steps.items()}
    texts |= {(tweet, "base"): "Ask the fishermen where the bridge should stand" for tweet in steps}
    judgments = [judged(tweet, order, step) for tweet, (_, step) in steps.items() for order in ("ab", "ba")]
    rows = counted(judgments, texts, {}, "tuned", "base", Gaps(asked=frozenset(steps)))
    found = flawed(rows, texts, dict.fromkeys(steps, TWEET), {})
    assert [one.name for one in found] == ["empty", "generic", "none of these"]
